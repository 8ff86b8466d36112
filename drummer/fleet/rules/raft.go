package rules

import (
	"cmp"
	"errors"
	"fmt"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Bounds of a group's own Raft options.
const (
	leastSnapshotEntries = 100
	mostSnapshotEntries  = 10_000_000
	mostHeartbeatTicks   = 100
	mostElectionTicks    = 1_000
	// margin is how many heartbeats an election waits for at least.
	margin = 3
	// The ticks that hosts have unless they are configured otherwise.
	hostsElectionTicks  = 10
	hostsHeartbeatTicks = 1
)

// SameRaft tells whether two wishes for Raft options are one.
func SameRaft(a, b *fleetpb.RaftOptions) bool {
	return a == b || a.GetSnapshotEntries() == b.GetSnapshotEntries() &&
		a.GetElectionTicks() == b.GetElectionTicks() && a.GetHeartbeatTicks() == b.GetHeartbeatTicks()
}

// checkRaft says what is wrong with a group's own Raft options, or nil.
func checkRaft(o *fleetpb.RaftOptions) error {
	if n := o.GetSnapshotEntries(); n != 0 && (n < leastSnapshotEntries || n > mostSnapshotEntries) {
		return fmt.Errorf("snapshot_entries of %d: want %d to %d", n, leastSnapshotEntries, mostSnapshotEntries)
	}
	election, heartbeat := o.GetElectionTicks(), o.GetHeartbeatTicks()
	switch {
	case (election == 0) != (heartbeat == 0):
		return errors.New("election_ticks and heartbeat_ticks: set both, or none")
	case heartbeat > mostHeartbeatTicks || election > mostElectionTicks:
		return fmt.Errorf("election_ticks of %d and heartbeat_ticks of %d: want at most %d and %d", election, heartbeat, mostElectionTicks, mostHeartbeatTicks)
	case election < margin*heartbeat:
		return fmt.Errorf("election_ticks of %d: want at least %d times the heartbeat_ticks of %d", election, margin, heartbeat)
	}
	return nil
}

// CheckTuning says why a group cannot go from one set of Raft options to another, or nil:
// while its replicas are restarted one by one, some have the old and some the new, and none
// may take a leader for dead between two of its heartbeats. What hosts are configured with is
// not in the record; it is taken for what they have by default.
func CheckTuning(from, to *fleetpb.RaftOptions) error {
	oldElection, oldHeartbeat := ticks(from)
	election, heartbeat := ticks(to)
	switch {
	case election < margin*oldHeartbeat:
		return fmt.Errorf("election_ticks of %d are too few beside heartbeats every %d ticks, which the group has now: lower heartbeat_ticks first, in a step of its own", election, oldHeartbeat)
	case oldElection < margin*heartbeat:
		return fmt.Errorf("heartbeats every %d ticks are too rare beside election_ticks of %d, which the group has now: raise election_ticks first, in a step of its own", heartbeat, oldElection)
	}
	return nil
}

func ticks(o *fleetpb.RaftOptions) (election, heartbeat uint32) {
	return cmp.Or(o.GetElectionTicks(), hostsElectionTicks), cmp.Or(o.GetHeartbeatTicks(), hostsHeartbeatTicks)
}
