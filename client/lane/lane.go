package lane

import (
	"context"
	"errors"
	"sync"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// ErrClosed is the cause of the error of calls on a closed Lane.
var ErrClosed = errors.New("the stream was closed")

// Lane shares one stream to a host. Its methods may be called from any goroutine.
type Lane struct {
	conn    grpc.ClientConnInterface
	singles singles
	running sync.WaitGroup // Add only under mu

	mu      sync.Mutex
	closed  bool    // guarded by mu
	talk    *talk   // guarded by mu: the stream of the moment, or nil
	waiting []*call // guarded by mu: not in a frame yet, oldest first
	spare   []*call // guarded by mu: room for waiting
	left    int     // guarded by mu: of waiting, those that nobody waits for
}

// New makes a Lane over a connection, which it does not close. Nothing is opened
// before the first call.
func New(conn grpc.ClientConnInterface) *Lane { return &Lane{conn: conn} }

// Conn returns the connection below.
func (l *Lane) Conn() grpc.ClientConnInterface { return l.conn }

// Close ends the stream and all calls, and waits for the Lane's goroutines; idempotent.
func (l *Lane) Close() {
	l.mu.Lock()
	l.closed = true
	t := l.talk
	l.mu.Unlock()
	if t != nil {
		t.fail(ErrClosed)
	}
	l.running.Wait()
}

// One sends one item and waits for its answer, until ctx ends. Where the group is led
// is told only if it was asked or is news.
func (l *Lane) One(ctx context.Context, h Head, item []byte) (Answer, *hostpb.Location, error) {
	c := l.singles.get()
	c.head, c.oneItem[0] = h, item
	ended, err := l.do(ctx, c)
	if !ended { // the stream may still hold it
		return Answer{}, nil, err
	}
	a, where := c.oneAnswer[0], c.where
	l.singles.put(c)
	return a, where, err
}

// Many sends items and waits for all their answers, in their order, until ctx ends.
// There are fewer answers than items only if there was no room for more.
func (l *Lane) Many(ctx context.Context, h Head, items [][]byte) ([]Answer, *hostpb.Location, error) {
	c := &call{head: h, items: items, answers: make([]Answer, len(items)), open: len(items), done: make(chan struct{}, 1)}
	if _, err := l.do(ctx, c); err != nil {
		return nil, nil, err
	}
	return c.answers, c.where, nil
}

// do queues a call and waits for its end, or for that of ctx; ended tells which.
func (l *Lane) do(ctx context.Context, c *call) (ended bool, err error) {
	switch {
	case len(c.items) == 0:
		return false, &Lost{Err: errors.New("a call without items")}
	case !utf8.ValidString(c.head.Group.GetName()), !utf8.ValidString(c.head.Group.GetRegion()): // a frame with it would be the end of all others in it
		return false, &Lost{Err: status.Error(codes.InvalidArgument, "the group's name or region is not UTF-8")}
	}
	c.prepare(ctx)
	if err := l.enter(c); err != nil {
		return false, err
	}
	if late := c.wait(ctx); late != nil {
		return l.leave(c, late)
	}
	return true, c.err
}

// enter puts a call into the queue, and sees to it that somebody empties that.
func (l *Lane) enter(c *call) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return &Lost{Err: ErrClosed}
	}
	l.waiting = append(l.waiting, c)
	if l.talk == nil {
		l.begin()
	}
	wake := l.talk.wake
	first := len(l.waiting) == 1
	l.mu.Unlock()
	if first {
		rouse(wake)
	}
	return nil
}

// rouse wakes the writer, unless it is awake.
func rouse(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// leave gives up a call whose time is over, unless its end came first.
func (l *Lane) leave(c *call, late error) (ended bool, err error) {
	l.mu.Lock()
	if c.over {
		l.mu.Unlock()
		<-c.done
		return true, c.err
	}
	c.left = true
	lot := c.lot
	if lot == nil {
		l.left++
		l.sweep()
		l.mu.Unlock()
		return false, &Lost{Err: late}
	}
	t := lot.talk
	t.cancels = append(t.cancels, &hostpb.Cancel{Lot: lot.id, Items: uint32(c.open)})
	l.mu.Unlock()
	rouse(t.wake)
	// The frame that the items are in may be in the making, and their bytes are the
	// caller's again when this returns.
	t.encoding.Lock()
	t.encoding.Unlock() //nolint:staticcheck // only waits
	return false, &Lost{Sent: true, Err: late}
}

// sweep takes those that nobody waits for out of the queue when they are many; mu is
// held. The writer passes over the rest.
func (l *Lane) sweep() {
	if l.left < 64 || 2*l.left < len(l.waiting) {
		return
	}
	kept := l.waiting[:0]
	for _, c := range l.waiting {
		if !c.left {
			kept = append(kept, c)
		}
	}
	clear(l.waiting[len(kept):])
	l.waiting, l.left = kept, 0
}

// take returns the calls that fit in a frame, which the caller gives back; mu is held.
func (l *Lane) take() []*call {
	n, size := 0, 0
	for n < len(l.waiting) {
		for _, item := range l.waiting[n].items {
			size += len(item)
		}
		if n > 0 && size > frameBytes {
			break
		}
		n++
	}
	taken := l.waiting
	l.waiting, l.spare = append(l.spare[:0], taken[n:]...), nil
	for _, c := range taken[:n] {
		if c.left {
			l.left--
		}
	}
	return taken[:n]
}

// giveBack takes the room of calls that were taken, to use it again; mu is held.
func (l *Lane) giveBack(taken []*call) {
	taken = taken[:cap(taken)]
	clear(taken)
	l.spare = taken[:0]
}
