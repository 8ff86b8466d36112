// Package survivors judges what is left of groups that have lost their quorum: whose
// replica is the furthest, what may be lost, and whether those that are not heard could
// still elect a leader among themselves. It is pure.
package survivors

import (
	"fmt"
	"slices"
	"strings"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/loop"
	"github.com/drumline/drumline/drummer/planner"
	"github.com/drumline/drumline/drummer/status"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// Looks are the answers of the hosts that answered, by host and group.
type Looks map[ids.Host]map[uint64]*statepb.Look

// Wish narrows a recovery.
type Wish struct {
	// From is the name of the only host whose replicas are used; empty for all.
	From string
	// OnlyDown refuses groups of which a voter is silent and may come back in a moment.
	OnlyDown bool
}

// Case is one group to be recovered.
type Case struct {
	// Answer is what is told about it; its code is OK while nothing speaks against it.
	Answer *drummerpb.Recovery

	v *fleet.View
	o *loop.Observed
	// holder has the name, nil for nobody; group is the one whose state is wanted.
	holder, group *fleetpb.Group
}

// Lost are the full names of the groups that have no live quorum, by name.
func Lost(v *fleet.View, o *loop.Observed) []string {
	var names []string
	for g := range v.GroupsByName("") {
		if opened(g) && !quorate(v, o, g, nil) {
			names = append(names, words.Full(g))
		}
	}
	return names
}

func opened(g *fleetpb.Group) bool {
	switch g.GetState() {
	case fleetpb.GroupState_GROUP_STATE_OPENING, fleetpb.GroupState_GROUP_STATE_OPEN, fleetpb.GroupState_GROUP_STATE_SEALING:
		return true
	default:
		return false
	}
}

// quorate tells whether a quorum of the voters is up, or about to be. Newest is the membership
// that a survivor knows; nil for the record's.
func quorate(v *fleet.View, o *loop.Observed, g *fleetpb.Group, newest *statepb.Look) bool {
	voters, up := len(newest.GetVoters()), 0
	for _, r := range status.GroupInfo(v, o, ids.Group(g.GetId())).GetReplicas() {
		if newest == nil && voting(g, r.GetId()) {
			voters++
		} else if _, votes := newest.GetVoters()[r.GetId()]; !votes {
			continue
		}
		switch r.GetState() {
		case drummerpb.ReplicaState_REPLICA_STATE_OK, drummerpb.ReplicaState_REPLICA_STATE_UNLOADED, drummerpb.ReplicaState_REPLICA_STATE_STARTING,
			drummerpb.ReplicaState_REPLICA_STATE_CATCHING_UP:
			up++
		default:
		}
	}
	return up >= voters/2+1
}

func voting(g *fleetpb.Group, id uint64) bool {
	for _, r := range g.GetReplicas() {
		if r.GetId() == id {
			return r.GetVoter() && r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_STARTED
		}
	}
	return false
}

// Of finds what a full name's recovery is about: the group that has the name; the banned one
// that it was to be loaded from, if it never opened or cannot be loaded; or the newest banned
// one, if nobody has the name.
func Of(v *fleet.View, o *loop.Observed, full string) *Case {
	name, region := statemachines.CutRegion(full)
	k := &Case{v: v, o: o, holder: v.ByName(full), Answer: &drummerpb.Recovery{Name: name, Region: region, Code: fleetpb.Code_CODE_OK}}
	switch {
	case k.holder == nil:
		for g := range v.Groups() {
			if words.Full(g) == full && g.GetState() == fleetpb.GroupState_GROUP_STATE_RETIRED {
				k.group = g
			}
		}
	case opened(k.holder) && !k.stranded():
		k.group = k.holder
	case k.holder.GetOrigin().GetKind() == fleetpb.OriginKind_ORIGIN_KIND_RECOVER:
		k.group = v.Group(ids.Group(k.holder.GetOrigin().GetGroup()))
	}
	switch {
	case k.group != nil:
		k.Answer.Id = k.group.GetId()
	case k.holder == nil:
		k.refuse(fleetpb.Code_CODE_NOT_FOUND, "there is no group of that name, and none was banned")
	default:
		k.refuse(fleetpb.Code_CODE_CONFLICT, "the group was never opened, so it has nothing to recover: it is launched anew by itself")
	}
	return k
}

// stranded tells that the one that has the name waits for the state of a replica whose data is
// gone by now. None of its own has been loaded then, as far as any of them was heard.
func (k *Case) stranded() bool {
	origin := k.holder.GetOrigin()
	if k.holder.GetState() != fleetpb.GroupState_GROUP_STATE_OPENING || origin.GetKind() != fleetpb.OriginKind_ORIGIN_KIND_RECOVER {
		return false
	}
	heard := 0
	for _, r := range k.holder.GetReplicas() {
		rep := k.o.Host(ids.Host(r.GetHostId())).Replicas[planner.Ref{Group: ids.Group(k.holder.GetId()), Replica: ids.Replica(r.GetId())}]
		if rep.GetOpened() {
			return false
		}
		if rep != nil && voting(k.holder, r.GetId()) {
			heard++
		}
	}
	lost := slices.ContainsFunc(origin.GetSources(), func(s *fleetpb.Source) bool {
		return gone(k.o, origin.GetGroup(), s.GetReplica(), ids.Host(s.GetHostId()))
	})
	return lost && heard > len(k.holder.GetReplicas())/2
}

func (k *Case) refuse(code fleetpb.Code, format string, args ...any) {
	k.Answer.Code, k.Answer.Detail = code, fmt.Sprintf(format, args...)
}

// Hosts are those that may have a survivor and are not known to be gone.
func (k *Case) Hosts() []ids.Host {
	var hosts []ids.Host
	for _, r := range k.group.GetReplicas() {
		if h := ids.Host(r.GetHostId()); !k.v.Host(h).GetLost() && k.o.Host(h).State < planner.Down {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// Judge fills the answer in.
func (k *Case) Judge(looks Looks, w Wish) {
	if k.group == nil {
		return
	}
	unheard := 0
	for _, r := range k.group.GetReplicas() {
		if r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_STARTED {
			continue
		}
		s := k.survivor(r, looks)
		k.Answer.Survivors = append(k.Answer.Survivors, s)
		if r.GetVoter() {
			k.Answer.Voters++
			if !s.GetHeard() && !k.gone(r) {
				unheard++
			}
		}
		if s.GetDetail() == "" && w.From != "" && w.From != s.GetHost() {
			s.Detail = "not wanted as a source"
		}
	}
	k.Answer.UnheardQuorum = unheard >= int(k.Answer.GetVoters())/2+1
	k.decide(w, k.newest(looks))
}

// newest is the answer of the survivor that knows of the newest membership, if the record does
// not have that yet: the quorum was lost just behind a change, and nobody led to report it.
func (k *Case) newest(looks Looks) *statepb.Look {
	var newest *statepb.Look
	for _, r := range k.group.GetReplicas() {
		l := looks[ids.Host(r.GetHostId())][k.group.GetId()]
		if len(l.GetVoters()) > 0 && l.GetConfigChange() > max(k.group.GetConfigChange(), newest.GetConfigChange()) {
			newest = l
		}
	}
	return newest
}

// gone tells that a replica's data is known not to exist any more.
func (k *Case) gone(r *fleetpb.Replica) bool {
	return gone(k.o, k.group.GetId(), r.GetId(), ids.Host(r.GetHostId()))
}

func gone(o *loop.Observed, group, replica uint64, at ids.Host) bool {
	h := o.Host(at)
	_, reported := h.Replicas[planner.Ref{Group: ids.Group(group), Replica: ids.Replica(replica)}]
	return h.State == planner.Lost || h.Connected && h.State == planner.Up && !reported
}

func (k *Case) survivor(r *fleetpb.Replica, looks Looks) *drummerpb.Survivor {
	h := ids.Host(r.GetHostId())
	s := &drummerpb.Survivor{Replica: r.GetId(), Host: k.v.Host(h).GetName()}
	found, answered := looks[h]
	l := found[k.group.GetId()]
	switch {
	case k.gone(r):
		s.Detail = "its data is gone"
	case !answered:
		s.Detail = "its host was not heard"
	case l.GetReplica() != r.GetId():
		s.Detail = "its host cannot run it"
	case l.GetApplied() == 0:
		s.Heard, s.Detail = true, "it has applied nothing"
	default:
		s.Heard, s.Applied, s.Commands = true, l.GetApplied(), l.GetCommands()
	}
	return s
}

// decide finds the furthest survivor, or the reason to do nothing.
func (k *Case) decide(w Wish, newest *statepb.Look) {
	var best *drummerpb.Survivor
	for _, s := range k.Answer.GetSurvivors() {
		if s.GetDetail() == "" && s.GetApplied() > best.GetApplied() {
			best = s
		}
	}
	switch {
	case opened(k.group) && quorate(k.v, k.o, k.group, newest):
		k.refuse(fleetpb.Code_CODE_CONFLICT, "a quorum of its voters is up: it is repaired by itself")
		return
	case best == nil && w.From != "":
		k.refuse(fleetpb.Code_CODE_NOT_FOUND, "no replica of it on host %s can be used", w.From)
		return
	case best == nil:
		k.refuse(fleetpb.Code_CODE_NOT_FOUND, "no replica of it has survived: restore it from a backup")
		return
	}
	best.Furthest = true
	if silent := k.silent(); w.OnlyDown && len(silent) > 0 {
		k.refuse(fleetpb.Code_CODE_CONFLICT, "%s not down yet, only silent: wait, or recover the group by its name", strings.Join(silent, ", "))
	}
}

// silent are the hosts of voters that may come back in a moment.
func (k *Case) silent() []string {
	var hosts []string
	for _, r := range k.group.GetReplicas() {
		h := k.o.Host(ids.Host(r.GetHostId()))
		if r.GetVoter() && h.State < planner.Down && (!h.Connected || h.State != planner.Up) {
			hosts = append(hosts, k.v.Host(ids.Host(r.GetHostId())).GetName())
		}
	}
	return hosts
}

// Command is the change of the record that recovers the group.
func (k *Case) Command(margin uint64) *fleetpb.LoadGroup {
	l := &fleetpb.LoadGroup{
		Spec: k.group.GetSpec(), Replaces: k.holder.GetId(), Reason: "its quorum was lost",
		Origin: &fleetpb.Origin{Kind: fleetpb.OriginKind_ORIGIN_KIND_RECOVER, Group: k.group.GetId(), Margin: margin},
	}
	for i, s := range k.Answer.GetSurvivors() {
		if s.GetDetail() == "" {
			l.Origin.Sources = append(l.Origin.Sources, &fleetpb.Source{Replica: s.GetReplica(), HostId: k.hostOf(i)})
		}
	}
	return l
}

// hostOf is where the survivor of that place in the answer is.
func (k *Case) hostOf(place int) string {
	for _, r := range k.group.GetReplicas() {
		if r.GetId() == k.Answer.GetSurvivors()[place].GetReplica() {
			return r.GetHostId()
		}
	}
	return ""
}
