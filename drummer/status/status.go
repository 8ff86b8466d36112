// Package status tells people how groups and hosts are: it derives their states
// from the record and what the leader's loop has observed. It is pure.
package status

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/loop"
	"github.com/drumline/drumline/drummer/planner"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// States of a group.
const (
	// Launching: it was never opened.
	Launching = "launching"
	// OK: exactly its wanted voters are up, and a leader is known or none is needed: one
	// that is unloaded somewhere elects a leader when it is used.
	OK = "ok"
	// Degraded: it serves, and is not whole.
	Degraded = "degraded"
	// Unavailable: no quorum of its voters is up, or no leader is known where there
	// should be one.
	Unavailable = "unavailable"
	// Deleting: it is being sealed or purged.
	Deleting = "deleting"
	// Retired: banned; another group has its name, and its data is kept until it is purged.
	Retired = "retired"
)

// GroupInfo describes the group of that number; nil when the record has none.
func GroupInfo(v *fleet.View, o *loop.Observed, id ids.Group) *drummerpb.GroupInfo {
	g := v.Group(id)
	if g == nil {
		return nil
	}
	leader := leaderOf(o, g)
	info := &drummerpb.GroupInfo{
		Name:       g.GetSpec().GetName(),
		Region:     g.GetSpec().GetRegion(),
		Id:         g.GetId(),
		App:        g.GetSpec().GetApp(),
		State:      groupState(o, g, leader),
		Want:       g.GetSpec().GetReplicas(),
		Regions:    g.GetSpec().GetRegions(),
		Generation: g.GetGeneration(),
		Spec:       g.GetSpec(),
		Lead:       g.GetLead(),
	}
	for _, r := range g.GetReplicas() {
		info.Replicas = append(info.Replicas, replicaInfo(v, o, g, r, leader))
	}
	return info
}

func replicaInfo(v *fleet.View, o *loop.Observed, g *fleetpb.Group, r *fleetpb.Replica, leader uint64) *drummerpb.ReplicaInfo {
	state, detail := replicaState(o, g, r)
	return &drummerpb.ReplicaInfo{
		Id:       r.GetId(),
		Host:     v.Host(ids.Host(r.GetHostId())).GetName(),
		HostId:   r.GetHostId(),
		Observer: !r.GetVoter() && r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED,
		Leader:   r.GetId() == leader,
		State:    state,
		Applied:  report(o, g, r).GetApplied(),
		Detail:   detail,
	}
}

// report is what the replica's host said of it last; nil for nothing.
func report(o *loop.Observed, g *fleetpb.Group, r *fleetpb.Replica) *drummerpb.ReplicaReport {
	return o.Host(ids.Host(r.GetHostId())).Replicas[planner.Ref{Group: ids.Group(g.GetId()), Replica: ids.Replica(r.GetId())}]
}

// replicaState tells how a replica is, and why it is not ok.
func replicaState(o *loop.Observed, g *fleetpb.Group, r *fleetpb.Replica) (drummerpb.ReplicaState, string) {
	h, rep := o.Host(ids.Host(r.GetHostId())), report(o, g, r)
	planned := r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_PLANNED
	switch {
	case h.State == planner.Lost:
		return drummerpb.ReplicaState_REPLICA_STATE_LOST, "its host's data directory is gone"
	case r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED:
		return drummerpb.ReplicaState_REPLICA_STATE_REMOVING, "it is no member any more; its data is to be removed"
	case !h.Connected || h.State != planner.Up:
		return drummerpb.ReplicaState_REPLICA_STATE_DOWN, "its host is silent"
	case rep == nil && planned:
		return drummerpb.ReplicaState_REPLICA_STATE_STARTING, ""
	case rep == nil:
		return drummerpb.ReplicaState_REPLICA_STATE_LOST, "its host runs without it: its data is gone"
	case rep.GetState() != drummerpb.ReplicaState_REPLICA_STATE_OK:
		return rep.GetState(), rep.GetDetail()
	case rep.GetObserver() || !r.GetVoter():
		return drummerpb.ReplicaState_REPLICA_STATE_CATCHING_UP, ""
	case rep.GetUnloaded():
		return drummerpb.ReplicaState_REPLICA_STATE_UNLOADED, ""
	default:
		return drummerpb.ReplicaState_REPLICA_STATE_OK, ""
	}
}

// isOK tells whether a replica is as it should be, in memory or not.
func isOK(o *loop.Observed, g *fleetpb.Group, r *fleetpb.Replica) bool {
	state, _ := replicaState(o, g, r)
	return state == drummerpb.ReplicaState_REPLICA_STATE_OK || state == drummerpb.ReplicaState_REPLICA_STATE_UNLOADED
}

