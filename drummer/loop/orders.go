package loop

import (
	"maps"
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/planner"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// Pauses before an order is sent again.
const (
	firstRetry = 250 * time.Millisecond // after the first failure; doubled with each further one
	lastRetry  = 5 * time.Second        // at most, and after a refusal
	afterOK    = time.Second            // for the report to tell what the answer told
	forgetSlot = time.Minute            // after the planner wanted it last
	avoidHost  = time.Minute            // after it refused to start a replica of the group
)

// slot is what an order is about: the same order is not on its way twice. It holds
// no generation, which moves for other reasons.
type slot struct {
	host           string
	group, replica uint64
	kind           string
	change         drummerpb.ChangeKind
	target         uint64
	configChange   uint64
}

func slotOf(o *drummerpb.Order) slot {
	s := slot{host: o.GetHostId(), group: o.GetGroup(), replica: o.GetReplica()}
	switch b := o.GetBody().(type) {
	case *drummerpb.Order_Start:
		s.kind = "start"
	case *drummerpb.Order_Open:
		s.kind = "open"
	case *drummerpb.Order_Seal:
		s.kind = "seal"
	case *drummerpb.Order_Change:
		s.kind, s.change, s.target, s.configChange = "change", b.Change.GetKind(), b.Change.GetReplica(), b.Change.GetConfigChange()
	case *drummerpb.Order_CatchUp:
		s.kind = "catch-up"
	case *drummerpb.Order_Destroy:
		s.kind = "destroy"
	case *drummerpb.Order_Transfer:
		s.kind, s.target = "transfer", b.Transfer.GetTo()
	case *drummerpb.Order_Raise:
		s.kind = "raise"
	case *drummerpb.Order_Tune:
		s.kind = "tune"
	case *drummerpb.Order_Retire:
		s.kind = "retire"
	case *drummerpb.Order_Load:
		s.kind = "load"
	}
	return s
}

// changes tells whether the order changes a membership, or takes a member away for a moment:
// nothing else is done to the group meanwhile, and what was proven before it is proven anew.
func (s slot) changes() bool {
	return s.kind == "tune" || s.kind == "change" && s.change != drummerpb.ChangeKind_CHANGE_KIND_UNSPECIFIED
}

// slotState is the fate of the orders of a slot.
type slotState struct {
	order  *order        // on its way; nil for none
	until  time.Duration // nothing is sent before
	fails  int
	wanted time.Duration // when the planner wanted it last
}

// order is an order on its way.
type order struct {
	slot    slot
	session uint64
	message *drummerpb.Order
	first   time.Duration // when it was sent first
	sent    time.Duration // for the last time
}

// order sends an order to the session of its host, unless it is on its way or to
// be held back.
func (c *Core) order(o *drummerpb.Order) {
	h := c.hosts[ids.Host(o.GetHostId())]
	if h == nil || !h.live {
		return
	}
	at := slotOf(o)
	st := c.slots[at]
	if st == nil {
		st = &slotState{}
		c.slots[at] = st
	}
	st.wanted = c.now
	if c.now < st.until {
		return
	}
	if st.order == nil {
		c.nextOrder++
		st.order = &order{slot: at, session: h.session.id, first: c.now}
		o.Id = c.nextOrder
		c.orders[o.Id] = st.order
	} else if c.now-st.order.sent < c.o.Resend {
		return
	} else {
		o.Id = st.order.message.GetId()
	}
	o.Incarnation, o.Term = c.view.Incarnation(), c.term
	st.order.message, st.order.sent = o, c.now
	if at.changes() {
		// What the observer had before this change proves nothing for the next one.
		g := c.group(ids.Group(o.GetGroup()))
		g.Changing = true
		clear(g.CaughtUp)
		delete(g.Absent, ids.Replica(at.target))
		c.changes[ids.Group(o.GetGroup())] = o.GetId()
	}
	c.emit(Send{h.session.id, &drummerpb.SupervisorMessage{Body: &drummerpb.SupervisorMessage_Order{Order: o}}})
}

// expire gives up waiting for membership orders, so that the planner may think
// again; their config change id makes a late one harmless. It forgets slots that
// nobody wants.
func (c *Core) expire() {
	for at, st := range c.slots {
		if st.order != nil && at.changes() && c.now-st.order.sent >= c.o.Resend {
			c.settle(st.order)
		}
		if c.now-st.wanted > forgetSlot {
			c.remove(st)
			delete(c.slots, at)
		}
	}
}

// settle lets the planner change the group's membership again, if no newer change than
// this one was ordered since: what became of an older one says nothing of that.
func (c *Core) settle(o *order) {
	id := ids.Group(o.slot.group)
	if g := c.groups[id]; g != nil && o.slot.changes() && c.changes[id] == o.message.GetId() {
		c.touch(id)
		g.Changing = false
	}
}

// remove forgets the order of a slot.
func (c *Core) remove(st *slotState) {
	if st.order != nil {
		delete(c.orders, st.order.message.GetId())
		st.order = nil
	}
}

// dropOrders forgets the orders of a session that has ended; what became of them
// shows in the next reports.
func (c *Core) dropOrders(session uint64) {
	for _, id := range slices.Sorted(maps.Keys(c.orders)) {
		if o := c.orders[id]; o.session == session {
			c.settle(o)
			c.remove(c.slots[o.slot])
		}
	}
}

// answered takes the answer to an order.
func (c *Core) answered(e Answered) {
	s := c.heard(e.Session)
	o := c.orders[e.Result.GetOrder()]
	if s == nil || o == nil || o.session != e.Session {
		return
	}
	st := c.slots[o.slot]
	c.remove(st)
	c.settle(o)
	c.sawMembership(ids.Group(o.slot.group), e.Result.GetMembership())
	if e.Result.GetOk() {
		st.fails, st.until = 0, c.now+afterOK
		c.obeyed(s, o, e.Result)
		return
	}
	st.fails++
	st.until = c.now + min(firstRetry<<min(st.fails-1, 8), lastRetry)
	if e.Result.GetRefused() {
		st.until = c.now + lastRetry
		c.refused(o, e.Result.GetDetail())
	}
}

// obeyed takes over what the success of an order tells by itself.
func (c *Core) obeyed(s *session, o *order, r *drummerpb.OrderResult) {
	st := c.slots[o.slot]
	ref := planner.Ref{Group: ids.Group(o.slot.group), Replica: ids.Replica(o.slot.replica)}
	switch o.slot.kind {
	case "catch-up":
		st.until = c.now
		// What lay on its way tells how it was then: behind a link that failed, before others went.
		if o.message.GetId() > c.changes[ref.Group] && c.now-o.first <= c.o.Resend {
			c.group(ref.Group).CaughtUp[ref.Replica] = c.now
		}
	case "change":
		st.until = c.now + firstRetry
		target, m := o.slot.target, r.GetMembership()
		_, voter := m.GetVoters()[target]
		_, observer := m.GetObservers()[target]
		if o.slot.change == drummerpb.ChangeKind_CHANGE_KIND_REMOVE && len(m.GetVoters()) > 0 && !voter && !observer {
			c.group(ref.Group).Absent[ids.Replica(target)] = true
		}
	case "destroy":
		c.destroyed(s, ref)
	}
}

// refused remembers that a host will not start a replica, so that another is chosen.
func (c *Core) refused(o *order, detail string) {
	if o.slot.kind != "start" {
		return
	}
	c.group(ids.Group(o.slot.group)).Refused[ids.Replica(o.slot.replica)] = detail
	name := statemachines.NameOf(o.message.GetStart())
	if c.refusers[name] == nil {
		c.refusers[name] = map[ids.Host]time.Duration{}
	}
	c.refusers[name][ids.Host(o.slot.host)] = c.now + avoidHost
}
