package capacity

import (
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines"
)

// Fields of capacitypb.Command.
const (
	opDecide protowire.Number = 1 + iota
	opRelease
	opConfigure
	opParentLease
	opConfirm
)

// apply executes one command.
func (m *Machine) apply(data []byte) statemachines.Result {
	op, rest, err := next(data)
	switch {
	case err == nil && len(rest) > 0:
		err = refusal("the command names several operations, want exactly one")
	case err == nil && op.typ != protowire.BytesType:
		err = errWire
	}
	if err != nil {
		return m.refuse(err)
	}
	switch op.num {
	case opDecide:
		return m.decideAll(op.data)
	case opRelease:
		return m.outcome(capacitypb.Outcome_OUTCOME_OK, m.releaseAll(op.data))
	case opConfigure:
		return m.outcome(capacitypb.Outcome_OUTCOME_OK, m.readConfigure(op.data))
	case opParentLease:
		return m.outcome(m.readParent(op.data))
	case opConfirm:
		return m.outcome(capacitypb.Outcome_OUTCOME_OK, m.confirmAll(op.data))
	}
	return m.refuse(errWire)
}

// decideAll answers the requests in order. What cannot be read at all is refused as
// a whole, before anything is decided.
func (m *Machine) decideAll(data []byte) statemachines.Result {
	n := 0
	err := walk(data, func(f field) error {
		if n++; n > MaxRequests {
			return refusal(fmt.Sprintf("the command has more than %d requests", MaxRequests))
		}
		if !f.is(1, protowire.BytesType) {
			return errWire
		}
		if n > len(m.requests) {
			m.requests = append(m.requests, request{})
		}
		return m.requests[n-1].read(f.data)
	})
	defer m.tidy()
	switch {
	case err != nil:
		return m.refuse(err)
	case n > 0 && m.def == nil:
		return m.outcome(capacitypb.Outcome_OUTCOME_NOT_CONFIGURED, nil)
	case n > 0 && !m.ready():
		return m.outcome(capacitypb.Outcome_OUTCOME_NOT_READY, nil)
	}
	out := appendUint(make([]byte, 0, 32+48*n), 1, uint64(capacitypb.Outcome_OUTCOME_OK))
	for i := range m.requests[:n] {
		out = m.one(&m.requests[i]).append(out, m.generation)
	}
	return m.closed(out)
}

// one answers one request.
func (m *Machine) one(q *request) grant {
	if err := q.check(); err != nil {
		return grant{outcome: capacitypb.Outcome_OUTCOME_INVALID, detail: err.Error()}
	}
	return m.decide(q)
}

// tidy lets go of the log entry, and of most of the memory of a large command.
func (m *Machine) tidy() {
	if len(m.requests) > keptRequests {
		m.requests = slices.Clone(m.requests[:keptRequests])
	}
	for i := range m.requests {
		m.requests[i].id = nil
	}
}

// each reads a message that holds nothing but items in field 1, all before the
// first is carried out.
func each(data []byte, check, carryOut func(item []byte) error) error {
	n := 0
	err := walk(data, func(f field) error {
		if n++; n > MaxRequests {
			return refusal(fmt.Sprintf("the command has more than %d items", MaxRequests))
		}
		if !f.is(1, protowire.BytesType) {
			return errWire
		}
		return check(f.data)
	})
	if err != nil {
		return err
	}
	return walk(data, func(f field) error { return carryOut(f.data) })
}

// releaseAll takes leases back. A release that was held up on its way takes no lease that
// its client was given since: the client uses it.
func (m *Machine) releaseAll(data []byte) error {
	ids, serial, err := readRelease(data)
	if err != nil {
		return err
	}
	return each(ids, checkID, func(id []byte) error {
		if c := m.roster.byID[string(id)]; c != nil && (serial == 0 || c.serial <= serial) {
			m.forget(m.roster.mutable(c))
		}
		return nil
	})
}

// readRelease parts the clients of a release, as items of field 1, from its serial.
func readRelease(data []byte) (ids []byte, serial uint64, err error) {
	err = walk(data, func(f field) error {
		switch {
		case f.is(1, protowire.BytesType):
			ids = protowire.AppendBytes(protowire.AppendTag(ids, 1, protowire.BytesType), f.data)
		case f.is(2, protowire.VarintType):
			serial = f.value
		default:
			return errWire
		}
		return nil
	})
	return ids, serial, err
}