// leaderOf returns the leader that a voter which is up knows under the highest term,
// if it is up itself; 0 for none.
func leaderOf(o *loop.Observed, g *fleetpb.Group) uint64 {
	term, leader := uint64(0), uint64(0)
	for _, r := range g.GetReplicas() {
		if rep := report(o, g, r); isOK(o, g, r) && rep.GetLeaderReplica() != 0 && rep.GetTerm() >= term {
			term, leader = rep.GetTerm(), rep.GetLeaderReplica()
		}
	}
	for _, r := range g.GetReplicas() {
		if r.GetId() == leader && isOK(o, g, r) && !report(o, g, r).GetUnloaded() {
			return leader
		}
	}
	return 0
}

func groupState(o *loop.Observed, g *fleetpb.Group, leader uint64) string {
	switch g.GetState() {
	case fleetpb.GroupState_GROUP_STATE_LAUNCHING, fleetpb.GroupState_GROUP_STATE_OPENING:
		return Launching
	case fleetpb.GroupState_GROUP_STATE_SEALING, fleetpb.GroupState_GROUP_STATE_PURGING:
		return Deleting
	case fleetpb.GroupState_GROUP_STATE_RETIRED:
		return Retired
	}
	voters, up, leaderless := 0, 0, leader == 0
	for _, r := range g.GetReplicas() {
		if !r.GetVoter() {
			continue
		}
		voters++
		if isOK(o, g, r) {
			up++
			leaderless = leaderless && !report(o, g, r).GetUnloaded()
		}
	}
	want := int(g.GetSpec().GetReplicas())
	switch {
	case leaderless || up < voters/2+1:
		return Unavailable
	case voters == want && up == want:
		return OK
	default:
		return Degraded
	}
}

// HostInfos describes every host, by name.
func HostInfos(v *fleet.View, o *loop.Observed) []*drummerpb.HostInfo {
	infos := map[string]*drummerpb.HostInfo{}
	list := make([]*drummerpb.HostInfo, 0, v.HostCount())
	for h := range v.Hosts() {
		known := o.Host(ids.Host(h.GetId()))
		info := &drummerpb.HostInfo{
			Host: h, State: word(known), SilentMs: known.Silent.Milliseconds(), Version: known.Version,
			Duty: duty(h, known), Flapping: known.Flapping,
			Opinions: uint32(known.Of), HeardBy: uint32(known.HeardBy),
		}
		if known.Connected {
			info.Boot = known.Boot
		}
		infos[h.GetId()] = info
		list = append(list, info)
	}
	for g := range v.Groups() {
		leader := leaderOf(o, g)
		for _, r := range g.GetReplicas() {
			info := infos[r.GetHostId()]
			if info == nil {
				continue
			}
			info.Replicas++
			if report(o, g, r).GetUnloaded() {
				info.Unloaded++
			}
			if r.GetId() == leader {
				info.Leaders++
			}
		}
	}
	slices.SortFunc(list, func(a, b *drummerpb.HostInfo) int {
		return cmp.Or(cmp.Compare(a.GetHost().GetName(), b.GetHost().GetName()), cmp.Compare(a.GetHost().GetId(), b.GetHost().GetId()))
	})
	return list
}

// Explain describes a group with the planner's reasons and the operations of its name,
// newest first.
func Explain(v *fleet.View, o *loop.Observed, g *fleetpb.Group) *drummerpb.ExplainResponse {
	name, region := g.GetSpec().GetName(), g.GetSpec().GetRegion()
	answer := &drummerpb.ExplainResponse{
		Group:   GroupInfo(v, o, ids.Group(g.GetId())),
		Reasons: slices.Clone(o.Reasons[ids.Group(g.GetId())]),
	}
	for op := range v.Operations() {
		if op.GetGroupName() == name && op.GetGroupRegion() == region {
			answer.Operations = append(answer.Operations, Operation(v, o, op))
		}
	}
	return answer
}

// Summary counts groups and hosts by state; the server fills in who leads.
func Summary(v *fleet.View, o *loop.Observed) *drummerpb.StatusResponse {
	s := &drummerpb.StatusResponse{
		Term:        o.Term,
		Groups:      map[string]uint32{},
		Hosts:       map[string]uint32{},
		Operations:  uint32(v.OperationsRunning()),
		Policy:      policyOf(v),
		Incarnation: v.Incarnation(),
		Revision:    v.Revision(),
		Brake:       v.Brake(),
		Paused:      v.Paused(),
	}
	for g := range v.Groups() {
		s.Groups[groupState(o, g, leaderOf(o, g))]++
	}
	for h := range v.Hosts() {
		s.Hosts[word(o.Host(ids.Host(h.GetId())))]++
	}
	return s
}

// policyOf is the policy in force, with what is usual where the record says nothing.
func policyOf(v *fleet.View) *fleetpb.Policy {
	p := proto.CloneOf(v.Policy())
	if p != nil {
		p.UnreachableAfterMs = rules.UnreachableAfter(p).Milliseconds()
	}
	return p
}

// word is how a host is.
func word(h *planner.Host) string {
	if h.Unreachable && h.State == planner.Suspect {
		return "unreachable"
	}
	return h.State.String()
}
