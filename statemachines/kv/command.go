package kv

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	kvpb "github.com/drumline/drumline/drummerpb/kv"
	"github.com/drumline/drumline/statemachines"
)

// CheckCommand says what is wrong with a command, or nil. The Machine checks the
// same; handlers and clients do so first to spare the log.
func CheckCommand(c *kvpb.Command) error {
	switch op := c.GetOp().(type) {
	case *kvpb.Command_Put:
		return checkPair(op.Put.GetKey(), op.Put.GetValue())
	case *kvpb.Command_Delete:
		return checkKey(op.Delete.GetKey())
	case *kvpb.Command_CompareAndSet:
		return checkPair(op.CompareAndSet.GetKey(), op.CompareAndSet.GetValue())
	}
	return refusal("the command names no operation: set put, delete or compare_and_set")
}

// refusal is an error whose text becomes part of a replicated result, so it must
// not come from a library: protobuf's texts differ from build to build.
type refusal string

// Error is the sentence.
func (r refusal) Error() string { return string(r) }

func checkPair(key, value []byte) error {
	if len(value) > MaxValue {
		return refusal(fmt.Sprintf("the value has %d bytes, at most %d are allowed", len(value), MaxValue))
	}
	return checkKey(key)
}

func checkKey(key []byte) error {
	if len(key) == 0 || len(key) > MaxKey {
		return refusal(fmt.Sprintf("the key has %d bytes, want 1 to %d", len(key), MaxKey))
	}
	return nil
}

// decodeCommand reads one command. Protobuf would take the last of two
// operations and skip one that it does not know; both are refused here.
func decodeCommand(data []byte) (*kvpb.Command, error) {
	if err := checkOneField(data, "command"); err != nil {
		return nil, err
	}
	c := &kvpb.Command{}
	if proto.Unmarshal(data, c) != nil {
		return nil, refusal("the command cannot be read: want a drumline.kv.Command")
	}
	if unknown(c.GetPut()) || unknown(c.GetDelete()) || unknown(c.GetCompareAndSet()) || unknown(c) {
		return nil, refusal("the command has a field that this version does not know")
	}
	return c, CheckCommand(c)
}

// unknown tells whether m carries fields of a newer version: to ignore, say, an
// expiry would be worse than to refuse.
func unknown(m proto.Message) bool { return len(m.ProtoReflect().GetUnknown()) > 0 }

// checkOneField refuses what is not exactly one field on the wire.
func checkOneField(data []byte, what string) error {
	fields := 0
	for rest := data; len(rest) > 0; fields++ {
		_, _, n := protowire.ConsumeField(rest)
		if n < 0 {
			return refusal("the " + what + " cannot be read: want a drumline.kv message")
		}
		rest = rest[n:]
	}
	if fields != 1 {
		return refusal(fmt.Sprintf("the %s names %d operations, want exactly one", what, fields))
	}
	return nil
}

// apply executes one command.
func (m *Machine) apply(data []byte) statemachines.Result {
	c, err := decodeCommand(data)
	if err != nil {
		return answer(&kvpb.Result{Outcome: kvpb.Outcome_OUTCOME_INVALID, Detail: err.Error()})
	}
	switch op := c.GetOp().(type) {
	case *kvpb.Command_Put:
		return m.put(op.Put.GetKey(), op.Put.GetValue())
	case *kvpb.Command_Delete:
		return m.delete(op.Delete.GetKey())
	case *kvpb.Command_CompareAndSet:
		return m.compareAndSet(op.CompareAndSet)
	}
	return statemachines.Result{} // decodeCommand lets nothing else through
}

func (m *Machine) put(key, value []byte) statemachines.Result {
	m.revision++
	// Unmarshal copied both out of the log entry.
	m.tree.ReplaceOrInsert(entry{key: key, value: value, revision: m.revision})
	return answer(&kvpb.Result{Outcome: kvpb.Outcome_OUTCOME_OK, Revision: m.revision})
}

func (m *Machine) delete(key []byte) statemachines.Result {
	if _, found := m.tree.Delete(entry{key: key}); !found {
		return answer(&kvpb.Result{Outcome: kvpb.Outcome_OUTCOME_NOT_FOUND})
	}
	m.revision++
	return answer(&kvpb.Result{Outcome: kvpb.Outcome_OUTCOME_OK, Revision: m.revision})
}

func (m *Machine) compareAndSet(c *kvpb.CompareAndSet) statemachines.Result {
	old, _ := m.get(c.GetKey()) // the revision of a key that is not there is 0
	if old.revision != c.GetExpectedRevision() {
		return answer(&kvpb.Result{Outcome: kvpb.Outcome_OUTCOME_CONFLICT, Revision: old.revision})
	}
	return m.put(c.GetKey(), c.GetValue())
}

// answer encodes a result field by field: what goes back through the log must be
// the same bytes whichever protobuf library a host was built with.
func answer(r *kvpb.Result) statemachines.Result {
	data := protowire.AppendTag(nil, 1, protowire.VarintType)
	data = protowire.AppendVarint(data, uint64(r.GetOutcome())) //nolint:gosec // a small enum
	if r.GetRevision() != 0 {
		data = protowire.AppendTag(data, 2, protowire.VarintType)
		data = protowire.AppendVarint(data, r.GetRevision())
	}
	if r.GetDetail() != "" {
		data = protowire.AppendTag(data, 3, protowire.BytesType)
		data = protowire.AppendString(data, r.GetDetail())
	}
	return statemachines.Result{Value: r.GetRevision(), Data: data}
}
