package logdb

import (
	"errors"
	"testing"

	"github.com/lni/dragonboat/v3/raftio"
	pb "github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"
)

// disk is a log store that remembers what it was given.
type disk struct {
	raftio.ILogDB
	saved   []pb.Update
	entries []pb.Entry
	workers []uint64
	states  map[raftio.NodeInfo]pb.State
	closed  bool
	fail    error
}

func newDisk() *disk { return &disk{states: map[raftio.NodeInfo]pb.State{}} }

func (d *disk) SaveRaftState(us []pb.Update, worker uint64) error {
	if d.fail != nil {
		return d.fail
	}
	d.saved = append(d.saved, us...)
	d.workers = append(d.workers, worker)
	for i := range us {
		d.states[raftio.NodeInfo{ClusterID: us[i].ClusterID, NodeID: us[i].NodeID}] = us[i].State
	}
	return nil
}

func (d *disk) ReadRaftState(g, r, _ uint64) (raftio.RaftState, error) {
	return raftio.RaftState{State: d.states[raftio.NodeInfo{ClusterID: g, NodeID: r}]}, d.fail
}

func (*disk) RemoveNodeData(uint64, uint64) error      { return nil }
func (*disk) ImportSnapshot(pb.Snapshot, uint64) error { return nil }
func (d *disk) Close() error                           { d.closed = true; return nil }
func state(term, vote, commit uint64) pb.State {
	return pb.State{Term: term, Vote: vote, Commit: commit}
}

func update(group uint64, s pb.State) pb.Update {
	return pb.Update{ClusterID: group, NodeID: 9, State: s}
}

func withEntry(u pb.Update) pb.Update { u.EntriesToSave = []pb.Entry{{Index: 1}}; return u }

func withSnapshot(u pb.Update, index uint64) pb.Update {
	u.Snapshot = pb.Snapshot{Index: index}
	return u
}

func withCommitted(u pb.Update, t pb.EntryType) pb.Update {
	u.CommittedEntries = []pb.Entry{{}, {Type: t}}
	return u
}

func TestOnlyCommitsAreHeldBack(t *testing.T) {
	begin := withEntry(update(1, state(1, 2, 3)))
	cases := []struct {
		name string
		next pb.Update
		want bool
	}{
		{"nothing", update(1, pb.State{}), false},
		{"the same", update(1, state(1, 2, 3)), false},
		{"a commit", update(1, state(1, 2, 4)), false},
		{"a commit with its entries", withCommitted(update(1, state(1, 2, 4)), pb.EncodedEntry), false},
		{"a membership change", withCommitted(update(1, state(1, 2, 4)), pb.ConfigChangeEntry), true},
		{"a term", update(1, state(2, 2, 3)), true},
		{"a vote", update(1, state(1, 3, 3)), true},
		{"entries", withEntry(update(1, pb.State{})), true},
		{"a snapshot", withSnapshot(update(1, pb.State{}), 7), true},
		{"another replica's first", update(2, state(1, 0, 0)), true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk()
			s := New(d, 2)
			require.NoError(t, s.SaveRaftState([]pb.Update{begin}, 2))
			d.saved = nil
			require.NoError(t, s.SaveRaftState([]pb.Update{c.next}, 2))
			require.Len(t, d.saved, map[bool]int{true: 1}[c.want])
		})
	}
}

// What was held back goes with the next update of the replica, even if that one
// says nothing of the state; and a change of membership that comes later than its
// commit still takes it along.
func TestHeldBackGoesAlong(t *testing.T) {
	for _, next := range []pb.Update{withEntry(update(1, pb.State{})), withCommitted(update(1, pb.State{}), pb.ConfigChangeEntry)} {
		d := newDisk()
		s := New(d, 2)
		require.NoError(t, s.SaveRaftState([]pb.Update{withEntry(update(1, state(1, 2, 3)))}, 2))
		require.NoError(t, s.SaveRaftState([]pb.Update{update(1, state(1, 2, 8)), update(3, pb.State{})}, 2))
		require.Len(t, d.saved, 1)
		require.NoError(t, s.SaveRaftState([]pb.Update{next}, 2))
		require.Equal(t, state(1, 2, 8), d.saved[1].State)
		require.NoError(t, s.Close())
		require.Len(t, d.saved, 2, "nothing is left to write")
	}
}

func TestCloseWritesWhatWasHeldBack(t *testing.T) {
	d := newDisk()
	s := New(d, 2)
	for g := uint64(1); g <= 4; g++ {
		worker := g%2 + 1
		require.NoError(t, s.SaveRaftState([]pb.Update{withEntry(update(g, state(1, 2, 3)))}, worker))
		require.NoError(t, s.SaveRaftState([]pb.Update{update(g, state(1, 2, 3+g))}, worker))
	}
	d.workers = nil
	require.NoError(t, s.Close())
	require.True(t, d.closed)
	require.Equal(t, []uint64{1, 2}, d.workers, "one batch for each worker")
	for g := uint64(1); g <= 4; g++ {
		require.Equal(t, state(1, 2, 3+g), d.states[raftio.NodeInfo{ClusterID: g, NodeID: 9}])
	}
}

