package capacity

import (
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	doormanpb "github.com/drumline/drumline/drummerpb/doorman"
	"github.com/drumline/drumline/internal/fault"
)

// wanted is one entry of a request.
func wanted(resource string, wants float64) *doormanpb.ResourceRequest {
	return &doormanpb.ResourceRequest{ResourceId: new(resource), Priority: new(int64(0)), Wants: new(wants)}
}

func getting(client string, entries ...*doormanpb.ResourceRequest) *doormanpb.GetCapacityRequest {
	return &doormanpb.GetCapacityRequest{ClientId: new(client), Resource: entries}
}

func TestABulkRequestIsAnsweredWholeAndInOrder(t *testing.T) {
	r := newRouter(t, "a", "b", "c/d")
	c := doormanpb.NewCapacityClient(served(t, New(Options{Router: r, Advertise: "10.1.2.3:9"})))
	before := time.Now()
	resp, err := c.GetCapacity(within(t, 20*time.Second), getting("me", wanted("b", 1), wanted("a", 2), wanted("c/d", 3), wanted("b", 4), wanted("b", 0)))
	require.NoError(t, err)
	require.Nil(t, resp.GetMastership(), "its presence would say that this is not the master")
	require.Len(t, resp.GetResponse(), 5)
	for i, want := range []struct {
		resource string
		capacity float64
	}{{"b", 1}, {"a", 2}, {"c/d", 3}, {"b", 4}, {"b", 0}} {
		got := resp.GetResponse()[i]
		require.Equal(t, want.resource, got.GetResourceId())
		require.InDelta(t, want.capacity, got.GetGets().GetCapacity(), 0)
		require.Equal(t, int64(5), got.GetGets().GetRefreshInterval())
		require.InDelta(t, 10.0, got.GetSafeCapacity(), 0)
		ends := got.GetGets().GetExpiryTime()
		require.GreaterOrEqual(t, ends, before.Add(15_999*time.Millisecond).Unix())
		require.LessOrEqual(t, ends, time.Now().Add(15_999*time.Millisecond).Unix())
	}
	require.Equal(t, map[string]int{"capacity/a": 1, "capacity/b": 1, "capacity/c/d": 1}, r.proposed, "what concerns one resource is one command")

	empty, err := c.GetCapacity(within(t, 20*time.Second), getting("me"))
	require.NoError(t, err)
	require.Empty(t, empty.GetResponse())
	who, err := c.Discovery(within(t, 20*time.Second), &doormanpb.DiscoveryRequest{})
	require.NoError(t, err)
	require.True(t, who.GetIsMaster())
	require.Equal(t, "10.1.2.3:9", who.GetMastership().GetMasterAddress())
}

// One lease of a second and a half counts from the arrival and is rounded down.
func TestLeasesEndWhenTheyWereGrantedForAtTheLatest(t *testing.T) {
	for _, c := range []struct {
		arrived time.Time
		ms      int64
		ends    int64
	}{
		{time.Unix(100, 0), 1500, 101},
		{time.Unix(100, 499_999_999), 1500, 101},
		{time.Unix(100, 500_000_000), 1500, 102},
		{time.Unix(100, 999_999_999), 15_000, 115},
		{time.Unix(100, 0), 0, 100},
	} {
		got := leaseOf(&capacitypb.Grant{LeaseMs: c.ms, RefreshMs: 300}, c.arrived)
		require.Equal(t, c.ends, got.GetExpiryTime())
		require.Equal(t, int64(1), got.GetRefreshInterval(), "0 would make a client ask without a pause")
	}
}

