package member

import (
	"github.com/drumline/drumline/drummer/fleet/rules"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// SameReport tells that two reports of a replica are one to the planner, which does not look at
// how far it has applied before its group is banned.
func SameReport(a, b *drummerpb.ReplicaReport) bool {
	banned := drummerpb.ReplicaState_REPLICA_STATE_RETIRED
	return a != nil && b != nil && a.GetState() == b.GetState() && a.GetState() != banned && a.GetObserver() == b.GetObserver() &&
		a.GetTerm() == b.GetTerm() && a.GetConfigChange() == b.GetConfigChange() && a.GetOpened() == b.GetOpened() &&
		a.GetSealed() == b.GetSealed() && a.GetServing() == b.GetServing() && a.GetVersion() == b.GetVersion() &&
		a.GetUnloaded() == b.GetUnloaded() && a.GetDetail() == b.GetDetail() && rules.SameRaft(a.GetRaft(), b.GetRaft())
}

// Odd are those of a group's replicas that run with other Raft options than the group's.
func Odd(g *fleetpb.Group, replicas []*fleetpb.Replica, report func(*fleetpb.Replica) *drummerpb.ReplicaReport) (odd []*fleetpb.Replica) {
	for _, r := range replicas {
		if rep := report(r); rep != nil && !rules.SameRaft(rep.GetRaft(), g.GetSpec().GetRaft()) {
			odd = append(odd, r)
		}
	}
	return odd
}
