package nodehost

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/config"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/nodehost/agent"
)

const (
	group     = 1000
	groupName = "register/a"
)

func join(o *drummerpb.Order) {
	o.Body = &drummerpb.Order_Start{Start: &drummerpb.Start{Name: groupName, App: "register", Join: true}}
}

func change(kind drummerpb.ChangeKind, replica uint64, host *testHost) func(*drummerpb.Order) {
	return func(o *drummerpb.Order) {
		o.Body = &drummerpb.Order_Change{Change: &drummerpb.Change{Kind: kind, Replica: replica, HostId: host.id()}}
	}
}

func catchUp(o *drummerpb.Order) { o.Body = &drummerpb.Order_CatchUp{CatchUp: &drummerpb.CatchUp{}} }

func destroy(o *drummerpb.Order) { o.Body = &drummerpb.Order_Destroy{Destroy: &drummerpb.Destroy{}} }
func seal(o *drummerpb.Order)    { o.Body = &drummerpb.Order_Seal{Seal: &drummerpb.Seal{}} }

// voters are the voters that the leader's report names, or nil.
func voters(r *drummerpb.ReplicaReport) []uint64 {
	var out []uint64
	for _, id := range []uint64{1, 2, 3, 4, 5} {
		if _, ok := r.GetMembership().GetVoters()[id]; ok {
			out = append(out, id)
		}
	}
	return out
}

func TestHostsLaunchServeAndAreRepaired(t *testing.T) {
	d := newDrummer(t)
	a, b, c, spare := newHost(t, "a", d.addr), newHost(t, "b", d.addr), newHost(t, "c", d.addr), newHost(t, "spare", d.addr)
	d.launch(group, groupName, 1, a, b, c)
	app := newCaller(t)
	require.NoError(t, app.put(a, groupName, "hello"))
	got, err := app.get(spare, groupName)
	require.NoError(t, err, "a host without a replica forwards")
	require.Equal(t, "hello", got)
	leader, replica := d.leader(group, a, b, c)
	d.awaitReport(leader, replica, "tells the membership", func(r *drummerpb.ReplicaReport) bool { return len(voters(r)) == 3 })

	w := app.write(spare, groupName)
	require.NoError(t, b.halt())
	d.await("b said goodbye", func() bool { return d.hosts[b.id()].goodbye })
	at, from := d.leader(group, a, c)
	d.obey(at, group, from, change(drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER, 4, spare))
	d.obey(spare, group, 4, join)
	d.obey(spare, group, 4, catchUp)
	at, from = d.leader(group, a, c)
	d.obey(at, group, from, change(drummerpb.ChangeKind_CHANGE_KIND_REMOVE, 2, b))
	d.obey(spare, group, 4, catchUp)
	d.awaitReport(spare, 4, "is an observer", func(r *drummerpb.ReplicaReport) bool { return r.GetObserver() })
	at, from = d.leader(group, a, c)
	done := d.obey(at, group, from, change(drummerpb.ChangeKind_CHANGE_KIND_PROMOTE, 4, spare))
	require.Equal(t, []uint64{1, 3, 4}, voters(&drummerpb.ReplicaReport{Membership: done.GetMembership()}))
	require.Equal(t, []uint64{2}, done.GetMembership().GetRemoved())
	d.awaitReport(spare, 4, "sees its own promotion", func(r *drummerpb.ReplicaReport) bool { return !r.GetObserver() })
	at, from = d.leader(group, a, c, spare)
	d.awaitReport(at, from, "tells the new membership", func(r *drummerpb.ReplicaReport) bool {
		return len(voters(r)) == 3 && voters(r)[2] == 4
	})
	w.end()
	require.True(t, w.failed == nil || t.Context().Err() != nil || strings.Contains(w.failed.Error(), "cancel"), "%v", w.failed)
	require.Positive(t, w.acked)
	require.Less(t, w.longest, 10*time.Second)

	b.start() // what it has is no member any more
	d.awaitReport(b, 2, "is reported", func(*drummerpb.ReplicaReport) bool { return true })
	require.False(t, d.send(b, group, 5, join).GetOk(), "the old replica is still there")
	d.obey(b, group, 2, destroy)
	d.await("b reports it gone", func() bool { return d.hosts[b.id()].gone[2] })
	require.True(t, d.send(b, group, 2, join).GetRefused(), "its id never returns")
	at, from = d.leader(group, a, c, spare)
	d.obey(at, group, from, change(drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER, 5, b))
	d.obey(b, group, 5, join)
	d.obey(b, group, 5, catchUp)
	require.NoError(t, app.put(b, groupName, "whole"))
	for _, h := range []*testHost{a, b, c, spare} {
		got, err = app.get(h, groupName)
		require.NoError(t, err)
		require.Equal(t, "whole", got)
	}
}

