package logdb

import (
	"errors"
	"log/slog"
	"math"
	"testing"

	"github.com/lni/dragonboat/v3/config"
	"github.com/lni/dragonboat/v3/raftio"
	pb "github.com/lni/dragonboat/v3/raftpb"
	"github.com/lni/goutils/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/drumline/drumline/internal/raft/engine"
)

func TestMain(m *testing.M) {
	engine.UseLogger(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}

// counted is a log store that counts what is read of it.
type counted struct {
	raftio.ILogDB
	reads int
	// during is called before the next read answers.
	during func()
}

//nolint:revive // dragonboat's interface has so many
func (c *counted) IterateEntries(to []pb.Entry, size, group, replica, low, high, most uint64) ([]pb.Entry, uint64, error) {
	c.reads++
	got, size, err := c.ILogDB.IterateEntries(to, size, group, replica, low, high, most)
	if c.during != nil {
		c.during()
	}
	return got, size, err
}

// openStore opens dragonboat's own store in memory, with a Store before it.
func openStore(t require.TestingT) (*Store, *counted) {
	c := config.NodeHostConfig{}
	c.Expert.LogDB = config.GetTinyMemLogDBConfig()
	c.Expert.LogDB.Shards = 1
	c.Expert.Engine.ExecShards = 1
	inner, err := newStore(c, nil, []string{"logs"}, nil, vfs.NewMem())
	require.NoError(t, err)
	below := &counted{ILogDB: inner}
	return New(below, 1), below
}

// termOf asks as dragonboat does.
func termOf(t require.TestingT, s raftio.ILogDB, index uint64) uint64 {
	got, _, err := s.IterateEntries(nil, 0, 1, 9, index, index+1, 0)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, index, got[0].Index)
	return got[0].Term
}

func entries(from, to, term uint64) (es []pb.Entry) {
	for i := from; i <= to; i++ {
		es = append(es, pb.Entry{Index: i, Term: term, Cmd: []byte("a command")})
	}
	return es
}

func save(t require.TestingT, s *Store, es []pb.Entry) {
	u := pb.Update{ClusterID: 1, NodeID: 9, State: state(es[len(es)-1].Term, 1, 1), EntriesToSave: es}
	require.NoError(t, s.SaveRaftState([]pb.Update{u}, 1))
}

// Whatever is appended, overwritten, put into a snapshot or read after a start: a term is
// the one that is on the disk.
func TestRememberedTermsAreThoseOnDisk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, below := openStore(t)
		defer func() { require.NoError(t, s.Close()) }()
		first, last, term := uint64(1), uint64(0), uint64(1)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0: // somebody else's log
				last = first - 1 + rapid.Uint64Range(0, last-first+1).Draw(t, "kept")
				fallthrough
			case 1:
				term++
				fallthrough
			case 2:
				es := entries(last+1, last+rapid.Uint64Range(1, 5).Draw(t, "entries"), term)
				if len(es) > 2 && rapid.Bool().Draw(t, "two terms") {
					term++
					es[len(es)-1].Term = term
				}
				last = es[len(es)-1].Index
				save(t, s, es)
			case 3:
				last += 10
				first = last + 1
				u := pb.Update{ClusterID: 1, NodeID: 9, State: state(term, 1, last), Snapshot: pb.Snapshot{ClusterId: 1, Index: last, Term: term}}
				require.NoError(t, s.SaveRaftState([]pb.Update{u}, 1))
			case 4:
				_, err := s.ReadRaftState(1, 9, first-1)
				require.True(t, err == nil || errors.Is(err, raftio.ErrNoSavedLog), "%v", err)
			default:
			}
			for i := first; i <= last; i++ {
				require.Equal(t, termOf(t, below, i), termOf(t, s, i), "entry %d of %d to %d", i, first, last)
			}
		}
	})
}

func TestTheLastTermIsReadOnce(t *testing.T) {
	s, below := openStore(t)
	defer func() { require.NoError(t, s.Close()) }()
	save(t, s, entries(1, 5, 3))
	require.EqualValues(t, 3, termOf(t, s, 5))
	require.Zero(t, below.reads, "it was just written")

	_, err := s.ReadRaftState(1, 9, 0)
	require.NoError(t, err)
	for range 3 {
		require.EqualValues(t, 3, termOf(t, s, 5))
	}
	require.Equal(t, 1, below.reads, "after a start it is read")
	save(t, s, entries(6, 6, 4))
	require.EqualValues(t, 4, termOf(t, s, 6))
	require.EqualValues(t, 3, termOf(t, s, 5))
	require.Equal(t, 1, below.reads)
}

// What was read while the log changed may be of before.
func TestATermThatIsOverwrittenMeanwhileIsNotBelieved(t *testing.T) {
	s, below := openStore(t)
	defer func() { require.NoError(t, s.Close()) }()
	save(t, s, entries(1, 5, 3))
	_, err := s.ReadRaftState(1, 9, 0)
	require.NoError(t, err)
	below.during = func() {
		below.during = nil
		save(t, s, entries(2, 2, 4))
		save(t, s, entries(3, 5, 5))
	}
	require.EqualValues(t, 3, termOf(t, s, 5), "as it was")
	require.EqualValues(t, 5, termOf(t, s, 5))
}

// Entries that are read for what is in them come from the disk.
func TestEntriesAreReadWhole(t *testing.T) {
	s, below := openStore(t)
	defer func() { require.NoError(t, s.Close()) }()
	save(t, s, entries(1, 5, 3))
	for _, high := range []uint64{5, 6} {
		got, _, err := s.IterateEntries(nil, 0, 1, 9, 4, high, math.MaxUint64)
		require.NoError(t, err)
		require.Len(t, got, int(high-4))
		require.Equal(t, "a command", string(got[0].Cmd))
	}
	require.Equal(t, 2, below.reads)
}
