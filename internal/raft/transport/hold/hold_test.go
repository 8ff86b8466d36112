package hold

import (
	"testing"
	"time"

	pb "github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func after(ms int) time.Time { return time.Unix(1, 0).Add(time.Duration(ms) * time.Millisecond) }

func entryOf(group, commit uint64) pb.Message {
	return pb.Message{Type: pb.Replicate, ClusterId: group, To: 2, Term: 1, Commit: commit, Entries: []pb.Entry{{Index: commit + 1}}}
}

func commitOf(group, commit uint64) pb.Message {
	return pb.Message{Type: pb.Replicate, ClusterId: group, To: 2, Term: 1, Commit: commit}
}

func (h *Holder) sent(ms int, m ...pb.Message) []pb.Message { return h.Pass(after(ms), m, nil) }

// busy is a holder of a connection on which group 1 had entries 10 ms apart.
func busy() *Holder {
	h := New()
	h.sent(0, entryOf(1, 1))
	h.sent(10, entryOf(1, 2))
	return &h
}

func TestCommitsOfABusyGroupWaitForItsNextEntry(t *testing.T) {
	h := busy()
	require.Zero(t, h.Next())
	require.Empty(t, h.sent(11, commitOf(1, 3)))
	require.Equal(t, after(31), h.Next())
	next := entryOf(1, 3)
	require.Equal(t, []pb.Message{next}, h.sent(15, next), "it says the same")
	none, rest := h.Due(after(100), nil)
	require.Empty(t, none)
	require.Zero(t, rest)
}

func TestCommitsThatDoNotWait(t *testing.T) {
	t.Run("of a group that had one entry", func(t *testing.T) {
		h := New()
		h.sent(0, entryOf(1, 1))
		require.Len(t, h.sent(1, commitOf(1, 2)), 1)
	})
	t.Run("of a group whose entries are far apart", func(t *testing.T) {
		h := New()
		h.sent(0, entryOf(1, 1))
		h.sent(60, entryOf(1, 2))
		require.Len(t, h.sent(61, commitOf(1, 3)), 1)
	})
	t.Run("of a group that was busy", func(t *testing.T) {
		require.Len(t, busy().sent(60, commitOf(1, 3)), 1)
	})
	t.Run("of another group", func(t *testing.T) {
		require.Len(t, busy().sent(11, commitOf(2, 3)), 1)
	})
}

func TestWhatIsHeldGoesInTime(t *testing.T) {
	h := busy()
	h.sent(11, commitOf(1, 3))
	h.sent(12, commitOf(1, 4))
	none, rest := h.Due(after(20), nil)
	require.Empty(t, none)
	require.Equal(t, 11*time.Millisecond, rest, "the first one set the time: twice the gap")
	got, rest := h.Due(after(31), nil)
	require.Equal(t, []pb.Message{commitOf(1, 4)}, got)
	require.Zero(t, rest)
}

// A reader on a follower has its answer and the commit that it waits for together.
func TestWhatIsHeldGoesWithOtherMessagesToTheReplica(t *testing.T) {
	h := busy()
	h.sent(11, commitOf(1, 3))
	other := pb.Message{Type: pb.ReadIndexResp, ClusterId: 1, To: 3}
	require.Equal(t, []pb.Message{other}, h.sent(12, other), "another replica's")
	answer := pb.Message{Type: pb.ReadIndexResp, ClusterId: 1, To: 2}
	require.Equal(t, []pb.Message{commitOf(1, 3), answer}, h.sent(12, answer))
}

func TestAnEntryThatSaysLessTakesNothingAway(t *testing.T) {
	h := busy()
	h.sent(11, commitOf(1, 3))
	old := entryOf(1, 2) // sent again
	require.Equal(t, []pb.Message{commitOf(1, 3), old}, h.sent(12, old))
}

func TestGroupsOfLongAgoAreForgotten(t *testing.T) {
	h := New()
	for g := range uint64(10 * keptPaces) {
		h.sent(int(g), entryOf(g, 1))
	}
	require.Less(t, len(h.paces), 2*keptPaces)
}

// Whatever is sent, every replica hears of the highest commit, and of every entry and
// other message, soon.
func TestNothingIsLostByHolding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := New()
		var ms int
		want, got := map[whom]uint64{}, map[whom]uint64{}
		others, passed := 0, 0
		take := func(out []pb.Message) {
			for _, m := range out {
				to := whom{m.ClusterId, m.To}
				got[to] = max(got[to], m.Commit)
				if m.Type != pb.Replicate || len(m.Entries) > 0 {
					passed++
				}
			}
		}
		for range rapid.IntRange(1, 100).Draw(t, "messages") {
			ms += rapid.IntRange(0, 30).Draw(t, "ms later")
			m := pb.Message{Type: pb.Replicate, ClusterId: rapid.Uint64Range(1, 3).Draw(t, "group"), To: rapid.Uint64Range(1, 2).Draw(t, "to"), Term: 1}
			to := whom{m.ClusterId, m.To}
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				m.Type = pb.Heartbeat
				others++
			case 1:
				m.Entries = []pb.Entry{{}}
				others++
				fallthrough
			default:
				m.Commit = want[to] + rapid.Uint64Range(0, 2).Draw(t, "commits")
				want[to] = m.Commit
			}
			take(h.sent(ms, m))
		}
		out, rest := h.Due(after(ms+100), nil)
		take(out)
		if rest != 0 || len(h.held) > 0 {
			t.Fatalf("%d messages wait for %v more", len(h.held), rest)
		}
		if passed != others {
			t.Fatalf("%d of %d other messages passed", passed, others)
		}
		for to, commit := range want {
			if got[to] != commit {
				t.Fatalf("%v heard of commit %d, not %d", to, got[to], commit)
			}
		}
	})
}
