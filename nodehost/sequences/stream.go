package sequences

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/nodehost/flow"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/nodehost/route/refs"
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
		of := lot{refs.Full(w.GetRequest()), repeatable(w.GetRequest().GetCaller())}
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
				g.ProtoReflect().SetUnknown(nil)
				g.Fault = serve.ItemFault(fault.New(fault.Internal, "the host hit a defect: %s", fmt.Sprint(cause)))
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
	m := route.Many{Group: refs.Of(of.group), Repeatable: of.repeatable, Items: make([][]byte, 0, len(wants))}
	places := make([]int, 0, len(wants)) // of m's items among the wants
	packed := make([]byte, 0, len(wants)*weight)
	op := &sequencepb.Command_Next{}
	cmd := &sequencepb.Command{Op: op} // one after the other
	for i, w := range wants {
		op.Next, cmd.Caller = nextOf(w.GetRequest()), w.GetRequest().GetCaller()
		at := len(packed)
		var err error
		if packed, err = d.packTo(packed, of.group, cmd); err != nil {
			answers[i].Fault = serve.ItemFault(err)
			continue
		}
		m.Items, places = append(m.Items, packed[at:len(packed):len(packed)]), append(places, i)
	}
	if len(m.Items) == 0 {
		return
	}
	out, _ := d.router.ProposeMany(ctx, m)
	for k, i := range places {
		settle(answers[i].Got, of.group, out[k])
	}
}

// resultField is the number of a Got's result.
const resultField = 2

// settle fills in the answer to one want. A result travels as it came: to unpack it here
// and pack it again would cost more than to hand the numbers out. What is put there as an
// unknown field is, on the wire, the field.
func settle(g *sequencepb.Got, group string, o route.Outcome) {
	err := o.Err
	if err == nil && !settled(o.Result.Data) {
		_, err = unpack(group, o.Result.Data)
	}
	if err != nil {
		g.Fault = serve.ItemFault(err)
		return
	}
	raw := protowire.AppendTag(make([]byte, 0, len(o.Result.Data)+4), resultField, protowire.BytesType)
	g.ProtoReflect().SetUnknown(protowire.AppendBytes(raw, o.Result.Data))
}

// settled tells whether a result is one with numbers, as nearly all are: its outcome is
// its first field.
func settled(result []byte) bool {
	return len(result) > 1 && result[0] == 1<<3 && result[1] == byte(sequencepb.Outcome_OUTCOME_OK)
}