// A host that stops gives its leaderships away while it still answers: who calls it then is
// passed on, and nobody waits for an election.
func TestLeadershipsGoBeforeTheDoorsClose(t *testing.T) {
	d := newDrummer(t)
	a, b, c := newHost(t, "a", d.addr), newHost(t, "b", d.addr), newHost(t, "c", d.addr)
	d.launch(group, groupName, 1, a, b, c)
	app := newCaller(t)
	require.NoError(t, app.put(a, groupName, "before"))
	leader, _ := d.leader(group, a, b, c)
	leader.host.bow(t.Context())
	s, here := leader.host.raft.Status(group)
	require.True(t, here)
	require.False(t, s.Leading)
	require.NoError(t, app.put(leader, groupName, "meanwhile"))
	require.NoError(t, leader.halt())
}

func TestHostsRestartWithNoDrummerInSight(t *testing.T) {
	d := newDrummer(t)
	hosts := []*testHost{newHost(t, "a", d.addr), newHost(t, "b", d.addr), newHost(t, "c", d.addr)}
	d.launch(group, groupName, 1, hosts...)
	app := newCaller(t)
	require.NoError(t, app.put(hosts[0], groupName, "kept"))
	for _, h := range hosts {
		require.NoError(t, h.halt())
	}
	d.stop()
	for _, h := range hosts {
		h.cfg.BootGrace = 5 * time.Second // however long it takes to ask
		h.start()
		code, body := h.get("/readyz")
		require.Equal(t, 503, code, body)
		require.Contains(t, body, "asks who it is before it starts its 1 replicas")
	}
	for _, h := range hosts {
		h.awaitBoot()
		require.Eventually(t, func() bool { code, _ := h.get("/readyz"); return code == 200 }, patience, time.Millisecond)
		got, err := app.get(h, groupName)
		require.NoError(t, err)
		require.Equal(t, "kept", got)
	}
	require.NoError(t, app.put(hosts[1], groupName, "alone"))
}

func TestOldOrdersAreRefused(t *testing.T) {
	d := newDrummer(t)
	a := newHost(t, "a", d.addr)
	d.launch(group, groupName, 1, a)
	epoch := func(o *drummerpb.Order) { o.BootEpoch-- }
	term := func(o *drummerpb.Order) { o.Term-- }
	generation := func(o *drummerpb.Order) { o.Generation = 0 }
	record := func(o *drummerpb.Order) { o.Incarnation, o.Term = 0, 99 }
	other := func(o *drummerpb.Order) { o.HostId = "another" }
	for want, opt := range map[string]func(*drummerpb.Order){
		"is for boot": epoch, "incarnation 1 term 4": term, "generation 0": generation, "incarnation 0": record, `host "another"`: other,
	} {
		r := d.send(a, group, 1, destroy, opt)
		require.True(t, r.GetRefused())
		require.Contains(t, r.GetDetail(), want)
	}
	a.restart()
	a.awaitBoot()
	r := d.send(a, group, 1, destroy, term)
	require.True(t, r.GetRefused(), "also after a restart")
	require.Len(t, a.status().Replicas, 1)
	d.obey(a, group, 1, seal)
	d.awaitReport(a, 1, "is sealed", (*drummerpb.ReplicaReport).GetSealed)
	d.obey(a, group, 1, destroy)
	require.Eventually(t, func() bool { return len(a.status().Replicas) == 0 }, 20*time.Second, time.Millisecond)
}

func TestAWipedHostIsANewHost(t *testing.T) {
	d := newDrummer(t)
	hosts := []*testHost{newHost(t, "a", d.addr), newHost(t, "b", d.addr), newHost(t, "c", d.addr)}
	d.launch(group, groupName, 1, hosts...)
	wiped := hosts[1]
	old := wiped.id()
	require.NoError(t, wiped.halt())
	require.NoError(t, os.RemoveAll(wiped.cfg.DataDir))
	wiped.start()
	wiped.awaitBoot()
	require.NotEqual(t, old, wiped.id())
	require.Empty(t, wiped.status().Replicas, "nothing old starts")
	r := d.send(wiped, group, 2, join, func(o *drummerpb.Order) { o.HostId = old })
	require.True(t, r.GetRefused())
	app := newCaller(t)
	require.NoError(t, app.put(wiped, groupName, "two are enough"))
	at, from := d.leader(group, hosts[0], hosts[2])
	d.obey(at, group, from, change(drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER, 4, wiped))
	d.obey(wiped, group, 4, join)
	d.obey(wiped, group, 4, catchUp)
}

