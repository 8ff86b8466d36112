package replicas

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/mutant"
	"github.com/drumline/drumline/nodehost/replicas/life"
	"github.com/drumline/drumline/statemachines"
)

// maxLaunchMembers bounds the members of a launch; groups have at most 7 voters.
const maxLaunchMembers = 16

// order checks an order and begins to obey it.
func (c *Core) order(token uint64, o *drummerpb.Order) {
	if why := c.check(o); why != "" {
		c.refuse(token, o, why)
		return
	}
	c.raiseFence(Fence{o.GetIncarnation(), o.GetTerm()})
	switch body := o.GetBody().(type) {
	case *drummerpb.Order_Start:
		c.orderStart(token, o, body.Start)
	case *drummerpb.Order_Destroy:
		c.orderDestroy(token, o)
	case *drummerpb.Order_Retire:
		c.orderRetire(token, o)
	case *drummerpb.Order_Tune:
		c.orderTune(token, o, settingsOf(body.Tune.GetRaft()))
	default:
		c.orderRaft(token, o)
	}
}

func (c *Core) refuse(token uint64, o *drummerpb.Order, why string) {
	c.answer(token, &drummerpb.OrderResult{Order: o.GetId(), Refused: true, Detail: why})
}

func (c *Core) notYet(token uint64, o *drummerpb.Order, why string) {
	c.answer(token, &drummerpb.OrderResult{Order: o.GetId(), Detail: why})
}

func (c *Core) obeyed(token uint64, o *drummerpb.Order) {
	c.answer(token, &drummerpb.OrderResult{Order: o.GetId(), Ok: true})
}

// check says why an order must not be obeyed, whatever it orders; empty means it may.
func (c *Core) check(o *drummerpb.Order) string {
	f := Fence{o.GetIncarnation(), o.GetTerm()}
	g := ids.Group(o.GetGroup())
	switch {
	case ids.Host(o.GetHostId()) != c.self.Host:
		return fmt.Sprintf("the order is for host %q, this is %q", o.GetHostId(), c.self.Host)
	case o.GetBootEpoch() != c.self.BootEpoch:
		return fmt.Sprintf("the order is for boot %d of this host, this is boot %d", o.GetBootEpoch(), c.self.BootEpoch)
	case f.Before(c.fence):
		return fmt.Sprintf("the order is of incarnation %d term %d, the host obeys incarnation %d term %d",
			f.Incarnation, f.Term, c.fence.Incarnation, c.fence.Term)
	case g < ids.FirstGroup || o.GetReplica() == 0:
		return fmt.Sprintf("group %d replica %d is no replica of the fleet", g, o.GetReplica())
	case o.GetGeneration() < c.generation(g) && !mutant.Is("destroy-by-group"):
		return fmt.Sprintf("the order is of generation %d of group %d, the host has obeyed generation %d",
			o.GetGeneration(), g, c.generation(g))
	case o.GetBody() == nil:
		return "the order says nothing that this program understands; the drummers are newer than the host"
	}
	return ""
}

// generation is the newest obeyed for a group.
func (c *Core) generation(g ids.Group) uint64 {
	n := c.tombs.Generation(g)
	if k, ok := c.local[g]; ok {
		n = max(n, c.replicas[k].Generation)
	}
	return n
}

func (c *Core) orderStart(token uint64, o *drummerpb.Order, s *drummerpb.Start) {
	k := keyOf(o)
	if r := c.replicas[k]; r != nil {
		c.startAgain(token, o, r)
		return
	}
	if c.tombs.Has(k) {
		c.refuse(token, o, fmt.Sprintf("replica %s was destroyed here; its id never returns", k))
		return
	}
	if other, ok := c.local[k.Group]; ok {
		c.notYet(token, o, fmt.Sprintf("replica %s of the same group is still here; it must be destroyed first", other))
		return
	}
	if why := c.checkStart(k, s); why != "" {
		c.refuse(token, o, why)
		return
	}
	r := &replica{Record: Record{
		Group: k.Group, Replica: k.Replica, Name: s.GetName(), Region: s.GetRegion(), Join: s.GetJoin(),
		Generation: o.GetGeneration(), Life: life.Starting, Raft: settingsOf(s.GetRaft()),
	}}
	if !s.GetJoin() {
		r.Members = membersOf(s.GetInitialMembers())
	}
	r.starters = append(r.starters, waiter{token, o.GetId()})
	c.replicas[k], c.local[k.Group] = r, k
	c.save(r)
	c.begin(r)
}