func TestReadRaftState(t *testing.T) {
	d := newDisk()
	s := New(d, 2)
	rs, err := s.ReadRaftState(1, 9, 0)
	require.NoError(t, err)
	require.Equal(t, pb.State{}, rs.State, "a new replica has none")
	require.NoError(t, s.SaveRaftState([]pb.Update{withEntry(update(1, state(1, 2, 3)))}, 2))
	require.NoError(t, s.SaveRaftState([]pb.Update{update(1, state(1, 2, 8))}, 2))

	rs, err = s.ReadRaftState(1, 9, 5)
	require.NoError(t, err)
	require.Equal(t, state(1, 2, 8), rs.State, "started again in this process")
	require.NoError(t, s.SaveRaftState([]pb.Update{update(1, state(1, 2, 8))}, 2))
	require.Len(t, d.saved, 1)

	crashed := New(d, 2)
	rs, err = crashed.ReadRaftState(1, 9, 5)
	require.NoError(t, err)
	require.Equal(t, state(1, 2, 5), rs.State, "a snapshot is of what is committed")
	rs, err = New(d, 2).ReadRaftState(1, 9, 2)
	require.NoError(t, err)
	require.Equal(t, state(1, 2, 3), rs.State)

	require.NoError(t, s.RemoveNodeData(1, 9))
	require.NoError(t, s.ImportSnapshot(pb.Snapshot{ClusterId: 1}, 9))
	require.Empty(t, s.states)
}

func TestFailuresAreTold(t *testing.T) {
	d := newDisk()
	s := New(d, 1)
	require.NoError(t, s.SaveRaftState([]pb.Update{withEntry(update(1, state(1, 2, 3)))}, 1))
	require.NoError(t, s.SaveRaftState([]pb.Update{update(1, state(1, 2, 8))}, 1))
	d.fail = errors.New("disk")
	require.ErrorIs(t, s.SaveRaftState([]pb.Update{withEntry(update(1, pb.State{}))}, 1), d.fail)
	_, err := s.ReadRaftState(1, 9, 0)
	require.ErrorIs(t, err, d.fail)
	require.ErrorIs(t, s.Close(), d.fail)
	require.True(t, d.closed)
}

//nolint:revive // dragonboat's interface has so many
func (d *disk) IterateEntries(_ []pb.Entry, _, _, _, low, high, _ uint64) (out []pb.Entry, _ uint64, err error) {
	for _, e := range d.entries {
		if low <= e.Index && e.Index < high {
			out = append(out, e)
		}
	}
	return out, 0, d.fail
}

func TestAMachineIsBehindWhileCommandsAreMissing(t *testing.T) {
	d := newDisk()
	s := New(d, 1)
	d.entries = []pb.Entry{ // what is before 4 is in a snapshot
		{Index: 4, Cmd: []byte("a")},
		{Index: 5, Cmd: []byte("b"), Type: pb.EncodedEntry},
		{Index: 6},
		{Index: 7, Cmd: []byte("c"), Type: pb.ConfigChangeEntry},
		{Index: 8, Cmd: []byte("not committed")},
	}
	require.NoError(t, s.SaveRaftState([]pb.Update{withEntry(update(1, state(1, 2, 7)))}, 1))
	require.EqualValues(t, 7, s.Committed(1, 9))
	require.Zero(t, s.Committed(2, 9), "it was never started")
	for applied, want := range map[uint64]bool{0: true, 4: true, 5: false, 6: false, 7: false, 8: false} {
		behind, err := s.Behind(1, 9, applied, 7)
		require.NoError(t, err)
		require.Equal(t, want, behind, "applied %d", applied)
	}
	d.entries = d.entries[2:]
	behind, err := s.Behind(1, 9, 2, 7)
	require.NoError(t, err)
	require.False(t, behind, "all of them are in the snapshot that the machine began with")
	d.fail = errors.New("torn")
	_, err = s.Behind(1, 9, 2, 7)
	require.ErrorIs(t, err, d.fail)
}

func TestRoundsAreTold(t *testing.T) {
	s := New(newDisk(), 2)
	require.NoError(t, s.SaveRaftState(nil, 1), "nobody listens")
	var told []uint64
	s.OnRound(func(worker uint64) { told = append(told, worker) })
	require.NoError(t, s.SaveRaftState(nil, 2), "nothing to save")
	require.NoError(t, s.SaveRaftState([]pb.Update{update(1, state(1, 2, 3))}, 1))
	require.Equal(t, []uint64{2, 1}, told)
}
