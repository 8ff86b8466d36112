package status_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/drummer/planner"
	"github.com/drumline/drumline/drummer/status"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// newest is the operation that began last, as people see it.
func (c *cluster) newest() *fleetpb.Operation {
	for op := range c.m.Freeze().Operations() {
		return status.Operation(c.m.Freeze(), c.o, op)
	}
	c.t.Fatal("there is no operation")
	return nil
}

func (c *cluster) shape(change func(*fleetpb.Spec)) {
	s := &fleetpb.Spec{Name: "kv/1", App: "kv", Replicas: 3}
	change(s)
	c.apply(&fleetpb.Command{Op: &fleetpb.Command_ShapeGroups{ShapeGroups: &fleetpb.ShapeGroups{Specs: []*fleetpb.Spec{s}}}})
}

// TestStepsOfEachKind: an operation that runs says where it stands, whatever its kind.
func TestStepsOfEachKind(t *testing.T) {
	options := &fleetpb.RaftOptions{SnapshotEntries: 700}
	for name, tc := range map[string]struct {
		do    func(c *cluster)
		kind  string
		steps []string
	}{
		"a launch that is to be opened": {func(*cluster) {}, "launch", []string{
			"replica 1 runs", "replica 2 runs", "replica 3 runs", "all its replicas run: it is to be opened",
		}},
		"a launch whose host is silent": {func(c *cluster) { c.o.Hosts["b"].State = planner.Down }, "launch", []string{
			"replica 1 runs", "replica 2 runs", "replica 3 runs", "2 of its 3 replicas run",
		}},
		"a group that is being restarted with other options": {func(c *cluster) {
			c.open()
			c.shape(func(s *fleetpb.Spec) { s.Raft = options })
			c.report("b", &drummerpb.ReplicaReport{Replica: 2, State: ok, LeaderReplica: 1, Term: 3, Raft: options})
			c.o.Hosts["c"].Connected = false
		}, "tune", []string{
			"replica 1 on host host-a runs with those of its hosts, and is to be restarted",
			"replica 2 on host host-b runs with snapshot_entries=700",
			"replica 3 on host host-c is not up: the others wait for it",
		}},
		"a transfer": {func(c *cluster) {
			c.open()
			c.apply(&fleetpb.Command{Op: &fleetpb.Command_PreferLeader{PreferLeader: &fleetpb.PreferLeader{Name: "kv/1", Replica: 2}}})
		}, "transfer", []string{"replica 1 on host host-a leads, and replica 2 shall"}},
		"a transfer without a leader": {func(c *cluster) {
			c.open()
			c.apply(&fleetpb.Command{Op: &fleetpb.Command_PreferLeader{PreferLeader: &fleetpb.PreferLeader{Name: "kv/1", Replica: 2}}})
			forget(c)
		}, "transfer", []string{"no leader is known; replica 2 shall lead"}},
		"a replacement that catches up": {func(c *cluster) { c.open(); replace(c) }, "replace", []string{
			"replica 4 is planned on host host-d", "replica 3 on host host-c is removed",
			"replica 4 on host host-d has applied 0 entries and gets its vote when it has caught up",
		}},
		"a resize": {func(c *cluster) { c.open(); c.shape(func(s *fleetpb.Spec) { s.Replicas = 5 }) }, "resize", nil},
		"a deletion": {func(c *cluster) {
			c.open()
			c.apply(&fleetpb.Command{Op: &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{Name: "kv/1"}}})
		}, "delete", []string{"it is to be sealed: then it obeys nothing any more, and its replicas are removed"}},
		"a deletion that is nearly done": {func(c *cluster) {
			c.open()
			c.apply(&fleetpb.Command{Op: &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{Name: "kv/1"}}})
			c.advance(fleetpb.GroupState_GROUP_STATE_PURGING)
		}, "delete", []string{
			"it is sealed and obeys nothing any more; its 3 replicas are removed", "it obeys nothing any more; 3 replicas are still to be removed",
		}},
		"a host that drains": {func(c *cluster) {
			c.open()
			wanted := &fleetpb.HostWanted{Duty: fleetpb.HostDuty_HOST_DUTY_DRAINING}
			c.apply(&fleetpb.Command{Op: &fleetpb.Command_SetHost{SetHost: &fleetpb.SetHost{HostId: "a", Wanted: wanted}}})
		}, "drain", []string{"1 replicas were on it when it began", "1 replicas are left on it, 1 of them lead"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			tc.do(c)
			op := c.newest()
			require.Equal(t, tc.kind, op.GetKind())
			require.Equal(t, tc.steps, op.GetSteps())
			recorded := slices.Clone(c.m.Freeze().Operation(op.GetId()).GetSteps())
			c.newest()
			require.Equal(t, recorded, c.m.Freeze().Operation(op.GetId()).GetSteps(), "what is seen is not written down")
		})
	}
}

