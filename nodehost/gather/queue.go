package gather

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/raft/tempo"
)

// queue is where those wait who ask one group.
type queue[Q, A any] struct {
	gather *Gather[Q, A]
	group  string

	mu      sync.Mutex
	closed  bool // guarded by mu, like all below: it is forgotten
	waiting []*Job[Q, A]
	// flying are the trips that are under way, and those that are back and most of whose
	// callers other groups keep.
	flying []*trip
	tempo  tempo.Tempo
	alarm  *time.Timer
}

// trip is one on which jobs were taken along; the queue's mu guards what changes.
type trip struct {
	sealed time.Time
	jobs   int
	// over counts the jobs whose calls are over; back is when it came back, zero before.
	over int
	back time.Time
	// queue is told when the call of one of its jobs is over.
	queue interface{ callOver(t *trip) }
}

// most tells whether most of the calls are over whose jobs were on the trip.
func (t *trip) most() bool { return t.over >= t.jobs-t.jobs/2 }

// add puts a job at the end; false if the queue is closed.
func (q *queue[Q, A]) add(j *Job[Q, A]) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.waiting = append(q.waiting, j)
	q.goIfDue(len(q.waiting) == 1)
	return true
}

// putBack puts jobs of a trip that came to nothing in front of the others. Their callers are
// not waited for: they are here.
func (q *queue[Q, A]) putBack(jobs []*Job[Q, A], t *trip) {
	if len(jobs) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	t.over += len(jobs)
	q.landIfMost(t)
	q.waiting = append(jobs, q.waiting...)
	q.goIfDue(true)
}

// goIfDue sends off those who wait, if it is time. If it is not, because others are under
// way, and nobody was here who could know (first), it looks again in a moment; mu is held.
func (q *queue[Q, A]) goIfDue(first bool) {
	q.flying = slices.DeleteFunc(q.flying, (*trip).heldUp)
	for len(q.waiting) > 0 && len(q.flying) < mostFlying && q.tempo.Due(time.Now, q.lively(), len(q.waiting)) {
		t := &trip{sealed: time.Now(), queue: q}
		jobs := q.take(t)
		if len(jobs) == 0 {
			continue
		}
		t.jobs = len(jobs)
		q.tempo.Sealed(t.sealed, len(jobs))
		q.flying = append(q.flying, t)
		first = true
		if !q.gather.begin(func() { q.fly(jobs, t) }) {
			q.turnAway(jobs, t)
		}
	}
	if first && len(q.waiting) > 0 && len(q.flying) > 0 {
		q.ringIn(look)
	}
}

// turnAway tells the callers of a trip that does not begin; mu is held.
func (q *queue[Q, A]) turnAway(jobs []*Job[Q, A], t *trip) {
	q.drop(t)
	err := fault.New(fault.Unavailable, "the host is stopping: try another one").InGroup(q.group)
	for _, j := range jobs {
		if j.settle(Outcome[A]{Err: err}) {
			close(j.call.done)
		}
	}
}

// take takes the first jobs that wait along on a trip, as many as may travel together, but
// for those whose callers have gone; mu is held.
func (q *queue[Q, A]) take(t *trip) []*Job[Q, A] {
	n, weight := 0, 0
	for n < len(q.waiting) {
		weight += q.gather.weight(q.waiting[n].Ask)
		if n > 0 && weight > q.gather.o.PerTrip {
			break
		}
		n++
	}
	jobs := make([]*Job[Q, A], 0, n)
	for _, j := range q.waiting[:n] {
		if j.takeOff(t) {
			jobs = append(jobs, j)
		}
	}
	rest := copy(q.waiting, q.waiting[n:])
	clear(q.waiting[rest:]) // they are held no longer than they need be
	q.waiting = q.waiting[:rest]
	return jobs
}

// heldUp tells whether a trip is back for so long that its callers are not waited for.
func (t *trip) heldUp() bool { return !t.back.IsZero() && time.Since(t.back) >= heldUp }

// lively counts the trips under way that are not stuck, and those that are back and whose
// callers are waited for; mu is held.
func (q *queue[Q, A]) lively() int {
	n := 0
	for _, t := range q.flying {
		if !t.heldUp() && (!t.back.IsZero() || time.Since(t.sealed) < stuck) {
			n++
		}
	}
	return n
}

// fly makes a trip and settles its jobs.
func (q *queue[Q, A]) fly(jobs []*Job[Q, A], t *trip) {
	o := &q.gather.o
	allowed := q.gather.timeFor(jobs, t.sealed)
	ctx, cancel := context.WithTimeout(q.gather.life, allowed)
	defer cancel()
	asks, out := make([]Q, len(jobs)), make([]Outcome[A], len(jobs))
	for i, j := range jobs {
		asks[i] = j.Ask
	}
	o.Trip(ctx, q.group, asks, out)
	q.cameBack(t)
	late := o.Again != nil && time.Since(t.sealed) >= allowed-allowed/4
	var again []*Job[Q, A]
	var over []*call
	for i, j := range jobs {
		switch {
		case late && o.Again(out[i].Err) && j.putBack(out[i].Err):
			again = append(again, j)
		case j.settle(out[i]):
			over = append(over, j.call)
		}
	}
	tell(over)
	q.putBack(again, t)
}

// cameBack notes that a trip is back. Its callers are told later, but for those who have
// gone.
func (q *queue[Q, A]) cameBack(t *trip) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t.back = time.Now()
	q.landIfMost(t)
}

// callOver notes that the call of one who was on a trip is over.
func (q *queue[Q, A]) callOver(t *trip) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t.over++
	if !t.back.IsZero() {
		q.landIfMost(t)
	}
}

// landIfMost ends a trip that is back once most of its callers are told, and lets them come
// again; mu is held.
func (q *queue[Q, A]) landIfMost(t *trip) {
	if !t.most() || !q.drop(t) {
		return
	}
	wait := q.tempo.Landed(time.Now(), tempo.Landing{Sealed: t.sealed, Back: t.back, Commands: t.jobs, Waiting: len(q.waiting), Flying: q.lively()})
	if wait > 0 {
		q.ringIn(wait)
		return
	}
	q.goIfDue(false)
}

// drop takes a trip out of those under way, and tells whether it was there; mu is held.
func (q *queue[Q, A]) drop(t *trip) bool {
	at := slices.Index(q.flying, t)
	if at >= 0 {
		q.flying = slices.Delete(q.flying, at, at+1)
	}
	return at >= 0
}

// ringIn looks again after d; mu is held.
func (q *queue[Q, A]) ringIn(d time.Duration) {
	if q.alarm == nil {
		q.alarm = time.AfterFunc(d, q.ring)
		return
	}
	q.alarm.Reset(d)
}

// ring is the alarm.
func (q *queue[Q, A]) ring() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.goIfDue(true)
}

// closeIfIdle closes a queue in which nobody is.
func (q *queue[Q, A]) closeIfIdle() bool {
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
