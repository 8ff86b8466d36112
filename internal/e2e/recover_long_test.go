//go:build e2elong

package e2e

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// TestTheOldMajorityComesBack: two of three hosts were given up and their groups
// recovered; then they come back with their disks, enough to elect leaders of the old
// groups among themselves. Not one number of the old groups is handed out.
func TestTheOldMajorityComesBack(t *testing.T) {
	w := newWorld(t, 3, 5)
	var victims []*fleetpb.Spec
	for _, name := range []string{"sequence/a", "sequence/b", "sequence/c", "sequence/d"} {
		victims = append(victims, &fleetpb.Spec{Name: name, App: "sequence", Replicas: 3, Regions: []*fleetpb.RegionCount{{Region: "east", Count: 3}}})
	}
	w.create(victims...)
	w.within(20*time.Second, "all launched", w.whole(nil))
	groups, err := w.groups()
	w.must(err)
	before := w.fill(victims)
	returning := []string{"host-3", "host-5"}
	for _, host := range returning {
		w.must(w.fleet.Kill(host))
	}
	w.within(30*time.Second, "the quorums are known to be lost", func() (bool, string) { return w.allLost(len(victims)) })
	answer, err := w.client.Drummer().RecoverGroups(w.Context(), &drummerpb.RecoverGroupsRequest{Names: names(victims), Margin: recoverMargin})
	w.must(err)
	for _, item := range answer.GetItems() {
		require.True(t, item.GetUnheardQuorum(), "%v", item)
	}
	w.within(20*time.Second, "all serve again", func() (bool, string) { return w.served(victims) })
	w.compare(victims, before)

	hammered := w.hammer(returning, names(victims))
	for _, host := range returning {
		w.must(w.fleet.Start(host))
	}
	w.within(40*time.Second, "three voters each", w.whole(names(victims)))
	w.purge(answer, groups)
	for name, numbers := range hammered() {
		require.NotEmpty(t, numbers, name)
		for _, n := range numbers {
			require.Greater(t, n, before[name]+recoverMargin, "%s: the old group was asked", name)
		}
	}
}

// hammer takes numbers of sequences from these hosts alone, from now on, also while they
// are away. What it returns ends that, and gives what was got of each.
func (w *world) hammer(hosts, sequences []string) (end func() map[string][]int64) {
	w.Helper()
	ctx, cancel := context.WithCancel(w.Context())
	w.Cleanup(cancel)
	var mu sync.Mutex
	got := map[string][]int64{}
	var callers sync.WaitGroup
	take := func(c sequencepb.SequenceClient, name string) {
		try, done := context.WithTimeout(ctx, time.Second)
		defer done()
		resp, err := c.Next(try, &sequencepb.NextRequest{Group: name, Next: &sequencepb.Next{Count: 1}}, grpc.WaitForReady(true))
		if err != nil || resp.GetGrant() == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		got[name] = append(got[name], resp.GetGrant().GetFirst())
	}
	for _, host := range hosts {
		p, err := w.fleet.Process(host)
		w.must(err)
		conn, err := grpc.NewClient(p.API, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(grpc.ConnectParams{
			MinConnectTimeout: time.Second, // and no back-off: the first moments are what counts
		}))
		w.must(err)
		w.Cleanup(func() { _ = conn.Close() })
		for _, name := range sequences {
			callers.Go(func() {
				for c := sequencepb.NewSequenceClient(conn); ctx.Err() == nil; {
					take(c, name)
				}
			})
		}
	}
	return func() map[string][]int64 {
		cancel()
		callers.Wait()
		return got
	}
}
