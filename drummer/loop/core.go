package loop

import (
	"time"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/planner"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// Core is the loop's state. It is not safe for concurrent use: one goroutine steps it.
type Core struct {
	o Options
	leadership

	// nextOrder and nextToken ascend through all leaderships, so that what belongs to
	// an earlier one is not mistaken for something of this one.
	nextOrder, nextToken uint64

	now time.Duration // of the step being taken
	out []Effect
}

// leadership is all that is forgotten with the lead.
type leadership struct {
	leading bool
	term    uint64
	clock   clock
	view    *fleet.View // of the last pass; nil before the first

	sessions map[uint64]*session
	hosts    map[ids.Host]*host
	groups   map[ids.Group]*planner.Group
	memory   *planner.Memory
	refusers map[string]map[ids.Host]time.Duration // until when, by group name

	orders     map[uint64]*order
	slots      map[slot]*slotState
	changes    map[ids.Group]uint64 // last membership order
	proposals  map[uint64]*proposal
	proposing  map[string]bool          // keys of proposals
	holds      map[string]time.Duration // until when a proposal is not repeated, by key
	addresses  map[ids.Host]*drummerpb.HostAddress
	addressed  uint64            // revision of the record that addresses is of
	told       []string          // drummers that the sessions were told of
	configured map[string]uint64 // revision of each app's configuration that was told

	sights   sights // of the last pass
	still    stillness
	settling bool
	steady   time.Duration // memberships are not changed before
	reasons  map[ids.Group][]string
	wall     int64 // of the last pass, in milliseconds

	hostReasons map[ids.Host][]string
}

// New makes a Core that does not lead.
func New(o Options) *Core { return &Core{o: o.withDefaults()} }

// Step takes an event at a time (monotonic, since any origin) and returns what to do.
func (c *Core) Step(e Event, now time.Duration) []Effect {
	c.now, c.out = now, nil
	switch e := e.(type) {
	case Led:
		c.disconnectAll("another leadership begins")
		c.lead(e.Term)
	case Unled:
		c.disconnectAll("this drummer leads no more")
		c.leadership = leadership{}
	case Connected:
		c.still = stillness{}
		c.connected(e)
	default:
		if c.leading {
			c.observe(e)
		}
	}
	return c.out
}

// observe handles the events that mean nothing without the lead.
func (c *Core) observe(e Event) {
	switch e.(type) {
	case Beat, Pass, Reported: // a report wakes by what it says
	default:
		c.still = stillness{}
	}
	switch e := e.(type) {
	case Reported:
		c.reported(e)
	case Beat:
		if s := c.heard(e.Session); s != nil {
			s.boot, s.age = e.Boot, max(s.age, e.Age)
		}
	case Answered:
		c.answered(e)
	case Opined:
		c.opined(e)
	case Gone:
		c.gone(e)
	case Proposed:
		c.proposed(e)
	case Pass:
		c.wall = e.UnixMs
		c.pass(e.View)
	}
}

// lead begins a leadership that knows nothing.
func (c *Core) lead(term uint64) {
	c.leadership = leadership{
		leading:    true,
		settling:   true, // until the first pass says that it is not
		term:       term,
		clock:      startClock(c.now),
		sessions:   map[uint64]*session{},
		hosts:      map[ids.Host]*host{},
		groups:     map[ids.Group]*planner.Group{},
		memory:     planner.NewMemory(),
		refusers:   map[string]map[ids.Host]time.Duration{},
		orders:     map[uint64]*order{},
		slots:      map[slot]*slotState{},
		changes:    map[ids.Group]uint64{},
		proposals:  map[uint64]*proposal{},
		proposing:  map[string]bool{},
		holds:      map[string]time.Duration{},
		addresses:  map[ids.Host]*drummerpb.HostAddress{},
		configured: map[string]uint64{},
	}
}

// pass plans with a new view of the record and carries the plan out.
func (c *Core) pass(v *fleet.View) {
	if v == nil {
		return
	}
	if c.clock.pass(c.now) {
		c.late()
	}
	same := c.view != nil && c.view.Revision() == v.Revision()
	c.view = v
	if !same {
		c.tellConfigurations()
		c.partRemoved()
	}
	c.admitWaiting()
	c.register()
	c.tellAddresses()
	c.forgetHolds()
	if !same {
		c.forget()
	}
	c.expire()
	observed := c.observed(&c.sights)
	if same && c.still.holds(observed) && len(c.proposals) == 0 {
		return
	}
	view := planner.View{Fleet: v, Observed: observed, Pending: c.pending()}
	plan := c.memory.Plan(view)
	if c.o.Planned != nil {
		c.o.Planned(view, plan)
	}
	c.settling, c.reasons, c.hostReasons = observed.Settling, plan.Reasons, plan.HostReasons
	c.still = stillness{}
	if len(plan.Actions)+len(plan.Reasons)+len(c.proposals) == 0 {
		c.still = stillnessOf(observed)
	}
	for i := range plan.Actions {
		a := &plan.Actions[i]
		if a.Command != nil {
			c.propose(keyOf(a), a.Command)
		} else {
			c.order(a.Order)
		}
	}
}

// late notes that the loop did not run for a while. What waited for it in the
// meantime looks new and is not: freshness has to be earned again.
func (c *Core) late() {
	for _, h := range c.hosts {
		h.alive = min(h.alive, c.clock.read(c.now))
	}
	c.steady = c.now + planner.Fresh + PassPeriod
	c.still = stillness{}
}

// forget drops what is known of groups that the record no longer has.
func (c *Core) forget() {
	for id := range c.groups {
		if c.view.Group(id) == nil {
			delete(c.groups, id)
			delete(c.changes, id)
		}
	}
}

// touch has a group looked at again: something was heard of it.
func (c *Core) touch(id ids.Group) {
	c.memory.Touch(id)
	c.still = stillness{}
}

// group returns what is known of a group, to be changed.
func (c *Core) group(id ids.Group) *planner.Group {
	c.touch(id)
	g := c.groups[id]
	if g == nil {
		g = &planner.Group{
			CaughtUp: map[ids.Replica]time.Duration{},
			Absent:   map[ids.Replica]bool{},
			Gone:     map[ids.Replica]bool{},
			Refused:  map[ids.Replica]string{},
		}
		c.groups[id] = g
	}
	return g
}

// policy in force; the default before the first view.
func (c *Core) policy() *fleetpb.Policy {
	if c.view == nil {
		return rules.DefaultPolicy()
	}
	return c.view.Policy()
}

func (c *Core) emit(e Effect) { c.out = append(c.out, e) }
