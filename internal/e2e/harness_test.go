//go:build e2e || e2elong

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/chaos"
	"github.com/drumline/drumline/internal/localfleet"
	"github.com/drumline/drumline/statemachines"
)

// downAfter is short, so that the tests need not wait half a minute for each repair.
const downAfter = 8 * time.Second

// soonDown is for those that wait for several deaths to be noticed, and do nothing that
// keeps the machine busy.
const soonDown = 6 * time.Second

// movesAtOnce is how many moves may go on together that only balance the hosts.
const movesAtOnce = 8

// pollEach is how often a test asks the fleet how it is.
const pollEach = 100 * time.Millisecond

// world is one fleet under test and a client of it.
type world struct {
	*testing.T
	fleet  *localfleet.Fleet
	client *client.Client
	dir    string
	mayEnd sync.Map // names of processes that may end by themselves; those with a channel once, which is closed then
	loads  int      // begun
	// patience is the policy's down_after.
	patience time.Duration
}

// programs builds the programs once a run, or takes those of E2E_BIN.
func programs(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("E2E_BIN"); dir != "" {
		if filepath.IsAbs(dir) {
			return dir
		}
		abs, err := filepath.Abs(filepath.Join("..", "..", dir)) // as from the top of the repository, where make is
		require.NoError(t, err)
		return abs
	}
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", dir+"/", "../../tools/...").CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
}

// newWorld starts a fleet of that many drummers and hosts in two regions.
func newWorld(t *testing.T, drummers, hosts int) *world {
	t.Helper()
	return newWorldOf(t, localfleet.Options{Drummers: drummers, Hosts: hosts})
}

func newWorldOf(t *testing.T, o localfleet.Options) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{T: t, dir: dir, patience: downAfter}
	o.Dir, o.Bin, o.Output, o.Exited = dir, programs(t), io.Discard, w.ended
	fleet, err := localfleet.Open(o)
	require.NoError(t, err)
	w.fleet = fleet
	t.Cleanup(w.close)
	began := time.Now()
	require.NoError(t, fleet.StartAll())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, fleet.WaitReady(ctx))
	w.client, err = client.Open(ctx, fleet.APIs(localfleet.KindDrummer), client.WithTLS(fleet.TLS()))
	require.NoError(t, err)
	require.NoError(t, fleet.WaitAttended(ctx, w.client))
	t.Logf("%d drummers and %d hosts are there after %.1fs", o.Drummers, o.Hosts, time.Since(began).Seconds())
	return w
}

// ended is told of processes that nobody ended.
func (w *world) ended(name string, err error) {
	why, may := w.mayEnd.Load(name)
	if !may {
		w.Errorf("%s ended by itself: %v\n%s", name, err, tail(w.dir, name))
	}
	if gone, once := why.(chan struct{}); once {
		w.mayEnd.Delete(name)
		close(gone)
	}
}

func (w *world) close() {
	if w.client != nil {
		w.client.Close()
	}
	began := time.Now()
	// Nothing is asked of what is left: a graceful stop of all hosts at once waits for hand-offs
	// that nobody can take. TestRollingRestart and others stop hosts gently.
	if err := errors.Join(w.fleet.KillAll(), w.fleet.Close()); err != nil {
		w.Errorf("stop the fleet: %v", err)
	}
	w.Logf("all have stopped after %.1fs", time.Since(began).Seconds())
	if !w.Failed() {
		return
	}
	for _, p := range w.fleet.Processes() {
		w.Logf("%s\n%s", p.Name, tail(w.dir, p.Name))
	}
	if keep := os.Getenv("E2E_KEEP"); keep != "" {
		w.Logf("kept in %s: %v", keep, os.CopyFS(filepath.Join(keep, w.Name()), os.DirFS(w.dir)))
	}
}

// tail returns the end of a process' log.
func tail(dir, name string) string {
	raw, err := os.ReadFile(filepath.Join(dir, name, "log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(lines[max(0, len(lines)-25):], "\n")
}

// within polls until is true, and returns how long that took; past the limit the test fails with what was last seen.
func (w *world) within(limit time.Duration, what string, is func() (bool, string)) time.Duration {
	w.Helper()
	start := time.Now()
	poll := time.NewTicker(pollEach)
	defer poll.Stop()
	for {
		ok, seen := is()
		took := time.Since(start)
		if ok {
			w.Logf("%s: %.1fs (limit %s)", what, took.Seconds(), limit)
			return took
		}
		if took > limit {
			w.Fatalf("%s: not within %s: %s", what, limit, seen)
		}
		<-poll.C
	}
}

// must ends the test on an error.
func (w *world) must(err error) {
	w.Helper()
	require.NoError(w, err)
}

// create defines groups, with the tests' policy.
func (w *world) create(specs ...*fleetpb.Spec) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	resp, err := w.client.Drummer().CreateGroups(ctx, &drummerpb.CreateGroupsRequest{
		Specs: specs, Policy: &fleetpb.Policy{DownAfterMs: w.patience.Milliseconds(), SuspectAfterMs: 3000, OperationsPerHost: 8, OperationsTotal: 64, BalanceMoves: movesAtOnce},
	})
	w.must(err)
	for _, item := range resp.GetItems() {
		require.Equal(w, fleetpb.Code_CODE_OK, item.GetCode(), item.GetName()+": "+item.GetDetail())
	}
}

// specs are n three-replica kv groups.
func specs(prefix string, n int) []*fleetpb.Spec {
	out := make([]*fleetpb.Spec, 0, n)
	for i := range n {
		out = append(out, &fleetpb.Spec{Name: fmt.Sprintf("kv/%s-%03d", prefix, i+1), App: "kv", Replicas: 3})
	}
	return out
}

func names(specs []*fleetpb.Spec) []string {
	out := make([]string, 0, len(specs))
	for _, s := range specs {
		out = append(out, s.GetName())
	}
	return out
}

// booted tells whether a host is up and through its boot: before, it is given no replicas.
func (w *world) booted(host string) (bool, string) {
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Second)
	defer cancel()
	resp, err := w.client.Drummer().ListHosts(ctx, &drummerpb.ListHostsRequest{})
	if err != nil {
		return false, err.Error()
	}
	for _, h := range resp.GetHosts() {
		if h.GetHost().GetName() == host && h.GetState() == "up" && h.GetBoot() == nil {
			return true, ""
		}
	}
	return false, resp.String()
}

