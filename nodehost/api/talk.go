package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/route"
)

// Bounds of one stream. What is beyond waits at the other side.
const (
	// maxTaken and maxTakenBytes bound the items that were taken and not answered yet.
	maxTaken      = 16 << 10
	maxTakenBytes = 16 << 20
	// maxHeldBytes bounds the answers that were not sent yet; while there are more,
	// nothing further is read from a group.
	maxHeldBytes = 16 << 20
	// itemWeight is what an item counts for beside its bytes.
	itemWeight = 64
	// idleHands is how many goroutines of a stream may wait for work.
	idleHands = 32
	// streamAge is after how long a stream ends, to begin again on a connection that
	// has today's certificates; a part of it is drawn, so that not all do at once.
	streamAge = time.Hour
)

// talk is one stream: a receiver takes lots, hands do them side by side, and whoever
// has answers while nobody sends becomes the sender.
type talk struct {
	router Router
	log    *slog.Logger
	stream hostpb.Groups_StreamServer
	work   chan *work // to hands that are idle

	mu      sync.Mutex
	changed sync.Cond        // on mu: something was answered or sent, or the stream ends
	lots    map[uint64]*work // guarded by mu: taken and not answered
	last    uint64           // guarded by mu: the newest lot taken
	taken   int              // guarded by mu: items of lots
	bytes   int              // guarded by mu: their bytes
	held    int              // guarded by mu: bytes of answers not sent
	idle    int              // guarded by mu: hands that wait for work
	closing bool             // guarded by mu: nothing more is taken
	out     []*hostpb.Answers
	outSize []int
	sending bool  // guarded by mu: somebody sends
	err     error // guarded by mu: why sending failed

	hands sync.WaitGroup // Add only in the receiver while not closing, under mu
}

// work is a lot that was taken.
type work struct {
	lot   *hostpb.Lot
	items [][]byte
	bytes int
	// answered is how many of its items were; only its hand knows.
	answered int
	live     int // items that somebody waits for; guarded by the talk's mu
	ctx      context.Context
	cancel   context.CancelFunc
}

func newTalk(g *groups, stream hostpb.Groups_StreamServer) *talk {
	t := &talk{router: g.router, log: g.log, stream: stream, work: make(chan *work), lots: map[uint64]*work{}}
	t.changed.L = &t.mu
	return t
}

// run serves the stream until the other side ends it, or this host does. Whatever was
// taken is answered first.
func (t *talk) run(stopping <-chan struct{}) error {
	ctx := t.stream.Context()
	wake := context.AfterFunc(ctx, t.wake)
	defer wake()
	old := time.NewTimer(streamAge - rand.N(streamAge/4))
	defer old.Stop()
	// The receiver can't be called back from Recv before this returns, so nobody waits
	// for it: it ends right after, and takes nothing once closing is set.
	received := make(chan error, 1)
	go func() { received <- t.receive() }()
	var err error
	select {
	case err = <-received:
	case <-stopping:
	case <-old.C:
	}
	last := t.close()
	close(t.work)
	t.hands.Wait()
	switch {
	case ctx.Err() != nil:
		return fault.Wrap(ctx.Err(), fault.Unavailable, "the stream was cut off")
	case t.err != nil:
		return fault.Wrap(t.err, fault.Unavailable, "send answers")
	case err != nil && !errors.Is(err, io.EOF):
		return err
	}
	if err := t.stream.Send(&hostpb.StreamResponse{End: &hostpb.End{Last: last}}); err != nil {
		return fault.Wrap(err, fault.Unavailable, "end the stream")
	}
	return nil
}

// wake lets all who wait look again.
func (t *talk) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changed.Broadcast()
}

// close takes nothing more, waits until all that was taken is answered, and returns the
// last lot taken.
func (t *talk) close() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closing = true
	t.changed.Broadcast()
	for len(t.lots) > 0 || t.sending {
		t.changed.Wait()
	}
	return t.last
}

