// Package agenda is the queue of what will happen in the simulated world.
package agenda

import "time"

// Event is something to be done at a time.
type Event struct {
	At  time.Duration
	Seq uint64 // events of the same time happen in the order that they were planned
	// Routine events (heartbeats, passes) do not keep time from jumping.
	Routine bool
	Do      func()
}

func (e *Event) before(o *Event) bool { return e.At < o.At || e.At == o.At && e.Seq < o.Seq }

// Queue is a heap of events; the first is the next one. The empty queue is ready to use.
type Queue []Event

// Push plans an event.
func (q *Queue) Push(e Event) {
	*q = append(*q, e)
	h := *q
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(&h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

// Pop takes the next event; there must be one.
func (q *Queue) Pop() Event {
	h := *q
	first := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h[last] = Event{}
	h = h[:last]
	*q = h
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h); c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		if least == i {
			return first
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
