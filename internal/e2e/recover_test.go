//go:build e2e || e2elong

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	statepb "github.com/drumline/drumline/drummerpb/state"
)

// lostGroups is how many groups lose their quorum at once, recoverWithin how long they may
// take to live again, and recoverMargin what their sequences skip.
const (
	lostGroups    = 20
	recoverWithin = 10 * time.Second
	recoverMargin = 5_000
)

// TestRecoverTwentyGroups destroys two of three replicas of twenty groups for good, while
// others are under load, and has them recovered: nothing that the survivors had is lost,
// no number is handed out twice, and nobody else notices.
func TestRecoverTwentyGroups(t *testing.T) {
	w := newWorld(t, 3, 5)
	victims, bystanders := w.victims()
	groups, err := w.groups()
	w.must(err)
	before := w.fill(victims)
	load := w.load(names(bystanders), 100*time.Millisecond)
	w.within(20*time.Second, "every bystander written", func() (bool, string) { return load.Acknowledged() >= 20, "waiting for writes" })

	for _, host := range []string{"host-3", "host-5"} {
		w.must(w.fleet.Wipe(host))
		w.must(w.fleet.Start(host))
	}
	w.within(20*time.Second, "the quorums are known to be lost", func() (bool, string) { return w.allLost(lostGroups) })
	start := time.Now()
	answer, err := w.client.Drummer().RecoverGroups(w.Context(), &drummerpb.RecoverGroupsRequest{Names: names(victims), Margin: recoverMargin})
	w.must(err)
	for _, item := range answer.GetItems() {
		require.Equal(t, fleetpb.Code_CODE_OK, item.GetCode(), "%v", item)
		require.NotZero(t, item.GetHeir())
		require.Greater(t, item.GetHeir(), item.GetId())
		require.False(t, item.GetUnheardQuorum(), "%v", item)
	}
	w.within(recoverWithin-time.Since(start), "all serve again", func() (bool, string) { return w.served(victims) })
	t.Logf("all %d groups serve %.1fs after they were recovered", lostGroups, time.Since(start).Seconds())
	w.compare(victims, before)
	w.within(40*time.Second, "three voters each", w.whole(names(victims)))
	report := w.finish(load)
	require.LessOrEqual(t, report.Gaps[0].Length, 3*time.Second, "a bystander noticed: %s at %s", report.Gaps[0].Group, report.Gaps[0].Started)

	w.purge(answer, groups)
}

// victims makes the groups that will lose their quorum, on the three hosts of one region,
// and others that have one replica of three on those at most that will be wiped.
func (w *world) victims() (victims, bystanders []*fleetpb.Spec) {
	victims = specs("victim", lostGroups-2)
	for i := range 2 {
		victims = append(victims, &fleetpb.Spec{Name: fmt.Sprintf("sequence/victim-%d", i+1), App: "sequence", Replicas: 3})
	}
	for _, v := range victims {
		v.Regions = []*fleetpb.RegionCount{{Region: "east", Count: 3}}
	}
	bystanders = specs("other", 5)
	for _, b := range bystanders {
		b.Regions = []*fleetpb.RegionCount{{Region: "east", Count: 1}, {Region: "west", Count: 2}}
	}
	w.create(append(bystanders, victims...)...)
	w.within(20*time.Second, "all launched", w.whole(nil))
	return victims, bystanders
}

// fill writes to every group; what it returns is what each has acknowledged last.
func (w *world) fill(groups []*fleetpb.Spec) map[string]int64 {
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	last := map[string]int64{}
	for _, g := range groups {
		if g.GetApp() == "sequence" {
			last[g.GetName()] = w.next(ctx, g.GetName())
			continue
		}
		for i := range int64(5) {
			_, err := w.client.KV(g.GetName()).Put(ctx, []byte("key"), fmt.Append(nil, i))
			w.must(err)
			last[g.GetName()] = i
		}
	}
	// Followers learn of the last commit by the next message.
	for _, g := range groups {
		if g.GetApp() == "kv" {
			_, err := w.client.KV(g.GetName()).Put(ctx, []byte("other"), []byte("x"))
			w.must(err)
		}
	}
	w.applied(groups)
	return last
}

// next takes a number of a sequence group.
func (w *world) next(ctx context.Context, group string) int64 {
	w.Helper()
	resp, err := sequencepb.NewSequenceClient(w.client.Hosts()).Next(ctx, &sequencepb.NextRequest{Group: group, Next: &sequencepb.Next{Count: 1}})
	w.must(err)
	return resp.GetGrant().GetFirst()
}