// generation is that of the group now.
func (c *cluster) generation() uint64 { return c.m.Freeze().Group(1000).GetGeneration() }

// TestStepsOfWhatHasEnded: one that has ended is shown as the record has it, and the record has
// steps of each kind.
func TestStepsOfWhatHasEnded(t *testing.T) {
	for name, tc := range map[string]struct {
		do    func(c *cluster)
		kind  string
		steps []string
	}{
		"a launch": {func(*cluster) {}, "launch", []string{"replica 1 runs", "replica 2 runs", "replica 3 runs"}},
		"other Raft options": {func(c *cluster) {
			c.shape(func(s *fleetpb.Spec) { s.Raft = &fleetpb.RaftOptions{SnapshotEntries: 700} })
			c.apply(&fleetpb.Command{Op: &fleetpb.Command_Tuned{Tuned: &fleetpb.Tuned{Group: 1000, Generation: c.generation()}}})
		}, "tune", []string{
			"replica 1 on host host-a runs with snapshot_entries=700", "replica 2 on host host-b runs with snapshot_entries=700",
			"replica 3 on host host-c runs with snapshot_entries=700",
		}},
		"a transfer": {func(c *cluster) {
			c.apply(&fleetpb.Command{Op: &fleetpb.Command_PreferLeader{PreferLeader: &fleetpb.PreferLeader{Name: "kv/1", Replica: 2}}})
			c.apply(&fleetpb.Command{Op: &fleetpb.Command_LeaderSeen{LeaderSeen: &fleetpb.LeaderSeen{Group: 1000, Generation: c.generation()}}})
		}, "transfer", []string{"replica 2 on host host-b leads"}},
		"a deletion": {func(c *cluster) {
			c.apply(&fleetpb.Command{Op: &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{Name: "kv/1"}}})
			c.advance(fleetpb.GroupState_GROUP_STATE_PURGING)
			c.apply(&fleetpb.Command{Op: &fleetpb.Command_Purged{Purged: &fleetpb.Purged{Group: 1000, Replicas: []uint64{1, 2, 3}}}})
		}, "delete", []string{"it is sealed and obeys nothing any more; its 3 replicas are removed", "the data of all its replicas is gone"}},
		"a drain": {func(c *cluster) {
			wanted := &fleetpb.HostWanted{Duty: fleetpb.HostDuty_HOST_DUTY_DRAINING}
			c.apply(&fleetpb.Command{Op: &fleetpb.Command_SetHost{SetHost: &fleetpb.SetHost{HostId: "d", Wanted: wanted}}})
			c.apply(&fleetpb.Command{Op: &fleetpb.Command_HostEmptied{HostEmptied: &fleetpb.HostEmptied{HostId: "d"}}})
		}, "drain", []string{"0 replicas were on it when it began", "nothing is left on it"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.open()
			tc.do(c)
			op := c.newest()
			require.NotZero(t, op.GetEndedUnixMs())
			require.Equal(t, tc.kind, op.GetKind())
			require.Equal(t, tc.steps, op.GetSteps())
		})
	}
}
