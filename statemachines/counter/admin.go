package counter

import (
	counterpb "github.com/drumline/drumline/drummerpb/counter"
)

// administer applies what is rarer than counting.
func (m *Machine) administer(cmd *counterpb.Command) *counterpb.Result {
	switch op := cmd.GetOp().(type) {
	case *counterpb.Command_Reset_:
		return m.reset(op.Reset_.GetKey())
	case *counterpb.Command_Delete:
		return m.delete(op.Delete.GetKey())
	case *counterpb.Command_Create:
		return m.create(op.Create.GetKey())
	case *counterpb.Command_Transfer:
		return m.transfer(op.Transfer)
	case *counterpb.Command_Retire:
		return m.retire(op.Retire.GetRegion())
	case *counterpb.Command_Settle:
		return m.settle(op.Settle.GetRegion())
	case *counterpb.Command_Forget:
		return m.forget(op.Forget)
	}
	return m.configure(cmd.GetConfigure())
}

// existing is a counter that is there and safe to change.
func (m *Machine) existing(key string) (*counter, *counterpb.Result) {
	if c := m.index[key]; c == nil || c.deleted {
		return nil, refuse(counterpb.Outcome_OUTCOME_NOT_FOUND, "there is no counter %q", key)
	}
	return m.own(key), nil
}

// reset takes off what is known of every slot.
func (m *Machine) reset(key string) *counterpb.Result {
	if m.settings.GetBounded() {
		return refuse(counterpb.Outcome_OUTCOME_BOUND, "a bounded counter is not reset, for other regions may use what is taken off: subtract, or delete it")
	}
	c, refused := m.existing(key)
	if refused != nil {
		return refused
	}
	m.change(c, nil)
	c.all(func(s *slot) {
		if s.baseAdded == s.added && s.baseSubtracted == s.subtracted {
			return
		}
		s.baseAdded, s.baseSubtracted = s.added, s.subtracted
		s.version, s.ours = c.ours, c.ours
	})
	return m.done(c)
}

func (m *Machine) delete(key string) *counterpb.Result {
	c, refused := m.existing(key)
	if refused != nil {
		return refused
	}
	c.begin(c.newest(), true)
	m.bury(c)
	m.change(c, nil)
	r := m.done(nil)
	m.dropAlone()
	return r
}

func (m *Machine) create(key string) *counterpb.Result {
	c := m.index[key]
	switch {
	case c != nil && !c.deleted:
		return refuse(counterpb.Outcome_OUTCOME_EXISTS, "there is a counter %q", key)
	case c == nil && m.full():
		return refuse(counterpb.Outcome_OUTCOME_FULL, "the group holds %d counters, which is all it may", len(m.index))
	}
	c = m.alive(key)
	m.change(c, m.mine(c))
	return m.done(c)
}

// transfer gives rights to the newest life of a region.
func (m *Machine) transfer(t *counterpb.Transfer) *counterpb.Result {
	if !m.settings.GetBounded() {
		return refuse(counterpb.Outcome_OUTCOME_BOUND, "the counter is not bounded: there are no rights to transfer")
	}
	var to *peer
	for i := range m.peers {
		if p := &m.peers[i]; p.region == t.GetTo() && !p.past && !p.retired {
			to = p
		}
	}
	c, refused := m.existing(t.GetKey())
	switch {
	case refused != nil:
		return refused
	case to == nil:
		return refuse(counterpb.Outcome_OUTCOME_NOT_FOUND, "no region %q is known and alive", t.GetTo())
	}
	if rights := m.rights(c); rights < 0 || t.GetAmount() > uint64(rights) {
		return refuse(counterpb.Outcome_OUTCOME_BOUND, "the region holds rights for %d, and %d are to be transferred", max(rights, 0), t.GetAmount())
	}
	s := m.mine(c)
	*s.given.to(to.origin) += t.GetAmount()
	m.change(c, s)
	return m.done(c)
}

// retire ends all lives of a region.
func (m *Machine) retire(region string) *counterpb.Result {
	if region == m.self.region {
		return refuse(counterpb.Outcome_OUTCOME_RETIRED, "region %q is the group's own: retire it from another one", region)
	}
	found := false
	for _, p := range m.peers {
		if p.region == region {
			found = true
			m.retireOrigin(p.origin)
		}
	}
	if !found {
		return refuse(counterpb.Outcome_OUTCOME_NOT_FOUND, "no region %q is known", region)
	}
	return m.done(nil)
}

// settle tells the group its region. Nobody has been told of another one yet, for a
// group without a region is not asked.
func (m *Machine) settle(region string) *counterpb.Result {
	if m.self.region != "" && m.self.region != region {
		return refuse(counterpb.Outcome_OUTCOME_INVALID, "the group counts for region %q already", m.self.region)
	}
	m.self.region = region
	return m.done(nil)
}
