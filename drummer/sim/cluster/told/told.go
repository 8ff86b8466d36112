// Package told compares what hosts report.
package told

import (
	"github.com/drumline/drumline/drummer/fleet/rules"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
)

// Same is proto.Equal for two reports of one replica, of which the second may be nil:
// memberships of one config change are one.
func Same(a, b *drummerpb.ReplicaReport) bool {
	return b != nil && a.GetState() == b.GetState() && a.GetDetail() == b.GetDetail() && a.GetObserver() == b.GetObserver() &&
		a.GetLeaderReplica() == b.GetLeaderReplica() && a.GetTerm() == b.GetTerm() && a.GetConfigChange() == b.GetConfigChange() &&
		a.GetOpened() == b.GetOpened() && a.GetSealed() == b.GetSealed() && a.GetServing() == b.GetServing() && a.GetVersion() == b.GetVersion() && rules.SameRaft(a.GetRaft(), b.GetRaft()) &&
		a.GetMembership().GetConfigChange() == b.GetMembership().GetConfigChange()
}
