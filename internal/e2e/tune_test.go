//go:build e2e || e2elong

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// TestRaftOptionsOfRunningGroups has groups under load go to other Raft options and back: their
// replicas are restarted one by one, and no write fails. A host that is restarted in between
// starts them with the options that it wrote down.
func TestRaftOptionsOfRunningGroups(t *testing.T) {
	w := newWorld(t, 3, 3)
	groups := specs("tuned", 3)
	w.create(groups...)
	w.within(15*time.Second, "launch", w.whole(nil))
	before, err := w.groups()
	w.must(err)
	load := w.load(names(groups), 20*time.Millisecond)

	w.written(load, groups)

	own := &fleetpb.RaftOptions{SnapshotEntries: 150, ElectionTicks: 10, HeartbeatTicks: 2}
	took := w.tune(groups, own)
	w.restart("host-1", groups)
	w.still()
	back := w.tune(groups, nil)
	report := w.finish(load)
	require.Zero(t, report.Unknown+report.Refused, "calls failed")
	t.Logf("%d groups of three tuned in %s, and back in %s; longest gap %s", len(groups), took, back, report.Gaps[0].Length)

	after, err := w.groups()
	w.must(err)
	require.Equal(t, replicaIDs(before), replicaIDs(after), "no replica was replaced for it")
	require.Len(t, w.operations("tune", false), 2*len(groups))
	for _, o := range w.operations("tune", false) {
		require.Equal(t, "done", o.GetResult())
	}
}

// tune wants Raft options for groups, and waits for the end of the operations that follow.
func (w *world) tune(groups []*fleetpb.Spec, raft *fleetpb.RaftOptions) time.Duration {
	w.Helper()
	for _, s := range groups {
		s.Raft = raft
	}
	resp, err := w.client.Drummer().ShapeGroups(w.Context(), &drummerpb.ShapeGroupsRequest{Specs: groups, Author: "test"})
	w.must(err)
	for _, item := range resp.GetItems() {
		require.Equal(w, fleetpb.Code_CODE_OK, item.GetCode(), item.GetDetail())
	}
	return w.within(60*time.Second, "every replica runs with them", func() (bool, string) {
		list := w.operations("tune", true)
		return len(list) == 0, fmt.Sprint(list)
	})
}
