package capacity

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// underneath is a fair resource that divides what it leases from another.
func underneath(parent string) *capacitypb.Definition {
	return &capacitypb.Definition{
		Algorithm: capacitypb.Algorithm_ALGORITHM_FAIR_SHARE, Parent: groupOf(parent), LeaseLengthMs: 15_000, RefreshIntervalMs: 400,
	}
}

// holder is a native client that behaves: it shows the newest answer that it has.
type holder struct {
	h        *realHost
	name     string
	resource string
	serial   uint64
	grant    *capacitypb.Grant
}

// ask asks once.
func (c *holder) ask(t *testing.T, wants float64) *capacitypb.Grant {
	t.Helper()
	conn, err := c.h.pool.Conn(c.h.addr)
	require.NoError(t, err)
	c.serial++
	a := &capacitypb.Ask{Resource: c.resource, Bands: []*capacitypb.Band{{Clients: 1, Wants: wants}}, Serial: c.serial, Token: c.grant.GetToken(), Limited: true}
	if c.grant != nil {
		a.Has = new(c.grant.GetCapacity())
	}
	resp, err := capacitypb.NewCapacityClient(conn).Refresh(within(t, 20*time.Second), &capacitypb.RefreshRequest{ClientId: c.name, Asks: []*capacitypb.Ask{a}})
	require.NoError(t, err)
	require.Nil(t, resp.GetGrants()[0].GetFault(), "%v", resp)
	c.grant = resp.GetGrants()[0].GetGrant()
	require.Equal(t, capacitypb.Outcome_OUTCOME_OK, c.grant.GetOutcome())
	return c.grant
}

// until asks until the grant is as wanted.
func (c *holder) until(t *testing.T, wants float64, is func(float64) bool) *capacitypb.Grant {
	t.Helper()
	var last *capacitypb.Grant
	require.Eventually(t, func() bool {
		last = c.ask(t, wants)
		return is(last.GetCapacity())
	}, 30*time.Second, 50*time.Millisecond)
	return last
}

func about(want float64) func(float64) bool {
	return func(v float64) bool { return v > want-1e-6 && v < want+1e-6 }
}

// Two levels below a root, led by different hosts: the leaves' clients share the root's
// capacity by the number of clients, and no lease outlives that of the level above.
func TestATreeOfThreeLevels(t *testing.T) {
	f := newFleet(t, 4)
	root := defined(capacitypb.Algorithm_ALGORITHM_FAIR_SHARE, 120)
	root.LeaseLengthMs, root.RefreshIntervalMs = 9_000, 400
	f.launch(1000, "root", root, 0, 1, 2)
	f.launch(1001, "region", underneath("root"), 1, 2, 3)
	f.launch(1002, "zone", underneath("region"), 2, 3, 0)
	via := f.hosts[3]
	a, b := &holder{h: via, name: "a", resource: "zone"}, &holder{h: via, name: "b", resource: "zone"}
	direct := &holder{h: via, name: "direct", resource: "root"}
	a.until(t, 1000, about(120))
	direct.ask(t, 1000)
	direct.until(t, 1000, func(v float64) bool { a.ask(t, 1000); return about(60)(v) })
	a.until(t, 1000, about(60))
	b.until(t, 1000, func(v float64) bool { a.ask(t, 1000); direct.ask(t, 1000); return about(40)(v) })
	for _, g := range []*capacitypb.Grant{a.ask(t, 1000), b.ask(t, 1000)} {
		require.InDelta(t, 40, g.GetCapacity(), 1e-6)
		require.LessOrEqual(t, g.GetLeaseMs(), int64(9_000), "not longer than the root's")
	}
	require.InDelta(t, 40, direct.ask(t, 1000).GetCapacity(), 1e-6)
	sum := f.summary(via, "root")
	require.LessOrEqual(t, sum.GetReserved(), 120.0)
	require.Equal(t, int64(3), sum.GetClients())
	require.Equal(t, uint64(2), sum.GetHolders())
}

