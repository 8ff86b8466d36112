package foresight

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/planner"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// world is a copy of the record and of what is observed, in which orders are obeyed.
type world struct {
	record *fleet.Machine
	seen   *planner.Observed
}

func newWorld(v planner.View) *world {
	w := &world{record: fleet.Fork(v.Fleet), seen: &planner.Observed{
		Now: v.Observed.Now, Refusers: v.Observed.Refusers,
		Hosts: map[ids.Host]*planner.Host{}, Groups: map[ids.Group]*planner.Group{},
	}}
	for id, h := range v.Observed.Hosts {
		c := *h
		c.Replicas = maps.Clone(h.Replicas)
		c.Age = 0
		if c.Replicas == nil {
			c.Replicas = map[planner.Ref]*drummerpb.ReplicaReport{}
		}
		if c.State == planner.Up {
			c.Boot = nil // it gets through
		}
		w.seen.Hosts[id] = &c
	}
	for id, g := range v.Observed.Groups {
		c := *g
		c.CaughtUp, c.Absent, c.Gone, c.Refused = maps.Clone(g.CaughtUp), maps.Clone(g.Absent), maps.Clone(g.Gone), maps.Clone(g.Refused)
		c.Changing = false
		w.seen.Groups[id] = &c
	}
	w.elect()
	return w
}

// apply applies a command to the copy.
func (w *world) apply(c *fleetpb.Command) error { return refusal(w.record.Execute(c)) }

func (w *world) host(id string) *planner.Host {
	h := w.seen.Hosts[ids.Host(id)]
	if h == nil {
		h = &planner.Host{State: planner.Suspect, Replicas: map[planner.Ref]*drummerpb.ReplicaReport{}}
		w.seen.Hosts[ids.Host(id)] = h
	}
	return h
}

func (w *world) group(id uint64) *planner.Group {
	g := w.seen.Groups[ids.Group(id)]
	if g == nil {
		g = &planner.Group{}
		w.seen.Groups[ids.Group(id)] = g
	}
	for _, m := range []*map[ids.Replica]bool{&g.Absent, &g.Gone} {
		if *m == nil {
			*m = map[ids.Replica]bool{}
		}
	}
	return g
}

// enact does what an action says; false when that changes nothing.
func (w *world) enact(a *planner.Action) bool {
	if a.Command != nil {
		return w.apply(a.Command) == nil
	}
	o := a.Order
	if h := w.host(o.GetHostId()); !h.Connected || h.State != planner.Up {
		return false
	}
	g := w.record.Freeze().Group(a.Group)
	switch b := o.GetBody().(type) {
	case *drummerpb.Order_Start:
		w.start(g, o, b.Start)
	case *drummerpb.Order_Open:
		w.each(g, func(r *drummerpb.ReplicaReport) { r.Opened, r.Version = true, b.Open.GetVersion() })
	case *drummerpb.Order_Raise:
		w.each(g, func(r *drummerpb.ReplicaReport) { r.Version = b.Raise.GetVersion() })
	case *drummerpb.Order_Seal:
		w.each(g, func(r *drummerpb.ReplicaReport) { r.Sealed = true })
	case *drummerpb.Order_Change:
		w.change(g, b.Change)
	case *drummerpb.Order_CatchUp:
		caught := w.group(g.GetId())
		if caught.CaughtUp == nil {
			caught.CaughtUp = map[ids.Replica]time.Duration{}
		}
		_, had := caught.CaughtUp[ids.Replica(o.GetReplica())]
		caught.CaughtUp[ids.Replica(o.GetReplica())] = w.seen.Now
		return !had
	case *drummerpb.Order_Destroy:
		w.group(g.GetId()).Gone[ids.Replica(o.GetReplica())] = true
		delete(w.host(o.GetHostId()).Replicas, planner.Ref{Group: a.Group, Replica: ids.Replica(o.GetReplica())})
	case *drummerpb.Order_Tune:
		w.each(g, func(r *drummerpb.ReplicaReport) {
			if r.GetReplica() == o.GetReplica() {
				r.Raft = b.Tune.GetRaft()
			}
		})
	case *drummerpb.Order_Transfer:
		w.leads(g, b.Transfer.GetTo())
	default:
		return false
	}
	return true
}

