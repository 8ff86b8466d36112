package api

import (
	"fmt"
	"runtime/debug"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/nodehost/route"
)

// Sizes of what is sent.
const (
	// frameMargin is what a message has besides items.
	frameMargin = 128 << 10
	// frameBytes is about what travels in one frame; a larger answer goes alone.
	frameBytes = 256 << 10
	// readRoom bounds the answers that are read from a group at one go.
	readRoom = 64 << 10
)

// tooMuch is the fault of an item whose answer does not fit in a message.
func tooMuch(command bool) error {
	if command {
		return fault.New(fault.UnknownOutcome, "the answer is larger than a message may be: the command was applied, and what it answered can't be sent")
	}
	return fault.New(fault.TooLarge, "the answer is larger than a message may be: ask for less")
}

// do does a lot and answers it.
func (t *talk) do(w *work) {
	defer t.done(w)
	defer func() {
		// What a defect in a handler must not do either: end the process.
		if cause := recover(); cause != nil {
			t.panicked(w, cause)
		}
	}()
	m := route.Many{Group: w.lot.GetGroup(), Items: w.items, Hops: w.lot.GetHops(), Repeatable: w.lot.GetRepeatable()}
	if len(w.lot.GetCommands()) > 0 {
		out, where := t.router.ProposeMany(w.ctx, m)
		t.answer(w, out, news{where: where, told: w.lot.GetLocate()})
		return
	}
	t.read(w, m)
}

// read reads a lot of queries, a piece at a time, so that a stream never holds more
// answers than it may.
func (t *talk) read(w *work, m route.Many) {
	m.Room = readRoom
	if room := w.lot.GetRoom(); room > 0 {
		m.Room = int(min(room, serve.MaxMessage-frameMargin))
	}
	for w.answered < len(w.items) {
		if !t.flow.Reserve(m.Room) {
			return
		}
		m.Items = w.items[w.answered:]
		out, where := t.router.ReadMany(w.ctx, m)
		t.flow.Release(m.Room)
		n := news{where: where, told: w.lot.GetLocate(), full: w.lot.GetRoom() > 0 && len(out) < len(m.Items)}
		t.answer(w, out, n)
		if n.full || len(out) == 0 {
			return
		}
	}
}

// news is what answers tell beside the answers.
type news struct {
	where *hostpb.Location
	told  bool // the asker wants to know where
	full  bool // the rest of the lot stays unread
}

// answer puts the answers to a lot's next items into the queue, and sends what is there
// unless somebody is sending.
func (t *talk) answer(w *work, out []route.Outcome, n news) {
	var parts []answers
	for len(out) > 0 || len(parts) == 0 {
		part := answersTo(w, out)
		done := len(part.GetData())
		w.answered, out = w.answered+done, out[done:]
		parts = append(parts, part)
	}
	if n.where != nil && (n.told || n.where.GetLeaderHost() != string(t.router.Self())) {
		parts[0].Leader = n.where
	}
	parts[len(parts)-1].Full = n.full
	t.flow.Answer(parts...)
}

// answersTo takes as many outcomes as go into one frame.
func answersTo(w *work, out []route.Outcome) answers {
	a := answers{Answers: &hostpb.Answers{Lot: w.lot.GetId(), First: uint32(w.answered), Data: make([][]byte, 0, len(out))}}
	valued := false
	for i, o := range out {
		data, err := o.Result.Data, o.Err
		if len(data) > serve.MaxMessage-frameMargin {
			data, err = nil, tooMuch(len(w.lot.GetCommands()) > 0)
		}
		if i > 0 && a.size+len(data) > frameBytes {
			break
		}
		a.size += len(data) + itemWeight
		if err != nil {
			data = nil
			a.Faults = append(a.Faults, &hostpb.ItemFault{Item: uint32(i), Fault: serve.ItemFault(err)})
			a.size += faultWeight
		}
		a.Data = append(a.Data, data)
		valued = valued || o.Result.Value != 0
	}
	if !valued {
		return a
	}
	a.Values = make([]uint64, len(a.GetData()))
	for i := range a.GetValues() {
		a.Values[i] = out[i].Result.Value
	}
	return a
}

// faultWeight is about what a fault is in bytes.
const faultWeight = 512

// done ends the work on a lot.
func (t *talk) done(w *work) {
	w.cancel()
	t.mu.Lock()
	delete(t.lots, w.lot.GetId())
	t.mu.Unlock()
	t.flow.Done(len(w.items), w.bytes)
}

// panicked answers a lot with what is known after a defect: nothing.
func (t *talk) panicked(w *work, cause any) {
	t.log.Error("a lot of a stream panicked", "group", w.lot.GetGroup().String(), "err", fmt.Sprint(cause), "stack", string(debug.Stack()))
	out := make([]route.Outcome, len(w.items)-w.answered)
	for i := range out {
		out[i].Err = fault.New(fault.Internal, "the host hit a defect; its log has more")
	}
	t.answer(w, out, news{})
}
