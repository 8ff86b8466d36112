package capacity

import (
	"fmt"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines/capacity/exact"
)

// parentLease is what a leadership knows of its lease from the parent.
type parentLease struct {
	// lead is the leadership that told; 0 when none did.
	lead     uint64
	capacity float64
	expires  int64
	// safeShare is what to divide without a lease.
	safeShare float64
}

// setParent takes note of the lease. One that was counted in another leadership
// means nothing here: the clock may have stood still in between.
func (m *Machine) setParent(p *capacitypb.ParentLease) (capacitypb.Outcome, error) {
	switch {
	case !amount(p.GetCapacity()) || !amount(p.GetSafeShare()):
		return 0, refusal("the capacity or the safe share is negative or not a finite number")
	case p.GetExpires() < 0:
		return 0, refusal(fmt.Sprintf("the lease expires at %d, before the clock began", p.GetExpires()))
	case m.def == nil:
		return capacitypb.Outcome_OUTCOME_NOT_CONFIGURED, nil
	case p.GetLead() != m.lead || m.lead == 0:
		return capacitypb.Outcome_OUTCOME_STALE, nil
	}
	m.parent = parentLease{
		lead: m.lead, expires: p.GetExpires(),
		capacity: exact.Amount(p.GetCapacity()), safeShare: exact.Amount(p.GetSafeShare()),
	}
	return capacitypb.Outcome_OUTCOME_OK, nil
}

// ready tells whether decisions can be made: a child's leadership says first what
// it holds of the parent. Until then to answer would cut every client off, or give
// what is not there.
func (m *Machine) ready() bool {
	return m.def.pb.GetParent() == "" || (m.lead != 0 && m.parent.lead == m.lead)
}

// leased tells whether the lease from the parent runs.
func (m *Machine) leased() bool {
	return m.def.pb.GetParent() != "" && m.parent.lead == m.lead && m.lead != 0 && m.parent.expires > 0 && m.now <= m.parent.expires
}

// capacity in force now.
func (m *Machine) capacity() float64 {
	switch {
	case m.def.pb.GetParent() == "":
		return m.def.capacity
	case m.leased():
		return min(m.def.capacity, m.parent.capacity)
	}
	return min(m.def.capacity, m.parent.safeShare)
}

// nominal is the capacity that the dynamic safe capacity is an equal share of: it
// does not fall when a lease from the parent ends.
func (m *Machine) nominal() float64 {
	if m.def.pb.Capacity == nil {
		return m.parent.capacity
	}
	return m.def.capacity
}
