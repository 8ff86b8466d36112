package api

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
)

func kv(n int) *fleetpb.Spec {
	return &fleetpb.Spec{Name: fmt.Sprintf("kv/g-%04d", n), App: "kv", Replicas: 3}
}

func kvs(from, to int) []*fleetpb.Spec {
	var list []*fleetpb.Spec
	for i := from; i <= to; i++ {
		list = append(list, kv(i))
	}
	return list
}

func create(specs ...*fleetpb.Spec) *drummerpb.CreateGroupsRequest {
	return &drummerpb.CreateGroupsRequest{Specs: specs}
}

// host registers a host that can hold kv groups.
func host(id string) *fleetpb.Command {
	return &fleetpb.Command{Op: &fleetpb.Command_RegisterHost{RegisterHost: &fleetpb.Host{
		Id: id, Name: "host-" + id, Api: id + ":1", Raft: id + ":2", BootEpoch: 1, Region: "east", Apps: []*fleetpb.App{{Name: "kv", Version: 1}},
	}}}
}

// openGroup takes a new one-replica group through its launch.
func openGroup(t *testing.T, w *town, name, on string) uint64 {
	t.Helper()
	resp, err := w.drummer(0).CreateGroups(t.Context(), create(&fleetpb.Spec{Name: name, App: "kv", Replicas: 1}))
	require.NoError(t, err)
	id := resp.GetItems()[0].GetId()
	generation := func() uint64 { return w.record.machine.Freeze().ByName(name).GetGeneration() }
	w.record.do(t, &fleetpb.Command{Op: &fleetpb.Command_Place{Place: &fleetpb.Place{Group: id, Generation: generation(), HostIds: []string{on}}}})
	replica := w.record.machine.Freeze().ByName(name).GetReplicas()[0].GetId()
	w.record.do(t, &fleetpb.Command{Op: &fleetpb.Command_ReplicasStarted{ReplicasStarted: &fleetpb.ReplicasStarted{Group: id, Replicas: []uint64{replica}}}})
	for _, state := range []fleetpb.GroupState{fleetpb.GroupState_GROUP_STATE_OPENING, fleetpb.GroupState_GROUP_STATE_OPEN} {
		w.record.do(t, &fleetpb.Command{Op: &fleetpb.Command_Advance{Advance: &fleetpb.Advance{Group: id, Generation: generation(), State: state}}})
	}
	return id
}

func TestCreateGroupsAnswersEachSpec(t *testing.T) {
	w := newTown(t, 1)
	ctx := t.Context()
	req := create(kv(1), &fleetpb.Spec{Name: "nonsense"}, kv(2), kv(1),
		&fleetpb.Spec{Name: "kv/g-0001", App: "kv", Replicas: 5},
		&fleetpb.Spec{Name: "kv/short", Replicas: 3, Regions: []*fleetpb.RegionCount{{Region: "west", Count: 1}, {Region: "east", Count: 2}}})
	resp, err := w.drummer(0).CreateGroups(ctx, req)
	require.NoError(t, err)
	var got []string
	for _, item := range resp.GetItems() {
		got = append(got, fmt.Sprint(item.GetName(), " ", item.GetCode(), " ", item.GetId()))
	}
	require.Equal(t, []string{
		"kv/g-0001 CODE_OK 1000", "nonsense CODE_INVALID 0", "kv/g-0002 CODE_OK 1001", "kv/g-0001 CODE_OK 1000",
		"kv/g-0001 CODE_EXISTS 1000", "kv/short CODE_OK 1002",
	}, got)
	v := w.record.machine.Freeze()
	require.Equal(t, "kv", v.ByName("kv/short").GetSpec().GetApp(), "the app is spelt out")
	require.Equal(t, "east", v.ByName("kv/short").GetSpec().GetRegions()[0].GetRegion(), "regions are sorted")

	again, err := w.drummer(0).CreateGroups(ctx, req)
	require.NoError(t, err)
	require.Equal(t, uint64(1002), again.GetItems()[5].GetId(), "a repeated call changes nothing")
	require.Equal(t, v.Revision(), w.record.machine.Freeze().Revision())
}

