package member

import (
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

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
	case *fleetpb.Command_LeaderSeen:
		op = o.LeaderSeen
	case *fleetpb.Command_Tuned:
		op = o.Tuned
	default:
		return 0
	}
	return ids.Group(op.GetGroup())
}
