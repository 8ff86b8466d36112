//go:build e2elong

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// TestOneEntryIsChanged changes entries of a configuration without a file: groups that a first
// use makes begin with the Raft options of their template, one group gets other options than
// its neighbours, and a rollback takes that back. Groups that live keep their Raft options.
func TestOneEntryIsChanged(t *testing.T) {
	w := newWorld(t, 1, 3)
	first := w.applyResources(100)
	w.defined("capacity/cpu", 100)

	own := &fleetpb.RaftOptions{SnapshotEntries: 700, ElectionTicks: 20, HeartbeatTicks: 2}
	w.run("capacity", "config", "set", "*", "raft={snapshot_entries: 700, election_ticks: 20, heartbeat_ticks: 2}")
	w.defined("capacity/disk", 100)
	w.within(20*time.Second, "whole", w.whole(nil))
	groups, err := w.groups()
	w.must(err)
	require.Equal(t, own.String(), groups["capacity/disk"].GetSpec().GetRaft().String())
	require.Nil(t, groups["capacity/cpu"].GetSpec().GetRaft(), "it was there before")
	require.Zero(t, w.count("tune"), "they were started with them")

	w.run("capacity", "config", "set", "disk", "capacity=50")
	w.defined("capacity/disk", 50)
	w.defined("capacity/cpu", 100)
	w.run("capacity", "config", "rollback", fmt.Sprint(first))
	w.defined("capacity/disk", 100)
	_, err = w.command("capacity", "config", "set", "*", "raft.election_ticks=20")
	require.ErrorContains(t, err, "set both, or none")
}

// defined waits until a resource, which is used, has so much.
func (w *world) defined(name string, capacity float64) {
	w.Helper()
	w.within(30*time.Second, fmt.Sprint(name, " has ", capacity), func() (bool, string) {
		s, err := w.definition(name, 20*time.Second)
		return err == nil && s.GetDefinition().GetCapacity() == capacity, fmt.Sprint(s, err)
	})
}
