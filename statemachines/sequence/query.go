package sequence

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/sequence/pages"
	"github.com/drumline/drumline/statemachines/wire"
)

// CheckQuery says what is wrong with a query, or nil.
func CheckQuery(q *sequencepb.Query) error {
	switch op := q.GetOp().(type) {
	case *sequencepb.Query_Describe:
		return CheckKey(op.Describe.GetKey())
	case *sequencepb.Query_List:
		if op.List.GetLimit() > MaxPage {
			return refusal(fmt.Sprintf("the limit is %d, at most %d is allowed", op.List.GetLimit(), MaxPage))
		}
		if err := CheckKey(op.List.GetPrefix()); err != nil {
			return err
		}
		return CheckKey(op.List.GetAfter())
	case *sequencepb.Query_Status:
		return nil
	case *sequencepb.Query_Window:
		return CheckKey(op.Window.GetKey())
	}
	return refusal("the query names no operation: set describe, list, status or window")
}

func decodeQuery(data []byte) (*sequencepb.Query, error) {
	if _, _, n := protowire.ConsumeField(data); n != len(data) || n == 0 {
		return nil, refusal("the query cannot be read, or names more than one operation: want a drumline.sequence.Query")
	}
	q := &sequencepb.Query{}
	if proto.Unmarshal(data, q) != nil {
		return nil, refusal("the query cannot be read: want a drumline.sequence.Query")
	}
	if wire.Unknown(q.ProtoReflect()) {
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
	switch op := q.GetOp().(type) {
	case *sequencepb.Query_Describe:
		x := m.at(op.Describe.GetKey())
		if !x.exists() {
			return proto.Marshal(&sequencepb.Answer{})
		}
		return proto.Marshal(&sequencepb.Answer{Found: true, Sequences: []*sequencepb.Info{m.info(x)}})
	case *sequencepb.Query_List:
		return proto.Marshal(m.list(op.List))
	case *sequencepb.Query_Window:
		return proto.Marshal(&sequencepb.Answer{Window: m.newestWindow(op.Window.GetKey())})
	}
	return proto.Marshal(&sequencepb.Answer{Group: m.groupInfo()})
}

// list collects a page. Keys, owners and numbers are bounded, so 1,000 of them fit a message.
func (m *Machine) list(l *sequencepb.List) *sequencepb.Answer {
	limit := int(or(l.GetLimit(), DefaultPage))
	a := &sequencepb.Answer{}
	from := max(l.GetPrefix(), l.GetAfter())
	m.book.Ascend(from, func(id pages.ID) bool {
		x := m.one(id)
		if l.After != nil && x.key <= l.GetAfter() {
			return true
		}
		if !strings.HasPrefix(x.key, l.GetPrefix()) {
			return false
		}
		if len(a.GetSequences()) == limit {
			a.More = true
			return false
		}
		a.Sequences = append(a.Sequences, m.info(x))
		return true
	})
	return a
}

// info describes a series as it will be when it is next touched. Queries run beside each
// other, so it works on a copy.
func (m *Machine) info(x series) *sequencepb.Info {
	if x.generation != m.generation || x.window != m.now/recentPeriod {
		x = x.peek()
		m.follow(x)
		x.roll(m.now)
	}
	i := &sequencepb.Info{
		Key: x.key, Definition: x.definition(), Incarnation: x.incarnation, Closed: x.generation != m.generation,
		Issued: x.issued, Returned: x.returned, Skipped: x.skipped, Unused: x.unused, Lost: x.lost,
		OutstandingRanges: x.ranges, Outstanding: x.outstanding, Recent: x.previous,
	}
	if x.left() > 0 && x.crew == nil {
		i.Next = proto.Int64(x.number(x.next))
	}
	if x.gaps != nil {
		i.Reserved, i.Vacant, i.Committed = uint64(x.gaps.Held.Len()), uint64(x.gaps.Vacant.Len()), x.gaps.Committed
	}
	if x.crew != nil {
		i.Workers = x.crew.Leased(m.now)
	}
	return i
}

// peek is a copy to look at. Unlike Copied it does not clone trees, which would write to
// them beside other readers; what would be cleared is replaced instead.
func (x series) peek() series {
	t, n := *x.ties, *x.numbers
	if x.gaps != nil {
		g := *x.gaps
		t.gaps = &g
	}
	if x.crew != nil {
		w := *x.crew
		t.crew = &w
	}
	x.ties, x.numbers = &t, &n
	return x
}

func (m *Machine) groupInfo() *sequencepb.GroupInfo {
	return &sequencepb.GroupInfo{
		Group: m.group, Generation: m.generation, Keys: uint64(m.book.Len()), Clients: uint64(len(m.clients)), Records: m.answers,
		Revision: m.revision, Settings: m.settings, Closed: m.closed,
	}
}
