package client

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	kvpb "github.com/drumline/drumline/drummerpb/kv"
)

// KV is a group of app kv: a map of keys to values with a revision for each key. Its
// methods may be called from any goroutine.
type KV struct{ g *Group }

// Entry is one key.
type Entry struct {
	Key   []byte
	Value []byte
	// Revision is that of the key's last change; it only ever grows.
	Revision uint64
}

// Group returns the group below.
func (k *KV) Group() *Group { return k.g }

// Put stores value under key and returns the key's new revision.
func (k *KV) Put(ctx context.Context, key, value []byte) (uint64, error) {
	res, err := k.change(ctx, &kvpb.Command{Op: &kvpb.Command_Put{Put: &kvpb.Put{Key: key, Value: value}}})
	return res.GetRevision(), err
}

// Delete removes key and tells whether it was there.
func (k *KV) Delete(ctx context.Context, key []byte) (bool, error) {
	res, err := k.change(ctx, &kvpb.Command{Op: &kvpb.Command_Delete{Delete: &kvpb.Delete{Key: key}}})
	return res.GetOutcome() == kvpb.Outcome_OUTCOME_OK, err
}

// CompareAndSet stores value under key if the key has the expected revision (0: if it
// does not exist). It returns the key's revision afterwards and whether it stored.
func (k *KV) CompareAndSet(ctx context.Context, key []byte, expected uint64, value []byte) (uint64, bool, error) {
	cas := &kvpb.CompareAndSet{Key: key, ExpectedRevision: expected, Value: value}
	res, err := k.change(ctx, &kvpb.Command{Op: &kvpb.Command_CompareAndSet{CompareAndSet: cas}})
	return res.GetRevision(), res.GetOutcome() == kvpb.Outcome_OUTCOME_OK, err
}

// Get returns the entry of key, and whether it exists.
func (k *KV) Get(ctx context.Context, key []byte) (Entry, bool, error) {
	answer, err := k.query(ctx, &kvpb.Query{Op: &kvpb.Query_Get{Get: &kvpb.Get{Key: key}}})
	if err != nil || !answer.GetFound() || len(answer.GetEntries()) == 0 {
		return Entry{}, false, err
	}
	return entryOf(answer.GetEntries()[0]), true, nil
}

// List returns a page of the entries whose keys begin with prefix and come after the
// key after, in ascending order, and whether more follow. limit is at most 1,000; 0
// means 100.
func (k *KV) List(ctx context.Context, prefix, after []byte, limit uint32) ([]Entry, bool, error) {
	return k.list(ctx, &kvpb.List{Prefix: prefix, After: after, Limit: limit})
}

// ListKeys is List without the values: they stay where they are.
func (k *KV) ListKeys(ctx context.Context, prefix, after []byte, limit uint32) ([]Entry, bool, error) {
	return k.list(ctx, &kvpb.List{Prefix: prefix, After: after, Limit: limit, KeysOnly: true})
}

func (k *KV) list(ctx context.Context, list *kvpb.List) ([]Entry, bool, error) {
	answer, err := k.query(ctx, &kvpb.Query{Op: &kvpb.Query_List{List: list}})
	if err != nil {
		return nil, false, err
	}
	page := make([]Entry, 0, len(answer.GetEntries()))
	for _, e := range answer.GetEntries() {
		page = append(page, entryOf(e))
	}
	return page, answer.GetMore(), nil
}

// entryOf takes an entry off the wire.
func entryOf(e *kvpb.Entry) Entry {
	return Entry{Key: e.GetKey(), Value: e.GetValue(), Revision: e.GetRevision()}
}

// change proposes a command and decodes the machine's answer.
func (k *KV) change(ctx context.Context, cmd *kvpb.Command) (*kvpb.Result, error) {
	data, err := proto.Marshal(cmd)
	if err != nil {
		return nil, k.refused(err.Error())
	}
	answer, err := k.g.Propose(ctx, data)
	if err != nil {
		return nil, err
	}
	res := &kvpb.Result{}
	if err := proto.Unmarshal(answer.Data, res); err != nil {
		return nil, k.garbled(err, Unknown)
	}
	if res.GetOutcome() == kvpb.Outcome_OUTCOME_INVALID {
		return nil, k.refused(res.GetDetail())
	}
	return res, nil
}

// query reads and decodes the machine's answer.
func (k *KV) query(ctx context.Context, q *kvpb.Query) (*kvpb.Answer, error) {
	data, err := proto.Marshal(q)
	if err != nil {
		return nil, k.refused(err.Error())
	}
	data, err = k.g.Read(ctx, data)
	if err != nil {
		return nil, err
	}
	answer := &kvpb.Answer{}
	if err := proto.Unmarshal(data, answer); err != nil {
		return nil, k.garbled(err, NotApplied)
	}
	return answer, nil
}

// refused is the error of a command or query that the machine does not take.
func (k *KV) refused(why string) error {
	e := failure(hostpb.Reason_REASON_INVALID, codes.InvalidArgument, "group %s: %s", k.g.name, why)
	e.Group = k.g.name
	return e
}

// garbled is the error of an answer that is none of app kv.
func (k *KV) garbled(cause error, o Outcome) error {
	e := failure(hostpb.Reason_REASON_INTERNAL, codes.Internal,
		"group %s gave an answer that is none of app kv: %v", k.g.name, cause)
	e.Group, e.Outcome, e.cause = k.g.name, o, cause
	return e
}