func TestCreateGroupsInChunks(t *testing.T) {
	w := newTown(t, 1)
	resp, err := w.drummer(0).CreateGroups(t.Context(), create(kvs(1, 1000)...))
	require.NoError(t, err)
	require.Len(t, resp.GetItems(), 1000)
	for i, item := range resp.GetItems() {
		require.Equal(t, uint64(1000+i), item.GetId())
	}
	require.Len(t, w.record.commands, 5)

	long := strings.Repeat("x", 240)
	var specs []*fleetpb.Spec
	for i := range 1000 {
		specs = append(specs, &fleetpb.Spec{Name: fmt.Sprintf("kv/%s-%d", long, i), App: "kv", Replicas: 1})
	}
	for len(specs) > 0 {
		n := chunk(specs)
		require.Positive(t, n)
		require.LessOrEqual(t, proto.Size(&fleetpb.CreateGroups{Specs: specs[:n]}), chunkBytes+4*n)
		specs = specs[n:]
	}
}

func TestCreateGroupsSetsThePolicyFirst(t *testing.T) {
	w := newTown(t, 1)
	_, err := w.drummer(0).CreateGroups(t.Context(), &drummerpb.CreateGroupsRequest{Policy: &fleetpb.Policy{DownAfterMs: 10_000}})
	require.NoError(t, err)
	require.Equal(t, int64(10_000), w.record.machine.Freeze().Policy().GetDownAfterMs())
	_, err = w.drummer(0).CreateGroups(t.Context(), &drummerpb.CreateGroupsRequest{
		Policy: &fleetpb.Policy{DownAfterMs: 1000, SuspectAfterMs: 5000}, Specs: []*fleetpb.Spec{kv(1)},
	})
	requireReason(t, fault.Invalid, err)
	require.Nil(t, w.record.machine.Freeze().ByName("kv/g-0001"), "a bad policy creates nothing")
}

func TestDryRunChangesNothing(t *testing.T) {
	w := newTown(t, 1)
	_, err := w.drummer(0).CreateGroups(t.Context(), create(kv(1)))
	require.NoError(t, err)
	before := w.record.machine.Freeze().Revision()
	other := kv(1)
	other.Replicas = 1
	twice := kv(2)
	twice.Replicas = 5
	resp, err := w.drummer(0).CreateGroups(t.Context(), &drummerpb.CreateGroupsRequest{
		DryRun: true, Specs: []*fleetpb.Spec{kv(1), other, kv(2), twice, {Name: "kv/x", Replicas: 2}}, Policy: &fleetpb.Policy{DownAfterMs: 9_000},
	})
	require.NoError(t, err)
	var codes []fleetpb.Code
	for _, item := range resp.GetItems() {
		codes = append(codes, item.GetCode())
	}
	require.Equal(t, []fleetpb.Code{1, 4, 1, 4, 2}, codes)
	require.Contains(t, resp.GetItems()[2].GetDetail(), "no host knows the app kv")
	require.Equal(t, before, w.record.machine.Freeze().Revision())

	w.record.do(t, host("h1"))
	resp, err = w.drummer(0).CreateGroups(t.Context(), &drummerpb.CreateGroupsRequest{DryRun: true, Specs: []*fleetpb.Spec{kv(2)}})
	require.NoError(t, err)
	require.Empty(t, resp.GetItems()[0].GetDetail())
}

func TestDeleteGroup(t *testing.T) {
	w := newTown(t, 1)
	w.record.do(t, host("h1"))
	id := openGroup(t, w, "kv/a", "h1")
	for range 2 {
		resp, err := w.drummer(0).DeleteGroup(t.Context(), &drummerpb.DeleteGroupRequest{Name: "kv/a"})
		require.NoError(t, err)
		require.Equal(t, id, resp.GetId())
	}
	_, err := w.drummer(0).DeleteGroup(t.Context(), &drummerpb.DeleteGroupRequest{Name: "kv/b"})
	requireReason(t, fault.GroupNotFound, err)
	require.Equal(t, codes.NotFound, status.Code(err))
	_, err = w.drummer(0).CreateGroups(t.Context(), create(&fleetpb.Spec{Name: "kv/a", Replicas: 1}))
	require.NoError(t, err, "a conflict is the item's answer")
}

