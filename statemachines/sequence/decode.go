package sequence

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/sequence/answer"
	"github.com/drumline/drumline/statemachines/sequence/plain"
	"github.com/drumline/drumline/statemachines/wire"
)

// refusal is an error whose text becomes part of a replicated result.
type refusal = wire.Refusal

// apply executes one command.
func (m *Machine) apply(data []byte) statemachines.Result {
	cmd, mark, err := m.spare.decode(data)
	if err != nil {
		return answer.Encode(refuse(sequencepb.Outcome_OUTCOME_INVALID, "%s", err.Error()))
	}
	if cmd.GetCaller() != nil {
		return m.once(cmd, mark)
	}
	r, _ := m.do(cmd, nil)
	return answer.Encode(r)
}

// spare is a command for numbers, and the answer to one, that are used again.
type spare struct {
	plain.Reader
	result sequencepb.Result
	grant  sequencepb.Grant
	ahead  *ahead // nil until a family is large
}

// decode reads one command, with a mark of its operation.
func (s *spare) decode(data []byte) (*sequencepb.Command, uint64, error) {
	if cmd, mark, ok := s.Read(data); ok && CheckCommand(cmd) == nil {
		return cmd, mark, nil
	}
	return decodeCommand(data)
}

// Numbers of the fields of a command that are no operation.
const (
	callerField = 1
	stampField  = 17
)

// decodeCommand reads one command of any kind.
func decodeCommand(data []byte) (*sequencepb.Command, uint64, error) {
	mark, err := checkFields(data)
	if err != nil {
		return nil, 0, err
	}
	c := &sequencepb.Command{}
	if proto.Unmarshal(data, c) != nil {
		return nil, 0, refusal("the command cannot be read: want a drumline.sequence.Command")
	}
	if wire.Unknown(c.ProtoReflect()) { // to ignore, say, a condition would be worse than to refuse
		return nil, 0, refusal("the command has a field that this version does not know")
	}
	return c, mark, CheckCommand(c)
}

// checkFields refuses what is not one operation and at most one caller: protobuf would
// take the last of two. The mark is a hash (FNV-1a) of the operation's bytes.
func checkFields(data []byte) (mark uint64, err error) {
	callers, ops, stamps := 0, 0, 0
	for len(data) > 0 {
		number, _, n := protowire.ConsumeField(data)
		if n < 0 {
			return 0, refusal("the command cannot be read: want a drumline.sequence.Command")
		}
		switch number {
		case callerField:
			callers++
		case stampField:
			stamps++
		default:
			ops++
			mark = wire.Hash(data[:n])
		}
		data = data[n:]
	}
	if ops != 1 || callers > 1 || stamps > 1 {
		return 0, refusal(fmt.Sprintf("the command names %d operations, %d callers and %d times, want exactly one and at most one of each", ops, callers, stamps))
	}
	return mark, nil
}

// CheckCommand says what is wrong with a command, or nil. The Machine checks the
// same; handlers and clients do so first to spare the log.
func CheckCommand(c *sequencepb.Command) error {
	if err := checkCaller(c); err != nil {
		return err
	}
	switch op := c.GetOp().(type) {
	case *sequencepb.Command_Next:
		if n := op.Next.GetCount(); n > MaxCount {
			return refusal(fmt.Sprintf("the count is %d, at most 2^62 is allowed", n))
		}
		return CheckKey(op.Next.GetKey())
	case *sequencepb.Command_Reserve:
		if ms := op.Reserve.GetForMs(); ms > uint64(longestReservation/time.Millisecond) {
			return refusal(fmt.Sprintf("for_ms is %d, at most a day is allowed", ms))
		}
		return CheckKey(op.Reserve.GetKey())
	case *sequencepb.Command_Create:
		return checkDefined(op.Create.GetKey(), op.Create.GetDefinition())
	case *sequencepb.Command_Set:
		return checkDefined(op.Set.GetKey(), op.Set.GetDefinition())
	case *sequencepb.Command_Resume:
		return checkResume(op.Resume)
	case *sequencepb.Command_Configure:
		return CheckSettings(op.Configure.GetSettings())
	case nil:
		return refusal("the command names no operation: set next or another one")
	}
	return CheckKey(keyOf(c))
}

// keyOf is the key of an operation that has nothing else to check; only one is set.
func keyOf(c *sequencepb.Command) string {
	return c.GetAdvance().GetKey() + c.GetGiveBack().GetKey() + c.GetCommit().GetKey() + c.GetCancel().GetKey() + c.GetLeaseWorker().GetKey() +
		c.GetReleaseWorker().GetKey() + c.GetRestart().GetKey() + c.GetDrop().GetKey()
}

// checkCaller wants a client and a serial where there is a caller, and a caller where
// one is needed.
func checkCaller(c *sequencepb.Command) error {
	switch caller := c.GetCaller(); {
	case caller == nil && c.GetClose() != nil:
		return refusal("only a client can be closed: say which in caller")
	case caller == nil && c.GetGiveBack() != nil:
		return refusal("only a client that was opened can give numbers back: say which in caller")
	case caller == nil:
		return nil
	case c.GetOpen() != nil:
		return refusal("a client is opened without a caller")
	case c.GetAdvance() != nil:
		return refusal("a window is moved on by a host, without a caller")
	case caller.GetClient() == nil:
		return refusal("the caller has no client: open one, or leave the caller away")
	case caller.GetSerial() == 0 || caller.GetSettled() >= caller.GetSerial():
		return refusal(fmt.Sprintf("serial is %d and settled %d: serials begin at 1, and settled ones lie below", caller.GetSerial(), caller.GetSettled()))
	}
	return nil
}

func checkDefined(key string, d *sequencepb.Definition) error {
	if err := CheckKey(key); err != nil || d == nil {
		return err
	}
	return CheckDefinition(d)
}

func checkResume(r *sequencepb.Resume) error {
	switch {
	case r.GetMargin() == 0 || r.GetMargin() > MaxCount:
		return refusal("the margin must be between 1 and 2^62: it is what may have been handed out unseen")
	case r.Key == nil && r.Floor != nil:
		return refusal("a floor is of one sequence: name its key")
	}
	return CheckKey(r.GetKey())
}

// CheckKey says what is wrong with a key, or nil. The empty key is that of a group that
// is one sequence.
func CheckKey(key string) error { return wire.CheckKey(key) }
