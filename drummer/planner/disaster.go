package planner

import (
	"fmt"

	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/planner/member"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// retired stops the replicas of a banned group wherever they turn up. One that does not run
// and is nobody's source needs no word: it may never be able to answer.
func (p *pass) retired(g *fleetpb.Group) {
	for _, r := range g.GetReplicas() {
		h, rep := p.host(r.GetHostId()), p.report(g, r)
		if !member.Active(r) || rep == nil || !h.Connected || h.State != Up || isRetired(rep) {
			continue
		}
		if !member.Runs(rep) && !member.Source(p.Fleet.ByName(words.Full(g)), g, r.GetId()) {
			continue
		}
		p.reason(g, "it is banned; replica %d on %s is being stopped", r.GetId(), p.name(r.GetHostId()))
		p.order(repairing, g, r, &drummerpb.Order{Body: &drummerpb.Order_Retire{Retire: &drummerpb.Retire{}}}, "its group is banned")
	}
}

func isRetired(rep *drummerpb.ReplicaReport) bool {
	return rep.GetState() == drummerpb.ReplicaState_REPLICA_STATE_RETIRED
}

// loadable says why a group's first state cannot be had yet; empty when it can, or when
// it has none.
func (p *pass) loadable(g *fleetpb.Group) string {
	if g.GetOrigin() == nil {
		return ""
	}
	_, why := p.firstLoad(g)
	return why
}

// firstLoad is the Load that a group begins with, or why there is none yet.
func (p *pass) firstLoad(g *fleetpb.Group) (l *drummerpb.Load, why string) {
	o := g.GetOrigin()
	l = &drummerpb.Load{Version: p.version(g), Generation: g.GetId(), Group: o.GetGroup(), Staged: o.GetStaged(), HostId: o.GetHostId(), Margin: o.GetMargin()}
	switch o.GetKind() {
	case fleetpb.OriginKind_ORIGIN_KIND_RECOVER:
		l.Retired = true
		l.HostId, why = p.furthest(o)
	case fleetpb.OriginKind_ORIGIN_KIND_CLONE:
		l.HostId, why = p.original(o)
	}
	if why != "" {
		return nil, why
	}
	if h := p.host(l.GetHostId()); !h.Connected || h.State != Up {
		return nil, fmt.Sprintf("host %s, which has its state, is silent", p.name(l.GetHostId()))
	}
	l.Api = p.post(l.GetHostId()).rec.GetApi()
	return l, ""
}

// furthest is the host of the survivor that has applied most. All of them are stopped
// first: then nothing is acknowledged by them behind our back, and what they report of
// themselves is final.
func (p *pass) furthest(o *fleetpb.Origin) (host, why string) {
	from := p.Fleet.Group(ids.Group(o.GetGroup()))
	if from == nil {
		return "", fmt.Sprintf("group %d, whose state it was to have, is purged: delete this one", o.GetGroup())
	}
	best := uint64(0)
	for _, s := range o.GetSources() {
		h := p.host(s.GetHostId())
		rep := h.Replicas[Ref{ids.Group(from.GetId()), ids.Replica(s.GetReplica())}]
		if !h.Connected || !isRetired(rep) {
			return "", fmt.Sprintf("replica %d of group %d on host %s, which may be the furthest, is not stopped yet; if it is gone for good, recover the group again",
				s.GetReplica(), from.GetId(), p.name(s.GetHostId()))
		}
		if rep.GetApplied() > best {
			best, host = rep.GetApplied(), s.GetHostId()
		}
	}
	if host == "" {
		return "", fmt.Sprintf("none of the replicas of group %d has kept a state", from.GetId())
	}
	return host, ""
}

// original is the host that leads the group to be cloned.
func (p *pass) original(o *fleetpb.Origin) (host, why string) {
	from := p.Fleet.Group(ids.Group(o.GetGroup()))
	if from.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN {
		return "", fmt.Sprintf("group %d, which it is to be a clone of, is open no more: delete this one", o.GetGroup())
	}
	if leader, _ := p.leader(from); leader != nil {
		return leader.GetHostId(), ""
	}
	p.leaderless(from, "its clone waits for a leader")
	return "", fmt.Sprintf("group %s, which it is to be a clone of, has no leader", words.Full(from))
}

// begin is what opens a group: Open, or Load for one with a first state.
func (p *pass) begin(g *fleetpb.Group) (o *drummerpb.Order, why string) {
	if g.GetOrigin() == nil {
		return &drummerpb.Order{Body: &drummerpb.Order_Open{Open: &drummerpb.Open{Version: p.version(g)}}}, ""
	}
	l, why := p.firstLoad(g)
	return &drummerpb.Order{Body: &drummerpb.Order_Load{Load: l}}, why
}

// fewer is how many of the chosen hosts a group with a state begins on when there are not
// enough: it is to live again at once, and gets its other voters as hosts come.
func (r *request) fewer(chosen []*post) []*post {
	if r.repair != nil || r.group.GetOrigin() == nil || len(chosen) == 0 {
		return nil
	}
	return chosen[:(len(chosen)-1)/2*2+1]
}
