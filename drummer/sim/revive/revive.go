// Package revive makes a simulated cluster of an exported fleet.
package revive

import (
	"maps"
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/export"
	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/sim/cluster"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas"
	"github.com/drumline/drumline/nodehost/replicas/life"
)

// New makes the cluster that an export shows: its record, and its hosts with the
// replicas that they reported. Hosts that were not up do not run; of those that were not
// heard at all, what the record has of them is believed. Nobody leads yet.
func New(seed uint64, f *export.Fleet) *cluster.World {
	w := reviver{cluster.Blank(seed)}
	w.Record, w.From, w.Origin = f.Record(), true, f.GetTakenUnixMs()
	v := w.Record.Freeze()
	w.DownAfter = time.Duration(v.Policy().GetDownAfterMs()) * time.Millisecond
	w.UnreachableAfter = rules.UnreachableAfter(v.Policy())
	w.Regions, w.Apps = nil, nil
	seen := map[string]*drummerpb.ExportedHost{}
	for _, h := range f.GetHosts() {
		seen[h.GetId()] = h
	}
	for rec := range v.Hosts() {
		if !rec.GetLost() {
			w.takeIn(rec)
		}
	}
	slices.Sort(w.Regions)
	w.Regions = slices.Compact(w.Regions)
	reports := w.takeReports(seen)
	read := map[uint64]*drummerpb.Membership{}
	for _, m := range f.GetMemberships() {
		read[m.GetGroup()] = m.GetMembership()
	}
	for g := range v.Groups() {
		w.takeGroup(g, reports[g.GetId()], read[g.GetId()])
	}
	for _, h := range w.Hosts {
		if seen[h.Disk.ID].GetUp() {
			h.Boot()
		}
	}
	return w.World
}

// reviver fills a world.
type reviver struct{ *cluster.World }

// takeIn brings a host of the record, which does not run yet.
func (w reviver) takeIn(rec *fleetpb.Host) {
	h := w.Bring(&fleetpb.Host{
		Id: rec.GetId(), Name: rec.GetName(), Region: rec.GetRegion(), Zone: rec.GetZone(), Labels: rec.GetLabels(), Api: rec.GetApi(), Raft: rec.GetRaft(),
		BootEpoch: rec.GetBootEpoch(), Apps: rec.GetApps(), TickUs: rec.GetTickUs(), Age: rec.GetAge(), InMemory: rec.GetInMemory(), Sleep: rec.GetSleep(),
	})
	w.Regions = append(w.Regions, h.Region)
	if w.Apps == nil {
		w.Apps = slices.Clone(rec.GetApps())
	}
	w.Apps = slices.DeleteFunc(w.Apps, func(a *fleetpb.App) bool {
		return !slices.ContainsFunc(rec.GetApps(), func(b *fleetpb.App) bool { return a.GetName() == b.GetName() })
	})
}

// reported is a replica and where it is.
type reported struct {
	host *cluster.Host
	*drummerpb.ReplicaReport
}

// takeReports sorts by group what hosts have.
func (w reviver) takeReports(seen map[string]*drummerpb.ExportedHost) map[uint64][]reported {
	all := map[uint64][]reported{}
	for _, h := range w.Hosts {
		if s := seen[h.Disk.ID]; s.GetHeard() {
			for _, r := range s.GetReplicas() {
				all[r.GetGroup()] = append(all[r.GetGroup()], reported{h, r})
			}
		}
	}
	for g := range w.Record.Freeze().Groups() {
		open := g.GetState() == fleetpb.GroupState_GROUP_STATE_OPEN
		for _, r := range g.GetReplicas() {
			h := w.Host(r.GetHostId())
			if h == nil || seen[r.GetHostId()].GetHeard() || r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_STARTED {
				continue
			}
			all[g.GetId()] = append(all[g.GetId()], reported{h, &drummerpb.ReplicaReport{
				Group: g.GetId(), Replica: r.GetId(), Name: g.GetSpec().GetName(), Region: g.GetSpec().GetRegion(), Observer: !r.GetVoter(), Opened: open,
			}})
		}
	}
	return all
}

// takeGroup makes a group of what its hosts have: all of it as far as the others.
func (w reviver) takeGroup(rec *fleetpb.Group, have []reported, read *drummerpb.Membership) {
	if o := rec.GetOrigin(); o.GetStaged() != "" && w.Host(o.GetHostId()) != nil {
		w.Host(o.GetHostId()).Stage(o.GetStaged()) // nobody says of it that it is gone
	}
	if len(have) == 0 && rec.GetState() == fleetpb.GroupState_GROUP_STATE_LAUNCHING {
		return
	}
	g := cluster.NewGroup(w.World, rec.GetId(), nil)
	g.Begin(membership(rec, read))
	// What a group served that is being removed was given up already.
	g.Forced = rec.GetForced() || rec.GetState() == fleetpb.GroupState_GROUP_STATE_PURGING || rec.GetState() == fleetpb.GroupState_GROUP_STATE_RETIRED
	g.Commit = time.Second
	for _, r := range have {
		if r.GetOpened() {
			g.Opened, g.Version = 1, max(1, r.GetVersion())
		}
		if r.GetSealed() {
			g.Sealed = 2
		}
		damaged := r.GetState() == drummerpb.ReplicaState_REPLICA_STATE_DOWN
		r.host.Hold(replicas.Record{
			Group: ids.Group(r.GetGroup()), Replica: ids.Replica(r.GetReplica()), Name: r.GetName(), Join: r.GetObserver(),
			Generation: rec.GetGeneration(), Life: lifeOf(r.GetState()), Applied: r.GetApplied(),
		}, g.Commit, damaged)
	}
	w.Add(g)
}

// membership is what was read last, or else what the record has.
func membership(rec *fleetpb.Group, read *drummerpb.Membership) *drummerpb.Membership {
	m := &drummerpb.Membership{ConfigChange: max(rec.GetConfigChange(), read.GetConfigChange()), Voters: map[uint64]string{}, Observers: map[uint64]string{}}
	if read != nil {
		maps.Copy(m.Voters, read.GetVoters())
		maps.Copy(m.Observers, read.GetObservers())
		m.Removed = read.GetRemoved()
		return m
	}
	launching := rec.GetState() == fleetpb.GroupState_GROUP_STATE_LAUNCHING
	for _, r := range rec.GetReplicas() {
		switch {
		case r.GetVoter() || launching:
			m.Voters[r.GetId()] = r.GetHostId()
		case r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_STARTED:
			m.Observers[r.GetId()] = r.GetHostId()
		}
	}
	return m
}

func lifeOf(s drummerpb.ReplicaState) life.Life {
	switch s {
	case drummerpb.ReplicaState_REPLICA_STATE_REMOVING:
		return life.Destroying
	case drummerpb.ReplicaState_REPLICA_STATE_RETIRED:
		return life.Retired
	default:
		return life.Running
	}
}
