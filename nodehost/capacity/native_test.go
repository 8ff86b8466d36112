package capacity

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	doormanpb "github.com/drumline/drumline/drummerpb/doorman"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/statemachines"
)

func asking(resource string, wants float64) *capacitypb.Ask {
	return &capacitypb.Ask{Resource: resource, Bands: []*capacitypb.Band{{Clients: 1, Wants: wants}}}
}

// What is wrong with one resource concerns no other one of a native request.
func TestEachResourceIsAnsweredByItself(t *testing.T) {
	r := newRouter(t, "a", "b")
	s := New(Options{Router: r})
	c := capacitypb.NewCapacityClient(served(t, s))
	var asked []*capacitypb.Request
	r.answer = func(group string, cmd *capacitypb.Command) (*capacitypb.Result, error) {
		if group == "capacity/a" {
			asked = cmd.GetDecide().GetRequests()
		}
		return r.grantAll(group, cmd)
	}
	full := &capacitypb.Ask{
		Resource: "a", Bands: []*capacitypb.Band{{Priority: 7, Clients: 2, Wants: 9}}, Has: new(0.0),
		Token: &capacitypb.Token{Generation: 3, N: 4}, Serial: 5, Limited: true,
	}
	newer := proto.CloneOf(full) // of a client that knows more than this host
	newer.GetBands()[0].ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 1})
	newer.GetToken().ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 1})
	resp, err := c.Refresh(within(t, 20*time.Second), &capacitypb.RefreshRequest{ClientId: "me", Asks: []*capacitypb.Ask{asking("none", 1), newer, asking("b", 2)}})
	require.NoError(t, err)
	require.Len(t, resp.GetGrants(), 3)
	require.Equal(t, hostpb.Reason_REASON_GROUP_NOT_FOUND, resp.GetGrants()[0].GetFault().GetReason())
	require.Nil(t, resp.GetGrants()[0].GetGrant())
	require.Equal(t, "a", resp.GetGrants()[1].GetResource())
	require.Nil(t, resp.GetGrants()[1].GetFault())
	require.InDelta(t, 9.0, resp.GetGrants()[1].GetGrant().GetCapacity(), 0)
	require.Equal(t, int64(15_999), resp.GetGrants()[1].GetGrant().GetLeaseMs())
	require.InDelta(t, 2.0, resp.GetGrants()[2].GetGrant().GetCapacity(), 0)
	want := &capacitypb.Request{ClientId: "me", Bands: full.GetBands(), Has: new(0.0), Token: full.GetToken(), Serial: 5, Limited: true}
	require.True(t, proto.Equal(want, asked[0]), "%v", asked)

	_, err = c.Refresh(within(t, 20*time.Second), &capacitypb.RefreshRequest{ClientId: "me", Asks: []*capacitypb.Ask{asking("a", 1), asking("b", -1)}})
	require.Equal(t, codes.InvalidArgument, status.Code(err), "a client that sends this is wrong")
	require.NoError(t, testutil.CollectAndCompare(s, strings.NewReader(`
# HELP doorman_server_requests Requests for capacity, by method.
# TYPE doorman_server_requests counter
doorman_server_requests{method="Refresh"} 2
# HELP doorman_server_request_errors Requests for capacity that failed, by method.
# TYPE doorman_server_request_errors counter
doorman_server_request_errors{method="Refresh"} 1
`), "doorman_server_requests", "doorman_server_request_errors"))
}

func TestReceiptsAndReleases(t *testing.T) {
	r := newRouter(t, "a", "b")
	c := capacitypb.NewCapacityClient(served(t, New(Options{Router: r})))
	var got []*capacitypb.Command
	r.answer = func(_ string, cmd *capacitypb.Command) (*capacitypb.Result, error) {
		got = append(got, cmd)
		return &capacitypb.Result{Outcome: capacitypb.Outcome_OUTCOME_OK}, nil
	}
	token := &capacitypb.Token{Generation: 1, N: 2}
	resp, err := c.Confirm(within(t, 20*time.Second), &capacitypb.ConfirmRequest{ClientId: "me", Receipts: []*capacitypb.ResourceReceipt{
		{Resource: "a", Token: token}, {Resource: "none", Token: token},
	}})
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.True(t, proto.Equal(&capacitypb.Receipt{ClientId: "me", Token: token}, got[0].GetConfirm().GetReceipts()[0]))
	require.Equal(t, hostpb.Reason_REASON_UNSPECIFIED, resp.GetFaults()[0].GetReason())
	require.Equal(t, hostpb.Reason_REASON_GROUP_NOT_FOUND, resp.GetFaults()[1].GetReason())

	freed, err := c.Release(within(t, 20*time.Second), &capacitypb.ReleaseRequest{ClientId: "me", Resources: []string{"none", "b"}})
	require.NoError(t, err)
	require.Equal(t, []string{"me"}, got[1].GetRelease().GetClientIds())
	require.Equal(t, hostpb.Reason_REASON_GROUP_NOT_FOUND, freed.GetFaults()[0].GetReason())
	require.Equal(t, hostpb.Reason_REASON_UNSPECIFIED, freed.GetFaults()[1].GetReason())
	for _, call := range []func() error{
		func() error {
			_, err := c.Release(within(t, 20*time.Second), &capacitypb.ReleaseRequest{Resources: []string{"a"}})
			return err
		},
		func() error {
			_, err := c.Confirm(within(t, 20*time.Second), &capacitypb.ConfirmRequest{ClientId: "me", Receipts: make([]*capacitypb.ResourceReceipt, maxAsks+1)})
			return err
		},
	} {
		require.Equal(t, codes.InvalidArgument, status.Code(call()))
	}
}

