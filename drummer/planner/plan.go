package planner

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// Fresh is how recently a catch-up gate must have answered, and a survivor must
// have been heard, for a removal or a promotion to be decided on it: two heartbeats.
const Fresh = 2 * time.Second

// priority orders the actions of a plan: what brings back redundancy first.
type priority int

const (
	repairing priority = iota
	recording
	serving
	launching
	clearing
	tidying
)

// ranked is an action with its priority.
type ranked struct {
	Action
	priority priority
}

// pass is the making of one plan.
type pass struct {
	View
	policy *fleetpb.Policy
	hosts  []*fleetpb.Host // that are not lost, by id
	known  map[string]*fleetpb.Host

	busy     map[ids.Group]bool // a command of theirs is proposed
	load     map[string]int     // replicas by host, those planned in this pass included
	building map[string]int     // replicas being built by host
	total    int                // replicas being built in all

	actions  []ranked
	reasons  map[ids.Group][]string
	leftover map[ids.Group][]string // reasons that come after all others
	requests []request
	nothing  Group // known of a group that was never heard of
}

// Plan returns the next safe steps.
func Plan(v View) Result {
	p := &pass{
		View:     v,
		policy:   v.Fleet.Policy(),
		known:    map[string]*fleetpb.Host{},
		busy:     map[ids.Group]bool{},
		load:     map[string]int{},
		building: map[string]int{},
		reasons:  map[ids.Group][]string{},
		leftover: map[ids.Group][]string{},
	}
	p.count()
	for g := range v.Fleet.Groups() {
		p.step(g)
	}
	p.grant()
	for id, reasons := range p.leftover {
		p.reasons[id] = append(p.reasons[id], reasons...)
	}
	slices.SortStableFunc(p.actions, func(a, b ranked) int { return cmp.Compare(a.priority, b.priority) })
	r := Result{Reasons: p.reasons, Actions: make([]Action, 0, len(p.actions))}
	for _, a := range p.actions {
		r.Actions = append(r.Actions, a.Action)
	}
	return r
}

// count takes stock of hosts, of what is on them, and of what is on its way.
func (p *pass) count() {
	for h := range p.Fleet.Hosts() {
		p.known[h.GetId()] = h
		if !h.GetLost() {
			p.hosts = append(p.hosts, h)
		}
	}
	for g := range p.Fleet.Groups() {
		for _, r := range g.GetReplicas() {
			if active(r) && g.GetState() != fleetpb.GroupState_GROUP_STATE_RETIRED {
				p.load[r.GetHostId()]++
			}
		}
		if c := candidate(g); c != nil && p.moving(g, c) {
			p.building[c.GetHostId()]++
			p.total++
		}
	}
	for _, c := range p.Pending {
		p.pending(c)
	}
}

// pending counts what a proposed command will do.
func (p *pass) pending(c *fleetpb.Command) {
	switch op := c.GetOp().(type) {
	case *fleetpb.Command_Place:
		p.busy[ids.Group(op.Place.GetGroup())] = true
		for _, h := range op.Place.GetHostIds() {
			p.load[h]++
		}
	case *fleetpb.Command_AddReplica:
		p.busy[ids.Group(op.AddReplica.GetGroup())] = true
		p.load[op.AddReplica.GetHostId()]++
		p.building[op.AddReplica.GetHostId()]++
		p.total++
	default:
		if id := GroupOf(c); id != 0 {
			p.busy[id] = true
		}
	}
}

// GroupOf returns the group that a command changes; 0 when it is no single one.
func GroupOf(c *fleetpb.Command) ids.Group {
	type grouped interface{ GetGroup() uint64 }
	var op grouped
	switch o := c.GetOp().(type) {
	case *fleetpb.Command_Place:
		op = o.Place
	case *fleetpb.Command_Abandon:
		op = o.Abandon
	case *fleetpb.Command_ReplicasStarted:
		op = o.ReplicasStarted
	case *fleetpb.Command_Advance:
		op = o.Advance
	case *fleetpb.Command_AddReplica:
		op = o.AddReplica
	case *fleetpb.Command_Membership:
		op = o.Membership
	case *fleetpb.Command_Purged:
		op = o.Purged
	default:
		return 0
	}
	return ids.Group(op.GetGroup())
}

