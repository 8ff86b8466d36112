//go:build e2elong

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
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

// defined uses a resource, and waits until it has so much.
func (w *world) defined(name string, capacity float64) {
	w.Helper()
	_, err := w.definition(name, 20*time.Second)
	w.must(err)
	w.within(30*time.Second, fmt.Sprint(name, " has ", capacity), func() (bool, string) {
		ctx, cancel := context.WithTimeout(w.Context(), 5*time.Second)
		defer cancel()
		raw, err := w.client.Group(name).Read(ctx, []byte{0x0a, 0}) // Describe
		var a capacitypb.Answer
		if err == nil {
			err = proto.Unmarshal(raw, &a)
		}
		return err == nil && a.GetSummary().GetDefinition().GetCapacity() == capacity, fmt.Sprint(&a, err)
	})
}
