// Package desk gathers what clients ask of resources: all that wait for one resource at this
// host travel in one command, however many requests it came in.
//
// A request for ten resources costs ten places in ten queues and one awakening, no goroutine
// and no proposal of its own; thousands of clients that refresh become few commands, and few
// entries of the log. A desk lets those who were answered come again before the next command
// goes (package tempo), so that a crowd travels together; one caller alone never waits.
//
// A command is proposed for callers who wait. One whose caller has gone is not proposed, and
// not tried again.
//
//	d := desk.New(router)
//	defer d.Close()
//	jobs := []*desk.Job{{Group: "capacity/a", Requests: requests}}
//	d.Decide(ctx, jobs)
package desk

import (
	"context"
	"sync"
	"time"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/raft/tempo"
	"github.com/drumline/drumline/nodehost/route"
)

// Bounds of what travels together.
const (
	// perCommand bounds the requests of one command, perTrip those of one proposal.
	perCommand, perTrip = 512, 4096
	// patience bounds one proposal: who waits longer is proposed again, with those who came
	// since. One proposal that hangs must not keep a place for as long as its most patient
	// caller.
	patience = 3 * time.Second
	// look is how often a desk looks whether it is time for those who wait.
	look = 5 * time.Millisecond
	// keptDesks are kept although nobody waits: they know the pace of their groups.
	keptDesks = 1024
)

// Proposer proposes to every group; *route.Router does.
type Proposer interface {
	ProposeMany(ctx context.Context, m route.Many) ([]route.Outcome, *hostpb.Location)
}

// Job is what one call asks of one resource.
type Job struct {
	// Group of the resource, and the requests for it, which are decided in their order.
	Group    string
	Requests []*capacitypb.Request
	// Grants answer the requests, in their order, unless there is an Err.
	Grants []*capacitypb.Grant
	Err    error

	call *call
	// flying and settled are guarded by call.mu: the job is in a proposal, or over.
	flying, settled bool
}

// call is the jobs of one caller.
type call struct {
	ctx  context.Context
	mu   sync.Mutex
	open int  // guarded by mu: jobs that are not settled
	left bool // guarded by mu: the caller has gone
	done chan struct{}
}

// Desks has a desk for every resource that is asked for. Its methods may be called from any
// goroutine.
type Desks struct {
	proposer Proposer
	life     context.Context
	end      context.CancelFunc
	work     sync.WaitGroup // Add only under gate, while not closed

	gate   sync.RWMutex // taken with a desk's mu held
	closed bool         // guarded by gate

	mu    sync.RWMutex     // a desk's is taken with it held
	desks map[string]*desk // guarded by mu: by group
}

// New makes Desks that propose through p; Close them.
func New(p Proposer) *Desks {
	d := &Desks{proposer: p, desks: map[string]*desk{}}
	d.life, d.end = context.WithCancel(context.Background())
	return d
}

// Close ends all that is under way, with errors for those who wait, and waits for its
// goroutines; idempotent.
func (d *Desks) Close() {
	d.gate.Lock()
	d.closed = true
	d.gate.Unlock()
	d.end()
	d.work.Wait()
}

// Decide proposes the jobs and waits until all are over, or ctx ends: then those that are
// not have an error that says whether they may still be decided.
func (d *Desks) Decide(ctx context.Context, jobs []*Job) {
	if len(jobs) == 0 {
		return
	}
	c := &call{ctx: ctx, open: len(jobs), done: make(chan struct{})}
	for _, j := range jobs {
		j.Grants, j.Err, j.call, j.flying, j.settled = nil, nil, c, false, false
	}
	for _, j := range jobs {
		d.add(j)
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		c.leave(jobs)
	}
}

// add puts a job on its desk.
func (d *Desks) add(j *Job) {
	for !d.desk(j.Group).add(j) { // it was forgotten just now
	}
}

// desk returns that of a group.
func (d *Desks) desk(group string) *desk {
	d.mu.RLock()
	k := d.desks[group]
	d.mu.RUnlock()
	if k != nil {
		return k
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if k = d.desks[group]; k != nil {
		return k
	}
	if len(d.desks) >= keptDesks {
		d.sweep()
	}
	k = &desk{desks: d, group: group}
	d.desks[group] = k
	return k
}

// sweep closes the desks at which nobody is; mu is held.
func (d *Desks) sweep() {
	for group, k := range d.desks {
		if k.closeIfIdle() {
			delete(d.desks, group)
		}
	}
}

// begin runs f in a goroutine of its own, unless the desks are closed.
func (d *Desks) begin(f func()) bool {
	d.gate.RLock()
	defer d.gate.RUnlock()
	if d.closed {
		return false
	}
	d.work.Go(f)
	return true
}

// desk is where those wait who ask for one resource.
type desk struct {
	desks *Desks
	group string

	mu      sync.Mutex
	closed  bool // guarded by mu, like all below: it is forgotten
	waiting []*Job
	flying  int
	tempo   tempo.Tempo
	alarm   *time.Timer
}

// add puts a job at the end of the queue; false if the desk is closed.
func (k *desk) add(j *Job) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	k.waiting = append(k.waiting, j)
	k.goIfDue(len(k.waiting) == 1)
	return true
}

// putBack puts jobs of a proposal that came to nothing in front of the others.
func (k *desk) putBack(jobs []*Job) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waiting = append(jobs, k.waiting...)
	k.goIfDue(true)
}

// goIfDue sends off those who wait, if it is time. If it is not, because others are under
// way, and nobody was here who could know (first), it looks again in a moment; mu is held.
func (k *desk) goIfDue(first bool) {
	for len(k.waiting) > 0 && k.tempo.Due(time.Now, k.flying, len(k.waiting)) {
		jobs := k.take()
		if len(jobs) == 0 {
			continue
		}
		sealed := time.Now()
		k.tempo.Sealed(sealed, len(jobs))
		k.flying++
		first = true
		if !k.desks.begin(func() { k.fly(jobs, sealed) }) {
			k.flying--
			fail(jobs, fault.New(fault.Unavailable, "the host is stopping: try another one").InGroup(k.group))
		}
	}
	if first && len(k.waiting) > 0 && k.flying > 0 {
		k.ringIn(look)
	}
}

// take takes the first jobs that wait, as many as may travel together, but for those whose
// callers have gone; mu is held.
func (k *desk) take() []*Job {
	n, requests := 0, 0
	for n < len(k.waiting) && (n == 0 || requests+len(k.waiting[n].Requests) <= perTrip) {
		requests += len(k.waiting[n].Requests)
		n++
	}
	taken := k.waiting[:n:n]
	k.waiting = k.waiting[n:]
	jobs := taken[:0]
	for _, j := range taken {
		if j.takeOff() {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// landed notes a proposal that is over.
func (k *desk) landed(sealed time.Time, jobs int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.flying--
	wait := k.tempo.Landed(time.Now(), tempo.Landing{Sealed: sealed, Commands: jobs, Waiting: len(k.waiting), Flying: k.flying})
	if wait > 0 {
		k.ringIn(wait)
	}
}

// ringIn looks again after d; mu is held.
func (k *desk) ringIn(d time.Duration) {
	if k.alarm == nil {
		k.alarm = time.AfterFunc(d, k.ring)
		return
	}
	k.alarm.Reset(d)
}

// ring is the alarm.
func (k *desk) ring() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.goIfDue(true)
}

// closeIfIdle closes a desk at which nobody is.
func (k *desk) closeIfIdle() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.waiting) > 0 || k.flying > 0 {
		return false
	}
	k.closed = true
	if k.alarm != nil {
		k.alarm.Stop()
	}
	return true
}
