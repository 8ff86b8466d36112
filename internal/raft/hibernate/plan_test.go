package hibernate

import (
	"testing"

	"github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/internal/ids"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func all(ids.Host) bool { return true }

func but(down ids.Host) func(ids.Host) bool { return func(h ids.Host) bool { return h != down } }

// three is a group with voters 1 to 3 on hosts nh-1 to nh-3.
func three(g ids.Group, self, leader ids.Replica) Group {
	return Group{ID: g, Self: self, Leader: leader, Voters: map[ids.Replica]ids.Host{1: "nh-1", 2: "nh-2", 3: "nh-3"}}
}

func TestPlan(t *testing.T) {
	observer := three(7, 4, 1)
	stranger := Group{ID: 7, Self: 1, Leader: 1, Voters: map[ids.Replica]ids.Host{1: "nh-1"}}
	for name, c := range map[string]struct {
		g    Group
		host ids.Host
		isUp bool
		want Move
	}{
		"a leader looks for its quorum":                  {three(7, 1, 1), "nh-3", false, Move{Act: Wake}},
		"a leader greets who came":                       {three(7, 1, 1), "nh-3", true, Move{Act: Wake}},
		"a follower makes sure of its leader":            {three(7, 2, 1), "nh-3", false, Move{Act: Stir}},
		"and greets it when it is back":                  {three(7, 2, 3), "nh-3", true, Move{Act: Stir}},
		"a group without a replica there sleeps on":      {stranger, "nh-3", false, Move{}},
		"an observer tells its leader":                   {observer, "nh-3", true, Move{Act: Stir}},
		"an observer of a dead leader has nothing to do": {observer, "nh-1", false, Move{}},
	} {
		up := all
		if !c.isUp {
			up = but(c.host)
		}
		require.Equal(t, c.want, Plan(c.g, c.host, c.isUp, up), name)
	}
}

// The voters that are left stand for election one after the other, whatever the group.
func TestOneVoterStandsFirst(t *testing.T) {
	firsts := make(map[ids.Replica]int)
	for g := ids.Group(1000); g < 2000; g++ {
		turns := make(map[int]ids.Replica)
		for self := ids.Replica(1); self <= 2; self++ {
			m := Plan(three(g, self, 3), "nh-3", false, but("nh-3"))
			require.Equal(t, Wake, m.Act)
			turns[m.Turn] = self
		}
		require.Len(t, turns, 2, "each has a turn of its own")
		require.Contains(t, turns, 0)
		firsts[turns[0]]++
		require.Equal(t, turns[0], First(three(g, 3, 3), but("nh-3")))
	}
	require.InDelta(t, 500, firsts[1], 100, "the groups spread over the hosts that are left")
}

// Voters that know no leader let others speak when a host comes up.
func TestALeaderlessVoterWaitsForALeader(t *testing.T) {
	turns := make(map[int]bool)
	for self := ids.Replica(1); self <= 3; self++ {
		m := Plan(three(7, self, 0), "nh-3", true, all)
		require.Equal(t, Wake, m.Act)
		require.Positive(t, m.Turn)
		turns[m.Turn] = true
	}
	require.Len(t, turns, 3)
}

// Hosts that disagree on who is up agree on the order of those that both think are.
func TestTheOrderIsOneForAll(t *testing.T) {
	for g := ids.Group(1000); g < 1100; g++ {
		full := turn(three(g, 1, 0), all) < turn(three(g, 2, 0), all)
		part := turn(three(g, 1, 0), but("nh-3")) < turn(three(g, 2, 0), but("nh-3"))
		require.Equal(t, full, part)
	}
}

func TestMessages(t *testing.T) {
	m := Message(Wake, three(7, 1, 2))
	require.Equal(t, raftpb.NoOP, m.Type)
	require.Equal(t, uint64(1), m.From)
	m = Message(Stir, three(7, 1, 2))
	require.Equal(t, raftpb.Heartbeat, m.Type)
	require.Equal(t, uint64(2), m.From)
	require.Equal(t, uint64(1), m.To)
	require.Zero(t, m.Term)
	require.Equal(t, raftpb.NoOP, Message(Stir, three(7, 1, 1)).Type, "a leader needs no heartbeat")
	require.Equal(t, raftpb.NoOP, Message(Stir, three(7, 1, 0)).Type, "nobody to hear")
	require.Equal(t, raftpb.TimeoutNow, Message(Stand, three(7, 1, 0)).Type)
	ask := noop(three(7, 1, 0), 2, askLeader)
	require.True(t, ForLeader(&ask))
	require.False(t, ForLeader(&m))
}
