package sequences

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/nodehost/route"
)

// Bounds of one stream. What is beyond waits at the other side, by HTTP/2's own flow
// control: the host reads no further.
const (
	// maxFrame bounds the wants of one frame.
	maxFrame = route.MaxItems
	// maxTaken bounds the wants that were taken and whose answers were not sent yet; one
	// frame is taken whatever its size.
	maxTaken = 1024
	// patience is how long a want of a stream is tried.
	patience = 10 * time.Second
	// streamAge is after how long a stream ends, to begin again on a connection that has
	// today's certificates; a part of it is drawn, so that not all do at once.
	streamAge = time.Hour
)

// talk is one stream: a receiver takes frames and hands the wants of each group in it to
// a goroutine; whoever has answers while nobody sends becomes the sender.
type talk struct {
	desk   *desk
	stream sequencepb.Sequence_StreamServer

	mu      sync.Mutex
	changed sync.Cond         // on mu: something was sent, or the stream ends
	taken   int               // guarded by mu: wants whose answers were not sent
	closing bool              // guarded by mu: nothing more is taken
	out     []*sequencepb.Got // guarded by mu: answers to be sent
	sending bool              // guarded by mu: somebody sends
	err     error             // guarded by mu: why sending failed

	hands sync.WaitGroup // Add only while not closing, under mu
}

// Stream hands out numbers for many requests.
func (n *native) Stream(stream sequencepb.Sequence_StreamServer) error {
	t := &talk{desk: n.desk, stream: stream}
	t.changed.L = &t.mu
	ctx := stream.Context()
	wake := context.AfterFunc(ctx, t.wake)
	defer wake()
	old := time.NewTimer(streamAge - rand.N(streamAge/4))
	defer old.Stop()
	// Recv can't be called back before this returns, so nobody waits for the receiver: it
	// ends right after, and takes nothing once closing is set.
	received := make(chan error, 1)
	go func() { received <- t.receive() }()
	var err error
	select {
	case err = <-received:
	case <-n.stopping:
		err = fault.New(fault.Unavailable, "the host is stopping: go on at another one")
	case <-old.C:
	}
	if sent := t.close(); sent != nil {
		return fault.Wrap(sent, fault.Unavailable, "send answers")
	}
	if ctx.Err() != nil {
		return fault.Wrap(ctx.Err(), fault.Unavailable, "the stream was cut off")
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// wake lets all who wait look again.
func (t *talk) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changed.Broadcast()
}

// close takes nothing more and waits until all that was taken is answered.
func (t *talk) close() error {
	t.mu.Lock()
	t.closing = true
	t.changed.Broadcast()
	t.mu.Unlock()
	t.hands.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// receive takes what comes until the stream ends.
func (t *talk) receive() error {
	for {
		req, err := t.stream.Recv()
		if err != nil {
			return err //nolint:wrapcheck // it is a status, or EOF
		}
		if n := len(req.GetWants()); n > maxFrame {
			return fault.New(fault.TooLarge, "the frame has %d wants, at most %d are allowed", n, maxFrame)
		}
		if !t.take(req.GetWants()) {
			return nil
		}
	}
}

// take hands a frame's wants out, once there is room; false when the stream ends.
func (t *talk) take(wants []*sequencepb.Want) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.taken > 0 && t.taken+len(wants) > maxTaken && !t.over() {
		t.changed.Wait()
	}
	if t.over() {
		return false
	}
	t.taken += len(wants)
	for of, some := range sorted(wants) {
		t.hands.Go(func() { t.do(of, some) })
	}
	return true
}

// over tells whether nothing more is to be taken; mu is held.
func (t *talk) over() bool { return t.closing || t.err != nil || t.stream.Context().Err() != nil }

// lot is what wants that are proposed together have in common.
type lot struct {
	group      string
	repeatable bool
}

// sorted puts wants into lots, in which they keep their order.
func sorted(wants []*sequencepb.Want) map[lot][]*sequencepb.Want {
	lots := map[lot][]*sequencepb.Want{}
	for _, w := range wants {
		of := lot{w.GetRequest().GetGroup(), repeatable(w.GetRequest().GetCaller())}
		lots[of] = append(lots[of], w)
	}
	return lots
}

// do answers the wants of one lot. A defect in it must not end the process.
func (t *talk) do(of lot, wants []*sequencepb.Want) {
	got := make([]*sequencepb.Got, len(wants))
	for i, w := range wants {
		got[i] = &sequencepb.Got{Id: w.GetId()}
	}
	defer func() {
		if cause := recover(); cause != nil {
			for _, g := range got {
				g.Result, g.Fault = nil, serve.ItemFault(fault.New(fault.Internal, "the host hit a defect: %s", fmt.Sprint(cause)))
			}
		}
		t.answer(got)
	}()
	ctx, cancel := context.WithTimeout(t.stream.Context(), patience)
	defer cancel()
	t.desk.changeMany(ctx, of, wants, got)
}

// changeMany proposes requests for numbers together and fills in the answers.
func (d *desk) changeMany(ctx context.Context, of lot, wants []*sequencepb.Want, got []*sequencepb.Got) {
	m := route.Many{Group: &hostpb.GroupRef{Name: of.group}, Repeatable: of.repeatable}
	var places []int // of m's items among the wants
	for i, w := range wants {
		cmd := nextOf(w.GetRequest())
		cmd.Caller = w.GetRequest().GetCaller()
		data, err := d.pack(of.group, cmd)
		if err != nil {
			got[i].Fault = serve.ItemFault(err)
			continue
		}
		m.Items, places = append(m.Items, data), append(places, i)
	}
	if len(m.Items) == 0 {
		return
	}
	out, _ := d.router.ProposeMany(ctx, m)
	for k, i := range places {
		got[i].Result, got[i].Fault = settled(of.group, out[k])
	}
}

// settled is the answer to one want.
func settled(group string, o route.Outcome) (*sequencepb.Result, *hostpb.Fault) {
	if o.Err != nil {
		return nil, serve.ItemFault(o.Err)
	}
	r, err := unpack(group, o.Result.Data)
	return r, serve.ItemFault(err)
}

// answer puts answers into the queue, and sends what is there unless somebody does.
func (t *talk) answer(got []*sequencepb.Got) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out = append(t.out, got...)
	if t.sending {
		return
	}
	t.sending = true
	for len(t.out) > 0 && t.err == nil {
		frame := t.out[:min(len(t.out), maxFrame)]
		t.out = t.out[len(frame):]
		t.mu.Unlock()
		err := t.stream.Send(&sequencepb.StreamResponse{Got: frame})
		t.mu.Lock()
		t.taken -= len(frame)
		t.err = err
		t.changed.Broadcast()
	}
	t.sending = false
}