// One bad entry refuses the whole request before anything of it is proposed.
func TestARequestIsCheckedWhole(t *testing.T) {
	r := newRouter(t, "a", "b")
	c := doormanpb.NewCapacityClient(served(t, New(Options{Router: r})))
	ctx := within(t, 20*time.Second)
	for name, bad := range map[string]struct {
		code codes.Code
		req  *doormanpb.GetCapacityRequest
		says string
	}{
		"negative":      {codes.InvalidArgument, getting("me", wanted("a", 1), wanted("b", -1)), `entry 2: resource "b"`},
		"nan":           {codes.InvalidArgument, getting("me", wanted("a", 1), wanted("b", math.NaN())), "entry 2"},
		"infinite":      {codes.InvalidArgument, getting("me", wanted("a", math.Inf(1)), wanted("b", 1)), "entry 1"},
		"no resource":   {codes.InvalidArgument, getting("me", wanted("a", 1), wanted("", 1)), "empty"},
		"long resource": {codes.InvalidArgument, getting("me", wanted("a", 1), wanted(strings.Repeat("x", 300), 1)), "at most"},
		"hash":          {codes.InvalidArgument, getting("me", wanted("a", 1), wanted("b#c", 1)), "hash sign"},
		"unprintable":   {codes.InvalidArgument, getting("me", wanted("a", 1), wanted("b\x07", 1)), "printable"},
		"no client":     {codes.InvalidArgument, getting("", wanted("a", 1)), "client's id"},
		"long client":   {codes.InvalidArgument, getting(strings.Repeat("x", 300), wanted("a", 1)), "client's id"},
		"unknown":       {codes.NotFound, getting("me", wanted("a", 1), wanted("no/such", 1)), `no resource "no/such"`},
		"unknown alone": {codes.NotFound, getting("me", wanted("none", 1)), `no resource "none"`},
	} {
		_, err := c.GetCapacity(ctx, bad.req)
		require.Equal(t, bad.code, status.Code(err), name)
		require.ErrorContains(t, err, bad.says, name)
		require.Zero(t, r.commands(), name)
	}
	nan := wanted("a", 1)
	nan.Has = &doormanpb.Lease{ExpiryTime: new(int64(1)), RefreshInterval: new(int64(1)), Capacity: new(math.NaN())}
	_, err := c.GetCapacity(ctx, getting("me", nan))
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	require.Zero(t, r.commands())
}

// Nothing is made for a request that is refused for a name that no template makes.
func TestStrangeNamesAreLookedForFirst(t *testing.T) {
	r := newRouter(t, "new1", "new2", "old")
	c := doormanpb.NewCapacityClient(served(t, New(Options{Router: r, Makes: func(group string) bool { return strings.HasPrefix(group, "capacity/new") }})))
	_, err := c.GetCapacity(within(t, 20*time.Second), getting("me", wanted("new1", 1), wanted("strange", 1), wanted("old", 1), wanted("new2", 1)))
	require.Equal(t, codes.NotFound, status.Code(err))
	require.ElementsMatch(t, []string{"capacity/strange", "capacity/old"}, r.found)
	r.found = nil
	_, err = c.GetCapacity(within(t, 20*time.Second), getting("me", wanted("new1", 1), wanted("old", 1), wanted("new2", 1)))
	require.NoError(t, err)
	require.Equal(t, "capacity/old", r.found[0])
	require.Len(t, r.found, 3)
}

func banded(resource string, bands ...*doormanpb.PriorityBandAggregate) *doormanpb.GetServerCapacityRequest {
	return &doormanpb.GetServerCapacityRequest{ServerId: new("server"), Resource: []*doormanpb.ServerCapacityResourceRequest{{ResourceId: new(resource), Wants: bands}}}
}

func band(priority, clients int64, wants float64) *doormanpb.PriorityBandAggregate {
	return &doormanpb.PriorityBandAggregate{Priority: new(priority), NumClients: new(clients), Wants: new(wants)}
}