// step plans one group. Data of replicas that are no members is removed whatever
// else goes on; of the rest the first checker that has something to do wins.
func (p *pass) step(g *fleetpb.Group) {
	if p.untroubled(g) {
		return
	}
	p.destroy(g)
	if p.busy[ids.Group(g.GetId())] {
		p.reason(g, "a change of the record is under way")
		return
	}
	switch g.GetState() {
	case fleetpb.GroupState_GROUP_STATE_LAUNCHING:
		p.launch(g)
	case fleetpb.GroupState_GROUP_STATE_OPENING:
		p.open(g)
		p.maintain(g)
	case fleetpb.GroupState_GROUP_STATE_OPEN:
		p.maintain(g)
	case fleetpb.GroupState_GROUP_STATE_SEALING:
		p.seal(g)
	case fleetpb.GroupState_GROUP_STATE_PURGING:
		p.purge(g)
	case fleetpb.GroupState_GROUP_STATE_RETIRED:
		p.retired(g)
		p.purge(g)
	}
}

// untroubled tells, without the work of the checkers, that none of them would find
// anything: nearly all groups are so nearly always.
func (p *pass) untroubled(g *fleetpb.Group) bool {
	o := p.observed(g)
	if g.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN || len(g.GetReplicas()) != int(g.GetSpec().GetReplicas()) ||
		o.Membership.GetConfigChange() > g.GetConfigChange() || len(o.Membership.GetObservers()) > 0 {
		return false
	}
	for _, r := range g.GetReplicas() {
		_, member := o.Membership.GetVoters()[r.GetId()]
		if r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_STARTED || !r.GetVoter() || p.condition(g, r) != live ||
			o.Membership != nil && !member {
			return false
		}
		if rep := p.report(g, r); rep.GetServing() && rep.GetOpened() && rep.GetVersion() < p.version(g) {
			return false
		}
	}
	return true
}

// maintain keeps a group whole.
func (p *pass) maintain(g *fleetpb.Group) {
	for _, check := range []func(*fleetpb.Group){p.recordStarted, p.repair, p.purge, p.raise} {
		if p.busy[ids.Group(g.GetId())] {
			return
		}
		check(g)
	}
}

// propose plans a command; the group gets no other one in this pass.
func (p *pass) propose(at priority, g *fleetpb.Group, c *fleetpb.Command, why string) {
	p.busy[ids.Group(g.GetId())] = true
	p.actions = append(p.actions, ranked{Action{Group: ids.Group(g.GetId()), Command: c, Why: why}, at})
}

// order plans an order for a replica's host.
func (p *pass) order(at priority, g *fleetpb.Group, r *fleetpb.Replica, o *drummerpb.Order, why string) {
	o.HostId = r.GetHostId()
	o.BootEpoch = p.known[r.GetHostId()].GetBootEpoch()
	o.Group, o.Replica, o.Generation = g.GetId(), r.GetId(), g.GetGeneration()
	p.actions = append(p.actions, ranked{Action{Group: ids.Group(g.GetId()), Order: o, Why: why}, at})
}

// reason notes why a group is not as it is wanted.
func (p *pass) reason(g *fleetpb.Group, format string, args ...any) {
	id := ids.Group(g.GetId())
	p.reasons[id] = append(p.reasons[id], fmt.Sprintf(format, args...))
}

// observed returns what is known of a group; never nil.
func (p *pass) observed(g *fleetpb.Group) *Group {
	if o := p.Observed.Groups[ids.Group(g.GetId())]; o != nil {
		return o
	}
	return &p.nothing
}

// host returns what is known of a host; one never heard counts as suspect.
func (p *pass) host(id string) *Host { return p.Observed.Host(ids.Host(id)) }

// Host returns what is known of a host; never nil. One never heard is suspect.
func (o *Observed) Host(id ids.Host) *Host {
	if h := o.Hosts[id]; h != nil {
		return h
	}
	return &Host{State: Suspect}
}

// name is a host's name for people.
func (p *pass) name(id string) string {
	if h := p.known[id]; h != nil {
		return h.GetName()
	}
	return id
}