// A new leader of a child asks its parent before it answers: nobody is cut off, and what
// the leader before was given is not given twice.
func TestANewLeaderOfAChildAsksFirst(t *testing.T) {
	f := newFleet(t, 6)
	root := defined(capacitypb.Algorithm_ALGORITHM_FAIR_SHARE, 100)
	root.RefreshIntervalMs = 400
	f.launch(1000, "root", root, 0, 1, 2)
	f.launch(1001, "child", underneath("root"), 3, 4, 5) // the death of its leader is of no other
	via := f.hosts[0]
	if f.leader(1000) != via {
		via = f.hosts[1]
	}
	a := &holder{h: via, name: "a", resource: "child"}
	a.until(t, 80, about(80))
	f.leader(1001).kill()
	require.InDelta(t, 80, a.ask(t, 80).GetCapacity(), 1e-6, "through the death of the leader")
	other := &holder{h: via, name: "other", resource: "root"}
	for range 5 {
		other.ask(t, 1000)
		a.ask(t, 80)
		require.LessOrEqual(t, f.summary(via, "root").GetReserved(), 100.0)
	}
	other.until(t, 1000, func(v float64) bool { a.ask(t, 80); return about(50)(v) })
	require.InDelta(t, 50, a.ask(t, 80).GetCapacity(), 1e-6)
}

// A new leader leases from its parent although the level above that is away.
func TestANewLeaderLeasesWithoutTheRoot(t *testing.T) {
	f := newFleet(t, 5)
	root := defined(capacitypb.Algorithm_ALGORITHM_FAIR_SHARE, 100)
	root.LeaseLengthMs, root.RefreshIntervalMs, root.SafeCapacity = 600_000, 400, new(1.0)
	f.launch(1000, "root", root, 0)
	middle := underneath("root")
	middle.LeaseLengthMs, middle.SafeCapacity = 300_000, new(1.0)
	f.launch(1001, "region", middle, 1)
	f.launch(1002, "zone", underneath("region"), 2, 3, 4) // the death of its leader is of no other
	a := &holder{h: f.hosts[1], name: "a", resource: "zone"}
	a.until(t, 80, about(80))
	f.hosts[0].kill()
	f.leader(1002).kill()
	a.until(t, 80, about(80))
	require.Positive(t, f.summary(f.hosts[1], "zone").GetParent().GetCapacity(), "by a lease")
}

// A child whose parent is gone falls to its safe share when the lease ends.
func TestAChildThatLosesItsParent(t *testing.T) {
	f := newFleet(t, 2)
	root := defined(capacitypb.Algorithm_ALGORITHM_FAIR_SHARE, 100)
	root.LeaseLengthMs, root.RefreshIntervalMs, root.SafeCapacity = 1_500, 300, new(7.0)
	f.launch(1000, "root", root, 0)
	f.launch(1001, "child", underneath("root"), 1)
	a := &holder{h: f.hosts[1], name: "a", resource: "child"}
	b := &holder{h: f.hosts[1], name: "b", resource: "child"}
	a.until(t, 80, about(80))
	b.until(t, 20, about(20))
	f.hosts[0].kill()
	a.until(t, 80, func(v float64) bool {
		return about(7)(v) && about(7)(b.ask(t, 20).GetCapacity()) || b.ask(t, 20) == nil
	})
	require.InDelta(t, 14, f.summary(f.hosts[1], "child").GetCapacity(), 1e-6, "for two clients")
}

// A host whose wall clock says that the lease has ended (it was suspended) gives nothing
// more of it, although its monotonic clock says otherwise.
func TestALeaseEndsOnTheWallClockToo(t *testing.T) {
	f := newFleet(t, 1)
	root := defined(capacitypb.Algorithm_ALGORITHM_FAIR_SHARE, 100)
	root.LeaseLengthMs, root.RefreshIntervalMs = 600_000, 600_000
	f.launch(1000, "root", root, 0)
	f.launch(1001, "child", underneath("root"), 0)
	a := &holder{h: f.hosts[0], name: "a", resource: "child"}
	a.until(t, 80, about(80))
	before := f.summary(f.hosts[0], "child").GetParent()
	require.Positive(t, before.GetExpires())
	f.mu.Lock()
	f.jump = time.Hour
	f.mu.Unlock()
	a.ask(t, 80)
	require.Eventually(t, func() bool {
		now := f.summary(f.hosts[0], "child").GetParent()
		return now.GetExpires() != before.GetExpires()
	}, 20*time.Second, 10*time.Millisecond, "the machine was told of another lease before it decided again")
	a.until(t, 80, about(80))
}