// start makes a host report a replica that runs.
func (w *world) start(g *fleetpb.Group, o *drummerpb.Order, s *drummerpb.Start) {
	r := &drummerpb.ReplicaReport{
		Group: o.GetGroup(), Replica: o.GetReplica(), Name: s.GetName(), Region: s.GetRegion(), State: drummerpb.ReplicaState_REPLICA_STATE_OK, Observer: s.GetJoin(), Raft: s.GetRaft(),
	}
	w.each(g, func(other *drummerpb.ReplicaReport) {
		r.Opened, r.Version = r.GetOpened() || other.GetOpened(), max(r.GetVersion(), other.GetVersion())
	})
	w.host(o.GetHostId()).Replicas[planner.Ref{Group: ids.Group(o.GetGroup()), Replica: ids.Replica(o.GetReplica())}] = r
}

// each changes what hosts report of a group's replicas.
func (w *world) each(g *fleetpb.Group, change func(*drummerpb.ReplicaReport)) {
	for _, m := range g.GetReplicas() {
		ref := planner.Ref{Group: ids.Group(g.GetId()), Replica: ids.Replica(m.GetId())}
		h := w.host(m.GetHostId())
		if r := h.Replicas[ref]; r != nil {
			r = proto.CloneOf(r)
			change(r)
			h.Replicas[ref] = r
		}
	}
}

// leads makes a replica the leader.
func (w *world) leads(g *fleetpb.Group, leader uint64) {
	term := uint64(0)
	w.each(g, func(r *drummerpb.ReplicaReport) { term = max(term, r.GetTerm()) })
	w.each(g, func(r *drummerpb.ReplicaReport) {
		r.Serving, r.LeaderReplica, r.Term = r.GetReplica() == leader, leader, term+1
		r.Unloaded = r.GetUnloaded() && r.GetReplica() != leader
	})
}

// change changes a membership, or reads it.
func (w *world) change(g *fleetpb.Group, c *drummerpb.Change) {
	seen := w.group(g.GetId())
	m := seen.Membership
	if m == nil || m.GetConfigChange() < g.GetConfigChange() {
		m = membershipOf(g)
	} else {
		m = proto.CloneOf(m)
		if m.Voters == nil { // what is empty is gone from a copy
			m.Voters = map[uint64]string{}
		}
		if m.Observers == nil {
			m.Observers = map[uint64]string{}
		}
	}
	m.ConfigChange = max(m.GetConfigChange(), g.GetConfigChange())
	w.each(g, func(r *drummerpb.ReplicaReport) { m.ConfigChange = max(m.GetConfigChange(), r.GetConfigChange()) })
	id := c.GetReplica()
	switch c.GetKind() {
	case drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER:
		m.Observers[id] = c.GetHostId()
	case drummerpb.ChangeKind_CHANGE_KIND_PROMOTE:
		delete(m.Observers, id)
		m.Voters[id] = c.GetHostId()
	case drummerpb.ChangeKind_CHANGE_KIND_REMOVE:
		delete(m.Observers, id)
		delete(m.Voters, id)
		m.Removed = append(m.GetRemoved(), id)
	case drummerpb.ChangeKind_CHANGE_KIND_UNSPECIFIED:
		m.ConfigChange-- // nothing has changed
	}
	m.ConfigChange++
	seen.Membership = m
	clear(seen.CaughtUp)
	w.each(g, func(r *drummerpb.ReplicaReport) {
		_, voter := m.GetVoters()[r.GetReplica()]
		r.ConfigChange, r.Observer = m.GetConfigChange(), r.GetObserver() && !voter
	})
}

// membershipOf is the membership that the record knows.
func membershipOf(g *fleetpb.Group) *drummerpb.Membership {
	m := &drummerpb.Membership{ConfigChange: max(1, g.GetConfigChange()), Voters: map[uint64]string{}, Observers: map[uint64]string{}}
	for _, r := range g.GetReplicas() {
		switch {
		case r.GetVoter():
			m.Voters[r.GetId()] = r.GetHostId()
		case r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED:
			m.Removed = append(m.Removed, r.GetId())
		}
	}
	return m
}

// elect gives a leader to every group that has none and a quorum of voters that run, and
// tells whether it did. One that is unloaded has its leader when somebody asks.
func (w *world) elect() bool {
	elected := false
	for g := range w.record.Freeze().Groups() {
		var up []uint64
		voters, led := 0, false
		for _, r := range g.GetReplicas() {
			if !r.GetVoter() {
				continue
			}
			voters++
			h := w.host(r.GetHostId())
			rep := h.Replicas[planner.Ref{Group: ids.Group(g.GetId()), Replica: ids.Replica(r.GetId())}]
			if rep.GetState() == drummerpb.ReplicaState_REPLICA_STATE_OK && h.Connected && h.State == planner.Up {
				up = append(up, r.GetId())
				led = led || rep.GetServing()
			}
		}
		if voters > 0 && !led && len(up) > voters/2 {
			w.leads(g, slices.Min(up))
			elected = true
		}
	}
	return elected
}
