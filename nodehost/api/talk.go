package api

import (
	"context"
	"log/slog"
	"sync"
	"time"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/flow"
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
	// maxFrame bounds the answers of one frame, each of which is to items of one lot.
	maxFrame = route.MaxItems
	// itemWeight is what an item counts for beside its bytes.
	itemWeight = 64
)

// talk is one stream of lots, which hands do side by side.
type talk struct {
	router Router
	log    *slog.Logger
	stream hostpb.Groups_StreamServer
	flow   *flow.Flow[answers]

	mu   sync.Mutex
	lots map[uint64]*work // guarded by mu: taken and not answered
	last uint64           // guarded by mu: the newest lot taken
}

// answers are those to items of one lot, with what they count for.
type answers struct {
	*hostpb.Answers
	size int
}

// Size implements flow.Answer.
func (a answers) Size() int { return a.size }

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
	t := &talk{router: g.router, log: g.log, stream: stream, lots: map[uint64]*work{}}
	t.flow = flow.New(stream.Context(), flow.Limits{
		Items: maxTaken, Bytes: maxTakenBytes, Held: maxHeldBytes, FrameItems: maxFrame, FrameBytes: frameBytes,
	}, t.send)
	return t
}

// run serves the stream until the other side ends it, or this host does. Whatever was
// taken is answered first; then the other side is told what that was.
func (t *talk) run(stopping <-chan struct{}) error {
	if _, err := t.flow.Run(stopping, t.receive); err != nil {
		return err
	}
	t.mu.Lock()
	last := t.last
	t.mu.Unlock()
	if err := t.stream.Send(&hostpb.StreamResponse{End: &hostpb.End{Last: last}}); err != nil {
		return fault.Wrap(err, fault.Unavailable, "end the stream")
	}
	return nil
}

// send sends a frame.
func (t *talk) send(frame []answers) error {
	resp := &hostpb.StreamResponse{Answers: make([]*hostpb.Answers, len(frame))}
	for i, a := range frame {
		resp.Answers[i] = a.Answers
	}
	return t.stream.Send(resp) //nolint:wrapcheck // the flow says what it was
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
	if err := t.follows(lot); err != nil {
		return err
	}
	if !t.flow.Take(len(w.items), w.bytes) {
		return nil // never taken, as the end of the stream says
	}
	w.ctx, w.cancel = context.WithTimeout(t.stream.Context(), timeout(lot))
	t.mu.Lock()
	t.last = lot.GetId()
	t.lots[t.last] = w
	t.mu.Unlock()
	t.flow.Hand(func() { t.do(w) })
	return nil
}

// follows refuses a lot that is out of order.
func (t *talk) follows(lot *hostpb.Lot) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if lot.GetId() > t.last {
		return nil
	}
	return fault.New(fault.Invalid, "lot %d came after lot %d: number the lots of a stream in ascending order", lot.GetId(), t.last)
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
