package drummer

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/drummer/formation"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// placement maps each group to the hosts of its members.
func placement(groups []*drummerpb.GroupInfo) map[string][]string {
	out := map[string][]string{}
	for _, g := range groups {
		out[g.GetName()] = membersOn(g)
	}
	return out
}

// membersOn lists the hosts of a group's members; a replica that is being removed
// is none.
func membersOn(g *drummerpb.GroupInfo) []string {
	var on []string
	for _, r := range g.GetReplicas() {
		if r.GetState() != drummerpb.ReplicaState_REPLICA_STATE_REMOVING {
			on = append(on, r.GetHostId())
		}
	}
	return on
}

func TestLaunchAndRepair(t *testing.T) {
	c := newCluster(t, 3)
	c.start()
	w := newWorld()
	hosts := c.settled(w, 5, 20)

	perHost := map[string]int{}
	for name, on := range placement(c.groups()) {
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(on))), 3, "group %s has one replica on a host", name)
		for _, h := range on {
			perHost[h]++
		}
	}
	require.Len(t, perHost, 5)
	require.LessOrEqual(t, slices.Max(slices.Collect(maps.Values(perHost)))-slices.Min(slices.Collect(maps.Values(perHost))), 1, "%v", perHost)

	dead := hosts[2]
	dead.kill()
	c.awaitOK(20, func(g *drummerpb.GroupInfo) bool {
		return len(membersOn(g)) == 3 && !slices.Contains(membersOn(g), dead.id)
	})

	// It comes back: its old replicas are destroyed, and it takes new ones.
	dead.start(t)
	require.True(t, eventually(func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(dead.replicas) == 0 }, 30*time.Second), "stale replicas are removed")
	require.True(t, eventually(func() bool {
		events, err := c.follower().drummer().ListEvents(t.Context(), &drummerpb.ListEventsRequest{})
		return err == nil && len(events.GetEvents()) > 0
	}, 30*time.Second))
}

func TestAnotherDrummerLeadsAndNothingMoves(t *testing.T) {
	c := newCluster(t, 3)
	c.start()
	w := newWorld()
	c.settled(w, 4, 20)
	require.True(t, eventually(func() bool { return c.record().GetOperations() == 0 }, 30*time.Second), "the launches have ended")
	before := placement(c.groups())
	w.mu.Lock()
	orders := maps.Clone(w.orders)
	w.mu.Unlock()

	term := c.record().GetTerm()
	old := c.leader()
	began := time.Now()
	old.stop()
	next := c.leader()
	t.Logf("another drummer answers as leader %s after the stop began", time.Since(began))
	require.NotEqual(t, old.index, next.index)
	require.Greater(t, c.record().GetTerm(), term)

	// All hosts come to it, and it sees every group whole; then twice down_after passes.
	c.awaitOK(20, nil)
	quiet := time.Now().Add(2 * time.Duration(policy().GetDownAfterMs()) * time.Millisecond)
	require.True(t, eventually(func() bool { return time.Now().After(quiet) }, 30*time.Second))
	require.Equal(t, before, placement(c.groups()))
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Equal(t, orders, w.orders, "nothing was ordered")
}

