package front

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// Numbers of fields of a Command, of Next and of LeaseWorker.
const (
	nextField  = 2
	leaseField = 7
	stampField = 17
	keyField   = 1
	nowField   = 2
)

// said is what the front looks at in every command.
type said struct {
	next   bool   // it asks for numbers, of the sequence key
	key    string // only with next
	stamp  uint64 // its now_ms
	worker uint64 // the now_ms of a worker's lease
	whole  bool   // it can be read to its end
}

// scan looks through a command without unpacking it: nearly all pass by here and belong
// into the log. What cannot be read says nothing; the machine refuses it.
func scan(cmd []byte) (s said) {
	s.whole = walk(cmd, func(field protowire.Number, n uint64, body []byte) {
		switch field {
		case nextField:
			s.next = true
			walk(body, func(field protowire.Number, _ uint64, text []byte) {
				if field == keyField {
					s.key = string(text)
				}
			})
		case leaseField:
			walk(body, func(field protowire.Number, n uint64, _ []byte) {
				if field == nowField {
					s.worker = max(s.worker, n)
				}
			})
		case stampField:
			s.stamp = max(s.stamp, n)
		}
	})
	return s
}

// walk hands out the fields of a message: those that are numbers with n, those that are
// texts or messages with body. It tells whether it came to the end.
func walk(data []byte, visit func(field protowire.Number, n uint64, body []byte)) bool {
	for len(data) > 0 {
		field, kind, size := protowire.ConsumeTag(data)
		if size < 0 {
			return false
		}
		data = data[size:]
		var n uint64
		var body []byte
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(data)
		case protowire.BytesType:
			body, size = protowire.ConsumeBytes(data)
		default:
			size = protowire.ConsumeFieldValue(field, kind, data)
		}
		if size < 0 {
			return false
		}
		visit(field, n, body)
		data = data[size:]
	}
	return true
}

// stamped is a command with a time, the host's unless it has one: the time is what tells
// apart the sequences, reservations and workers of clusters that were set up one after the
// other, and who proposes by hand may leave it away.
func stamped(cmd []byte, s said, now time.Time) []byte {
	if s.stamp != 0 || !s.whole { // what is cut off must not be completed by it
		return cmd
	}
	timed := protowire.AppendTag(append(make([]byte, 0, len(cmd)+stampSize), cmd...), stampField, protowire.VarintType)
	return protowire.AppendVarint(timed, uint64(max(now.UnixMilli(), 0))) //nolint:gosec // not negative
}

// stampSize is about what a time takes.
const stampSize = 9

// decode is what a command asks for; nil when it is none that asks for numbers.
func decode(cmd []byte) *sequencepb.Next {
	c := &sequencepb.Command{}
	if proto.Unmarshal(cmd, c) != nil {
		return nil
	}
	return c.GetNext()
}

// timestamps tells whether the machine answered that timestamps are wanted: the outcome is
// a result's first field.
func timestamps(result []byte) bool {
	return len(result) > 1 && result[0] == 1<<3 && result[1] == byte(sequencepb.Outcome_OUTCOME_TIMESTAMPS)
}
