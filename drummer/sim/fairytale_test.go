package sim

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/drummer/sim/cluster"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	ledgerapp "github.com/drumline/drumline/internal/raft/ledger"
	"github.com/drumline/drumline/internal/raft/rafttest"
	"github.com/drumline/drumline/internal/raft/transport/membook"
)

// realHosts opens hosts of real Raft in this process.
func realHosts(t *testing.T, n int) []*raft.Host {
	book := membook.New()
	var hosts []*raft.Host
	for i := range n {
		id := ids.Host(fmt.Sprintf("host-%d", i))
		h := rafttest.Open(t, book, id, ledgerapp.App(1))
		t.Cleanup(func() { require.NoError(t, h.Close()) })
		hosts = append(hosts, h)
	}
	return hosts
}

// ask makes a change on whichever of the hosts can say what became of it.
func ask(t *testing.T, hosts []*raft.Host, g ids.Group, c raft.Change) (m raft.Membership, refused bool) {
	require.Eventually(t, func() bool {
		for _, h := range hosts {
			if s, ok := h.Status(g); !ok || !s.Serving {
				continue
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := h.Change(ctx, g, c)
			refused = fault.Is(err, fault.Conflict) || fault.Is(err, fault.Invalid)
			if err != nil && !refused {
				continue
			}
			if m, err = h.Membership(ctx, g); err == nil {
				return true
			}
		}
		return false
	}, 30*time.Second, 20*time.Millisecond)
	return m, refused
}

// The simulated Raft is no fairy tale: random scripts of membership changes, made and
// refused, end on real Raft as they do in the simulator.
func TestTheSimulatedRaftIsLikeTheRealOne(t *testing.T) {
	hosts := realHosts(t, 3)
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { compare(t, hosts, seed) })
	}
}

func compare(t *testing.T, hosts []*raft.Host, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	id := ids.FirstGroup + ids.Group(seed)
	members := map[ids.Replica]ids.Host{1: "host-0", 2: "host-1", 3: "host-2"}
	for i, h := range hosts {
		require.NoError(t, h.Start(t.Context(), raft.Replica{Group: id, ID: ids.Replica(i + 1), Name: fmt.Sprintf("ledger/%d", id), Members: members}))
	}
	g := cluster.NewGroup(newWorld(seed, 3).World, uint64(id), members)
	now, _ := ask(t, hosts, id, raft.Change{Kind: raft.Remove, Replica: 99, ConfigChange: 1 << 40})
	older, made, refusals := now.ConfigChange, 0, 0
	kinds := map[drummerpb.ChangeKind]raft.ChangeKind{
		drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER: raft.AddObserver, drummerpb.ChangeKind_CHANGE_KIND_PROMOTE: raft.Promote, drummerpb.ChangeKind_CHANGE_KIND_REMOVE: raft.Remove,
	}
	for range 25 {
		c := &drummerpb.Change{
			Kind:    drummerpb.ChangeKind(1 + rng.IntN(3)),
			Replica: uint64(1 + rng.IntN(8)), HostId: fmt.Sprintf("host-%d", rng.IntN(6)),
		}
		stale := rng.IntN(5) == 0
		if endangers(g, c) {
			continue
		}
		same := raft.Change{Kind: kinds[c.GetKind()], Replica: ids.Replica(c.GetReplica()), Host: ids.Host(c.GetHostId()), ConfigChange: now.ConfigChange}
		c.ConfigChange = g.CC
		if stale && older != now.ConfigChange {
			same.ConfigChange, c.ConfigChange = older, g.CC-1
		}
		older = now.ConfigChange
		why := g.Change(c)
		var refused bool
		now, refused = ask(t, hosts, id, same)
		require.Equal(t, why != "", refused, "%s: the simulator says %q", c, why)
		require.Equal(t, hostsOf(g.Voters), now.Voters, "%s", c)
		require.Equal(t, hostsOf(g.Observers), now.Observers, "%s", c)
		var removed []ids.Replica
		for _, r := range slices.Sorted(maps.Keys(g.Removed)) {
			removed = append(removed, ids.Replica(r))
		}
		require.Equal(t, removed, now.Removed, "%s", c)
		if refused {
			refusals++
		} else {
			made++
		}
	}
	require.Positive(t, made)
	require.Positive(t, refusals)
}

// endangers tells that a change would leave the real group, of which only the first three
// replicas run, without a quorum.
func endangers(g *cluster.Group, c *drummerpb.Change) bool {
	after := maps.Clone(g.Voters)
	switch c.GetKind() {
	case drummerpb.ChangeKind_CHANGE_KIND_PROMOTE:
		after[c.GetReplica()] = c.GetHostId()
	case drummerpb.ChangeKind_CHANGE_KIND_REMOVE:
		delete(after, c.GetReplica())
	}
	run := 0
	for id := range after {
		if id <= 3 {
			run++
		}
	}
	return run < cluster.Quorum(len(after)) || run < 2
}

func hostsOf(m map[uint64]string) map[ids.Replica]ids.Host {
	out := make(map[ids.Replica]ids.Host, len(m))
	for r, h := range m {
		out[ids.Replica(r)] = ids.Host(h)
	}
	return out
}