func TestFollowersAnswerForTheLeader(t *testing.T) {
	c := newCluster(t, 3)
	c.start()
	w := newWorld()
	c.settled(w, 3, 3)
	f := c.follower()
	ctx := t.Context()

	require.True(t, eventually(func() bool {
		resp, err := f.directory().Locate(ctx, &hostpb.LocateRequest{Group: &hostpb.GroupRef{Name: "kv/demo-001"}})
		loc := resp.GetLocation()
		return err == nil && len(loc.GetMembers()) == 3 && loc.GetLeaderHost() != "" && loc.GetLeaderApi() != ""
	}, 30*time.Second))
	require.True(t, eventually(func() bool { // until it knows of the last election
		resp, err := f.directory().Servers(ctx, &hostpb.ServersRequest{})
		if err != nil {
			return false
		}
		require.Len(t, resp.GetServers(), 6)
		leader := c.leader().config().Name
		return !slices.ContainsFunc(resp.GetServers(), func(s *hostpb.Server) bool {
			return s.GetName() == "" || s.GetKind() == "drummer" && (s.GetLeader() != (s.GetName() == leader) || !slices.Contains(c.addresses, s.GetApi()))
		})
	}, 30*time.Second))
	require.True(t, eventually(func() bool {
		resp, err := f.drummer().ListHosts(ctx, &drummerpb.ListHostsRequest{})
		return err == nil && len(resp.GetHosts()) == 3 && !slices.ContainsFunc(resp.GetHosts(), func(h *drummerpb.HostInfo) bool {
			return h.GetState() != "up" || h.GetReplicas() != 3
		})
	}, 30*time.Second))
	require.True(t, eventually(func() bool {
		resp, err := f.drummer().Explain(ctx, &drummerpb.ExplainRequest{Name: "kv/demo-002"})
		return err == nil && resp.GetGroup().GetState() == "ok"
	}, 30*time.Second))

	err := f.ask(func() error {
		_, err := f.drummer().DeleteGroup(ctx, &drummerpb.DeleteGroupRequest{Name: "kv/demo-002"})
		if status.Code(err) == codes.NotFound {
			return nil // an earlier try, whose answer was lost, has deleted it
		}
		return err
	})
	require.NoError(t, err)
	c.awaitOK(2, nil)
	require.True(t, eventually(func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.orders["seal"] >= 1 && len(w.hosts["h1"].replicas) == 2
	}, 30*time.Second), "sealed and destroyed")
	err = f.ask(func() error {
		_, err := f.directory().Locate(ctx, &hostpb.LocateRequest{Group: &hostpb.GroupRef{Name: "kv/demo-002"}})
		return err
	})
	require.Equal(t, codes.NotFound, status.Code(err))
}

func TestRestartOfAllDrummers(t *testing.T) {
	c := newCluster(t, 3)
	c.start()
	require.NoError(t, c.ask(func(ctx context.Context, d drummerpb.DrummerClient) error {
		_, err := d.CreateGroups(ctx, &drummerpb.CreateGroupsRequest{Specs: kvSpecs(2), Policy: policy()})
		return err
	}))
	for range 2 {
		for _, m := range c.masters {
			m.cancel()
		}
		for _, m := range c.masters {
			m.stop()
		}
		c.start() // on other Raft ports
		require.True(t, eventually(func() bool {
			groups, st := c.groups(), c.record()
			return len(groups) == 2 && groups[0].GetState() == "launching" && st.GetPolicy().GetDownAfterMs() == policy().GetDownAfterMs()
		}, 30*time.Second))
	}
	c.masters[0].stop()
	require.True(t, eventually(func() bool { return len(c.groups()) == 2 }, 30*time.Second), "two of three go on")
}

func TestALostDiskIsRefusedAndTheOthersGoOn(t *testing.T) {
	c := newCluster(t, 3)
	c.start()
	c.leader()
	m := c.masters[1]
	m.serves()
	m.stop()
	m.disk = "an empty one"
	m.start()
	var lost *formation.LostError
	require.ErrorAs(t, m.refuses(), &lost)
	require.Equal(t, 2, lost.Index)

	// Only the Raft data is gone: refused too, because it would vote anew.
	m.disk = "drummer-2"
	require.NoError(t, os.RemoveAll(filepath.Join(c.dir, m.disk, "raft")))
	m.start()
	require.ErrorContains(t, m.refuses(), "can't vote anew")
	c.leader()
}

func TestAFollowerCatchesUpAfterAStop(t *testing.T) {
	c := newCluster(t, 3)
	c.start()
	f := c.follower()
	f.stop()
	require.NoError(t, c.ask(func(ctx context.Context, d drummerpb.DrummerClient) error {
		_, err := d.CreateGroups(ctx, &drummerpb.CreateGroupsRequest{Specs: kvSpecs(3)})
		return err
	}))
	f.start()
	require.True(t, eventually(func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		resp, err := f.drummer().ListGroups(ctx, &drummerpb.ListGroupsRequest{})
		return err == nil && len(resp.GetGroups()) == 3
	}, 30*time.Second))
}

func TestOneDrummerAlone(t *testing.T) {
	c := newCluster(t, 1)
	c.start()
	w := newWorld()
	c.settled(w, 3, 2)
	c.masters[0].stop()
	c.masters[0].start()
	c.awaitOK(2, nil)
}

