package words

import (
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// LaunchKind is the kind of the operation that makes a group.
func LaunchKind(o *fleetpb.Origin) string {
	switch o.GetKind() {
	case fleetpb.OriginKind_ORIGIN_KIND_RECOVER:
		return KindRecover
	case fleetpb.OriginKind_ORIGIN_KIND_RESTORE:
		return KindRestore
	case fleetpb.OriginKind_ORIGIN_KIND_CLONE:
		return KindClone
	default:
		return KindLaunch
	}
}

// Kinds of operation. Those of hosts have groups' drains and moves as their parts.
const (
	KindLaunch   = "launch"
	KindRecover  = "recover" // a launch with what a lost group left
	KindRestore  = "restore" // a launch with a state from a file
	KindClone    = "clone"   // a launch with the state of another group
	KindDelete   = "delete"
	KindPurge    = "purge"    // of a group that was banned
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
