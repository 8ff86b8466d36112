package sequences

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/nodehost/flow"
	"github.com/drumline/drumline/nodehost/route"
)

// Bounds of one stream. What is beyond waits at the other side, by HTTP/2's own flow
// control: the host reads no further.
const (
	// maxFrame bounds the wants of one frame, and the answers of one.
	maxFrame = route.MaxItems
	// maxTaken bounds the wants that were taken and are not answered yet; one frame is taken
	// whatever its size.
	maxTaken = 1024
	// weight is more than what a want or an answer takes in bytes, as a rule; maxHeld bounds
	// the answers that were not sent yet.
	weight  = 128
	maxHeld = maxTaken * weight
	// patience is how long a want of a stream is tried.
	patience = 10 * time.Second
)

// talk is one stream: the wants of each group in a frame are a hand's.
type talk struct {
	desk   *desk
	stream sequencepb.Sequence_StreamServer
	flow   *flow.Flow[got]
}

// got is an answer.
type got struct{ *sequencepb.Got }

// Size implements flow.Answer.
func (got) Size() int { return weight }

// Stream hands out numbers for many requests.
func (n *native) Stream(stream sequencepb.Sequence_StreamServer) error {
	t := &talk{desk: n.desk, stream: stream}
	t.flow = flow.New(stream.Context(), flow.Limits{
		Items: maxTaken, Held: maxHeld, FrameItems: maxFrame, FrameBytes: maxFrame * weight,
	}, t.send)
	end, err := t.flow.Run(n.stopping, t.receive)
	if err == nil && end == flow.Stopping {
		return fault.New(fault.Unavailable, "the host is stopping: go on at another one")
	}
	return err
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
	if !t.flow.Take(len(wants), 0) {
		return false
	}
	lots := sorted(wants)
	left := &atomic.Int64{}
	left.Add(int64(len(lots)) + 1)
	done := func() {
		if left.Add(-1) == 0 {
			t.flow.Done(len(wants), 0)
		}
	}
	for of, some := range lots {
		t.flow.Hand(func() {
			defer done()
			t.do(of, some)
		})
	}
	done() // a frame may be empty
	return true
}

// send sends a frame.
func (t *talk) send(frame []got) error {
	resp := &sequencepb.StreamResponse{Got: make([]*sequencepb.Got, len(frame))}
	for i, g := range frame {
		resp.Got[i] = g.Got
	}
	return t.stream.Send(resp) //nolint:wrapcheck // the flow says what it was
}

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
	answers := make([]got, len(wants))
	for i, w := range wants {
		answers[i].Got = &sequencepb.Got{Id: w.GetId()}
	}
	defer func() {
		if cause := recover(); cause != nil {
			for _, g := range answers {
				g.Result, g.Fault = nil, serve.ItemFault(fault.New(fault.Internal, "the host hit a defect: %s", fmt.Sprint(cause)))
			}
		}
		t.flow.Answer(answers...)
	}()
	ctx, cancel := context.WithTimeout(t.stream.Context(), patience)
	defer cancel()
	t.desk.changeMany(ctx, of, wants, answers)
}

// changeMany proposes requests for numbers together and fills in the answers.
func (d *desk) changeMany(ctx context.Context, of lot, wants []*sequencepb.Want, answers []got) {
	m := route.Many{Group: &hostpb.GroupRef{Name: of.group}, Repeatable: of.repeatable, Items: make([][]byte, 0, len(wants))}
	places := make([]int, 0, len(wants)) // of m's items among the wants
	for i, w := range wants {
		cmd := nextOf(w.GetRequest())
		cmd.Caller = w.GetRequest().GetCaller()
		data, err := d.pack(of.group, cmd)
		if err != nil {
			answers[i].Fault = serve.ItemFault(err)
			continue
		}
		m.Items, places = append(m.Items, data), append(places, i)
	}
	if len(m.Items) == 0 {
		return
	}
	out, _ := d.router.ProposeMany(ctx, m)
	for k, i := range places {
		answers[i].Result, answers[i].Fault = settled(of.group, out[k])
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