func TestUnknownOutcomesOfProposals(t *testing.T) {
	w := newTown(t, 1)
	_, err := w.drummer(0).CreateGroups(t.Context(), create(&fleetpb.Spec{Name: "kv/a", Replicas: 1}))
	require.NoError(t, err)
	for give, want := range map[fault.Reason]fault.Reason{
		fault.UnknownOutcome: fault.UnknownOutcome, fault.NotLeader: fault.NotSupervisor, fault.NotOpen: fault.NotSupervisor, fault.Busy: fault.Busy,
	} {
		w.record.failWith(fault.New(give, "as the test says"))
		_, err := w.drummer(0).CreateGroups(t.Context(), create(kv(1)))
		requireReason(t, want, err)
		_, err = w.drummer(0).DeleteGroup(t.Context(), &drummerpb.DeleteGroupRequest{Name: "kv/a"})
		requireReason(t, want, err)
	}
}

func TestLocateTellsTheStatesApart(t *testing.T) {
	w := newTown(t, 1)
	w.record.do(t, host("h1"))
	locate := func(name string, id uint64) (*hostpb.Location, error) {
		resp, err := w.directory(0).Locate(t.Context(), &hostpb.LocateRequest{Group: &hostpb.GroupRef{Name: name, Id: id}})
		return resp.GetLocation(), err
	}
	id := openGroup(t, w, "kv/open", "h1")
	_, err := w.drummer(0).CreateGroups(t.Context(), create(kv(1)))
	require.NoError(t, err)

	for _, ref := range []*hostpb.GroupRef{{Name: "kv/open"}, {Id: id}, {Name: "kv/open", Id: id}} {
		l, err := locate(ref.GetName(), ref.GetId())
		require.NoError(t, err)
		require.Equal(t, "kv/open", l.GetName())
		require.Equal(t, id, l.GetId())
		require.Positive(t, l.GetVersion())
		require.Len(t, l.GetMembers(), 1)
		require.Equal(t, "h1:1", l.GetMembers()[0].GetApi())
		require.Equal(t, "host-h1", l.GetMembers()[0].GetHostName())
		require.False(t, l.GetMembers()[0].GetObserver())
	}
	_, err = locate("kv/g-0001", 0)
	requireReason(t, fault.NotOpen, err)
	require.ErrorContains(t, err, "being launched")
	_, err = locate("kv/none", 0)
	requireReason(t, fault.GroupNotFound, err)
	_, err = locate("", 999999)
	requireReason(t, fault.GroupNotFound, err)
	require.ErrorContains(t, err, "999999")
	_, err = locate("kv/g-0001", id)
	requireReason(t, fault.Invalid, err)
	require.ErrorContains(t, err, "must agree")

	_, err = w.drummer(0).DeleteGroup(t.Context(), &drummerpb.DeleteGroupRequest{Name: "kv/open"})
	require.NoError(t, err)
	_, err = locate("kv/open", 0)
	requireReason(t, fault.Sealed, err)
	require.ErrorContains(t, err, "being deleted")
	_, err = w.drummer(0).DeleteGroup(t.Context(), &drummerpb.DeleteGroupRequest{Name: "kv/open", Force: true})
	require.NoError(t, err)
	_, err = locate("kv/open", 0)
	requireReason(t, fault.GroupNotFound, err)
	_, err = locate("", id)
	requireReason(t, fault.Sealed, err)
	require.ErrorContains(t, err, "was deleted")
}