func TestARefusedHostStartsNothingAndStops(t *testing.T) {
	d := newDrummer(t)
	a := newHost(t, "a", d.addr)
	d.launch(group, groupName, 1, a)
	require.NoError(t, a.halt())
	d.tell(func() { d.refuse[a.id()] = "this host was declared lost" })
	a.start()
	select {
	case <-a.done:
	case <-time.After(patience):
		t.Fatal("the host goes on")
	}
	var refusal *agent.Refusal
	require.ErrorAs(t, a.err, &refusal)
	require.ErrorContains(t, a.err, "declared lost")
	require.False(t, a.host.keeper.Progress().Begun, "nothing was started")
}

func TestMetricsAndStatus(t *testing.T) {
	d := newDrummer(t)
	a := newHost(t, "a", d.addr)
	d.launch(group, groupName, 1, a)
	s := a.status()
	require.Equal(t, []any{"a", a.id(), uint64(1), true, d.addr}, []any{s.Name, string(s.ID), s.BootEpoch, s.Booted, s.Drummer})
	require.Len(t, s.Replicas, 1)
	require.Equal(t, "ok", s.Replicas[0].State)
	require.True(t, s.Replicas[0].Serving)
	_, body := a.get("/metrics")
	for _, want := range []string{
		`nodehost_replicas{state="ok"} 1`, `nodehost_replicas{state="down"} 0`, "nodehost_leaders 1", "nodehost_boot_done 1",
		`nodehost_orders_total{kind="start",result="ok"} 1`, `nodehost_orders_total{kind="open",result="ok"} 1`,
		"nodehost_stream_connected 1", "nodehost_last_contact_seconds", "nodehost_sessions_total 1",
		`nodehost_raft_events_total{kind="ready"} 1`, `nodehost_transport_connections{direction="in"} 0`,
	} {
		require.Contains(t, body, want)
	}
	families, err := a.host.registry.Gather()
	require.NoError(t, err)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	require.NoError(t, err)
	for _, p := range problems {
		require.False(t, strings.HasPrefix(p.Metric, "nodehost_"), "%s: %s", p.Metric, p.Text)
	}
}

func TestWhatCannotOpenLeavesNothingBehind(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	a := newHost(t, "a", l.Addr().String())
	cfg := a.cfg
	require.ErrorContains(t, RunWith(t.Context(), Options{Config: cfg, Apps: a.apps}), "data directory", "it is in use")
	cfg.DataDir = filepath.Join(t.TempDir(), "x")
	cfg.API.Listen, cfg.HTTP.Listen = "127.0.0.1:0", "127.0.0.1:0" // a has those that it was given
	cfg.Raft.Listen = l.Addr().String()
	require.ErrorContains(t, Run(t.Context(), cfg, a.apps, nil), "raft port")
	cfg.Raft.Listen = "127.0.0.1:0"
	cfg.API.Listen = l.Addr().String()
	require.ErrorContains(t, Run(t.Context(), cfg, a.apps, nil), "ports")
	cfg.Name = ""
	require.ErrorContains(t, Run(t.Context(), cfg, a.apps, nil), "configuration")
}

func TestMainEndsWithTheRightCode(t *testing.T) {
	args := os.Args
	defer func() { os.Args = args }()
	os.Args = []string{"nodehost", "--no-such-flag"}
	require.Equal(t, config.ExitUsage, Main(registerApp()))
	os.Args = []string{"nodehost", "version"}
	require.Equal(t, config.ExitOK, Main(registerApp()))
	dir := t.TempDir()
	good := []string{"nodehost", "--name=a", "--deployment=d", "--data-dir=" + dir, "--drummers=127.0.0.1:1"}
	os.Args = good
	require.Equal(t, config.ExitUsage, Main(registerApp(), registerApp()), "an app twice")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	os.Args = append(good, "--api-listen="+l.Addr().String())
	require.Equal(t, config.ExitFailed, Main(registerApp()))
}
