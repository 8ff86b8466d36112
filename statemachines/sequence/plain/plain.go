// Package plain unpacks the commands that nearly all are, those that ask for numbers,
// into messages that are used again. Unpacked by protobuf, such a command costs more than
// what it does, and leaves seven objects behind; and what commands leave behind is the
// work of the garbage collector, who looks through all sequences of a group for it.
package plain

import (
	"google.golang.org/protobuf/encoding/protowire"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines/wire"
)

// Numbers of fields. A test holds what is read here against protobuf.
const (
	commandCaller, commandNext, commandNow                                 = 1, 2, 17
	callerClient, callerSerial, callerSettled                              = 1, 2, 3
	clientGroup, clientGeneration, clientNumber, clientNonce               = 1, 2, 3, 4
	nextKey, nextCount, nextWhole, nextPlain, nextIncarnation, nextAtLeast = 1, 2, 3, 4, 5, 6
)

// Reader unpacks one command after the other. It is not for two goroutines.
type Reader struct {
	command sequencepb.Command
	caller  sequencepb.Caller
	client  sequencepb.Client
	op      sequencepb.Command_Next
	next    sequencepb.Next
	floor   int64
}

// Read unpacks a command for numbers whose fields are known, each once at most. Others are
// not for it, nor is what can't be read: ok is false then, and protobuf has the word. Nothing else is checked. mark is a hash of the
// operation's bytes. What it returns is valid until the next call.
func (r *Reader) Read(data []byte) (cmd *sequencepb.Command, mark uint64, ok bool) {
	r.clear()
	f := fields{rest: data}
	for f.more() {
		switch {
		case f.number == commandCaller && f.text && r.readCaller(f.body):
			r.command.Caller = &r.caller
		case f.number == commandNext && f.text && r.readNext(f.body):
			r.command.Op = &r.op
			mark = wire.Hash(f.raw)
		case f.number == commandNow && !f.text:
			r.command.NowMs = f.n
		default:
			return nil, 0, false
		}
	}
	return &r.command, mark, !f.bad && r.command.GetOp() != nil
}

// clear makes all as new.
func (r *Reader) clear() {
	r.command.Caller, r.command.Op, r.command.NowMs = nil, nil, 0
	r.caller.Client, r.caller.Serial, r.caller.Settled = nil, 0, 0
	r.client.Group, r.client.Generation, r.client.Number, r.client.Nonce = 0, 0, 0, 0
	n := &r.next
	n.Key, n.Count, n.Whole, n.Plain, n.Incarnation, n.Floor = "", 0, false, false, 0, nil
	r.op.Next = n
}

func (r *Reader) readCaller(data []byte) bool {
	f := fields{rest: data}
	for f.more() {
		switch {
		case f.number == callerClient && f.text && r.readClient(f.body):
			r.caller.Client = &r.client
		case f.number == callerSerial && !f.text:
			r.caller.Serial = f.n
		case f.number == callerSettled && !f.text:
			r.caller.Settled = f.n
		default:
			return false
		}
	}
	return !f.bad
}

func (r *Reader) readClient(data []byte) bool {
	f := fields{rest: data}
	for f.more() {
		if f.text {
			return false
		}
		switch f.number {
		case clientGroup:
			r.client.Group = f.n
		case clientGeneration:
			r.client.Generation = f.n
		case clientNumber:
			r.client.Number = f.n
		case clientNonce:
			r.client.Nonce = f.n
		default:
			return false
		}
	}
	return !f.bad
}

func (r *Reader) readNext(data []byte) bool {
	f := fields{rest: data}
	for f.more() {
		if f.text != (f.number == nextKey) {
			return false
		}
		switch f.number {
		case nextKey:
			r.next.Key = string(f.body)
		case nextCount:
			r.next.Count = f.n
		case nextWhole:
			r.next.Whole = protowire.DecodeBool(f.n)
		case nextPlain:
			r.next.Plain = protowire.DecodeBool(f.n)
		case nextIncarnation:
			r.next.Incarnation = f.n
		case nextAtLeast:
			r.floor = protowire.DecodeZigZag(f.n)
			r.next.Floor = &r.floor
		default:
			return false
		}
	}
	return !f.bad
}

// Peek is the key and the number of the client of a command for numbers, as far as they can
// be told quickly; ok is false for commands of other kinds. It is a hint: what Read or
// protobuf would refuse is not noticed here.
func Peek(data []byte) (key []byte, client uint64, ok bool) {
	f := fields{rest: data}
	for f.more() {
		switch {
		case f.number == commandCaller && f.text:
			client = peekClient(f.body)
		case f.number == commandNext && f.text:
			if inner := (fields{rest: f.body}); inner.more() && inner.number == nextKey {
				key = inner.body
			}
			return key, client, true
		}
	}
	return nil, 0, false
}

// peekClient is the client's number in a caller, which stands first there.
func peekClient(caller []byte) uint64 {
	f := fields{rest: caller}
	if !f.more() || f.number != callerClient {
		return 0
	}
	inner := fields{rest: f.body}
	for inner.more() {
		if inner.number == clientNumber {
			return inner.n
		}
	}
	return 0
}

// fields walks over those of a message.
type fields struct {
	rest []byte
	bad  bool   // it can't be read, or is there twice
	seen uint32 // a bit for each field

	number protowire.Number
	raw    []byte // the whole field
	text   bool   // it has a body, not a number
	n      uint64
	body   []byte
}

// more goes to the next field; false at the end, and where there is something bad.
func (f *fields) more() bool {
	if len(f.rest) == 0 {
		return false
	}
	number, kind, size := protowire.ConsumeTag(f.rest)
	if f.bad = size < 0 || number >= 32 || f.seen&(1<<number) != 0; f.bad {
		return false
	}
	f.seen |= 1 << number
	f.number, f.text, f.n, f.body = number, kind == protowire.BytesType, 0, nil
	n := -1
	switch kind {
	case protowire.VarintType:
		f.n, n = protowire.ConsumeVarint(f.rest[size:])
	case protowire.BytesType:
		f.body, n = protowire.ConsumeBytes(f.rest[size:])
	}
	if f.bad = n < 0; f.bad {
		return false
	}
	f.raw, f.rest = f.rest[:size+n], f.rest[size+n:]
	return true
}