func TestListGroupsPages(t *testing.T) {
	w := newTown(t, 1)
	w.record.do(t, host("h1"))
	old := openGroup(t, w, "kv/twice", "h1")
	_, err := w.drummer(0).DeleteGroup(t.Context(), &drummerpb.DeleteGroupRequest{Name: "kv/twice", Force: true})
	require.NoError(t, err)
	openGroup(t, w, "kv/twice", "h1")
	_, err = w.drummer(0).CreateGroups(t.Context(), create(append(kvs(1, 30), &fleetpb.Spec{Name: "counter/kv/g", Replicas: 1}, &fleetpb.Spec{Name: "kv/zz", Replicas: 1})...))
	require.NoError(t, err)

	list := func(prefix string, limit uint32) (names []string, pages int) {
		r := &drummerpb.ListGroupsRequest{Prefix: prefix, Limit: limit}
		for {
			resp, err := w.drummer(0).ListGroups(t.Context(), r)
			require.NoError(t, err)
			pages++
			for _, g := range resp.GetGroups() {
				names = append(names, g.GetName())
				r.After, r.AfterId = g.GetName(), g.GetId()
			}
			if !resp.GetMore() {
				return names, pages
			}
			require.NotEmpty(t, resp.GetGroups())
		}
	}
	var want []string
	for _, s := range kvs(1, 30) {
		want = append(want, s.GetName())
	}
	for limit := range uint32(34) {
		names, _ := list("", limit)
		require.Equal(t, append(append([]string{"counter/kv/g"}, want...), "kv/twice", "kv/twice", "kv/zz"), names, "limit %d", limit)
		names, _ = list("kv/g-", limit)
		require.Equal(t, want, names)
		names, _ = list("kv/g-000", limit)
		require.Equal(t, want[:9], names)
		names, _ = list("nothing", limit)
		require.Empty(t, names)
	}
	_, pages := list("kv/g-", 7)
	require.Equal(t, 5, pages)
	resp, err := w.drummer(0).ListGroups(t.Context(), &drummerpb.ListGroupsRequest{After: "kv/twice", AfterId: old})
	require.NoError(t, err)
	require.Len(t, resp.GetGroups(), 2)
	resp, err = w.drummer(0).ListGroups(t.Context(), &drummerpb.ListGroupsRequest{After: "kv/twice"})
	require.NoError(t, err)
	require.Len(t, resp.GetGroups(), 1)
	resp, err = w.drummer(0).ListGroups(t.Context(), &drummerpb.ListGroupsRequest{Limit: 1<<32 - 1})
	require.NoError(t, err)
	require.Len(t, resp.GetGroups(), 34)
}

func TestExplainHostsStatusEvents(t *testing.T) {
	w := newTown(t, 1)
	w.record.do(t, host("h1"))
	openGroup(t, w, "kv/a", "h1")
	ctx := t.Context()
	explained, err := w.drummer(0).Explain(ctx, &drummerpb.ExplainRequest{Name: "kv/a"})
	require.NoError(t, err)
	require.Equal(t, "kv/a", explained.GetGroup().GetName())
	require.NotEmpty(t, explained.GetOperations())
	_, err = w.drummer(0).Explain(ctx, &drummerpb.ExplainRequest{Name: "kv/none"})
	requireReason(t, fault.GroupNotFound, err)

	hosts, err := w.drummer(0).ListHosts(ctx, &drummerpb.ListHostsRequest{})
	require.NoError(t, err)
	require.Len(t, hosts.GetHosts(), 1)

	st, err := w.drummer(0).Status(ctx, &drummerpb.StatusRequest{})
	require.NoError(t, err)
	require.Equal(t, "test", st.GetDeployment())
	require.Equal(t, "a", st.GetLeader())
	require.Equal(t, uint64(7), st.GetTerm())

	all, err := w.drummer(0).ListEvents(ctx, &drummerpb.ListEventsRequest{})
	require.NoError(t, err)
	require.False(t, all.GetMore())
	r := &drummerpb.ListEventsRequest{Limit: 2}
	var paged []*fleetpb.Event
	for {
		resp, err := w.drummer(0).ListEvents(ctx, r)
		require.NoError(t, err)
		paged = append(paged, resp.GetEvents()...)
		if !resp.GetMore() {
			break
		}
		r.After = paged[len(paged)-1].GetSequence()
	}
	require.Len(t, paged, len(all.GetEvents()))
}

