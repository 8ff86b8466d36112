//go:build e2elong

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	doormanpb "github.com/drumline/drumline/drummerpb/doorman"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
)

// TestUnloadedGroupsAreRepaired lets all groups be unloaded, restarts a host, whose
// replicas stay so, and kills another one: the groups are loaded for the repair, nothing
// is lost, and they are unloaded again.
func TestUnloadedGroupsAreRepaired(t *testing.T) {
	t.Setenv("NODEHOST_UNLOAD_AFTER", "10s")
	w := newWorld(t, 3, 5)
	groups := specs("quiet", 30)
	w.create(groups...)
	w.within(15*time.Second, "launch", w.whole(names(groups)))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, g := range groups {
		_, err := w.client.KV(g.GetName()).Put(ctx, []byte("k"), []byte(g.GetName()))
		w.must(err)
	}
	all := func() (bool, string) {
		loaded, n, err := w.loaded()
		return err == nil && n == 3*len(groups) && len(loaded) == 0, fmt.Sprint(loaded, n, err)
	}
	// A group's heartbeats end, and it is idle, three quarters of a minute after its last command
	// or hand-over of the lead.
	w.within(2*time.Minute, "all replicas unloaded", all)
	// A host notes what it unloaded within a second, and starts what it had not noted.
	since := time.Now()
	w.within(10*time.Second, "the hosts have noted it", func() (bool, string) { return time.Since(since) > 3*time.Second, "" })
	w.must(w.fleet.Kill("host-1"))
	w.must(w.fleet.Start("host-1"))
	w.must(w.fleet.WaitReady(ctx, "host-1"))
	since = time.Now()
	w.within(10*time.Second, "the supervisor had time to load some", func() (bool, string) { return time.Since(since) > 3*time.Second, "" })
	w.within(time.Second, "none was loaded for a restart", all)

	before, err := w.groups()
	w.must(err)
	require.NotEmpty(t, replicasOn(before, "host-2"))
	w.must(w.fleet.Kill("host-2"))
	w.within(downAfter+20*time.Second, "all groups whole without host-2", w.wholeOrUnloaded(names(groups), "host-2"))
	for _, g := range groups {
		entry, found, err := w.client.KV(g.GetName()).Get(ctx, []byte("k"))
		w.must(err)
		require.True(t, found, g.GetName())
		require.Equal(t, g.GetName(), string(entry.Value))
	}
	w.within(2*time.Minute, "all replicas unloaded again", all)
}

// unloaded counts the replicas that are out of memory.
func (w *world) unloaded() (int, error) {
	loaded, n, err := w.loaded()
	return n - len(loaded), err
}

// loaded tells of the replicas that are in memory, of how many there are.
func (w *world) loaded() (loaded []string, of int, err error) {
	groups, err := w.groups()
	for _, g := range groups {
		for _, r := range members(g) {
			of++
			if r.GetState() != drummerpb.ReplicaState_REPLICA_STATE_UNLOADED {
				loaded = append(loaded, fmt.Sprint(g.GetName(), " ", r))
			}
		}
	}
	return loaded, of, err
}

// wholeOrUnloaded is whole for groups whose replicas may sleep out of memory, where
// nobody is a leader.
func (w *world) wholeOrUnloaded(names []string, avoid ...string) func() (bool, string) {
	return func() (bool, string) {
		groups, err := w.groups()
		if err != nil {
			return false, err.Error()
		}
		for _, n := range names {
			voters := 0
			for _, r := range members(groups[n]) {
				for _, a := range avoid {
					if r.GetHost() == a {
						return false, n + " has a replica on " + a
					}
				}
				if !r.GetObserver() && (r.GetState() == drummerpb.ReplicaState_REPLICA_STATE_UNLOADED || r.GetState() == drummerpb.ReplicaState_REPLICA_STATE_OK) {
					voters++
				}
			}
			if groups[n].GetState() != "ok" || voters != int(groups[n].GetWant()) {
				return false, groups[n].String()
			}
		}
		return true, ""
	}
}

// TestAnUnloadedResourceFollows changes a resource's configuration while its group is out of
// memory: the request that loads it is decided by what holds now.
func TestAnUnloadedResourceFollows(t *testing.T) {
	t.Setenv("NODEHOST_UNLOAD_AFTER", "10s")
	w := newWorld(t, 1, 3)
	shared := resource{"shared", capacitypb.Algorithm_ALGORITHM_FAIR_SHARE, 100, 2 * time.Second, time.Second}
	w.divide(shared)
	ask := func(client string) float64 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		resp, err := doormanpb.NewCapacityClient(w.client.Hosts()).GetCapacity(ctx, &doormanpb.GetCapacityRequest{
			ClientId: &client, Resource: []*doormanpb.ResourceRequest{{ResourceId: new("shared"), Priority: new(int64(0)), Wants: new(1e6)}},
		})
		w.must(err)
		// Time stands still for a group that is out of memory: what is not given back stays held.
		_, err = doormanpb.NewCapacityClient(w.client.Hosts()).ReleaseCapacity(ctx, &doormanpb.ReleaseCapacityRequest{ClientId: &client, ResourceId: []string{"shared"}})
		w.must(err)
		return resp.GetResponse()[0].GetGets().GetCapacity()
	}
	require.InDelta(t, 100, ask("a"), 0)
	for n := range 3 {
		w.within(time.Minute, "the resource is unloaded", func() (bool, string) {
			n, err := w.unloaded()
			return err == nil && n == 3, fmt.Sprint(n, err)
		})
		shared.capacity = float64(10 + n)
		w.divide(shared)
		// A host is told within two seconds; it tells nobody what it knows of groups that are out of memory.
		since := time.Now()
		w.within(10*time.Second, "the hosts have been told", func() (bool, string) { return time.Since(since) > 3*time.Second, "" })
		require.InDelta(t, shared.capacity, ask(fmt.Sprint("client-", n)), 0, "decided by the new definition")
	}
}
