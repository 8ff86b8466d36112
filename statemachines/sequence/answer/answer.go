// Package answer turns the machine's answers into results. It builds them field by
// field: what is kept for a repeated command, and so gets into snapshots, must be the same
// bytes whichever protobuf library a host was built with.
package answer

import (
	"google.golang.org/protobuf/encoding/protowire"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
)

// wire is a message that is being built.
type wire []byte

func (w *wire) uint(field protowire.Number, v uint64) {
	if v != 0 {
		*w = protowire.AppendVarint(protowire.AppendTag(*w, field, protowire.VarintType), v)
	}
}

func (w *wire) sint(field protowire.Number, v int64) { w.uint(field, protowire.EncodeZigZag(v)) }

func (w *wire) text(field protowire.Number, s string) {
	if s != "" {
		*w = protowire.AppendString(protowire.AppendTag(*w, field, protowire.BytesType), s)
	}
}

func (w *wire) message(field protowire.Number, m wire) {
	*w = protowire.AppendBytes(protowire.AppendTag(*w, field, protowire.BytesType), m)
}

// Encode makes the machine's result of an answer. Its value is the first number handed
// out, or the number reserved.
func Encode(r *sequencepb.Result) statemachines.Result {
	w := make(wire, 0, 48)
	value := uint64(0)
	w.uint(1, uint64(r.GetOutcome()))
	w.text(2, r.GetDetail())
	w.uint(3, r.GetRetryMs())
	if g := r.GetGrant(); g != nil {
		value = uint64(g.GetFirst())
		w.message(4, encodeGrant(g))
	}
	if c := r.GetClient(); c != nil {
		w.message(5, encodeClient(c))
	}
	if x := r.GetReservation(); x != nil {
		value = uint64(x.GetNumber())
		w.message(6, encodeReservation(x))
	}
	if x := r.GetWorker(); x != nil {
		w.message(7, encodeWorker(x))
	}
	w.uint(8, r.GetReturned())
	w.uint(9, r.GetIncarnation())
	if x := r.GetWindow(); x != nil {
		w.message(10, encodeWindow(x))
	}
	return statemachines.Result{Value: value, Data: w}
}

func encodeGrant(g *sequencepb.Grant) wire {
	w := make(wire, 0, 32)
	w.sint(1, g.GetFirst())
	w.uint(2, g.GetCount())
	w.sint(3, g.GetStep())
	w.uint(4, uint64(g.GetMode()))
	w.uint(5, g.GetCache())
	w.uint(6, uint64(g.GetScatterBits()))
	w.uint(7, g.GetIncarnation())
	w.uint(8, g.GetGroup())
	w.uint(9, g.GetGeneration())
	w.uint(10, uint64(g.GetLogicalBits()))
	return w
}

func encodeClient(c *sequencepb.Client) (w wire) {
	w.uint(1, c.GetGroup())
	w.uint(2, c.GetGeneration())
	w.uint(3, c.GetNumber())
	w.uint(4, c.GetNonce())
	return w
}

func encodeReservation(r *sequencepb.Reservation) (w wire) {
	w.sint(1, r.GetNumber())
	w.uint(2, r.GetToken())
	w.uint(3, r.GetForMs())
	w.uint(4, r.GetIncarnation())
	return w
}

func encodeWindow(x *sequencepb.Window) (w wire) {
	w.uint(1, x.GetWindow())
	w.uint(2, x.GetIncarnation())
	w.uint(3, x.GetFirst())
	w.uint(4, x.GetLast())
	w.uint(5, uint64(x.GetLogicalBits()))
	w.uint(6, x.GetMaxRange())
	w.uint(7, x.GetGroup())
	w.uint(8, x.GetGeneration())
	return w
}

func encodeWorker(x *sequencepb.Worker) (w wire) {
	w.uint(1, uint64(x.GetWorker()))
	w.uint(2, x.GetToken())
	w.uint(3, x.GetLeaseMs())
	w.uint(4, x.GetFloorMs())
	w.uint(5, x.GetCeilingMs())
	var l wire
	l.uint(1, uint64(x.GetLayout().GetTimeBits()))
	l.uint(2, uint64(x.GetLayout().GetWorkerBits()))
	l.uint(3, uint64(x.GetLayout().GetCounterBits()))
	l.uint(4, x.GetLayout().GetEpochMs())
	l.uint(5, x.GetLayout().GetLeaseMs())
	w.message(6, l)
	w.uint(7, x.GetIncarnation())
	return w
}
