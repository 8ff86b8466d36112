package status

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// Operation is an operation of the record with, behind the steps that the record has, where
// it stands now. One that has ended is as it is.
func Operation(v *fleet.View, o *loop.Observed, op *fleetpb.Operation) *fleetpb.Operation {
	if op.GetEndedUnixMs() != 0 {
		return op
	}
	var now []string
	if op.GetHost() != "" {
		now = leftOn(v, o, op.GetHost())
	} else if g := v.Group(ids.Group(op.GetGroup())); g != nil {
		now = stands(v, o, g, op.GetKind())
	}
	if len(now) == 0 {
		return op
	}
	op = proto.CloneOf(op)
	op.Steps = append(op.Steps, now...)
	return op
}

// stands says where a group's operation stands.
func stands(v *fleet.View, o *loop.Observed, g *fleetpb.Group, kind string) []string {
	switch {
	case kind == words.KindTune:
		return tuned(v, o, g)
	case kind == words.KindTransfer:
		return led(v, o, g)
	case g.GetState() == fleetpb.GroupState_GROUP_STATE_LAUNCHING, g.GetState() == fleetpb.GroupState_GROUP_STATE_OPENING:
		return launched(o, g)
	case g.GetState() == fleetpb.GroupState_GROUP_STATE_SEALING:
		return []string{"it is to be sealed: then it obeys nothing any more, and its replicas are removed"}
	case g.GetState() == fleetpb.GroupState_GROUP_STATE_PURGING:
		return []string{fmt.Sprintf("it obeys nothing any more; %d replicas are still to be removed", len(g.GetReplicas()))}
	}
	return built(v, o, g)
}

// tuned says of each voter whether it runs with the group's Raft options.
func tuned(v *fleet.View, o *loop.Observed, g *fleetpb.Group) (now []string) {
	want := words.RaftOf(g.GetSpec().GetRaft())
	for _, r := range g.GetReplicas() {
		rep, host := report(o, g, r), nameOf(v, r)
		switch {
		case !r.GetVoter() || r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED:
		case !isOK(o, g, r):
			now = append(now, fmt.Sprintf("replica %d on host %s is not up: the others wait for it", r.GetId(), host))
		case rules.SameRaft(rep.GetRaft(), g.GetSpec().GetRaft()):
			now = append(now, fmt.Sprintf("replica %d on host %s runs with %s", r.GetId(), host, want))
		default:
			now = append(now, fmt.Sprintf("replica %d on host %s runs with %s, and is to be restarted", r.GetId(), host, words.RaftOf(rep.GetRaft())))
		}
	}
	return now
}

// led says who leads, and who shall.
func led(v *fleet.View, o *loop.Observed, g *fleetpb.Group) []string {
	leader := leaderOf(o, g)
	for _, r := range g.GetReplicas() {
		if r.GetId() == leader {
			return []string{fmt.Sprintf("replica %d on host %s leads, and replica %d shall", leader, nameOf(v, r), g.GetLead())}
		}
	}
	return []string{fmt.Sprintf("no leader is known; replica %d shall lead", g.GetLead())}
}

// launched says how far a group is that does not serve yet.
func launched(o *loop.Observed, g *fleetpb.Group) []string {
	run := 0
	for _, r := range g.GetReplicas() {
		if isOK(o, g, r) {
			run++
		}
	}
	switch n := len(g.GetReplicas()); {
	case n == 0:
		return []string{"no hosts are chosen for it yet"}
	case run < n:
		return []string{fmt.Sprintf("%d of its %d replicas run", run, n)}
	case g.GetOrigin() != nil:
		return []string{"all its replicas run: its first state is loaded, and then it is opened"}
	}
	return []string{"all its replicas run: it is to be opened"}
}

// built says how the replicas are that have no vote yet.
func built(v *fleet.View, o *loop.Observed, g *fleetpb.Group) (now []string) {
	for _, r := range g.GetReplicas() {
		if r.GetVoter() || r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED {
			continue
		}
		var text string
		switch state, detail := replicaState(o, g, r); {
		case r.GetCancelled():
			text = "is taken back"
		case state == drummerpb.ReplicaState_REPLICA_STATE_CATCHING_UP:
			text = fmt.Sprintf("has applied %d entries and gets its vote when it has caught up", report(o, g, r).GetApplied())
		case state == drummerpb.ReplicaState_REPLICA_STATE_STARTING:
			text = "is starting"
		case detail != "":
			text = "does not run: " + detail
		default:
			continue
		}
		now = append(now, fmt.Sprintf("replica %d on host %s %s", r.GetId(), nameOf(v, r), text))
	}
	return now
}

// leftOn counts what is left on a host.
func leftOn(v *fleet.View, o *loop.Observed, host string) []string {
	replicas, leaders := 0, 0
	for g := range v.Groups() {
		for _, r := range g.GetReplicas() {
			if r.GetHostId() != host {
				continue
			}
			if replicas++; r.GetId() == leaderOf(o, g) {
				leaders++
			}
		}
	}
	return []string{fmt.Sprintf("%d replicas are left on it, %d of them lead", replicas, leaders)}
}

func nameOf(v *fleet.View, r *fleetpb.Replica) string {
	return v.Host(ids.Host(r.GetHostId())).GetName()
}