func TestAStopWhileTheOthersAreMissing(t *testing.T) {
	c := newCluster(t, 3)
	m := c.masters[0]
	m.start()
	require.True(t, eventually(func() bool {
		_, err := m.drummer().Status(t.Context(), &drummerpb.StatusRequest{})
		return status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "is starting")
	}, 30*time.Second), "calls are refused with a sentence")
	st, err := drummerpb.NewSupervisorClient(m.conn).Attend(t.Context())
	require.NoError(t, err)
	_, err = st.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err))
	m.stop()
}

func TestBadConfigurationIsRefused(t *testing.T) {
	c := newCluster(t, 1)
	cfg := c.masters[0].config()
	cfg.Index = 2
	err := Run(t.Context(), cfg, testLog())
	require.ErrorContains(t, err, "index")
}

// Every RPC is hit with what no client of ours sends, at a follower, with Raft
// below; the record must not change, and all drummers go on.
func TestBadInputChangesNothing(t *testing.T) {
	c := newCluster(t, 3)
	c.start()
	c.voters(1, 2, 3) // what the drummers write down of themselves comes first
	f := c.follower()
	before := c.record().GetRevision()
	ctx := t.Context()
	for _, spec := range []*fleetpb.Spec{{}, {Name: "x"}, {Name: "kv/a", App: "other", Replicas: 3}, {Name: "kv/a", Replicas: 0}, {Name: "kv/\x00", Replicas: 3}} {
		var resp *drummerpb.CreateGroupsResponse
		require.NoError(t, f.ask(func() (err error) {
			resp, err = f.drummer().CreateGroups(ctx, &drummerpb.CreateGroupsRequest{Specs: []*fleetpb.Spec{spec}})
			return err
		}))
		require.Equal(t, fleetpb.Code_CODE_INVALID, resp.GetItems()[0].GetCode())
	}
	err := f.ask(func() error { _, err := f.drummer().CreateGroups(ctx, &drummerpb.CreateGroupsRequest{}); return err })
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	err = f.ask(func() error {
		_, err := f.drummer().DeleteGroup(ctx, &drummerpb.DeleteGroupRequest{Name: "kv/none"})
		return err
	})
	require.Equal(t, codes.NotFound, status.Code(err))
	form := drummerpb.NewFormationClient(f.conn)
	_, err = form.Form(ctx, &drummerpb.FormRequest{})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	_, err = form.Form(ctx, &drummerpb.FormRequest{Deployment: "test", Index: 99, HostId: "x", Raft: "y"})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	stranger := &fleetpb.Drummer{HostId: "x", Number: 2, Name: "y", Api: "z", Raft: "w"}
	roster := &drummerpb.Roster{Fleet: "another", Revision: 1 << 60, Drummers: []*fleetpb.Drummer{stranger}}
	for name, r := range map[string]*drummerpb.MeetRequest{
		"nothing":            {},
		"another deployment": {Deployment: "prod", Self: stranger},
		"nobody":             {Deployment: "test"},
		"a long text":        {Deployment: "test", Self: &fleetpb.Drummer{HostId: strings.Repeat("x", 1000)}},
		"another fleet":      {Deployment: "test", Self: stranger, Roster: roster},
		"another number":     {Deployment: "test", Self: stranger, Admit: 77},
	} {
		_, err = drummerpb.NewMembersClient(f.conn).Meet(ctx, r)
		require.Contains(t, []codes.Code{codes.InvalidArgument, codes.FailedPrecondition}, status.Code(err), "%s: %v", name, err)
	}
	for want, r := range map[codes.Code]*drummerpb.AddDrummerRequest{codes.InvalidArgument: {}, codes.FailedPrecondition: {Address: "127.0.0.1:1"}} {
		err = f.ask(func() error { _, err := f.drummer().AddDrummer(ctx, r); return err })
		require.Equal(t, want, status.Code(err), "%v", err)
	}
	err = f.ask(func() error {
		_, err := f.drummer().RemoveDrummer(ctx, &drummerpb.RemoveDrummerRequest{Drummer: "4"})
		return err
	})
	require.Equal(t, codes.NotFound, status.Code(err))
	c.voters(1, 2, 3)
	require.Equal(t, before, c.record().GetRevision())
}
