package rules

import (
	"errors"
	"fmt"
	"slices"

	"github.com/drumline/drumline/drummer/fleet/words"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// CheckAdd says what is wrong with a wish for one more replica, or nil.
func CheckAdd(c *fleetpb.AddReplica, kind string) error {
	switch {
	case len(c.GetReason()) > MaxReason:
		return fmt.Errorf("the reason has %d bytes, at most %d are kept", len(c.GetReason()), MaxReason)
	case !slices.Contains(words.BuildKinds(), kind):
		return fmt.Errorf("an operation of kind %s builds no replica", Quote(kind))
	case c.GetMove() && c.GetReplaces() == 0:
		return errors.New("a move says which replica it replaces")
	}
	return CheckOptional("author", c.GetAuthor())
}

// CheckMembership says what is wrong with a membership that was read, or nil.
func CheckMembership(c *fleetpb.MembershipSeen) error {
	if n := len(c.GetVoters()); n == 0 || n > MaxMembers || len(c.GetObservers()) > MaxMembers || len(c.GetRemoved()) > MaxMembers {
		return fmt.Errorf("%d voters, %d observers and %d removed: want 1 to %d voters, and at most as many of the others",
			n, len(c.GetObservers()), len(c.GetRemoved()), MaxMembers)
	}
	all := slices.Concat(c.GetVoters(), c.GetObservers(), c.GetRemoved())
	slices.Sort(all)
	for i, id := range all {
		if id == 0 || (i > 0 && all[i-1] == id) {
			return fmt.Errorf("replica %d: each has an id and is one of voter, observer and removed", id)
		}
	}
	return nil
}

// CheckKind says whether operations of a kind can be paused, or nil.
func CheckKind(kind string) error {
	if kind == words.KindTransfer || kind == words.KindTune || slices.Contains(words.BuildKinds(), kind) {
		return nil
	}
	return fmt.Errorf("operations of kind %s cannot be paused: use balance, drain, move, place, replace, resize, transfer or tune", Quote(kind))
}

// CheckPaused says what is wrong with the kinds that are paused, or nil.
func CheckPaused(kinds []string) error {
	for i, k := range kinds {
		if err := CheckKind(k); err != nil {
			return err
		}
		if i > 0 && kinds[i-1] >= k {
			return errors.New("paused kinds out of order")
		}
	}
	return nil
}

// Observes tells whether a replica of the group is being built, whose operation goes on.
func Observes(g *fleetpb.Group) bool {
	return slices.ContainsFunc(g.GetReplicas(), func(r *fleetpb.Replica) bool {
		return !r.GetVoter() && r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED
	})
}

// Voters counts those that the group has.
func Voters(g *fleetpb.Group) int {
	n := 0
	for _, r := range g.GetReplicas() {
		if r.GetVoter() && r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED {
			n++
		}
	}
	return n
}
