// Package duty is what only a group's leader does.
//
// A Task is run on the host that leads a group, from the moment that the leader
// takes proposals until it does no more: once at the beginning, again after the
// events that it names, and again after a pause when it failed. Runs of one task
// for one group never overlap. All groups share a few workers: a host leads
// thousands of groups, most of which have nothing to do. What goes on for as long as the
// leadership (Serve) has a goroutine of its own.
//
// It is level-based: events only say where to look, raft's status says what holds.
package duty

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
)

// Task is one thing that leaders do: Run or Serve.
type Task struct {
	// Name of the task, for logs.
	Name string
	// After lists the events of a group that make it run again.
	After []raft.EventKind
	// Run does it, for a replica that serves as leader. ctx ends with the leadership.
	// After an error it is run again.
	Run func(ctx context.Context, s raft.Status) error
	// Serve, instead of Run, may last as long as the leadership; nothing else bounds it, and
	// the workers do not wait for it. Once it has returned it is begun again when Run would be.
	Serve func(ctx context.Context, s raft.Status) error
}

// Raft is what duty needs of *raft.Host.
type Raft interface {
	Status(g ids.Group) (raft.Status, bool)
}

var _ Raft = (*raft.Host)(nil)

// Options of a Roster. Zero values become defaults.
type Options struct {
	Raft Raft
	// Workers run the tasks of all groups.
	Workers int
	// Timeout bounds one run.
	Timeout time.Duration
	// PauseLeast and PauseMost bound the pause after an error, which doubles.
	PauseLeast, PauseMost time.Duration
	Log                   *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Workers <= 0 {
		o.Workers = 64 // they wait for Raft nearly all the time, and many groups then share its syncs
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.PauseLeast <= 0 {
		o.PauseLeast = 50 * time.Millisecond
	}
	if o.PauseMost <= 0 {
		o.PauseMost = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Roster runs tasks for the groups that this host leads.
type Roster struct {
	o     Options
	tasks []Task
	// wake has room for one per worker: the queue is not empty.
	wake chan struct{}
	// serving are the tasks that have a goroutine of their own. Workers add to it.
	serving sync.WaitGroup

	mu    sync.Mutex
	leads map[ids.Group]*lead
	queue []*job
	ended bool
}

// lead is a leadership of a group on this host.
type lead struct {
	term uint64
	jobs []*job
}

// job is one task for one leadership.
type job struct {
	task   Task
	group  ids.Group
	lead   *lead
	over   bool // the leadership has ended
	queued bool
	// running, and again: something happened meanwhile.
	running, again bool
	cancel         context.CancelFunc // while running
	pause          time.Duration
	retry          *time.Timer
}

// New makes a Roster of tasks.
func New(o Options, tasks ...Task) *Roster {
	o = o.withDefaults()
	return &Roster{o: o, tasks: tasks, wake: make(chan struct{}, o.Workers), leads: make(map[ids.Group]*lead)}
}

// Leads returns the number of groups that this host leads.
func (r *Roster) Leads() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.leads)
}

// Observe is to be called with every event of raft. It does not block.
func (r *Roster) Observe(e raft.Event) {
	s, here := r.o.Raft.Status(e.Group)
	serving := here && s.Serving
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.leads[e.Group]
	if l != nil && (!serving || l.term != s.Term) {
		r.end(e.Group, l)
		l = nil
	}
	switch {
	case !serving || r.ended:
	case l == nil:
		r.begin(e.Group, s.Term)
	default:
		for _, j := range l.jobs {
			if slices.Contains(j.task.After, e.Kind) {
				r.push(j)
			}
		}
	}
}

// Again runs a task again for every group that this host leads: something that no event
// of the groups tells has changed. It does not block.
func (r *Roster) Again(task string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.leads {
		for _, j := range l.jobs {
			if j.task.Name == task {
				r.push(j)
			}
		}
	}
}

// begin starts a leadership; mu is held, as in all that follow.
func (r *Roster) begin(g ids.Group, term uint64) {
	l := &lead{term: term}
	r.leads[g] = l
	for _, t := range r.tasks {
		j := &job{task: t, group: g, lead: l}
		l.jobs = append(l.jobs, j)
		r.push(j)
	}
}

func (r *Roster) end(g ids.Group, l *lead) {
	delete(r.leads, g)
	for _, j := range l.jobs {
		j.over = true
		if j.cancel != nil {
			j.cancel()
		}
		if j.retry != nil {
			j.retry.Stop()
		}
	}
}

// push queues a job, unless it is queued; one that runs is queued when it is done.
func (r *Roster) push(j *job) {
	switch {
	case j.over || j.queued:
	case j.running:
		j.again = true
	default:
		j.queued = true
		r.queue = append(r.queue, j)
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// Run works until ctx ends, and returns when nothing of the Roster runs any more.
func (r *Roster) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range r.o.Workers {
		workers.Go(func() { r.work(ctx) })
	}
	<-ctx.Done()
	r.mu.Lock()
	r.ended = true
	for g, l := range r.leads {
		r.end(g, l)
	}
	r.mu.Unlock()
	workers.Wait()
	r.serving.Wait()
}

func (r *Roster) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		for j := r.take(); j != nil && ctx.Err() == nil; j = r.take() {
			r.run(ctx, j)
		}
	}
}

// take returns the next job, marked as running, or nil.
func (r *Roster) take() *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) > 0 {
		j := r.queue[0]
		r.queue = r.queue[1:]
		j.queued = false
		if !j.over {
			j.running, j.again = true, false
			return j
		}
	}
	return nil
}

// run runs a job, or has it served.
func (r *Roster) run(ctx context.Context, j *job) {
	if j.task.Serve != nil {
		life, cancel := context.WithCancel(ctx)
		r.serving.Go(func() {
			defer cancel()
			r.do(life, cancel, j, j.task.Serve)
		})
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	r.do(ctx, cancel, j, j.task.Run)
}

// do does what a job is about, unless its leadership is over.
func (r *Roster) do(ctx context.Context, cancel context.CancelFunc, j *job, f func(context.Context, raft.Status) error) {
	r.mu.Lock()
	j.cancel = cancel
	over := j.over
	r.mu.Unlock()
	s, here := r.o.Raft.Status(j.group)
	if over || !here || !s.Serving || s.Term != j.lead.term {
		r.finish(j, nil)
		return
	}
	err := f(ctx, s)
	if err != nil && ctx.Err() == nil {
		r.o.Log.Debug("leader's task is tried again", "task", j.task.Name, "group", s.Name, "err", err)
	}
	r.finish(j, err)
}

func (r *Roster) finish(j *job, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	j.running, j.cancel = false, nil
	switch {
	case j.over || r.ended:
	case err == nil:
		j.pause = 0
		if j.again {
			r.push(j)
		}
	default:
		j.pause = min(max(2*j.pause, r.o.PauseLeast), r.o.PauseMost)
		j.retry = time.AfterFunc(j.pause, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.push(j)
		})
	}
}
