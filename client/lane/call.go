package lane

import (
	"context"
	"sync"
	"time"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// Head is what the items of a call have in common.
type Head struct {
	// Group addressed; not changed while the call is under way.
	Group *hostpb.GroupRef
	// Read: the items are queries, not commands.
	Read bool
	// Repeatable: the items are commands that do no harm when they are applied twice.
	Repeatable bool
	// Hops is how many hosts forwarded the items.
	Hops uint32
	// Locate asks where the group is led.
	Locate bool
	// Within, unless 0, is how long the answer is awaited, if the context does not end first.
	Within time.Duration
	// Room, unless 0, bounds the answers in bytes: see Lot.room. The items then travel
	// as a lot of their own.
	Room uint64
}

// Answer is what the host said of one item.
type Answer struct {
	// Value and Data are the state machine's answer.
	Value uint64
	Data  []byte
	// Fault, unless nil, is why there is none.
	Fault *hostpb.Fault
}

// Lost is the error of a call that the host did not answer.
type Lost struct {
	// Sent: the items may have reached the host. Else they surely have not, and never will.
	Sent bool
	// Unsupported: the host does not serve streams.
	Unsupported bool
	// Err is why.
	Err error
}

// Error says why.
func (l *Lost) Error() string { return l.Err.Error() }

// Unwrap returns the cause.
func (l *Lost) Unwrap() error { return l.Err }

// call is items that somebody waits for. The Lane's mutex guards it until done holds
// a token; then it is its owner's.
type call struct {
	head     Head
	items    [][]byte
	deadline time.Time // zero for none

	answers []Answer
	where   *hostpb.Location
	err     error

	lot   *lot // nil while it waits for a frame
	first int  // place of its first item in the lot
	open  int  // items without an answer
	left  bool // nobody waits for it
	over  bool // answered or lost
	done  chan struct{}
	timer *time.Timer // of head.Within; nil before the first use

	// The arrays of a call of one item.
	oneItem   [1][]byte
	oneAnswer [1]Answer
}

// singles are used again: calls of one item are what a crowd of callers makes.
type singles struct{ pool sync.Pool }

func (s *singles) get() *call {
	c, ok := s.pool.Get().(*call)
	if !ok {
		c = &call{done: make(chan struct{}, 1)}
	}
	c.items, c.answers, c.open = c.oneItem[:], c.oneAnswer[:], 1
	return c
}

// put takes back a call that is over and that nobody else holds.
func (s *singles) put(c *call) {
	*c = call{done: c.done, timer: c.timer}
	s.pool.Put(c)
}

// prepare sets when the call's time is over.
func (c *call) prepare(ctx context.Context) {
	c.deadline, _ = ctx.Deadline()
	if c.head.Within <= 0 {
		return
	}
	if end := time.Now().Add(c.head.Within); c.deadline.IsZero() || end.Before(c.deadline) {
		c.deadline = end
	}
	if c.timer == nil {
		c.timer = time.NewTimer(c.head.Within)
	} else {
		c.timer.Reset(c.head.Within)
	}
}

// wait waits for the end of the call; an error means that its time ended first.
func (c *call) wait(ctx context.Context) error {
	if c.head.Within <= 0 {
		select {
		case <-c.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer c.timer.Stop()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.timer.C:
		return context.DeadlineExceeded
	}
}

// finish ends the call; the Lane's mutex is held. It tells whether somebody waits.
func (c *call) finish(err error) bool {
	c.over, c.err, c.lot = true, err, nil
	return !c.left
}
