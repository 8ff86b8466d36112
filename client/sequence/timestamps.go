package sequence

import (
	"context"
	"fmt"
	"sync"
	"time"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// mostRounds is how many requests for timestamps are on their way at once. Each is for all
// who waited when it was sent.
const mostRounds = 2

// Timestamp is a hybrid timestamp: milliseconds since 1970, and a logical part.
type Timestamp struct {
	// Number is both in one; those of one sequence ascend with time.
	Number int64
	bits   uint
}

// Time is the physical part.
func (t Timestamp) Time() time.Time { return time.UnixMilli(t.Number >> t.bits) }

// Logical tells apart timestamps of one millisecond.
func (t Timestamp) Logical() int64 { return t.Number & (1<<t.bits - 1) }

// String is like 1764172800123.42.
func (t Timestamp) String() string { return fmt.Sprintf("%d.%d", t.Number>>t.bits, t.Logical()) }

// Timestamps hands out the timestamps of a sequence of mode tso. Its methods may be called
// from any goroutine. Close it when it is not used any more.
//
// A timestamp is greater than every one that was handed out, to anybody, before it was asked
// for. So none is taken ahead: callers that wait at the same time share a request.
type Timestamps struct {
	name, key string
	desk      desk
	ctx       context.Context // ends with Close
	end       context.CancelCauseFunc
	work      sync.WaitGroup // Add only under mu while not closed

	mu     sync.Mutex
	closed bool         // guarded by mu
	next   *roundOfAsks // guarded by mu: not sent yet; nil without callers
	flying int          // guarded by mu: requests on their way
	final  error        // guarded by mu: it stays
}

// roundOfAsks is callers who share a request.
type roundOfAsks struct {
	ctx    context.Context // ends when nobody waits any more
	cancel context.CancelFunc
	done   chan struct{}

	count uint64 // guarded by the Timestamps' mu until it is sent
	live  uint64 // guarded by the Timestamps' mu: callers that wait
	// grants, with count timestamps in all, or err: before done the sender's.
	grants []*sequencepb.Grant
	err    error
}

// NewTimestamps makes the client of the sequence of timestamps of that key in a group. name
// is for errors. Of the options only Timeout matters.
func NewTimestamps(group Group, name, key string, opts ...Option) *Timestamps {
	s := &Timestamps{name: name, key: key}
	s.desk.start(group, gather(opts).timeout, nil)
	s.ctx, s.end = context.WithCancelCause(context.Background())
	return s
}

// Next is a timestamp beyond all that were handed out before it was called. It asks until
// there is an answer or ctx ends.
func (s *Timestamps) Next(ctx context.Context) (Timestamp, error) {
	r, place, err := s.join()
	if err != nil {
		return Timestamp{}, err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		s.leave(r)
		return Timestamp{}, fmt.Errorf("%s: wait for a timestamp: %w", s.name, s.desk.waiting(ctx.Err()))
	}
	if r.err != nil {
		return Timestamp{}, fmt.Errorf("%s: %w", s.name, r.err)
	}
	return r.number(place), nil
}

// join takes a place in the round that is sent next.
func (s *Timestamps) join() (*roundOfAsks, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, 0, fmt.Errorf("%s: %w", s.name, ErrClosed)
	case s.final != nil:
		return nil, 0, fmt.Errorf("%s: %w", s.name, s.final)
	}
	if s.next == nil {
		s.next = &roundOfAsks{done: make(chan struct{})}
		s.next.ctx, s.next.cancel = context.WithCancel(s.ctx)
	}
	r := s.next
	place := r.count
	r.count++
	r.live++
	s.launch()
	return r, place, nil
}

// leave gives a place up; with the last caller the request ends.
func (s *Timestamps) leave(r *roundOfAsks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.live--; r.live == 0 {
		r.cancel()
	}
}

// launch sends what waits, unless enough is on its way. mu is held.
func (s *Timestamps) launch() {
	if s.closed || s.next == nil || s.flying == mostRounds {
		return
	}
	r := s.next
	s.next = nil
	s.flying++
	s.work.Go(func() { s.fly(r) })
}

// fly gets a round's timestamps.
func (s *Timestamps) fly(r *roundOfAsks) {
	defer r.cancel()
	for left := r.count; left > 0 && r.err == nil; {
		var g *sequencepb.Grant
		if g, r.err = s.ask(r.ctx, left); r.err == nil {
			left -= min(left, g.GetCount())
			r.grants = append(r.grants, g)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.err != nil && final(r.err) {
		s.final = r.err
	}
	s.flying--
	s.launch()
	close(r.done)
}

// ask gets count timestamps, or fewer. It needs no serial: what was handed out and lost is
// no gap.
func (s *Timestamps) ask(ctx context.Context, count uint64) (*sequencepb.Grant, error) {
	for pause := (backoff{}); ; {
		next := &sequencepb.Next{Key: s.key, Count: count, Incarnation: s.desk.of()}
		r, _, err := s.desk.send(ctx, &sequencepb.Command{Op: &sequencepb.Command_Next{Next: next}})
		switch {
		case err != nil:
			return nil, err
		case passes(r):
			if !pause.wait(ctx) {
				return nil, fmt.Errorf("%w; what it waits for: %w", context.Cause(ctx), refusalOf(r))
			}
			continue
		case r.GetGrant() == nil:
			return nil, refusalOf(r)
		case r.GetGrant().GetMode() != sequencepb.Mode_MODE_TSO || r.GetGrant().GetCount() == 0:
			return nil, fmt.Errorf("%w: the sequence is none of timestamps, and a number of it is gone: use Sequence", ErrRefused)
		}
		s.desk.met(r.GetGrant().GetIncarnation())
		return r.GetGrant(), nil
	}
}

// number is the timestamp of a place.
func (r *roundOfAsks) number(place uint64) Timestamp {
	for _, g := range r.grants {
		if place < g.GetCount() {
			return Timestamp{Number: g.GetFirst() + int64(place), bits: uint(g.GetLogicalBits())} //nolint:gosec // below 2^22
		}
		place -= g.GetCount()
	}
	return Timestamp{}
}

// Close ends the Timestamps; callers who wait get ErrClosed.
func (s *Timestamps) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	waiting := s.next
	s.next = nil
	s.mu.Unlock()
	s.end(ErrClosed)
	s.work.Wait()
	if waiting != nil {
		waiting.cancel()
		waiting.err = ErrClosed
		close(waiting.done)
	}
	return nil
}
