// Package share lets callers who want the answer to the same question share it: all
// who come before it is asked get the answer, which is then as fresh as if each had
// asked alone. While one is under way, the next callers gather for the next.
package share

import (
	"runtime"
	"sync"
	"time"
)

// Bounds of questions under way: one as a rule; another as soon as none was begun
// for so long, because the answer has a long way, or got lost.
const (
	maxAsking = 4
	patience  = 5 * time.Millisecond
)

// Round is one question, with those who wait for its answer.
type Round[A any] struct {
	done   chan struct{}
	answer A
}

// Done is closed when the answer is there.
func (r *Round[A]) Done() <-chan struct{} { return r.done }

// Answer is the answer, after Done.
func (r *Round[A]) Answer() A { return r.answer }

// Share asks one question again and again, as long as somebody wants to know.
type Share[A any] struct {
	// Ask finds the answer. It must return soon after Close has begun.
	Ask func() A
	// Closed is the answer once Close has begun.
	Closed func() A

	askers sync.WaitGroup

	// mu guards what follows.
	mu     sync.Mutex
	closed bool
	// open is the round that has not been asked yet, or nil; asking is the number of
	// goroutines that ask, and asked when one did last.
	open   *Round[A]
	asking int
	asked  time.Time
}

// Join returns a round whose question is asked after the call.
func (s *Share[A]) Join() *Round[A] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		r := &Round[A]{done: make(chan struct{}), answer: s.Closed()}
		close(r.done)
		return r
	}
	if s.open == nil {
		s.open = &Round[A]{done: make(chan struct{})}
	}
	if s.asking == 0 || s.asking < maxAsking && time.Since(s.asked) >= patience {
		s.asking++
		s.asked = time.Now()
		s.askers.Go(s.ask)
	}
	return s.open
}

// ask asks until nobody wants to know; callers that were awakened together join the
// next round first.
func (s *Share[A]) ask() {
	for {
		runtime.Gosched()
		r := s.take()
		if r == nil {
			return
		}
		r.answer = s.Ask()
		close(r.done)
	}
}

// take closes the open round to newcomers; nil ends a goroutine that asks.
func (s *Share[A]) take() *Round[A] {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.open
	s.open = nil
	s.asked = time.Now()
	if r == nil {
		s.asking--
	}
	return r
}

// Close ends the sharing and waits for whoever still asks. Idempotent.
func (s *Share[A]) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.askers.Wait()
}
