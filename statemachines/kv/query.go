package kv

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/proto"

	kvpb "github.com/drumline/drumline/drummerpb/kv"
	"github.com/drumline/drumline/statemachines"
)

// entryOverhead covers what an entry costs on the wire besides key and value:
// three tags, two lengths, a revision, and its own tag and length in the answer.
const entryOverhead = 32

// CheckQuery says what is wrong with a query, or nil.
func CheckQuery(q *kvpb.Query) error {
	switch op := q.GetOp().(type) {
	case *kvpb.Query_Get:
		return checkKey(op.Get.GetKey())
	case *kvpb.Query_List:
		return checkList(op.List)
	}
	return refusal("the query names no operation: set get or list")
}

func checkList(l *kvpb.List) error {
	if l.GetLimit() > MaxPage {
		return refusal(fmt.Sprintf("the limit is %d, at most %d is allowed", l.GetLimit(), MaxPage))
	}
	if n := max(len(l.GetPrefix()), len(l.GetAfter())); n > MaxKey {
		return refusal(fmt.Sprintf("prefix or after has %d bytes, at most %d are allowed", n, MaxKey))
	}
	return nil
}

func decodeQuery(data []byte) (*kvpb.Query, error) {
	if err := checkOneField(data, "query"); err != nil {
		return nil, err
	}
	q := &kvpb.Query{}
	if proto.Unmarshal(data, q) != nil {
		return nil, refusal("the query cannot be read: want a drumline.kv.Query")
	}
	if unknown(q.GetGet()) || unknown(q.GetList()) || unknown(q) {
		return nil, refusal("the query has a field that this version does not know")
	}
	return q, CheckQuery(q)
}

// Query implements statemachines.Machine.
func (m *Machine) Query(data []byte) ([]byte, error) {
	q, err := decodeQuery(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", statemachines.ErrInvalidQuery, err)
	}
	if list := q.GetList(); list != nil {
		return proto.Marshal(m.list(list))
	}
	return proto.Marshal(m.lookUp(q.GetGet().GetKey()))
}

func (m *Machine) lookUp(key []byte) *kvpb.Answer {
	e, found := m.get(key)
	if !found {
		return &kvpb.Answer{}
	}
	return &kvpb.Answer{Found: true, Entries: []*kvpb.Entry{e.wire(false)}}
}

// list collects a page: bounded in entries and in bytes, so that it fits a gRPC
// message whatever the values are; never empty when there is something to list.
func (m *Machine) list(l *kvpb.List) *kvpb.Answer {
	limit := int(l.GetLimit())
	if limit == 0 {
		limit = DefaultPage
	}
	a, size := &kvpb.Answer{}, 0
	m.tree.AscendGreaterOrEqual(entry{key: begin(l)}, func(e entry) bool {
		if !bytes.HasPrefix(e.key, l.GetPrefix()) {
			return false
		}
		w := e.wire(l.GetKeysOnly())
		size += len(w.GetKey()) + len(w.GetValue()) + entryOverhead
		if len(a.GetEntries()) == limit || (size > MaxPageBytes && len(a.GetEntries()) > 0) {
			a.More = true
			return false
		}
		a.Entries = append(a.Entries, w)
		return true
	})
	return a
}

// begin is the least key that a page may hold: the prefix itself, or the
// successor of the last key of the page before.
func begin(l *kvpb.List) []byte {
	if after := l.GetAfter(); len(after) > 0 && bytes.Compare(after, l.GetPrefix()) >= 0 {
		return append(bytes.Clone(after), 0)
	}
	return l.GetPrefix()
}

// wire shares the entry's slices; they are only read, to be marshalled.
func (e entry) wire(keyOnly bool) *kvpb.Entry {
	w := &kvpb.Entry{Key: e.key, Revision: e.revision}
	if !keyOnly {
		w.Value = e.value
	}
	return w
}