func TestServersAskForTheirClients(t *testing.T) {
	r := newRouter(t, "a")
	r.summary = &capacitypb.Summary{Definition: &capacitypb.Definition{
		Algorithm: capacitypb.Algorithm_ALGORITHM_PRIORITY, LeaseLengthMs: 15_000, RefreshIntervalMs: 5_500, SafeCapacity: new(7.5),
		LearningModeMs: new(int64(3000)), Parameters: []*capacitypb.Parameter{{Name: "n", Value: "v"}},
	}}
	c := doormanpb.NewCapacityClient(served(t, New(Options{Router: r})))
	var asked []*capacitypb.Band
	r.answer = func(group string, cmd *capacitypb.Command) (*capacitypb.Result, error) {
		asked = cmd.GetDecide().GetRequests()[0].GetBands()
		return r.grantAll(group, cmd)
	}
	resp, err := c.GetServerCapacity(within(t, 20*time.Second), banded("a", band(1, 3, 200), band(2, 1, 5), band(1, 2, 50)))
	require.NoError(t, err)
	require.Len(t, asked, 2)
	require.Equal(t, []any{int64(1), int64(5), 250.0}, []any{asked[0].GetPriority(), asked[0].GetClients(), asked[0].GetWants()})
	got := resp.GetResponse()[0]
	require.InDelta(t, 255.0, got.GetGets().GetCapacity(), 0)
	require.InDelta(t, 7.5, got.GetSafeCapacity(), 0)
	a := got.GetAlgorithm()
	require.Equal(t, doormanpb.Algorithm_FAIR_SHARE, a.GetKind(), "the original does not know PRIORITY")
	require.Equal(t, []int64{15, 5, 3}, []int64{a.GetLeaseLength(), a.GetRefreshInterval(), a.GetLearningModeDuration()})
	require.Equal(t, "v", a.GetParameters()[0].GetValue())

	r.summary.Definition.SafeCapacity = nil
	resp, err = c.GetServerCapacity(within(t, 20*time.Second), banded("a", band(0, 1, 1)))
	require.NoError(t, err)
	require.Nil(t, resp.GetResponse()[0].SafeCapacity, "a safe capacity that is not configured is not 0") //nolint:protogetter // it is about absence
}

func TestBadBandsRefuseTheWhole(t *testing.T) {
	r := newRouter(t, "a")
	c := doormanpb.NewCapacityClient(served(t, New(Options{Router: r})))
	for name, req := range map[string]*doormanpb.GetServerCapacityRequest{
		"no clients":        banded("a", band(0, 0, 5)),
		"negative clients":  banded("a", band(0, 4, 5), band(1, -1, 5)),
		"hidden in a sum":   banded("a", band(0, 4, 5), band(0, -1, 5)),
		"wants in a sum":    banded("a", band(0, 4, 5), band(0, 1, -5)),
		"nan in a sum":      banded("a", band(0, 4, 5), band(0, 1, math.NaN())),
		"infinite in a sum": banded("a", band(0, 4, 5), band(0, 1, math.Inf(1))),
		"no band":           banded("a"),
	} {
		_, err := c.GetServerCapacity(within(t, 20*time.Second), req)
		require.Equal(t, codes.InvalidArgument, status.Code(err), name)
		require.Zero(t, r.commands(), name)
	}
}

func TestReleaseIgnoresWhatDoesNotExist(t *testing.T) {
	r := newRouter(t, "a", "b")
	c := doormanpb.NewCapacityClient(served(t, New(Options{Router: r})))
	var released []string
	r.answer = func(group string, cmd *capacitypb.Command) (*capacitypb.Result, error) {
		require.Equal(t, []string{"me"}, cmd.GetRelease().GetClientIds())
		released = append(released, group)
		return &capacitypb.Result{Outcome: capacitypb.Outcome_OUTCOME_OK}, nil
	}
	ctx := within(t, 20*time.Second)
	_, err := c.ReleaseCapacity(ctx, &doormanpb.ReleaseCapacityRequest{ClientId: new("me"), ResourceId: []string{"a", "", "none", "b", "x#y", "a"}})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"capacity/a", "capacity/b"}, released, "each once")
	require.Empty(t, r.found, "a release is no use of a name")
	_, err = c.ReleaseCapacity(ctx, &doormanpb.ReleaseCapacityRequest{ClientId: new(""), ResourceId: []string{"a"}})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	r.answer = func(string, *capacitypb.Command) (*capacitypb.Result, error) {
		return nil, fault.New(fault.NoQuorum, "two of three are down")
	}
	_, err = c.ReleaseCapacity(ctx, &doormanpb.ReleaseCapacityRequest{ClientId: new("me"), ResourceId: []string{"a"}})
	require.Equal(t, codes.Unavailable, status.Code(err))
}