func (m *Machine) confirmAll(data []byte) error {
	check := func(item []byte) error {
		id, _, err := readReceipt(item)
		if err != nil {
			return err
		}
		return checkID(id)
	}
	return each(data, check, func(item []byte) error {
		id, t, _ := readReceipt(item) // it could be read before
		if c := m.roster.byID[string(id)]; c != nil {
			m.confirm(m.roster.mutable(c), &request{token: t})
		}
		return nil
	})
}

func readReceipt(data []byte) (id []byte, t token, err error) {
	err = walk(data, func(f field) error {
		switch {
		case f.is(1, protowire.BytesType):
			id = f.data
		case f.is(2, protowire.BytesType):
			t, err = readToken(f.data)
			return err
		default:
			return errWire
		}
		return nil
	})
	return id, t, err
}

func (m *Machine) readConfigure(data []byte) error {
	var revision, learning uint64
	var raw []byte
	err := walk(data, func(f field) error {
		switch {
		case f.is(1, protowire.VarintType):
			revision = f.value
		case f.is(2, protowire.BytesType):
			raw = f.data
		case f.is(3, protowire.VarintType):
			learning = f.value
		default:
			return errWire
		}
		return nil
	})
	if err != nil {
		return err
	}
	return m.configure(revision, raw, int64(learning))
}

func (m *Machine) readParent(data []byte) (capacitypb.Outcome, error) {
	p := &capacitypb.ParentLease{}
	if proto.Unmarshal(data, p) != nil || unknown(p) {
		return 0, errWire
	}
	return m.setParent(p)
}

// refuse answers a command that changes nothing.
func (m *Machine) refuse(err error) statemachines.Result {
	out := appendUint(nil, 1, uint64(capacitypb.Outcome_OUTCOME_INVALID))
	return m.closed(appendText(out, 2, err.Error()))
}

// outcome answers a command without grants.
func (m *Machine) outcome(o capacitypb.Outcome, err error) statemachines.Result {
	if err != nil {
		return m.refuse(err)
	}
	return m.closed(appendUint(nil, 1, uint64(o)))
}

// closed ends a result with what is told of every command. Results are written by
// hand: what goes back through the log must be the same bytes whichever protobuf
// library a host was built with.
func (m *Machine) closed(out []byte) statemachines.Result {
	out = appendUint(out, 4, m.revision)
	out = appendUint(out, 5, uint64(m.now))
	out = appendUint(out, 6, m.lead)
	out = appendDouble(out, 7, m.sums.reserved.Value())
	return statemachines.Result{Value: m.revision, Data: out}
}

// append writes the grant as a field of a result.
func (g grant) append(out []byte, generation uint64) []byte {
	out = protowire.AppendTag(out, 3, protowire.BytesType)
	at := len(out)
	out = append(out, 0, 0) // its length, in two bytes: see below
	out = appendUint(out, 1, uint64(g.outcome))
	out = appendText(out, 2, g.detail)
	if g.outcome == capacitypb.Outcome_OUTCOME_OK {
		out = appendDouble(out, 3, g.capacity)
		out = appendUint(out, 4, uint64(g.lease/millisecond))
		out = appendUint(out, 5, uint64(g.refresh/millisecond))
		out = appendUint(out, 6, uint64(g.retry/millisecond))
		out = appendToken(out, 7, token{generation: generation, n: g.n})
		out = appendDouble(out, 8, g.safe)
		out = appendUint(out, 9, uint64(boolBit(g.learning)))
	}
	// A grant has at most some hundred bytes; a varint may be longer than it must.
	size := len(out) - at - 2
	out[at], out[at+1] = byte(size&0x7f|0x80), byte(size>>7)
	return out
}

func boolBit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// appendUint writes a number, unless it is zero.
func appendUint(out []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return out
	}
	return protowire.AppendVarint(protowire.AppendTag(out, num, protowire.VarintType), v)
}

func appendDouble(out []byte, num protowire.Number, v float64) []byte {
	if v == 0 {
		return out
	}
	return protowire.AppendFixed64(protowire.AppendTag(out, num, protowire.Fixed64Type), math.Float64bits(v))
}

func appendText(out []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return out
	}
	return protowire.AppendString(protowire.AppendTag(out, num, protowire.BytesType), s)
}

func appendToken(out []byte, num protowire.Number, t token) []byte {
	var room [24]byte
	inner := appendUint(appendUint(room[:0], 1, t.generation), 2, t.n)
	return protowire.AppendBytes(protowire.AppendTag(out, num, protowire.BytesType), inner)
}