// applied waits until all three replicas of the groups have applied the same: a survivor
// has everything then that was acknowledged.
func (w *world) applied(groups []*fleetpb.Spec) {
	w.Helper()
	w.within(20*time.Second, "all replicas have applied all", func() (bool, string) {
		now, err := w.groups()
		if err != nil {
			return false, err.Error()
		}
		for _, g := range groups {
			if ok, why := w.level(now[g.GetName()]); !ok {
				return false, g.GetName() + why
			}
		}
		return true, ""
	})
}

// level tells whether the replicas of a group are equally far.
func (w *world) level(g *drummerpb.GroupInfo) (bool, string) {
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Second)
	defer cancel()
	hosts, err := w.client.Drummer().ListHosts(ctx, &drummerpb.ListHostsRequest{})
	w.must(err)
	far := map[uint64]bool{}
	for _, r := range g.GetReplicas() {
		for _, h := range hosts.GetHosts() {
			if h.GetHost().GetId() != r.GetHostId() {
				continue
			}
			conn, err := w.client.Server(h.GetHost().GetApi())
			w.must(err)
			resp, err := statepb.NewStatesClient(conn).Look(ctx, &statepb.LookRequest{Groups: []uint64{g.GetId()}})
			if err != nil || len(resp.GetLooks()) != 1 {
				return false, fmt.Sprint(" on ", r.GetHost(), ": ", resp, err)
			}
			far[resp.GetLooks()[0].GetApplied()] = true
		}
	}
	return len(far) == 1, fmt.Sprint(far)
}

// allLost tells whether so many groups could be recovered.
func (w *world) allLost(n int) (bool, string) {
	resp, err := w.client.Drummer().RecoverGroups(w.Context(), &drummerpb.RecoverGroupsRequest{AllLost: true, DryRun: true})
	if err != nil {
		return false, err.Error()
	}
	ready := 0
	for _, item := range resp.GetItems() {
		if item.GetCode() == fleetpb.Code_CODE_OK {
			ready++
		}
	}
	return ready == n, fmt.Sprintf("%d of %d: %v", ready, n, resp.GetItems()[:min(1, len(resp.GetItems()))])
}

// served tells whether each of the groups has a leader that serves.
func (w *world) served(groups []*fleetpb.Spec) (bool, string) {
	now, err := w.groups()
	if err != nil {
		return false, err.Error()
	}
	for _, g := range groups {
		if s := now[g.GetName()].GetState(); s != "ok" && s != "degraded" {
			return false, g.GetName() + " is " + s
		}
	}
	return true, ""
}

// compare reads back what was acknowledged; sequences go on above it, by the margin.
func (w *world) compare(groups []*fleetpb.Spec, before map[string]int64) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	for _, g := range groups {
		if g.GetApp() == "sequence" {
			require.Equal(w, before[g.GetName()]+1+recoverMargin, w.next(ctx, g.GetName()), g.GetName())
			continue
		}
		e, found, err := w.client.KV(g.GetName()).Get(ctx, []byte("key"))
		w.must(err)
		require.True(w, found, g.GetName())
		require.Equal(w, fmt.Sprint(before[g.GetName()]), string(e.Value), g.GetName())
	}
}

// purge removes what is left of the groups that were recovered.
func (w *world) purge(answer *drummerpb.RecoverGroupsResponse, before map[string]*drummerpb.GroupInfo) {
	w.Helper()
	req := &drummerpb.PurgeGroupsRequest{}
	for _, item := range answer.GetItems() {
		require.Equal(w, before[item.GetName()].GetId(), item.GetId())
		req.Ids = append(req.Ids, item.GetId())
	}
	resp, err := w.client.Drummer().PurgeGroups(w.Context(), req)
	w.must(err)
	for _, item := range resp.GetItems() {
		require.Equal(w, fleetpb.Code_CODE_OK, item.GetCode(), item.GetDetail())
	}
	w.within(20*time.Second, "nothing is left of the old groups", func() (bool, string) {
		resp, err := w.client.Drummer().Status(w.Context(), &drummerpb.StatusRequest{})
		return err == nil && resp.GetGroups()["retired"]+resp.GetGroups()["deleting"] == 0, fmt.Sprint(resp.GetGroups(), err)
	})
}
