//go:build e2e || e2elong

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/chaos"
	"github.com/drumline/drumline/internal/localfleet"
)

// handOffGap is the longest time without a write that a leadership may take to change its
// host when somebody asks for it, on a busy machine.
const handOffGap = 2 * time.Second

// TestDecommissionUnderLoad drains a host and takes another one out for good while a hundred
// groups are written: no write fails, a group changes its leader once at most for each, the
// way there is shown, and then the host that went is in no list.
func TestDecommissionUnderLoad(t *testing.T) {
	w := newWorld(t, 3, 5)
	hundred := specs("kept", 100)
	w.create(hundred...)
	w.within(15*time.Second, "launch of 100 groups", w.whole(names(hundred)))
	load := w.load(names(hundred), 200*time.Millisecond)
	w.written(load, hundred)

	w.empties("drain", "host-4")
	w.within(10*time.Second, "all groups are whole without host-4", w.whole(names(hundred), "host-4"))
	w.empties("decommission", "host-2")
	w.within(10*time.Second, "all groups are whole without both", w.whole(names(hundred), "host-2", "host-4"))
	w.run("hosts", "remove", "host-2")
	w.must(w.fleet.Stop("host-2"))
	w.unfailing(load)
	w.nowhere("host-2")
}

// empties has everything moved off a host, and demands that the way there is shown and that
// no group changes its leader more than once for it.
func (w *world) empties(verb, host string) {
	w.Helper()
	w.still() // what is uneven yet is no part of it
	before, start := w.terms(), time.Now()
	var emptied struct {
		Duty              string
		Replicas, Leaders int
	}
	out, said := w.tells("hosts", verb, host, "--wait", "--reason", "its rack goes", "--author", "test")
	w.must(json.Unmarshal([]byte(out), &emptied))
	w.Logf("%s is empty %.1fs after the command; it told:\n%s", host, time.Since(start).Seconds(), said)
	require.Zero(w, emptied.Replicas+emptied.Leaders, out)
	require.Greater(w, strings.Count(said, "replicas are left"), 2, "progress is shown: %s", said)
	w.handedOver(before)
}

// TestRollingRestart stops every host in turn with SIGTERM and starts it again, and then
// every drummer, while a hundred groups are written: no write fails.
func TestRollingRestart(t *testing.T) {
	w := newWorld(t, 3, 5)
	hundred := specs("roll", 100)
	w.create(hundred...)
	w.within(15*time.Second, "launch of 100 groups", w.whole(names(hundred)))
	load := w.load(names(hundred), 200*time.Millisecond)
	w.written(load, hundred)
	w.still() // a host that was slow to launch may be evened out first
	groups, err := w.groups()
	w.must(err)
	before := replicaIDs(groups)

	for _, kind := range []string{localfleet.KindNodeHost, localfleet.KindDrummer} {
		for _, p := range w.fleet.Processes() {
			if p.Kind == kind {
				w.restart(p.Name, hundred)
			}
		}
	}
	w.unfailing(load)
	groups, err = w.groups()
	w.must(err)
	require.Equal(t, before, replicaIDs(groups), "a replica moved")
}

// restart stops a process gently, starts it, and waits until all is as it was.
func (w *world) restart(name string, groups []*fleetpb.Spec) {
	w.Helper()
	w.must(w.fleet.Stop(name))
	w.must(w.fleet.Start(name))
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	w.must(w.fleet.WaitReady(ctx, name))
	w.within(20*time.Second, name+" is back", func() (bool, string) {
		if p, err := w.fleet.Process(name); err != nil || p.Kind == localfleet.KindDrummer {
			leader, err := w.leadingDrummer()
			return err == nil && leader != "", fmt.Sprint(err)
		}
		return w.booted(name)
	})
	w.within(20*time.Second, "all whole", w.whole(names(groups)))
}

// written waits until the groups are written.
func (w *world) written(load *chaos.Workload, groups []*fleetpb.Spec) {
	w.Helper()
	w.within(20*time.Second, "the groups are written", func() (bool, string) { return load.Acknowledged() >= 2*len(groups), fmt.Sprint(load.Acknowledged()) })
}

// unfailing ends a workload of which no call may have failed: clients ask again when a
// leadership changes its host, inside their deadline.
func (w *world) unfailing(load *chaos.Workload) chaos.Report {
	w.Helper()
	r := w.finish(load)
	require.Zero(w, r.Unknown+r.Refused, "calls failed")
	require.LessOrEqual(w, r.Gaps[0].Length, handOffGap, "longest write gap, in %s at %s", r.Gaps[0].Group, r.Gaps[0].Started)
	return r
}

// terms are those of the groups' leaders, by name: one goes up whenever the lead changes.
func (w *world) terms() map[string]uint64 {
	w.Helper()
	newest := map[string]uint64{}
	for _, p := range w.fleet.Processes() {
		if p.Kind != localfleet.KindNodeHost || p.PID == 0 {
			continue
		}
		var status struct {
			Replicas []struct {
				Name string
				Term uint64
			}
		}
		resp, err := w.fleet.Web().Get(w.fleet.URL(p, "/debug/status"))
		w.must(err)
		err = json.NewDecoder(resp.Body).Decode(&status)
		w.must(errors.Join(err, resp.Body.Close()))
		for _, r := range status.Replicas {
			newest[r.Name] = max(newest[r.Name], r.Term)
		}
	}
	return newest
}

// handedOver demands that no group changed its leader more than once since, but for a few
// that held an election of their own because the machine was busy: that is no hand-off.
func (w *world) handedOver(before map[string]uint64) {
	w.Helper()
	changes := map[uint64]int{}
	for name, term := range w.terms() {
		changes[term-before[name]]++
	}
	w.Logf("groups by how often they changed their leader: %v", changes)
	require.LessOrEqual(w, len(before)-changes[0]-changes[1], 5, "groups changed their leader more than once")
}

// nowhere checks that a host that was removed is in none of the lists.
func (w *world) nowhere(host string) {
	w.Helper()
	for _, list := range [][]string{{"hosts", "list"}, {"groups", "list"}, {"status"}, {"plan"}} {
		require.NotContains(w, w.run(list...), `"`+host+`"`, list)
	}
	_, err := w.command("explain", host)
	require.ErrorContains(w, err, host)
	resp, err := w.client.Drummer().ListHosts(w.Context(), &drummerpb.ListHostsRequest{})
	w.must(err)
	require.False(w, slices.ContainsFunc(resp.GetHosts(), func(h *drummerpb.HostInfo) bool { return h.GetHost().GetName() == host }))
}
