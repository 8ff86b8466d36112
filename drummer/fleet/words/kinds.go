package words

import (
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// LaunchKind is the kind of the operation that makes a group.
func LaunchKind(o *fleetpb.Origin) string {
	switch o.GetKind() {
	case fleetpb.OriginKind_ORIGIN_KIND_RECOVER:
		return "recover"
	case fleetpb.OriginKind_ORIGIN_KIND_RESTORE:
		return "restore"
	case fleetpb.OriginKind_ORIGIN_KIND_CLONE:
		return "clone"
	default:
		return "launch"
	}
}

// Kinds of operation. Those of hosts have groups' drains and moves as their parts.
const (
	KindLaunch   = "launch"
	KindDelete   = "delete"
	KindReplace  = "replace"  // of a dead replica
	KindResize   = "resize"   // to another number of voters
	KindDrain    = "drain"    // of a host, and of a replica away from it
	KindMove     = "move"     // by hand
	KindPlace    = "place"    // to keep a placement rule
	KindBalance  = "balance"  // to balance hosts
	KindTransfer = "transfer" // of the leadership
	KindTune     = "tune"     // to other Raft options, replica by replica
	KindLeave    = "decommission"
)

// BuildKinds are the kinds that build a replica; they, transfers and changes of Raft options can be paused.
func BuildKinds() []string {
	return []string{KindBalance, KindDrain, KindMove, KindPlace, KindReplace, KindResize}
}
