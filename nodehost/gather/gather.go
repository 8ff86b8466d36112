// Package gather lets what waits for a group at this host travel together: many requests
// become few proposals, however many callers they came from.
//
// A caller brings jobs, each for one group, and waits until all are over. A job costs a
// place in its group's queue, and a call one awakening; it has no goroutine, proposal or
// timer of its own. What waits for a group rides in its next trip. How asks combine into
// commands, and which answer is whose, is the owner's (Options.Trip).
//
// Callers who were answered get a moment to come again before the next trip goes (package
// tempo), so that a crowd travels together; one caller alone never waits. Who asks many
// groups comes again when the slowest has answered, so that moment begins with the last of
// their trips: then all groups' next trips go at once, and share what the disk and the
// network have to do for them. A trip that hangs,
// because its leader does, keeps nobody else waiting for long. Whose caller has gone before
// its trip began does not travel.
//
//	g := gather.New(gather.Options[int, string]{Trip: trip, PerTrip: 4096, Patience: 3 * time.Second, Noun: "amount", Verb: "counted"})
//	defer g.Close()
//	jobs := []gather.Job[int, string]{{Group: "counter/hits", Ask: 1}}
//	g.Do(ctx, jobs)
package gather

import (
	"context"
	"sync"
	"time"
)

const (
	// look is how often a queue looks whether it is time for those who wait.
	look = 5 * time.Millisecond
	// stuck: a trip that has been away for so long, because its leader hangs, keeps nobody
	// else waiting, who may find the next leader.
	stuck = 500 * time.Millisecond
	// heldUp: so long after a trip came back, those who wait for its group wait no more for
	// callers of that trip, whom other groups keep.
	heldUp = 20 * time.Millisecond
	// mostFlying bounds the trips of a group that are under way, stuck ones included.
	mostFlying = 64
	// keptQueues are kept although nobody waits: they know the pace of their groups.
	keptQueues = 1024
)

// Outcome is what became of an ask: an answer, or an error.
type Outcome[A any] struct {
	Answer A
	Err    error
}

// Options of a Gather of asks Q, which are answered with A.
type Options[Q, A any] struct {
	// Trip proposes asks, at least one, to a group, and fills in the outcome of each; out is
	// as long as asks. It runs in a goroutine of its own.
	Trip func(ctx context.Context, group string, asks []Q, out []Outcome[A])
	// PerTrip bounds what the asks of one trip weigh together; an ask that weighs more
	// travels alone. Weight is one ask's; nil: each weighs 1.
	PerTrip int
	Weight  func(Q) int
	// Patience bounds one trip, which lasts no longer than the most patient of its callers.
	Patience time.Duration
	// Again tells of the error of a trip whose time was over whether another one may do
	// better: then those who still wait travel again. nil: nobody does.
	Again func(error) bool
	// Noun is what one ask is called in errors, Verb what is done with it: an "amount" is
	// "counted".
	Noun, Verb string
}

// Gather has a queue for every group that is asked. Its methods may be called from any
// goroutine.
type Gather[Q, A any] struct {
	o    Options[Q, A]
	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup // Add only under gate, while not closed

	gate   sync.RWMutex // taken with a queue's mu held, never the other way round
	closed bool         // guarded by gate

	mu     sync.RWMutex            // a queue's is taken with it held
	queues map[string]*queue[Q, A] // guarded by mu: by group
}

// New makes a Gather; Close it.
func New[Q, A any](o Options[Q, A]) *Gather[Q, A] {
	g := &Gather[Q, A]{o: o, queues: map[string]*queue[Q, A]{}}
	g.life, g.end = context.WithCancel(context.Background())
	return g
}

// Close ends all that is under way, with errors for those who wait, and waits for its
// goroutines; idempotent.
func (g *Gather[Q, A]) Close() {
	g.gate.Lock()
	g.closed = true
	g.gate.Unlock()
	g.end()
	g.work.Wait()
}

// Do has the jobs travel and waits until all are over, or ctx ends: then those that are not
// have an error that says whether they may still be done. Jobs must not be used again unless
// they are over.
func (g *Gather[Q, A]) Do(ctx context.Context, jobs []Job[Q, A]) {
	if len(jobs) == 0 {
		return
	}
	c := &call{ctx: ctx, open: len(jobs), done: make(chan struct{})}
	if c.trips = c.one[:0]; len(jobs) > 1 {
		c.trips = make([]*trip, 0, len(jobs))
	}
	for i := range jobs {
		j := &jobs[i]
		j.Outcome, j.call, j.flying, j.settled = Outcome[A]{}, c, false, false
	}
	for i := range jobs {
		for !g.queue(jobs[i].Group).add(&jobs[i]) { // it was forgotten just now
		}
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		g.leave(c, jobs)
	}
}

// queue returns that of a group.
func (g *Gather[Q, A]) queue(group string) *queue[Q, A] {
	g.mu.RLock()
	q := g.queues[group]
	g.mu.RUnlock()
	if q != nil {
		return q
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if q = g.queues[group]; q != nil {
		return q
	}
	if len(g.queues) >= keptQueues {
		g.sweep()
	}
	q = &queue[Q, A]{gather: g, group: group}
	g.queues[group] = q
	return q
}

// sweep forgets the queues in which nobody is; mu is held.
func (g *Gather[Q, A]) sweep() {
	for group, q := range g.queues {
		if q.closeIfIdle() {
			delete(g.queues, group)
		}
	}
}

// begin runs f in a goroutine of its own, unless the Gather is closed.
func (g *Gather[Q, A]) begin(f func()) bool {
	g.gate.RLock()
	defer g.gate.RUnlock()
	if g.closed {
		return false
	}
	g.work.Go(f)
	return true
}

// timeFor is how long a trip may take: nearly as long as the most patient of its callers
// waits, who is told then how it went.
func (g *Gather[Q, A]) timeFor(jobs []*Job[Q, A], now time.Time) time.Duration {
	most := time.Duration(0)
	for _, j := range jobs {
		end, ok := j.call.ctx.Deadline()
		if !ok {
			return g.o.Patience
		}
		most = max(most, end.Sub(now))
	}
	return min(most-most/20, g.o.Patience)
}

// weight is what an ask weighs.
func (g *Gather[Q, A]) weight(ask Q) int {
	if g.o.Weight == nil {
		return 1
	}
	return g.o.Weight(ask)
}
