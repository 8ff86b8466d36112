//go:build e2e || e2elong

package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// TestAHostIsAdded adds an empty host to a full fleet: it fills up with as many moves as
// was foretold before it came, and then nothing moves any more.
func TestAHostIsAdded(t *testing.T) {
	w, groups := newFull(t)
	foretold := w.foretell("host-5")
	load := w.load(names(groups), 200*time.Millisecond)
	w.written(load, groups)
	w.addHost("host-5")
	w.balanced(groups)
	w.unfailing(load)
	require.EqualValues(t, foretold.GetMoves(), w.count("balance"), "moves")
	w.still()
}

// TestAnAddedHostDies kills the new host while it fills up, and lets it return: what was
// under way is finished or begun again, and little more than foretold is moved.
func TestAnAddedHostDies(t *testing.T) {
	w, groups := newFull(t)
	foretold := w.foretell("host-5")
	w.addHost("host-5")
	w.within(30*time.Second, "it has some replicas", func() (bool, string) {
		n := w.replicas()["host-5"]
		return n > 3, fmt.Sprint(n)
	})
	w.must(w.fleet.Kill("host-5"))
	had := w.replicas()["host-5"]
	require.Less(t, had, int(foretold.GetMoves()), "it was killed too late to show anything")
	w.must(w.fleet.Start("host-5"))
	w.balanced(groups)
	// Each of those that were on their way may be begun anew once.
	require.LessOrEqual(t, w.count("balance"), int(foretold.GetMoves())+movesAtOnce, "moves")
	w.still()
}

// newFull is a fleet of four hosts that are balanced.
func newFull(t *testing.T) (*world, []*fleetpb.Spec) {
	t.Helper()
	w := newWorld(t, 1, 4)
	groups := specs("full", 40)
	w.create(groups...)
	w.within(20*time.Second, "launch", w.whole(names(groups)))
	w.balanced(groups)
	require.Zero(t, w.count("balance"), "it was not balanced from the first")
	return w, groups
}

// foretell asks what would happen if a host came, and demands that all have the same then.
func (w *world) foretell(host string) *drummerpb.PlanResponse {
	w.Helper()
	resp, err := w.client.Drummer().Plan(w.Context(), &drummerpb.PlanRequest{Added: []*fleetpb.Host{{Name: host, Region: "east"}}})
	w.must(err)
	require.False(w, resp.GetUnfinished())
	require.Empty(w, resp.GetOpen())
	require.Contains(w, w.run("plan", "--with", host+"=east"), fmt.Sprintf(`"moves": %d`, resp.GetMoves()))
	least, most := uint32(1<<30), uint32(0)
	for _, h := range resp.GetHosts() {
		least, most = min(least, h.GetAfter()), max(most, h.GetAfter())
	}
	require.LessOrEqual(w, most-least, uint32(1), "%v", resp.GetHosts())
	return resp
}

// addHost adds the next host and starts it.
func (w *world) addHost(want string) {
	w.Helper()
	name, err := w.fleet.AddHost("east")
	w.must(err)
	require.Equal(w, want, name)
	w.must(w.fleet.Start(name))
}

// balanced waits until the groups are whole, nothing is under way, and replicas and
// leaders are as many on each host, by one.
func (w *world) balanced(groups []*fleetpb.Spec) {
	w.Helper()
	w.within(60*time.Second, "balanced", func() (bool, string) {
		if ok, why := w.whole(names(groups))(); !ok {
			return false, why
		}
		hosts, err := w.client.Drummer().ListHosts(w.Context(), &drummerpb.ListHostsRequest{})
		if err != nil {
			return false, err.Error()
		}
		var replicas, leaders []uint32
		for _, h := range hosts.GetHosts() {
			replicas, leaders = append(replicas, h.GetReplicas()), append(leaders, h.GetLeaders())
		}
		even := func(n []uint32) bool { return slices.Max(n)-slices.Min(n) <= 2 } // within 1 of the mean
		return len(replicas) == w.hosts() && even(replicas) && even(leaders) && w.running() == 0, fmt.Sprint(replicas, leaders, w.running())
	})
}

// hosts counts the fleet's hosts.
func (w *world) hosts() int {
	n := 0
	for _, p := range w.fleet.Processes() {
		if p.Kind == "nodehost" {
			n++
		}
	}
	return n
}

// replicas counts members by host.
func (w *world) replicas() map[string]int {
	w.Helper()
	groups, err := w.groups()
	w.must(err)
	count := map[string]int{}
	for _, g := range groups {
		for _, h := range hostsOf(g) {
			count[h]++
		}
	}
	return count
}

// operations lists those of a kind; empty for all.
func (w *world) operations(kind string, running bool) []*fleetpb.Operation {
	w.Helper()
	resp, err := w.client.Drummer().ListOperations(w.Context(), &drummerpb.ListOperationsRequest{Kind: kind, Running: running, Limit: 1000})
	w.must(err)
	require.False(w, resp.GetMore())
	return resp.GetOperations()
}

// count counts the operations of a kind that there were, and running those under way.
func (w *world) count(kind string) int { return len(w.operations(kind, false)) }
func (w *world) running() int          { return len(w.operations("", true)) }

// still demands that the supervisor comes to have nothing left to do: a leader that just
// changed may call for one more transfer.
func (w *world) still() {
	w.Helper()
	w.within(30*time.Second, "nothing is left to do", func() (bool, string) {
		resp, err := w.client.Drummer().Plan(w.Context(), &drummerpb.PlanRequest{})
		if err != nil {
			return false, err.Error()
		}
		return len(resp.GetSteps())+len(resp.GetOpen()) == 0, fmt.Sprint(resp.GetSteps(), resp.GetOpen())
	})
}
