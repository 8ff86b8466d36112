// Package answer turns the machine's answers into results. It builds them field by
// field: what is kept for a repeated command, and so gets into snapshots, must be the same
// bytes whichever protobuf library a host was built with.
package answer

import (
	"google.golang.org/protobuf/encoding/protowire"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/wire"
)

// Encode makes the machine's result of an answer. Its value is the first number handed
// out, or the number reserved.
func Encode(r *sequencepb.Result) statemachines.Result {
	w := make(wire.Message, 0, 64)
	value := uint64(0)
	w.Uint(1, uint64(r.GetOutcome()))
	w.Text(2, r.GetDetail())
	w.Uint(3, r.GetRetryMs())
	if g := r.GetGrant(); g != nil {
		value = uint64(g.GetFirst())
		w = append(protowire.AppendTag(w, 4, protowire.BytesType), 0)
		at := len(w)
		w = appendGrant(w, g)
		w[at-1] = byte(len(w) - at) // 90 at most
	}
	if c := r.GetClient(); c != nil {
		w.Message(5, encodeClient(c))
	}
	if x := r.GetReservation(); x != nil {
		value = uint64(x.GetNumber())
		w.Message(6, encodeReservation(x))
	}
	if x := r.GetWorker(); x != nil {
		w.Message(7, encodeWorker(x))
	}
	w.Uint(8, r.GetReturned())
	w.Uint(9, r.GetIncarnation())
	if x := r.GetWindow(); x != nil {
		w.Message(10, encodeWindow(x))
	}
	return statemachines.Result{Value: value, Data: w}
}

func appendGrant(w wire.Message, g *sequencepb.Grant) wire.Message {
	w.Sint(1, g.GetFirst())
	w.Uint(2, g.GetCount())
	w.Sint(3, g.GetStep())
	w.Uint(4, uint64(g.GetMode()))
	w.Uint(5, g.GetCache())
	w.Uint(6, uint64(g.GetScatterBits()))
	w.Uint(7, g.GetIncarnation())
	w.Uint(8, g.GetGroup())
	w.Uint(9, g.GetGeneration())
	w.Uint(10, uint64(g.GetLogicalBits()))
	return w
}

func encodeClient(c *sequencepb.Client) (w wire.Message) {
	w.Uint(1, c.GetGroup())
	w.Uint(2, c.GetGeneration())
	w.Uint(3, c.GetNumber())
	w.Uint(4, c.GetNonce())
	return w
}

func encodeReservation(r *sequencepb.Reservation) (w wire.Message) {
	w.Sint(1, r.GetNumber())
	w.Uint(2, r.GetToken())
	w.Uint(3, r.GetForMs())
	w.Uint(4, r.GetIncarnation())
	return w
}

func encodeWindow(x *sequencepb.Window) (w wire.Message) {
	w.Uint(1, x.GetWindow())
	w.Uint(2, x.GetIncarnation())
	w.Uint(3, x.GetFirst())
	w.Uint(4, x.GetLast())
	w.Uint(5, uint64(x.GetLogicalBits()))
	w.Uint(6, x.GetMaxRange())
	w.Uint(7, x.GetGroup())
	w.Uint(8, x.GetGeneration())
	return w
}

func encodeWorker(x *sequencepb.Worker) (w wire.Message) {
	w.Uint(1, uint64(x.GetWorker()))
	w.Uint(2, x.GetToken())
	w.Uint(3, x.GetLeaseMs())
	w.Uint(4, x.GetFloorMs())
	w.Uint(5, x.GetCeilingMs())
	var l wire.Message
	l.Uint(1, uint64(x.GetLayout().GetTimeBits()))
	l.Uint(2, uint64(x.GetLayout().GetWorkerBits()))
	l.Uint(3, uint64(x.GetLayout().GetCounterBits()))
	l.Uint(4, x.GetLayout().GetEpochMs())
	l.Uint(5, x.GetLayout().GetLeaseMs())
	w.Message(6, l)
	w.Uint(7, x.GetIncarnation())
	return w
}
