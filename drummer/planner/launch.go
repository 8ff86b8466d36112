package planner

import (
	"fmt"
	"strings"

	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/planner/member"
	"github.com/drumline/drumline/drummer/planner/survey"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// launch places a new group, starts its replicas, and moves on to opening when all
// run and a leader serves. Until then nothing of it was acknowledged to anybody, so
// a launch that meets trouble is given up and begun anew elsewhere.
func (p *pass) launch(g *fleetpb.Group) {
	if len(g.GetReplicas()) == 0 {
		p.requests = append(p.requests, request{group: g})
		return
	}
	if p.abandon(g) {
		return
	}
	for _, r := range g.GetReplicas() {
		if p.condition(g, r) != survey.Live {
			p.note(g, p.why(g, r))
		}
		if h := p.host(r.GetHostId()); h.Connected && h.State == Up && p.report(g, r) == nil {
			p.order(launching, g, r, startOrder(g, r), "the group is being launched")
		}
	}
	p.recordStarted(g)
	if p.busy[ids.Group(g.GetId())] || !p.running(g) {
		return
	}
	if leader, _ := p.leader(g); leader == nil {
		p.leaderless(g, "its replicas run, and have no leader yet")
		return
	}
	if why := p.loadable(g); why != "" {
		p.reason(g, "it cannot be loaded yet: %s", why)
		return
	}
	p.advance(g, fleetpb.GroupState_GROUP_STATE_OPENING, "all replicas run and a leader serves")
}

// startOrder starts a replica: a launch names all members, a join none.
func startOrder(g *fleetpb.Group, r *fleetpb.Replica) *drummerpb.Order {
	s := &drummerpb.Start{Name: g.GetSpec().GetName(), Region: g.GetSpec().GetRegion(), App: g.GetSpec().GetApp(), Join: r.GetJoined(), Raft: g.GetSpec().GetRaft()}
	if !r.GetJoined() {
		s.InitialMembers = map[uint64]string{}
		for _, m := range g.GetReplicas() {
			s.InitialMembers[m.GetId()] = m.GetHostId()
		}
	}
	return &drummerpb.Order{Body: &drummerpb.Order_Start{Start: s}}
}

// abandon gives a launch up when one of its hosts cannot take part and others can
// take over. It tells whether it did.
func (p *pass) abandon(g *fleetpb.Group) bool {
	var troubles []string
	for _, r := range g.GetReplicas() {
		h := p.host(r.GetHostId())
		refusal, refused := p.observed(g).Refused[ids.Replica(r.GetId())]
		switch {
		case refused:
			troubles = append(troubles, fmt.Sprintf("host %s refused to start replica %d: %s", p.name(r.GetHostId()), r.GetId(), refusal))
			p.note(g, troubles[len(troubles)-1])
		case h.State != Up || p.condition(g, r) == survey.Dead:
			troubles = append(troubles, p.why(g, r))
		}
	}
	if len(troubles) == 0 {
		return false
	}
	if _, err := p.choose(&request{group: g, anew: true}); err != nil {
		p.reason(g, "the launch cannot move to other hosts: %v", err)
		return false
	}
	trouble := strings.Join(troubles, "; ")
	give := &fleetpb.Abandon{Group: g.GetId(), Generation: g.GetGeneration(), Reason: bounded(trouble)}
	p.propose(launching, g, &fleetpb.Command{Op: &fleetpb.Command_Abandon{Abandon: give}}, trouble)
	return true
}

// bounded cuts a reason to what the record takes.
func bounded(reason string) string {
	return strings.ToValidUTF8(reason[:min(len(reason), rules.MaxReason)], "")
}

// running tells whether every replica runs and the record knows it.
func (p *pass) running(g *fleetpb.Group) bool {
	for _, r := range g.GetReplicas() {
		if r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_STARTED || p.condition(g, r) != survey.Live {
			return false
		}
	}
	return true
}

// recordStarted records replicas that their hosts report. Those of a launch are
// recorded together: before all are there, nothing depends on it.
func (p *pass) recordStarted(g *fleetpb.Group) {
	var started []uint64
	for _, r := range g.GetReplicas() {
		if r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_PLANNED {
			continue
		}
		if p.report(g, r) != nil {
			started = append(started, r.GetId())
		} else if g.GetState() == fleetpb.GroupState_GROUP_STATE_LAUNCHING {
			return
		}
	}
	if len(started) > 0 {
		p.propose(recording, g, &fleetpb.Command{Op: &fleetpb.Command_ReplicasStarted{
			ReplicasStarted: &fleetpb.ReplicasStarted{Group: g.GetId(), Replicas: started},
		}}, "their hosts run them")
	}
}

func (p *pass) advance(g *fleetpb.Group, to fleetpb.GroupState, why string) {
	step := &fleetpb.Advance{Group: g.GetId(), Generation: g.GetGeneration(), State: to}
	p.propose(recording, g, &fleetpb.Command{Op: &fleetpb.Command_Advance{Advance: step}}, why)
}

// open orders Open at the leader until some replica has applied it. Applied means
// committed: one word is enough.
func (p *pass) open(g *fleetpb.Group) {
	if p.anyReport(g, (*drummerpb.ReplicaReport).GetOpened) {
		p.advance(g, fleetpb.GroupState_GROUP_STATE_OPEN, "open is applied")
		return
	}
	leader, _ := p.leader(g)
	if leader == nil {
		p.leaderless(g, "it cannot be opened: no leader serves")
		return
	}
	begin, why := p.begin(g)
	if why != "" {
		p.reason(g, "it cannot be opened: %s", why)
		return
	}
	p.note(g, "it is being opened")
	p.order(serving, g, leader, begin, "all replicas run and a leader serves")
}

// seal orders Seal at the leader until some replica has applied it.
func (p *pass) seal(g *fleetpb.Group) {
	if p.anyReport(g, (*drummerpb.ReplicaReport).GetSealed) {
		p.advance(g, fleetpb.GroupState_GROUP_STATE_PURGING, "seal is applied")
		return
	}
	leader, _ := p.leader(g)
	if leader == nil {
		p.leaderless(g, "it cannot be sealed: no leader serves; delete it with force to do without the seal")
		return
	}
	p.note(g, "it is being sealed")
	p.order(serving, g, leader, &drummerpb.Order{Body: &drummerpb.Order_Seal{Seal: &drummerpb.Seal{}}}, "the group is being deleted")
}

// anyReport tells whether some replica's report says so; the last one of a host
// that is gone counts too, for what was applied stays applied.
func (p *pass) anyReport(g *fleetpb.Group, says func(*drummerpb.ReplicaReport) bool) bool {
	for _, r := range g.GetReplicas() {
		if rep := p.report(g, r); rep != nil && says(rep) {
			return true
		}
	}
	return false
}

// version is the newest behaviour version that every host of the group knows.
func (p *pass) version(g *fleetpb.Group) uint32 {
	version := uint32(0)
	for _, r := range g.GetReplicas() {
		if !member.Active(r) {
			continue
		}
		v := rules.VersionOf(p.post(r.GetHostId()).rec, g.GetSpec().GetApp())
		if version == 0 || v < version {
			version = v
		}
	}
	return max(version, 1)
}

// raise raises the behaviour version once every host of the group knows a newer one.
func (p *pass) raise(g *fleetpb.Group) {
	leader, rep := p.leader(g)
	if leader == nil || !rep.GetOpened() || rep.GetVersion() >= p.version(g) {
		return
	}
	p.order(tidying, g, leader, &drummerpb.Order{Body: &drummerpb.Order_Raise{Raise: &drummerpb.Raise{Version: p.version(g)}}},
		fmt.Sprintf("all hosts of the group know version %d", p.version(g)))
}

// destroy orders the data of replicas that are no members any more to be removed.
func (p *pass) destroy(g *fleetpb.Group) {
	for _, r := range g.GetReplicas() {
		if member.Active(r) || p.observed(g).Gone[ids.Replica(r.GetId())] {
			continue
		}
		h := p.host(r.GetHostId())
		if !h.Connected || h.State != Up {
			id := ids.Group(g.GetId())
			p.leftover[id] = append(p.leftover[id], fmt.Sprintf("replica %d is no member any more; its data is removed when host %s is back", r.GetId(), p.name(r.GetHostId())))
			continue
		}
		body := &drummerpb.Order_Destroy{Destroy: &drummerpb.Destroy{Tombstone: g.GetState() == fleetpb.GroupState_GROUP_STATE_PURGING}}
		p.order(clearing, g, r, &drummerpb.Order{Body: body}, "it is no member any more")
	}
}

// purge drops replicas whose hosts said that nothing of them is left.
func (p *pass) purge(g *fleetpb.Group) {
	var gone []uint64
	for _, r := range g.GetReplicas() {
		if !member.Active(r) && p.observed(g).Gone[ids.Replica(r.GetId())] {
			gone = append(gone, r.GetId())
		}
	}
	if len(gone) > 0 {
		p.propose(clearing, g, &fleetpb.Command{Op: &fleetpb.Command_Purged{Purged: &fleetpb.Purged{Group: g.GetId(), Replicas: gone}}}, "nothing of them is left")
	}
}
