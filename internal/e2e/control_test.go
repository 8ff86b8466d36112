//go:build e2e || e2elong

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/localfleet"
)

// takeover kills the drummer that leads, starts it again when another one leads, and
// returns how long that took.
func (w *world) takeover() time.Duration {
	w.Helper()
	var leader string
	w.within(20*time.Second, "a drummer leads", func() (ok bool, seen string) {
		var err error
		leader, err = w.leadingDrummer()
		return err == nil && leader != "", fmt.Sprint(err)
	})
	w.must(w.fleet.Kill(leader))
	took := w.within(20*time.Second, "another drummer leads", func() (bool, string) {
		now, err := w.leadingDrummer()
		return err == nil && now != "" && now != leader, fmt.Sprint(now, err)
	})
	w.must(w.fleet.Start(leader))
	w.ready(leader)
	return took
}

// TestSupervisorsDie kills the drummer that leads, then all of them for longer than
// a host may be silent.
func TestSupervisorsDie(t *testing.T) {
	w := newWorld(t, 3, 4)
	w.patience = soonDown
	ten := specs("calm", 10)
	w.create(ten...)
	w.within(15*time.Second, "launch", w.whole(names(ten)))
	w.still()
	groups, err := w.groups()
	w.must(err)
	before := replicaIDs(groups)
	load := w.load(names(ten), 100*time.Millisecond)

	// Candidates may share the votes, once or so: then the takeover takes an election more.
	for try := 1; w.takeover() > 3*time.Second; try++ {
		require.Less(t, try, 3, "it takes too long each time")
	}

	for _, p := range w.fleet.Processes() {
		if p.Kind == localfleet.KindDrummer {
			w.must(w.fleet.Kill(p.Name))
		}
	}
	outage(w, allDrummersDead)
	for _, p := range w.fleet.Processes() {
		if p.Kind == localfleet.KindDrummer {
			w.must(w.fleet.Start(p.Name))
		}
	}
	w.within(20*time.Second, "all whole after the outage", w.whole(names(ten)))
	// Longer than down_after: a supervisor that had forgotten to start counting anew would act now.
	settled := time.Now()
	w.within(w.patience+10*time.Second, "the supervisor had time to be wrong", func() (bool, string) {
		return time.Since(settled) > w.patience+2*time.Second, ""
	})
	w.finish(load)
	groups, err = w.groups()
	w.must(err)
	require.Equal(t, before, replicaIDs(groups), "a replica moved")
}

// outage restarts a host while no drummer lives, and lets the time pass.
func outage(w *world, length time.Duration) {
	w.Helper()
	start := time.Now()
	w.must(w.fleet.Kill("host-1"))
	w.must(w.fleet.Start("host-1"))
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	w.must(w.fleet.WaitReady(ctx, "host-1"))
	w.within(length+time.Second, "drummers away", func() (bool, string) { return time.Since(start) > length, "" })
}

// TestDeleteAndCreateAgain deletes a group and takes its name again, also while
// the old group's hosts are not to be reached.
func TestDeleteAndCreateAgain(t *testing.T) {
	w := newWorld(t, 1, 3)
	spec := &fleetpb.Spec{Name: "kv/again", App: "kv", Replicas: 3}
	w.create(spec)
	w.within(15*time.Second, "launch", w.whole([]string{"kv/again"}))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	kv := w.client.KV("kv/again")
	_, err := kv.Put(ctx, []byte("old"), []byte("data"))
	w.must(err)
	first, err := w.groups()
	w.must(err)

	for i := range 3 {
		w.must(w.fleet.Pause(fmt.Sprintf("host-%d", i+1)))
	}
	_, err = w.client.Drummer().DeleteGroup(ctx, &drummerpb.DeleteGroupRequest{Name: "kv/again"})
	w.must(err)
	resp, err := w.client.Drummer().CreateGroups(ctx, &drummerpb.CreateGroupsRequest{Specs: []*fleetpb.Spec{spec}})
	w.must(err)
	require.NotEqual(t, fleetpb.Code_CODE_OK, resp.GetItems()[0].GetCode(), "the name is free before the seal")
	for i := range 3 {
		w.must(w.fleet.Resume(fmt.Sprintf("host-%d", i+1)))
	}
	w.within(20*time.Second, "the name is free", func() (bool, string) {
		resp, err = w.client.Drummer().CreateGroups(ctx, &drummerpb.CreateGroupsRequest{Specs: []*fleetpb.Spec{spec}})
		return err == nil && resp.GetItems()[0].GetCode() == fleetpb.Code_CODE_OK, fmt.Sprint(resp, err)
	})
	w.within(15*time.Second, "launched again", w.whole([]string{"kv/again"}))
	second, err := w.groups()
	w.must(err)
	require.Greater(t, second["kv/again"].GetId(), first["kv/again"].GetId())
	_, found, err := kv.Get(ctx, []byte("old"))
	w.must(err)
	require.False(t, found, "old data is visible")
	for i := range 3 {
		name := fmt.Sprintf("host-%d", i+1)
		w.within(20*time.Second, name+" holds the new group alone", func() (bool, string) { return hostHolds(t, w, name, []string{"kv/again"}) })
	}
}

// TestAnotherAddress moves a host to other ports: its peers find it and it serves.
func TestAnotherAddress(t *testing.T) {
	w := newWorld(t, 1, 3)
	w.create(&fleetpb.Spec{Name: "kv/moving", App: "kv", Replicas: 3})
	w.within(15*time.Second, "launch", w.whole([]string{"kv/moving"}))
	w.must(w.fleet.Stop("host-1"))
	w.must(w.fleet.Readdress("host-1"))
	w.must(w.fleet.Start("host-1"))
	// With another host gone the group needs the moved one for its quorum.
	w.within(10*time.Second, "whole with the moved host", w.whole([]string{"kv/moving"}))
	w.must(w.fleet.Kill("host-2"))
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	_, err := w.client.KV("kv/moving").Put(ctx, []byte("k"), []byte("v"))
	w.must(err)
}

// TestNoQuorumIsSaidPlainly asks a group whose quorum is gone.
func TestNoQuorumIsSaidPlainly(t *testing.T) {
	w := newWorld(t, 1, 3)
	w.create(&fleetpb.Spec{Name: "kv/half", App: "kv", Replicas: 3})
	w.within(15*time.Second, "launch", w.whole([]string{"kv/half"}))
	w.must(w.fleet.Kill("host-1"))
	w.must(w.fleet.Kill("host-2"))
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	_, _, err := w.client.KV("kv/half").Get(ctx, []byte("k"))
	require.Error(t, err)
	require.Equal(t, hostpb.Reason_REASON_NO_QUORUM, reasonOf(err), err.Error())
	w.must(w.fleet.Start("host-1"))
	w.within(15*time.Second, "it serves again with a quorum", func() (bool, string) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := w.client.KV("kv/half").Put(ctx, []byte("k"), []byte("v"))
		return err == nil, fmt.Sprint(err)
	})
}

// hostHolds tells whether a host's replicas are of exactly these groups.
func hostHolds(t *testing.T, w *world, host string, groups []string) (bool, string) {
	t.Helper()
	p, err := w.fleet.Process(host)
	require.NoError(t, err)
	resp, err := http.Get("http://" + p.HTTP + "/debug/status")
	if err != nil {
		return false, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, string(body))
	return holdsExactly(string(body), groups), string(body)
}

func holdsExactly(body string, groups []string) bool {
	if strings.Count(body, `"replica":`) != len(groups) {
		return false
	}
	for _, g := range groups {
		if !strings.Contains(body, `"`+g+`"`) {
			return false
		}
	}
	return true
}