// startAgain answers a Start of what the manifest has: it is done already, or on
// its way, unless the replica is being destroyed.
func (c *Core) startAgain(token uint64, o *drummerpb.Order, r *replica) {
	if r.Life == life.Destroying {
		c.refuse(token, o, fmt.Sprintf("replica %s is being destroyed; its id never returns", r.Key()))
		return
	}
	if r.Life == life.Retiring || r.Life == life.Retired {
		c.refuse(token, o, fmt.Sprintf("replica %s is retired; it never runs again", r.Key()))
		return
	}
	c.raiseGeneration(r, o.GetGeneration())
	c.obeyed(token, o)
}

func (c *Core) raiseGeneration(r *replica, generation uint64) {
	if r.Generation < generation {
		r.Generation = generation
		c.save(r)
	}
}

// checkStart says what is wrong with a Start; all that dragonboat would panic at
// is among it.
func (c *Core) checkStart(k Key, s *drummerpb.Start) string {
	if err := errors.Join(statemachines.CheckGroupName(s.GetName()), statemachines.CheckRegion(s.GetRegion())); err != nil {
		return err.Error()
	}
	app, _, _ := strings.Cut(s.GetName(), "/")
	if app != s.GetApp() {
		return fmt.Sprintf("group %q is of app %q, the order says %q", s.GetName(), app, s.GetApp())
	}
	if err := c.self.Apps(app); err != nil {
		return err.Error()
	}
	if why := checkSettings(settingsOf(s.GetRaft())); why != "" || s.GetJoin() {
		return why
	}
	return c.checkMembers(k, s.GetInitialMembers())
}

func (c *Core) checkMembers(k Key, members map[uint64]string) string {
	if ids.Host(members[uint64(k.Replica)]) != c.self.Host {
		return fmt.Sprintf("the initial members do not have replica %d on this host", k.Replica)
	}
	if len(members) > maxLaunchMembers {
		return fmt.Sprintf("%d initial members, at most %d are allowed", len(members), maxLaunchMembers)
	}
	hosts := make(map[string]uint64, len(members))
	for _, id := range slices.Sorted(maps.Keys(members)) {
		host := members[id]
		if other, twice := hosts[host]; twice {
			return fmt.Sprintf("initial members %d and %d are on the same host", other, id)
		}
		if id == 0 || host == "" {
			return "an initial member has no number or no host"
		}
		hosts[host] = id
	}
	return ""
}

func membersOf(m map[uint64]string) map[ids.Replica]ids.Host {
	out := make(map[ids.Replica]ids.Host, len(m))
	for r, h := range m {
		out[ids.Replica(r)] = ids.Host(h)
	}
	return out
}

// orderDestroy obeys at once when there is nothing: the tombstone is left all the
// same, against a Start that is still on its way.
func (c *Core) orderDestroy(token uint64, o *drummerpb.Order) {
	k := keyOf(o)
	if other, ok := c.local[k.Group]; ok && mutant.Is("destroy-by-group") {
		k = other
	}
	r := c.replicas[k]
	if r == nil {
		if !c.tombs.Has(k) || c.tombs.Generation(k.Group) < o.GetGeneration() {
			c.bury(k, o.GetGeneration())
		}
		c.obeyed(token, o)
		c.do(Changed{Key: k, Gone: true})
		return
	}
	if len(r.destroyers) >= maxWaiters {
		c.notYet(token, o, "the replica is being destroyed")
		return
	}
	r.destroyers = append(r.destroyers, waiter{token, o.GetId()})
	if r.Life != life.Destroying {
		r.Life, r.Generation, r.up, r.detail = life.Destroying, max(r.Generation, o.GetGeneration()), false, ""
		c.save(r)
		c.do(Changed{Key: k})
	}
	c.beginDestroy(r)
}

// orderRaft hands an order to raft, one at a time for a group: a second one would
// only wait for the same quorum.
func (c *Core) orderRaft(token uint64, o *drummerpb.Order) {
	k := keyOf(o)
	r := c.replicas[k]
	if r == nil {
		c.notYet(token, o, fmt.Sprintf("replica %s is not here", k))
		return
	}
	if r.Life == life.Destroying || r.Life == life.Retired {
		c.refuse(token, o, fmt.Sprintf("replica %s is being destroyed, or retired", k))
		return
	}
	if now := c.executing[k.Group]; now != nil {
		if now.GetId() == o.GetId() && now.GetTerm() == o.GetTerm() {
			c.answer(token, nil)
			return
		}
		c.notYet(token, o, fmt.Sprintf("order %d of this group is being obeyed", now.GetId()))
		return
	}
	if o.GetChange() != nil && c.stale() {
		c.notYet(token, o, stoodStill)
		return
	}
	c.raiseGeneration(r, o.GetGeneration())
	c.executing[k.Group] = o
	c.do(Execute{token, o})
}

func keyOf(o *drummerpb.Order) Key { return KeyOf(o.GetGroup(), o.GetReplica()) }
