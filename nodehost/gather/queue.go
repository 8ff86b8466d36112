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
	// flying are the times when trips began that are under way, the oldest first.
	flying []time.Time
	tempo  tempo.Tempo
	alarm  *time.Timer
}

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

// putBack puts jobs of a trip that came to nothing in front of the others.
func (q *queue[Q, A]) putBack(jobs []*Job[Q, A]) {
	if len(jobs) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(jobs, q.waiting...)
	q.goIfDue(true)
}

// goIfDue sends off those who wait, if it is time. If it is not, because others are under
// way, and nobody was here who could know (first), it looks again in a moment; mu is held.
func (q *queue[Q, A]) goIfDue(first bool) {
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
			err := fault.New(fault.Unavailable, "the host is stopping: try another one").InGroup(q.group)
			for _, j := range jobs {
				j.settle(Outcome[A]{Err: err})
			}
		}
	}
	if first && len(q.waiting) > 0 && len(q.flying) > 0 {
		q.ringIn(look)
	}
}

// take takes the first jobs that wait, as many as may travel together, but for those whose
// callers have gone; mu is held.
func (q *queue[Q, A]) take() []*Job[Q, A] {
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
		if j.takeOff() {
			jobs = append(jobs, j)
		}
	}
	rest := copy(q.waiting, q.waiting[n:])
	clear(q.waiting[rest:]) // they are held no longer than they need be
	q.waiting = q.waiting[:rest]
	return jobs
}

// lively counts the trips under way that are not stuck; mu is held.
func (q *queue[Q, A]) lively() int {
	n := 0
	for _, sealed := range q.flying {
		if time.Since(sealed) < stuck {
			n++
		}
	}
	return n
}

// fly makes a trip and settles its jobs.
func (q *queue[Q, A]) fly(jobs []*Job[Q, A], sealed time.Time) {
	o := &q.gather.o
	allowed := q.gather.timeFor(jobs, sealed)
	ctx, cancel := context.WithTimeout(q.gather.life, allowed)
	defer cancel()
	asks, out := make([]Q, len(jobs)), make([]Outcome[A], len(jobs))
	for i, j := range jobs {
		asks[i] = j.Ask
	}
	o.Trip(ctx, q.group, asks, out)
	q.landed(sealed, len(jobs)) // before callers know, who may come again at once
	late := o.Again != nil && time.Since(sealed) >= allowed-allowed/4
	var again []*Job[Q, A]
	for i, j := range jobs {
		if late && o.Again(out[i].Err) && j.putBack(out[i].Err) {
			again = append(again, j)
			continue
		}
		j.settle(out[i])
	}
	q.putBack(again)
}

// landed notes a trip that is over.
func (q *queue[Q, A]) landed(sealed time.Time, jobs int) {
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

// land takes a trip out of those under way; mu is held.
func (q *queue[Q, A]) land(sealed time.Time) {
	if at := slices.Index(q.flying, sealed); at >= 0 {
		q.flying = slices.Delete(q.flying, at, at+1)
	}
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
