// Package gather lets additions that wait for a counter at this host travel together.
//
// Thousands of requests that add 1 become few commands: those that wait for a group go as
// one proposal, in which what has no idempotency key is a sum for each counter. A request
// costs a place in a queue and one awakening, no proposal and no timer of its own. Those
// who were answered get a moment to come again before the next proposal goes (package
// tempo), so that a crowd travels together; one caller alone never waits.
//
//	g := gather.New(adder)
//	defer g.Close()
//	result, err := g.Add(ctx, "counter/hits", &counterpb.Add{Amount: 1})
package gather

import (
	"context"
	"slices"
	"sync"
	"time"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/raft/tempo"
)

const (
	// perTrip bounds the additions of one proposal.
	perTrip = 4096
	// patience bounds one proposal. Its callers may have left by then.
	patience = 10 * time.Second
	// look is how often a queue looks whether it is time for those who wait.
	look = 5 * time.Millisecond
	// stuck: a proposal that has been away for so long, because its leader hangs, keeps
	// nobody else waiting, who may find the next leader.
	stuck = 500 * time.Millisecond
	// mostFlying bounds the proposals of a group that are under way, stuck ones included.
	mostFlying = 64
	// keptQueues are kept although nobody waits: they know the pace of their groups.
	keptQueues = 1024
)

// Outcome is what became of an addition: what the group answered, or an error.
type Outcome struct {
	Result *counterpb.Result
	Err    error
}

// Adder adds many amounts to counters of a group; there is an outcome for each.
type Adder func(ctx context.Context, group string, adds []*counterpb.Add) []Outcome

// Gather has a queue for every group that is counted in. Its methods may be called from any
// goroutine.
type Gather struct {
	adder Adder
	life  context.Context
	end   context.CancelFunc
	work  sync.WaitGroup // Add only under mu, while not closed

	mu     sync.RWMutex // taken with a queue's mu held, never the other way round
	closed bool         // guarded by mu

	gate   sync.RWMutex      // guards queues; a queue's mu is taken with it held
	queues map[string]*queue // guarded by gate: by group
}

// New makes a Gather that proposes through adder; Close it.
func New(adder Adder) *Gather {
	g := &Gather{adder: adder, queues: map[string]*queue{}}
	g.life, g.end = context.WithCancel(context.Background())
	return g
}

// Close ends all that is under way, with errors for those who wait, and waits for its
// goroutines; idempotent.
func (g *Gather) Close() error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.end()
	g.work.Wait()
	return nil
}

// job is one addition.
type job struct {
	add  *counterpb.Add
	out  Outcome // to be read when done is closed
	done chan struct{}
	// flying and left are guarded by the queue's mu: it is in a proposal; its caller has gone.
	flying, left bool
}

// Add adds in a group, and waits until that is decided or ctx ends. Then an error says
// whether it may still be counted.
func (g *Gather) Add(ctx context.Context, group string, a *counterpb.Add) (*counterpb.Result, error) {
	j := &job{add: a, done: make(chan struct{})}
	q := g.queue(group)
	for !q.add(j) { // it was forgotten just now
		q = g.queue(group)
	}
	select {
	case <-j.done:
		return j.out.Result, j.out.Err
	case <-ctx.Done():
		return q.leave(j, ctx.Err())
	}
}

// queue returns that of a group.
func (g *Gather) queue(group string) *queue {
	g.gate.RLock()
	q := g.queues[group]
	g.gate.RUnlock()
	if q != nil {
		return q
	}
	g.gate.Lock()
	defer g.gate.Unlock()
	if q = g.queues[group]; q != nil {
		return q
	}
	if len(g.queues) >= keptQueues {
		for name, old := range g.queues {
			if old.closeIfIdle() {
				delete(g.queues, name)
			}
		}
	}
	q = &queue{gather: g, group: group}
	g.queues[group] = q
	return q
}

// begin runs f in a goroutine of its own, unless the Gather is closed.
func (g *Gather) begin(f func()) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return false
	}
	g.work.Go(f)
	return true
}

// queue is where those wait who add in one group.
type queue struct {
	gather *Gather
	group  string

	mu      sync.Mutex
	closed  bool // guarded by mu, like all below: it is forgotten
	waiting []*job
	// flying are the times when proposals went that are under way, the oldest first.
	flying []time.Time
	tempo  tempo.Tempo
	alarm  *time.Timer
}