// A release that waits for its group takes no lease that its client asked for later.
func TestWhoAsksAgainWaitsForItsRelease(t *testing.T) {
	r := newRouter(t, "a", "b")
	c := doormanpb.NewCapacityClient(served(t, New(Options{Router: r})))
	var order []string
	release, arrived := make(chan struct{}), make(chan struct{})
	r.answer = func(group string, cmd *capacitypb.Command) (*capacitypb.Result, error) {
		if cmd.GetRelease() != nil {
			r.mu.Unlock()
			close(arrived)
			<-release
			r.mu.Lock()
			order = append(order, "release")
			return &capacitypb.Result{Outcome: capacitypb.Outcome_OUTCOME_OK}, nil
		}
		order = append(order, cmd.GetDecide().GetRequests()[0].GetClientId()+" "+group)
		return r.grantAll(group, cmd)
	}
	ctx := within(t, 20*time.Second)
	var calls sync.WaitGroup
	calls.Go(func() {
		_, err := c.ReleaseCapacity(ctx, &doormanpb.ReleaseCapacityRequest{ClientId: new("me"), ResourceId: []string{"a", "none"}})
		require.NoError(t, err)
	})
	<-arrived
	calls.Go(func() {
		_, err := c.GetCapacity(ctx, getting("me", wanted("a", 1)))
		require.NoError(t, err)
	})
	for _, other := range []*doormanpb.GetCapacityRequest{getting("you", wanted("a", 1)), getting("me", wanted("b", 1))} {
		_, err := c.GetCapacity(ctx, other) // nobody else waits
		require.NoError(t, err)
	}
	close(release)
	calls.Wait()
	require.Equal(t, []string{"you capacity/a", "me capacity/b", "release", "me capacity/a"}, order)
}

// A group that was just made has no definition for a moment.
func TestANewResourceIsWaitedFor(t *testing.T) {
	r := newRouter(t, "a")
	c := doormanpb.NewCapacityClient(served(t, New(Options{Router: r})))
	tries := 0
	r.answer = func(group string, cmd *capacitypb.Command) (*capacitypb.Result, error) {
		if tries++; tries < 4 {
			return &capacitypb.Result{Outcome: capacitypb.Outcome_OUTCOME_NOT_CONFIGURED}, nil
		}
		return r.grantAll(group, cmd)
	}
	resp, err := c.GetCapacity(within(t, 20*time.Second), getting("me", wanted("a", 1), wanted("a", 2)))
	require.NoError(t, err)
	require.InDelta(t, 2.0, resp.GetResponse()[1].GetGets().GetCapacity(), 0)
	tries = math.MinInt
	for d := 400 * time.Millisecond; ; d *= 2 { // on a busy machine a short one is over before the answer is here
		_, err = c.GetCapacity(within(t, d), getting("me", wanted("a", 1)))
		if status.Code(err) != codes.DeadlineExceeded || d > 10*time.Second {
			break
		}
	}
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.ErrorContains(t, err, "no definition yet")
}

func TestAFaultOfOneResourceIsThatOfTheWhole(t *testing.T) {
	r := newRouter(t, "a", "b")
	c := doormanpb.NewCapacityClient(served(t, New(Options{Router: r})))
	r.answer = func(group string, cmd *capacitypb.Command) (*capacitypb.Result, error) {
		if group == "capacity/b" {
			return nil, fault.New(fault.NoQuorum, "two of three are down")
		}
		return r.grantAll(group, cmd)
	}
	_, err := c.GetCapacity(within(t, 20*time.Second), getting("me", wanted("a", 1), wanted("b", 1)))
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.ErrorContains(t, err, "two of three are down")
	r.answer = func(_ string, _ *capacitypb.Command) (*capacitypb.Result, error) {
		g := &capacitypb.Grant{Outcome: capacitypb.Outcome_OUTCOME_FULL, Detail: "100,000 clients hold leases"}
		return &capacitypb.Result{Outcome: capacitypb.Outcome_OUTCOME_OK, Grants: []*capacitypb.Grant{g}}, nil
	}
	_, err = c.GetCapacity(within(t, 20*time.Second), getting("me", wanted("a", 1)))
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	r.answer = func(string, *capacitypb.Command) (*capacitypb.Result, error) { return &capacitypb.Result{}, nil }
	_, err = c.GetCapacity(within(t, 20*time.Second), getting("me", wanted("a", 1)))
	require.Equal(t, codes.Internal, status.Code(err))
}