func TestAnswersWaitForTheHostsToConnect(t *testing.T) {
	w := newTown(t, 1)
	w.record.do(t, host("h1"))
	openGroup(t, w, "kv/a", "h1")
	ask := map[string]func() error{
		"status": func() error { _, err := w.drummer(0).Status(t.Context(), &drummerpb.StatusRequest{}); return err },
		"hosts":  func() error { _, err := w.drummer(0).ListHosts(t.Context(), &drummerpb.ListHostsRequest{}); return err },
		"groups": func() error {
			_, err := w.drummer(0).ListGroups(t.Context(), &drummerpb.ListGroupsRequest{})
			return err
		},
		"explain": func() error {
			_, err := w.drummer(0).Explain(t.Context(), &drummerpb.ExplainRequest{Name: "kv/a"})
			return err
		},
	}
	for name, call := range ask {
		w.settles.Store(3)
		require.NoError(t, call(), name)
		require.Negative(t, w.settles.Load(), "%s answered before the hosts were there", name)
	}
	w.settles.Store(1_000_000) // one never comes: the answer does
	begun := time.Now()
	require.NoError(t, ask["status"]())
	require.Less(t, time.Since(begun), 10*time.Second)
	w.settles.Store(0)
}

func TestServers(t *testing.T) {
	w := newTown(t, 3)
	w.record.do(t, host("h1"), host("h2"), &fleetpb.Command{Op: &fleetpb.Command_HostLost{HostLost: &fleetpb.HostLost{HostId: "h2", Reason: "wiped"}}})
	w.lead(2)
	resp, err := w.directory(0).Servers(t.Context(), &hostpb.ServersRequest{})
	require.NoError(t, err)
	require.Len(t, resp.GetServers(), 4)
	require.True(t, resp.GetServers()[2].GetLeader())
	require.Equal(t, "h1:1", resp.GetServers()[3].GetApi())

	w.lead(-1)
	resp, err = w.directory(0).Servers(t.Context(), &hostpb.ServersRequest{})
	require.NoError(t, err, "servers are listed without a leader too")
	require.Len(t, resp.GetServers(), 4)
}