// Each region may have a resource of one name: native requests say which is meant, beside the
// name; the original's wire has no word for it, in the name neither.
func TestAResourceOfARegion(t *testing.T) {
	east, west := statemachines.NameIn("a", "east"), statemachines.NameIn("a", "west")
	r := newRouter(t, east, west)
	conn := served(t, New(Options{Router: r}))
	c, ctx := capacitypb.NewCapacityClient(conn), within(t, 20*time.Second)
	in := func(region string, wants float64) *capacitypb.Ask {
		ask := asking("a", wants)
		ask.Region = region
		return ask
	}
	resp, err := c.Refresh(ctx, &capacitypb.RefreshRequest{ClientId: "me", Asks: []*capacitypb.Ask{in("east", 1), in("west", 2), in("", 3)}})
	require.NoError(t, err)
	require.InDelta(t, 1.0, resp.GetGrants()[0].GetGrant().GetCapacity(), 0)
	require.InDelta(t, 2.0, resp.GetGrants()[1].GetGrant().GetCapacity(), 0)
	require.Equal(t, "a", resp.GetGrants()[1].GetResource())
	require.Equal(t, hostpb.Reason_REASON_GROUP_NOT_FOUND, resp.GetGrants()[2].GetFault().GetReason())
	_, err = c.Refresh(ctx, &capacitypb.RefreshRequest{ClientId: "me", Asks: []*capacitypb.Ask{in("ea\nst", 1)}})
	require.Equal(t, codes.InvalidArgument, status.Code(err))

	r.answer = func(string, *capacitypb.Command) (*capacitypb.Result, error) {
		return &capacitypb.Result{Outcome: capacitypb.Outcome_OUTCOME_OK}, nil
	}
	confirmed, err := c.Confirm(ctx, &capacitypb.ConfirmRequest{ClientId: "me", Receipts: []*capacitypb.ResourceReceipt{{Resource: "a", Region: "west"}, {Resource: "a"}}})
	require.NoError(t, err)
	require.Equal(t, hostpb.Reason_REASON_UNSPECIFIED, confirmed.GetFaults()[0].GetReason())
	require.Equal(t, hostpb.Reason_REASON_GROUP_NOT_FOUND, confirmed.GetFaults()[1].GetReason())
	freed, err := c.Release(ctx, &capacitypb.ReleaseRequest{ClientId: "me", Resources: []string{"a", "a"}, Regions: []string{"west", "", "too many"}})
	require.NoError(t, err)
	require.Equal(t, hostpb.Reason_REASON_UNSPECIFIED, freed.GetFaults()[0].GetReason())
	require.Equal(t, hostpb.Reason_REASON_GROUP_NOT_FOUND, freed.GetFaults()[1].GetReason())
	require.Equal(t, map[string]int{groupOf(east): 1, groupOf(west): 3}, r.proposed)

	_, err = doormanpb.NewCapacityClient(conn).GetCapacity(ctx, &doormanpb.GetCapacityRequest{ClientId: new("me"), Resource: []*doormanpb.ResourceRequest{
		{ResourceId: new(east), Priority: new(int64(0)), Wants: new(1.0)},
	}})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
}

// A name that has groups in several regions is refused on the original's wire, releases too,
// and the answer says why; an empty name is not, which the original's client sends.
func TestTheOriginalsWireRefusesANameOfSeveralGroups(t *testing.T) {
	r := newRouter(t, "a")
	r.answer = func(string, *capacitypb.Command) (*capacitypb.Result, error) {
		return nil, fault.New(fault.Invalid, "group capacity/a is in east, west: say which region is meant, or use a name that one group has")
	}
	c, ctx := doormanpb.NewCapacityClient(served(t, New(Options{Router: r}))), within(t, 20*time.Second)
	_, err := c.GetCapacity(ctx, &doormanpb.GetCapacityRequest{ClientId: new("me"), Resource: []*doormanpb.ResourceRequest{
		{ResourceId: new("a"), Priority: new(int64(0)), Wants: new(1.0)},
	}})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	require.ErrorContains(t, err, "use a name that one group has")
	_, err = c.ReleaseCapacity(ctx, &doormanpb.ReleaseCapacityRequest{ClientId: new("me"), ResourceId: []string{"", "a"}})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	require.ErrorContains(t, err, "use a name that one group has")
	_, err = c.ReleaseCapacity(ctx, &doormanpb.ReleaseCapacityRequest{ClientId: new("me"), ResourceId: []string{""}})
	require.NoError(t, err)
}
