package raft

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/ids"
)

// dormitory is a cluster of groups that sleep most of the time.
type dormitory struct {
	*cluster
	groups []ids.Group
	dice   *rand.Rand
}

// After kills, partitions, heals and restarts no group is left asleep without a
// leader, though nobody asks for any. RAFT_SLEEP_ROUNDS has it go on for long, from
// RAFT_SLEEP_SEED. Two clusters share the rounds, because they wait most of the time.
func TestNoGroupIsLeftAsleep(t *testing.T) {
	const clusters = 2
	rounds, seed := env("RAFT_SLEEP_ROUNDS", 5), uint64(env("RAFT_SLEEP_SEED", 7))
	for k := range clusters {
		t.Run(fmt.Sprintf("every %d from %d", clusters, k), func(t *testing.T) {
			t.Parallel()
			leaveNoneAsleep(t, seed+uint64(k), func(yield func(int) bool) {
				for round := k; round < rounds && yield(round); round += clusters {
				}
			})
		})
	}
}

func leaveNoneAsleep(t *testing.T, seed uint64, rounds iter.Seq[int]) {
	t.Helper()
	s := &dormitory{cluster: newCluster(t, 3, unhurried), dice: rand.New(rand.NewPCG(seed, seed))}
	for g := ids.Group(1000); g < 1010; g++ {
		s.start(g, 0, 1, 2)
		s.open(g)
		s.groups = append(s.groups, g)
	}
	disasters := []func(){s.kill, s.isolate, s.separate, s.killAll, s.stopLeaders}
	slowest, count := time.Duration(0), 0
	for round := range rounds {
		if s.dice.IntN(4) > 0 {
			s.quiet()
		}
		begun := time.Now()
		disasters[round%len(disasters)]()
		s.agreed(0, 1, 2)
		slowest = max(slowest, time.Since(begun))
		count++
	}
	for _, g := range s.groups {
		s.propose(g, "a")
	}
	t.Logf("%d rounds, the slowest took %s", count, slowest)
}

func env(name string, otherwise int) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return otherwise
	}
	return n
}

// agreed waits until those nodes know one leader of each group, one of them, which
// serves.
func (s *dormitory) agreed(on ...int) {
	s.t.Helper()
	for _, g := range s.groups {
		require.Eventually(s.t, func() bool {
			var leader ids.Replica
			serving := false
			for _, i := range on {
				st, ok := s.nodes[i].Status(g)
				if !ok || st.Leader == 0 || leader != 0 && st.Leader != leader {
					return false
				}
				leader = st.Leader
				serving = serving || st.Serving
			}
			return serving
		}, testTimeout, testTick, "group %d has no leader that all know", g)
	}
}

// others are the nodes but one.
func others(i int) []int { return []int{(i + 1) % 3, (i + 2) % 3} }

func (s *dormitory) reboot(i int) {
	s.nodes[i].boot()
	for _, g := range s.groups {
		require.NoError(s.t, s.nodes[i].Start(s.ctx(), spec(g, i)))
	}
}

// kill ends a host, and another process takes its place.
func (s *dormitory) kill() {
	i := s.dice.IntN(3)
	s.nodes[i].crash()
	if s.dice.IntN(2) > 0 {
		s.agreed(others(i)...)
	}
	if s.dice.IntN(2) > 0 {
		s.quiet()
	}
	s.reboot(i)
}

// killAll ends all hosts; one comes back late.
func (s *dormitory) killAll() {
	for _, n := range s.nodes {
		n.crash()
	}
	i := s.dice.IntN(3)
	for _, k := range others(i) {
		s.reboot(k)
	}
	s.agreed(others(i)...)
	s.quiet()
	s.reboot(i)
}

// isolate cuts a host off, and heals.
func (s *dormitory) isolate() {
	i := s.dice.IntN(3)
	for _, k := range others(i) {
		s.cut(i, k)
	}
	if s.dice.IntN(2) > 0 {
		s.out(i, others(i)...)
	}
	s.agreed(others(i)...)
	s.network.Heal()
}

// separate cuts the line between two hosts that both reach the third: whoever leads,
// the group goes on. It heals before anybody agrees on anything.
func (s *dormitory) separate() {
	pair := others(s.dice.IntN(3))
	s.cut(pair[0], pair[1])
	s.out(pair[0], pair[1])
	s.network.Heal()
}

// out waits until a host and others have given each other up.
func (s *dormitory) out(i int, from ...int) {
	s.t.Helper()
	for _, k := range from {
		a, b := s.nodes[i], s.nodes[k]
		require.Eventually(s.t, func() bool { return !a.waker.Up(b.id) && !b.waker.Up(a.id) }, testTimeout, testTick)
	}
}

func (s *dormitory) cut(a, b int) {
	s.network.Cut(s.nodes[a].id, s.nodes[b].id)
	s.network.Cut(s.nodes[b].id, s.nodes[a].id)
}

// stopLeaders stops the replicas that lead, while their hosts go on.
func (s *dormitory) stopLeaders() {
	for _, g := range s.groups {
		l := s.leader(g)
		require.NoError(s.t, l.Stop(s.ctx(), g))
		require.NotEqual(s.t, l, s.leader(g))
		require.NoError(s.t, l.Start(s.ctx(), spec(g, s.indexOf(l))))
	}
}