// The first client of a child, and those after it, have their share at once while the
// parent has enough, although the child would ask that only seconds later.
func TestNewcomersOfAChildAreServedAtOnce(t *testing.T) {
	f := newFleet(t, 1)
	f.launch(1000, "root", defined(capacitypb.Algorithm_ALGORITHM_FAIR_SHARE, 100), 0)
	def := underneath("root")
	def.RefreshIntervalMs = 5_000
	f.launch(1001, "child", def, 0)
	a := &holder{h: f.hosts[0], name: "a", resource: "child"}
	require.InDelta(t, 30, a.ask(t, 30).GetCapacity(), 1e-6)
	b := &holder{h: f.hosts[0], name: "b", resource: "child"}
	require.InDelta(t, 20, b.ask(t, 20).GetCapacity(), 1e-6)
	require.InDelta(t, 50, f.summary(f.hosts[0], "root").GetReserved(), 1e-6)
	require.Equal(t, int64(2), f.summary(f.hosts[0], "root").GetClients())
}

func TestDemandIsJoinedByPriority(t *testing.T) {
	sum := &capacitypb.Summary{}
	for p := range int64(70) {
		sum.Bands = append(sum.Bands, &capacitypb.BandSummary{Priority: p, Clients: 1, Wants: 1})
	}
	got := demand(sum, []*capacitypb.Band{{Priority: 69, Clients: 2, Wants: 5}})
	require.Len(t, got, 64)
	require.Equal(t, []any{int64(69), int64(3), 6.0}, []any{got[0].GetPriority(), got[0].GetClients(), got[0].GetWants()})
	require.Equal(t, []any{int64(6), int64(7), 7.0}, []any{got[63].GetPriority(), got[63].GetClients(), got[63].GetWants()})
	none := demand(&capacitypb.Summary{}, nil)
	require.Equal(t, []any{int64(1), 0.0}, []any{none[0].GetClients(), none[0].GetWants()})
}

func TestACycleIsRefused(t *testing.T) {
	f := newFleet(t, 1)
	f.launch(1000, "x", underneath("y"), 0)
	f.launch(1001, "y", underneath("x"), 0)
	a := &holder{h: f.hosts[0], name: "a", resource: "x"}
	for range 3 {
		require.Zero(t, a.ask(t, 10).GetCapacity(), "nothing comes of a circle")
	}
	f.launch(1002, "self", underneath("self"), 0)
	b := &holder{h: f.hosts[0], name: "b", resource: "self"}
	require.Zero(t, b.ask(t, 10).GetCapacity())
}

// An idle child is not looked after, and begins again with the next command.
func TestAnIdleChildIsLeftAlone(t *testing.T) {
	f := newFleet(t, 1)
	root := defined(capacitypb.Algorithm_ALGORITHM_FAIR_SHARE, 100)
	root.RefreshIntervalMs = 300
	f.launch(1000, "root", root, 0)
	f.launch(1001, "child", underneath("root"), 0)
	h := f.hosts[0]
	a := &holder{h: h, name: "a", resource: "child"}
	a.until(t, 80, about(80))
	conn, err := h.pool.Conn(h.addr)
	require.NoError(t, err)
	freed, err := capacitypb.NewCapacityClient(conn).Release(within(t, 10*time.Second), &capacitypb.ReleaseRequest{ClientId: "a", Resources: []string{"child"}})
	require.NoError(t, err)
	require.Equal(t, hostpb.Reason_REASON_UNSPECIFIED, freed.GetFaults()[0].GetReason())
	require.Eventually(t, func() bool { return f.summary(h, "root").GetReserved() == 0 }, 20*time.Second, 20*time.Millisecond)
	require.Eventually(t, func() bool {
		h.leases.tree.mu.Lock()
		defer h.leases.tree.mu.Unlock()
		return len(h.leases.tree.children) == 0
	}, 30*time.Second, 50*time.Millisecond)
	a = &holder{h: h, name: "a2", resource: "child"}
	a.until(t, 30, about(30))
}