// receive takes what comes until the stream ends.
func (t *talk) receive() error {
	for {
		req, err := t.stream.Recv()
		if err != nil {
			return err //nolint:wrapcheck // it is a status, or EOF
		}
		for _, lot := range req.GetLots() {
			if err := t.take(lot); err != nil {
				return err
			}
		}
		for _, c := range req.GetCancels() {
			t.abandon(c)
		}
	}
}

// take hands a lot to somebody, once there is room for it.
func (t *talk) take(lot *hostpb.Lot) error {
	w := &work{lot: lot, items: lot.GetCommands()}
	if len(w.items) == 0 {
		w.items = lot.GetQueries()
	}
	w.live = len(w.items)
	for _, item := range w.items {
		w.bytes += len(item) + itemWeight
	}
	if bad := checkLot(lot); bad != nil {
		return bad
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if lot.GetId() <= t.last {
		return fault.New(fault.Invalid, "lot %d came after lot %d: number the lots of a stream in ascending order", lot.GetId(), t.last)
	}
	for t.full(w) && !t.closing && t.stream.Context().Err() == nil {
		t.changed.Wait()
	}
	if t.closing || t.stream.Context().Err() != nil {
		return nil // never taken, as the end of the stream says
	}
	t.last = lot.GetId()
	t.lots[w.lot.GetId()] = w
	t.taken += len(w.items)
	t.bytes += w.bytes
	w.ctx, w.cancel = context.WithTimeout(t.stream.Context(), timeout(lot))
	if t.idle > 0 {
		t.idle--
		t.work <- w // somebody is there, or on the way
		return nil
	}
	t.hands.Go(func() { t.hand(w) })
	return nil
}

// full tells whether a lot has to wait; mu is held. A lot alone always finds room.
func (t *talk) full(w *work) bool {
	return len(t.lots) > 0 && (t.taken+len(w.items) > maxTaken || t.bytes+w.bytes > maxTakenBytes || t.held > maxHeldBytes)
}

// checkLot refuses what is no lot at all, which ends the stream.
func checkLot(lot *hostpb.Lot) error {
	if len(lot.GetCommands()) > 0 && len(lot.GetQueries()) > 0 {
		return fault.New(fault.Invalid, "lot %d has commands and queries: a lot has one kind", lot.GetId())
	}
	if len(lot.GetCommands())+len(lot.GetQueries()) == 0 {
		return fault.New(fault.Invalid, "lot %d has no items", lot.GetId())
	}
	if n := len(lot.GetCommands()) + len(lot.GetQueries()); n > route.MaxItems {
		return fault.New(fault.TooLarge, "lot %d has %d items, at most %d are allowed", lot.GetId(), n, route.MaxItems)
	}
	return nil
}

// timeout is how long the asker waits for a lot.
func timeout(lot *hostpb.Lot) time.Duration {
	us := lot.GetTimeoutUs()
	if us == 0 {
		return defaultTimeout
	}
	return time.Duration(min(us, uint64(longestTimeout/time.Microsecond))) * time.Microsecond
}

// Times of a lot.
const (
	defaultTimeout = 10 * time.Second
	longestTimeout = time.Hour
)

// abandon notes that nobody waits for some items of a lot; the last ends it.
func (t *talk) abandon(c *hostpb.Cancel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.lots[c.GetLot()]
	if w == nil {
		return
	}
	if w.live -= int(min(c.GetItems(), maxTaken)); w.live <= 0 {
		w.cancel()
	}
}

// hand does one lot after the other, while there are some.
func (t *talk) hand(w *work) {
	for w != nil {
		t.do(w)
		w = t.next()
	}
}

// next waits for the next lot; nil if none comes, or enough others wait.
func (t *talk) next() *work {
	t.mu.Lock()
	if t.idle >= idleHands || t.closing {
		t.mu.Unlock()
		return nil
	}
	t.idle++
	t.mu.Unlock()
	return <-t.work
}