// groups lists all groups by name.
func (w *world) groups() (map[string]*drummerpb.GroupInfo, error) {
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Second)
	defer cancel()
	out := map[string]*drummerpb.GroupInfo{}
	req := &drummerpb.ListGroupsRequest{}
	for {
		resp, err := w.client.Drummer().ListGroups(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, g := range resp.GetGroups() {
			full := statemachines.NameOf(g)
			if prev := out[full]; prev == nil || prev.GetId() < g.GetId() {
				out[full] = g
			}
			req.After, req.AfterRegion, req.AfterId = g.GetName(), g.GetRegion(), g.GetId()
		}
		if !resp.GetMore() {
			return out, nil
		}
	}
}

// whole tells whether all of these groups are ok with none of their replicas on the
// hosts to avoid; names nil means all groups.
func (w *world) whole(names []string, avoid ...string) func() (bool, string) {
	return func() (bool, string) {
		groups, err := w.groups()
		if err != nil {
			return false, err.Error()
		}
		if names == nil {
			names = slices.Sorted(maps.Keys(groups))
		}
		bad := []string{}
		for _, n := range names {
			if why := unwhole(groups[n], avoid); why != "" {
				bad = append(bad, n+": "+why)
			}
		}
		return len(bad) == 0, fmt.Sprintf("%d of %d not whole: %s", len(bad), len(names), strings.Join(bad[:min(3, len(bad))], "; "))
	}
}

func unwhole(g *drummerpb.GroupInfo, avoid []string) string {
	if g == nil {
		return "no such group"
	}
	if g.GetState() != "ok" {
		return g.GetState() + " " + fmt.Sprint(g.GetReplicas())
	}
	voters := 0
	for _, r := range members(g) {
		if slices.Contains(avoid, r.GetHost()) {
			return "replica on " + r.GetHost()
		}
		if !r.GetObserver() && r.GetState() == drummerpb.ReplicaState_REPLICA_STATE_OK {
			voters++
		}
	}
	if voters != int(g.GetWant()) {
		return fmt.Sprintf("%d voters of %d", voters, g.GetWant())
	}
	return ""
}

// members are a group's replicas without those that it has removed, whose data waits to be.
func members(g *drummerpb.GroupInfo) []*drummerpb.ReplicaInfo {
	return slices.DeleteFunc(slices.Clone(g.GetReplicas()), func(r *drummerpb.ReplicaInfo) bool {
		return r.GetState() == drummerpb.ReplicaState_REPLICA_STATE_REMOVING
	})
}

// hostsOf returns the names of a group's hosts, sorted.
func hostsOf(g *drummerpb.GroupInfo) []string {
	out := []string{}
	for _, r := range members(g) {
		out = append(out, r.GetHost())
	}
	slices.Sort(out)
	return out
}

// replicaIDs maps each group to its replicas' numbers.
func replicaIDs(groups map[string]*drummerpb.GroupInfo) map[string][]uint64 {
	out := map[string][]uint64{}
	for name, g := range groups {
		for _, r := range members(g) {
			out[name] = append(out[name], r.GetId())
		}
		slices.Sort(out[name])
	}
	return out
}

// leadingDrummer returns the name of the drummer that leads.
func (w *world) leadingDrummer() (string, error) {
	ctx, cancel := context.WithTimeout(w.Context(), 2*time.Second)
	defer cancel()
	resp, err := w.client.Drummer().Status(ctx, &drummerpb.StatusRequest{})
	return resp.GetLeader(), err
}

// load starts writers and readers on groups, through the nodehosts.
func (w *world) load(groups []string, pace time.Duration) *chaos.Workload {
	w.loads++
	return chaos.Begin(w.Context(), chaos.Clients{Client: w.client}, chaos.Load{
		Groups: groups, Pace: pace, Run: fmt.Sprintf("%s-%d", w.Name(), w.loads), Drawings: os.Getenv("E2E_KEEP"),
	})
}

// finish ends a workload and judges it.
func (w *world) finish(l *chaos.Workload) chaos.Report {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := l.Finish(ctx)
	w.must(err)
	w.Logf("%d writes acknowledged, %d unknown, %d refused, %d histories linearizable, longest gaps %v", r.Acknowledged, r.Unknown, r.Refused, r.Histories, r.Gaps[:min(3, len(r.Gaps))])
	return r
}

// reasonOf is the reason of a call's failure.
func reasonOf(err error) hostpb.Reason {
	var e *client.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return hostpb.Reason_REASON_UNSPECIFIED
}