// add puts a job at the end; false if the queue is closed.
func (q *queue) add(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.waiting = append(q.waiting, j)
	q.goIfDue(len(q.waiting) == 1)
	return true
}

// goIfDue sends off those who wait, if it is time. If it is not, because others are under
// way, and nobody was here who could know (first), it looks again in a moment; mu is held.
func (q *queue) goIfDue(first bool) {
	for len(q.waiting) > 0 && len(q.flying) < mostFlying && q.tempo.Due(time.Now, q.lively(), len(q.waiting)) {
		jobs := q.take()
		if len(jobs) == 0 {
			continue
		}
		sealed := time.Now()
		q.tempo.Sealed(sealed, len(jobs))
		q.flying = append(q.flying, sealed)
		first = true
		if !q.gather.begin(func() { q.fly(jobs, sealed) }) {
			q.land(sealed)
			fail(jobs, fault.New(fault.Unavailable, "the host is stopping: try another one").InGroup(q.group))
		}
	}
	if first && len(q.waiting) > 0 && len(q.flying) > 0 {
		q.ringIn(look)
	}
}

// lively counts the proposals under way that are not stuck; mu is held.
func (q *queue) lively() int {
	n := 0
	for _, sealed := range q.flying {
		if time.Since(sealed) < stuck {
			n++
		}
	}
	return n
}

// land takes a proposal out of those under way; mu is held.
func (q *queue) land(sealed time.Time) {
	if at := slices.Index(q.flying, sealed); at >= 0 {
		q.flying = slices.Delete(q.flying, at, at+1)
	}
}

// take takes the first jobs that wait, but for those whose callers have gone; mu is held.
func (q *queue) take() []*job {
	n := min(len(q.waiting), perTrip)
	jobs := make([]*job, 0, n)
	for _, j := range q.waiting[:n] {
		if !j.left {
			j.flying = true
			jobs = append(jobs, j)
		}
	}
	q.waiting = append(q.waiting[:0], q.waiting[n:]...)
	return jobs
}

// fly proposes jobs and settles them.
func (q *queue) fly(jobs []*job, sealed time.Time) {
	ctx, cancel := context.WithTimeout(q.gather.life, patience)
	defer cancel()
	adds := make([]*counterpb.Add, len(jobs))
	for i, j := range jobs {
		adds[i] = j.add
	}
	out := q.gather.adder(ctx, q.group, adds)
	q.landed(sealed, len(jobs)) // before callers know, who may come again at once
	for i, j := range jobs {
		j.out = out[i]
		close(j.done)
	}
}

// fail answers jobs with an error.
func fail(jobs []*job, err error) {
	for _, j := range jobs {
		j.out.Err = err
		close(j.done)
	}
}

// landed notes a proposal that is over.
func (q *queue) landed(sealed time.Time, jobs int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.land(sealed)
	wait := q.tempo.Landed(time.Now(), tempo.Landing{Sealed: sealed, Commands: jobs, Waiting: len(q.waiting), Flying: q.lively()})
	if wait > 0 {
		q.ringIn(wait)
		return
	}
	q.goIfDue(false)
}

// ringIn looks again after d; mu is held.
func (q *queue) ringIn(d time.Duration) {
	if q.alarm == nil {
		q.alarm = time.AfterFunc(d, q.ring)
		return
	}
	q.alarm.Reset(d)
}

// ring is the alarm.
func (q *queue) ring() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.goIfDue(true)
}

// leave gives a job up whose caller's context has ended.
func (q *queue) leave(j *job, cause error) (*counterpb.Result, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-j.done:
		return j.out.Result, j.out.Err
	default:
	}
	j.left = true
	if j.flying {
		return nil, fault.Wrap(cause, fault.UnknownOutcome, "group %s did not answer in time: the amount may or may not be counted", q.group).InGroup(q.group)
	}
	return nil, fault.Wrap(cause, fault.Deadline, "the amount did not get its turn in group %s and was not counted", q.group).InGroup(q.group)
}

// closeIfIdle closes a queue in which nobody is.
func (q *queue) closeIfIdle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) > 0 || len(q.flying) > 0 {
		return false
	}
	q.closed = true
	if q.alarm != nil {
		q.alarm.Stop()
	}
	return true
}