// Bad input to every RPC is a clear status and changes nothing.
func TestBadInput(t *testing.T) {
	w := newTown(t, 2)
	w.record.do(t, host("h1"))
	openGroup(t, w, "kv/a", "h1")
	w.lead(1) // all of it through a follower
	before := w.record.machine.Freeze().Revision()
	huge := strings.Repeat("x", 1<<20)
	for name, call := range map[string]func() error{
		"create nothing": func() error { _, err := w.drummer(0).CreateGroups(t.Context(), create()); return err },
		"create dry nothing": func() error {
			_, err := w.drummer(0).CreateGroups(t.Context(), &drummerpb.CreateGroupsRequest{DryRun: true})
			return err
		},
		"create 1001":          func() error { _, err := w.drummer(0).CreateGroups(t.Context(), create(kvs(1, 1001)...)); return err },
		"policy negative":      func() error { return policy(t, w, &fleetpb.Policy{DownAfterMs: -1}) },
		"policy contradictory": func() error { return policy(t, w, &fleetpb.Policy{SuspectAfterMs: 60_000, DownAfterMs: 1000}) },
		"policy endless":       func() error { return policy(t, w, &fleetpb.Policy{DownAfterMs: 1 << 62}) },
		"delete nothing": func() error {
			_, err := w.drummer(0).DeleteGroup(t.Context(), &drummerpb.DeleteGroupRequest{})
			return err
		},
		"delete huge": func() error {
			_, err := w.drummer(0).DeleteGroup(t.Context(), &drummerpb.DeleteGroupRequest{Name: "kv/" + huge})
			return err
		},
		"delete without app": func() error {
			_, err := w.drummer(0).DeleteGroup(t.Context(), &drummerpb.DeleteGroupRequest{Name: "a"})
			return err
		},
		"explain nothing": func() error { _, err := w.drummer(0).Explain(t.Context(), &drummerpb.ExplainRequest{}); return err },
		"explain control": func() error {
			_, err := w.drummer(0).Explain(t.Context(), &drummerpb.ExplainRequest{Name: "kv/\x1b[2J"})
			return err
		},
		"list huge prefix": func() error {
			_, err := w.drummer(0).ListGroups(t.Context(), &drummerpb.ListGroupsRequest{Prefix: huge})
			return err
		},
		"list huge after": func() error {
			_, err := w.drummer(0).ListGroups(t.Context(), &drummerpb.ListGroupsRequest{After: huge})
			return err
		},
		"list id without name": func() error {
			_, err := w.drummer(0).ListGroups(t.Context(), &drummerpb.ListGroupsRequest{AfterId: 5})
			return err
		},
		"locate nothing":       func() error { _, err := w.directory(0).Locate(t.Context(), &hostpb.LocateRequest{}); return err },
		"locate empty":         func() error { return locateBad(t, w, &hostpb.GroupRef{}) },
		"locate huge":          func() error { return locateBad(t, w, &hostpb.GroupRef{Name: "kv/" + huge}) },
		"locate hash":          func() error { return locateBad(t, w, &hostpb.GroupRef{Name: "kv/a#b"}) },
		"locate contradictory": func() error { return locateBad(t, w, &hostpb.GroupRef{Name: "kv/b", Id: 1000}) },
		"create over the limit": func() error {
			_, err := w.drummer(0).CreateGroups(t.Context(), create(&fleetpb.Spec{Name: huge + huge + huge + huge + huge}))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := call()
			require.Error(t, err)
			require.Contains(t, []codes.Code{codes.InvalidArgument, codes.ResourceExhausted}, status.Code(err), "%v", err)
			require.Less(t, len(err.Error()), 2000, "the answer does not repeat a huge request")
		})
	}
	require.Equal(t, before, w.record.machine.Freeze().Revision())

	// Bad specs are answered one by one.
	resp, err := w.drummer(0).CreateGroups(t.Context(), create(
		&fleetpb.Spec{}, &fleetpb.Spec{Name: "kv/" + huge[:2000], Replicas: 3}, &fleetpb.Spec{Name: "kv/x", App: "counter", Replicas: 3},
		&fleetpb.Spec{Name: "kv/x", Replicas: 0}, &fleetpb.Spec{Name: "kv/x", Replicas: 1 << 31}, &fleetpb.Spec{Name: "kv/x", Replicas: 4},
		&fleetpb.Spec{Name: "kv/x", Replicas: 3, Regions: []*fleetpb.RegionCount{{Region: "e", Count: 1}, {Region: "e", Count: 2}}},
		&fleetpb.Spec{Name: "kv/x", Replicas: 3, Regions: []*fleetpb.RegionCount{{Region: "", Count: 3}}},
		&fleetpb.Spec{Name: "kv/x", Replicas: 3, Regions: []*fleetpb.RegionCount{{Region: "e", Count: 1<<32 - 1}, {Region: "w", Count: 4}}}))
	require.NoError(t, err)
	for _, item := range resp.GetItems() {
		require.Equal(t, fleetpb.Code_CODE_INVALID, item.GetCode(), "%v", item)
		require.NotEmpty(t, item.GetDetail())
	}
	require.Equal(t, before, w.record.machine.Freeze().Revision())
}

func policy(t *testing.T, w *town, p *fleetpb.Policy) error {
	_, err := w.drummer(0).CreateGroups(t.Context(), &drummerpb.CreateGroupsRequest{Policy: p})
	return err
}

func locateBad(t *testing.T, w *town, ref *hostpb.GroupRef) error {
	_, err := w.directory(0).Locate(t.Context(), &hostpb.LocateRequest{Group: ref})
	return err
}

func TestUnavailableBeforeReady(t *testing.T) {
	s := New(Options{Name: "a"})
	_, err := s.choose(t.Context(), &drummerpb.StatusRequest{}, method{}, func(context.Context, any) (any, error) { return nil, nil })
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
}
