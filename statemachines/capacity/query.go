package capacity

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines"
)

// Query implements statemachines.Machine.
func (m *Machine) Query(data []byte) ([]byte, error) {
	q, err := decodeQuery(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", statemachines.ErrInvalidQuery, err)
	}
	a := &capacitypb.Answer{Time: m.now}
	switch op := q.GetOp().(type) {
	case *capacitypb.Query_Describe:
		a.Summary = m.describe()
	case *capacitypb.Query_List:
		m.list(op.List, a)
	case *capacitypb.Query_Find:
		if c := m.roster.byID[op.Find.GetClientId()]; c != nil {
			a.Holders = append(a.Holders, m.holder(c))
		}
	}
	return proto.Marshal(a)
}

// CheckQuery says what is wrong with a query, or nil.
func CheckQuery(q *capacitypb.Query) error {
	switch op := q.GetOp().(type) {
	case *capacitypb.Query_Describe:
		return nil
	case *capacitypb.Query_List:
		if op.List.GetLimit() > MaxPage {
			return refusal(fmt.Sprintf("the limit is %d, at most %d is allowed", op.List.GetLimit(), MaxPage))
		}
		return nil
	case *capacitypb.Query_Find:
		return checkID([]byte(op.Find.GetClientId()))
	}
	return refusal("the query names no operation: set describe, list or find")
}

func decodeQuery(data []byte) (*capacitypb.Query, error) {
	if _, _, n := protowire.ConsumeField(data); n != len(data) {
		return nil, refusal("the query names no operation or several, want exactly one")
	}
	q := &capacitypb.Query{}
	if proto.Unmarshal(data, q) != nil {
		return nil, refusal("the query cannot be read: want a drumline.capacity.Query")
	}
	if unknown(q) || unknown(q.GetDescribe()) || unknown(q.GetList()) || unknown(q.GetFind()) {
		return nil, refusal("the query has a field that this version does not know")
	}
	return q, CheckQuery(q)
}

// describe sums the resource up. It finds no water levels of its own: queries run
// beside each other and write nothing.
func (m *Machine) describe() *capacitypb.Summary {
	s := &capacitypb.Summary{
		Revision: m.revision, Generation: m.generation, N: m.n,
		Granted: m.sums.granted.Value(), Reserved: m.sums.reserved.Value(), Wants: m.sums.wants.Value(),
		Holders: uint64(len(m.roster.byID)), Clients: m.sums.weight,
	}
	if m.learning() {
		s.LearningUntil = m.learningUntil
	}
	if m.held() {
		s.HeldUntil = m.heldUntil
	}
	if m.def == nil {
		return s
	}
	s.Definition, s.Capacity, s.SafeShare = m.def.pb, m.capacity(), m.parent.safeShare
	if m.parent.lead != 0 && m.parent.lead == m.lead {
		s.Parent = &capacitypb.ParentLease{
			Capacity: m.parent.capacity, Expires: m.parent.expires, Lead: m.parent.lead, SafeShare: m.parent.safeShare,
		}
	}
	m.describeLevels(s)
	return s
}

// describeLevels adds the bands, and who gets how much of what.
func (m *Machine) describeLevels(s *capacitypb.Summary) {
	look := m.shares.look(s.GetCapacity())
	switch m.def.algorithm {
	case capacitypb.Algorithm_ALGORITHM_FAIR_SHARE:
		s.Level = look.all.pb()
	case capacitypb.Algorithm_ALGORITHM_PROPORTIONAL_SHARE:
		if s.GetWants() > s.GetCapacity() {
			s.Level = proto.Float64(s.GetCapacity() / float64(s.GetClients()))
		}
	}
	for i, b := range m.shares.bands {
		s.Bands = append(s.Bands, &capacitypb.BandSummary{
			Priority: b.priority, Clients: b.weight, Wants: b.wants.Value(), Level: look.bands[i].pb(),
		})
	}
}

// pb is the level if there is one.
func (w water) pb() *float64 {
	if !w.limited {
		return nil
	}
	return proto.Float64(w.level)
}

// list collects a page, by slot; a cursor is the slot after the last.
func (m *Machine) list(l *capacitypb.List, a *capacitypb.Answer) {
	limit := int(l.GetLimit())
	if limit == 0 {
		limit = DefaultPage
	}
	if l.GetAfter() >= MaxClients {
		return
	}
	eachOf(m.roster.pages, uint32(l.GetAfter()), func(c *client) bool {
		if len(a.GetHolders()) == limit {
			a.Next = uint64(c.slot)
			return false
		}
		a.Holders = append(a.Holders, m.holder(c))
		return true
	})
}

func (m *Machine) holder(c *client) *capacitypb.Holder {
	h := &capacitypb.Holder{
		ClientId: c.id, Granted: c.newest.capacity, Expires: c.newest.expires, Reserved: c.reserved,
		Token: &capacitypb.Token{Generation: m.generation, N: c.n}, Serial: c.serial,
	}
	for _, b := range c.bands {
		h.Bands = append(h.Bands, &capacitypb.Band{Priority: b.priority, Clients: b.weight, Wants: b.wants})
	}
	return h
}
