package replicas

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/raft"
)

func tune(entries uint64, election, heartbeat uint32) orderOpt {
	return func(o *drummerpb.Order) {
		o.Body = &drummerpb.Order_Tune{Tune: &drummerpb.Tune{Raft: &fleetpb.RaftOptions{SnapshotEntries: entries, ElectionTicks: election, HeartbeatTicks: heartbeat}}}
	}
}

// runningWith are the settings that a replica is said to run with.
func runningWith(t *testing.T, w *world, k Key) uint64 {
	t.Helper()
	l, ok := w.core.Look(k)
	require.True(t, ok)
	return l.Raft.GetSnapshotEntries()
}

func TestATunedReplicaIsRestartedOnce(t *testing.T) {
	k := key(1000, 7)
	w := up(k).step(order(2, k, tune(200, 0, 0)))
	require.Equal(t, []string{"start 1000.7 again"}, w.take())
	require.EqualValues(t, 200, w.disk.Records[k].Raft.SnapshotEntries, "saved before it is done")
	require.True(t, w.disk.Records[k].Suspect, "should the process die of it, the next one starts it alone")
	require.Equal(t, "STARTING", state(t, w, k))

	w.step(order(3, k, tune(200, 0, 0)), Up{k}, Fell{k})
	require.Equal(t, []string{"later 3: the replica is starting"}, w.take())
	require.Equal(t, "STARTING", state(t, w, k), "what is heard of it now is of before")

	w.step(Started{Key: k}, Up{k})
	require.Equal(t, []string{"ok 2"}, w.take())
	require.Equal(t, "OK", state(t, w, k))
	require.False(t, w.disk.Records[k].Suspect)
	require.EqualValues(t, 200, runningWith(t, w, k))

	w.step(order(4, k, tune(200, 0, 0)))
	require.Equal(t, []string{"ok 4"}, w.take(), "it runs with them already")
	w.restart()
	w.step(Boot{})
	require.Equal(t, []string{"start 1000.7"}, w.take())
	require.EqualValues(t, 200, runningWith(t, w, k), "they outlive the process")
}

// A process that was suspended reads what was sent to it long ago: since then others may have
// gone, with which this one is the quorum.
func TestATuningFromBeforeAStandstillIsNotObeyed(t *testing.T) {
	k := key(1000, 7)
	w := up(k)
	w.now += time.Minute
	w.step(order(2, k, tune(200, 0, 0)), Tick{})
	require.Equal(t, []string{"later 2: the process stood still, and the order may be as old"}, w.take())
	require.Equal(t, "OK", state(t, w, k))
	for range 5 {
		w.now += time.Second
		w.step(Tick{})
	}
	require.Equal(t, []string{"start 1000.7 again"}, w.step(order(3, k, tune(200, 0, 0))).take())
}

// The same of a change: a voter that it removes may have come back, and the others may be behind.
func TestAChangeFromBeforeAStandstillIsNotObeyed(t *testing.T) {
	k := key(1000, 7)
	remove := func(o *drummerpb.Order) {
		o.Body = &drummerpb.Order_Change{Change: &drummerpb.Change{Kind: drummerpb.ChangeKind_CHANGE_KIND_REMOVE, Replica: 3, ConfigChange: 9}}
	}
	w := up(k)
	w.now += time.Minute
	w.step(order(2, k, remove), Tick{})
	require.Equal(t, []string{"later 2: the process stood still, and the order may be as old"}, w.take())
	for range 5 {
		w.now += time.Second
		w.step(Tick{})
	}
	require.Equal(t, []string{"execute 3"}, w.step(order(3, k, remove)).take())
}

func TestATuningThatFailsIsTriedAgain(t *testing.T) {
	k := key(1000, 7)
	w := up(k).step(order(2, k, tune(200, 0, 0)), Started{Key: k, Err: "it does not unload"})
	require.Equal(t, []string{"start 1000.7 again", "later 2: it does not unload"}, w.take())
	require.Equal(t, "DOWN", state(t, w, k))
	w.now += time.Minute
	w.step(Tick{}, Started{Key: k}, Up{k})
	require.Equal(t, []string{"start 1000.7 again"}, w.take(), "the old one may run still")
	require.Equal(t, "OK", state(t, w, k))
}

func TestWhatCannotBeTuned(t *testing.T) {
	k := key(1000, 7)
	w := up(k).step(order(2, key(1001, 8), tune(200, 0, 0)), order(3, k, tune(0, 10, 0)), order(4, k, tune(0, 4, 2)))
	require.Equal(t, []string{
		"later 2: replica 1001.8 is not here",
		"refused 3: ticks of elections and of heartbeats are set together",
		"refused 4: an election of 4 ticks is less than three times the heartbeat of 2",
	}, w.take())
	require.Equal(t, raft.Settings{}, w.disk.Records[k].Raft)

	w.step(order(5, k, seal), order(6, k, tune(200, 0, 0)))
	require.Equal(t, []string{"execute 5", "later 6: order 5 of this group is being obeyed"}, w.take())
	w.step(order(7, k, destroy), order(8, k, tune(300, 0, 0)))
	require.Equal(t, []string{"destroy 1000.7", "refused 8: replica 1000.7 is being destroyed, or retired"}, w.take())

	w = newWorld().step(Boot{}, order(1, k, func(o *drummerpb.Order) {
		launch(o)
		o.GetStart().Raft = &fleetpb.RaftOptions{HeartbeatTicks: 2}
	}))
	require.Equal(t, []string{"booted", "refused 1: ticks of elections and of heartbeats are set together"}, w.take())
}

func TestALaunchHasTheGroupsSettings(t *testing.T) {
	k := key(1000, 7)
	w := newWorld().step(Boot{}, order(1, k, func(o *drummerpb.Order) {
		launch(o)
		o.GetStart().Raft = &fleetpb.RaftOptions{SnapshotEntries: 300}
	}))
	require.Equal(t, []string{"booted", "start 1000.7"}, w.take())
	require.EqualValues(t, 300, runningWith(t, w, k))
	require.EqualValues(t, 300, w.disk.Records[k].Raft.SnapshotEntries)
}

// TestTheKeeperRestartsWhatIsTuned goes through the real driver: stopped, started with the
// new settings, reported.
func TestTheKeeperRestartsWhatIsTuned(t *testing.T) {
	o := openOffice(t)
	k := key(1000, 7)
	o.Boot()
	<-o.Booted()
	o.obey(order(1, k, launch))
	o.awaitState(k, stateOK)
	o.obey(order(2, k, tune(200, 0, 0)))
	o.awaitState(k, stateOK)
	r, here := o.Report(k)
	require.True(t, here)
	require.EqualValues(t, 200, r.GetRaft().GetSnapshotEntries())
	o.raft.mu.Lock()
	defer o.raft.mu.Unlock()
	require.Equal(t, []string{"start 1000", "stop 1000", "start 1000"}, o.raft.calls)
	require.EqualValues(t, 200, o.raft.running[k.Group].Settings.SnapshotEntries)
}
