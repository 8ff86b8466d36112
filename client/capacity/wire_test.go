package capacity

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	doormanpb "github.com/drumline/drumline/drummerpb/doorman"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// fleetServer is a server of the native service.
type fleetServer struct {
	capacitypb.UnimplementedCapacityServer
	refresh func(*capacitypb.RefreshRequest) (*capacitypb.RefreshResponse, error)
	release func(*capacitypb.ReleaseRequest) error
}

func (s *fleetServer) Refresh(_ context.Context, req *capacitypb.RefreshRequest) (*capacitypb.RefreshResponse, error) {
	return s.refresh(req)
}

func (s *fleetServer) Release(_ context.Context, req *capacitypb.ReleaseRequest) (*capacitypb.ReleaseResponse, error) {
	return &capacitypb.ReleaseResponse{}, s.release(req)
}

// doormanServer is an original server.
type doormanServer struct {
	doormanpb.UnimplementedCapacityServer
	get     func(*doormanpb.GetCapacityRequest) (*doormanpb.GetCapacityResponse, error)
	release func(*doormanpb.ReleaseCapacityRequest) error
}

func (s *doormanServer) GetCapacity(_ context.Context, req *doormanpb.GetCapacityRequest) (*doormanpb.GetCapacityResponse, error) {
	return s.get(req)
}

func (s *doormanServer) ReleaseCapacity(_ context.Context, req *doormanpb.ReleaseCapacityRequest) (*doormanpb.ReleaseCapacityResponse, error) {
	return &doormanpb.ReleaseCapacityResponse{}, s.release(req)
}

// dialServer starts a server with the services that register adds, and connects to it.
func dialServer(t *testing.T, register func(*grpc.Server)) grpc.ClientConnInterface {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := grpc.NewServer()
	register(s)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		s.Stop()
		require.NoError(t, <-served)
	})
	return conn
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// asks of a client that has leased b, and had leased c.
func someAsks() []ask {
	return []ask{
		{name: "a", wants: 5, priority: -2, serial: 7},
		{name: "b/x", wants: 6, serial: 7, token: token{3, 4}, has: &lease{capacity: 2.5, token: token{3, 4}, interval: 5 * time.Second, expiry: 1234}},
		{name: "c", wants: 0, serial: 7, token: token{1, 2}},
	}
}

func TestNativeWire(t *testing.T) {
	s := &fleetServer{}
	w := newWire(dialServer(t, func(g *grpc.Server) { capacitypb.RegisterCapacityServer(g, s) }), time.Now)
	s.refresh = func(req *capacitypb.RefreshRequest) (*capacitypb.RefreshResponse, error) {
		want := &capacitypb.RefreshRequest{ClientId: "me", Asks: []*capacitypb.Ask{
			{Resource: "a", Bands: []*capacitypb.Band{{Priority: -2, Clients: 1, Wants: 5}}, Serial: 7, Limited: true},
			{
				Resource: "b/x", Bands: []*capacitypb.Band{{Clients: 1, Wants: 6}}, Serial: 7, Limited: true,
				Has: proto.Float64(2.5), Token: &capacitypb.Token{Generation: 3, N: 4},
			},
			{Resource: "c", Bands: []*capacitypb.Band{{Clients: 1}}, Serial: 7, Limited: true, Token: &capacitypb.Token{Generation: 1, N: 2}},
		}}
		if !proto.Equal(want, req) {
			return nil, status.Errorf(codes.Internal, "got %v", req)
		}
		return &capacitypb.RefreshResponse{Grants: []*capacitypb.Granted{
			{Resource: "a", Grant: &capacitypb.Grant{
				Outcome: capacitypb.Outcome_OUTCOME_OK, Capacity: 4.5, LeaseMs: 60000, RefreshMs: 15000, RetryMs: 300,
				Token: &capacitypb.Token{Generation: 3, N: 9}, SafeCapacity: -1,
			}},
			{Resource: "b/x", Fault: &hostpb.Fault{Code: uint32(codes.NotFound), Text: "no template matches"}},
			{Resource: "c", Grant: &capacitypb.Grant{Outcome: capacitypb.Outcome_OUTCOME_FULL, Detail: "too many clients"}},
		}}, nil
	}
	grants, err := w.refresh(soon(t), "me", someAsks())
	require.NoError(t, err)
	require.Len(t, grants, 3)
	safe := -1.0
	require.Equal(t, grant{
		capacity: 4.5, token: token{3, 9}, length: time.Minute, interval: 15 * time.Second, retry: 300 * time.Millisecond, safe: &safe,
	}, grants[0])
	require.Equal(t, codes.NotFound, status.Code(grants[1].err))
	require.ErrorContains(t, grants[1].err, "no template matches")
	require.Equal(t, codes.ResourceExhausted, status.Code(grants[2].err))

	s.release = func(req *capacitypb.ReleaseRequest) error {
		if req.GetClientId() != "me" || len(req.GetResources()) != 2 || req.GetSerial() != 7 {
			return errors.New(req.String())
		}
		return nil
	}
	require.NoError(t, w.release(soon(t), "me", surrender{[]string{"a", "b"}, 7}))
}

func TestNativeRefusals(t *testing.T) {
	refused := func(o capacitypb.Outcome) error {
		return granted(&capacitypb.Granted{Grant: &capacitypb.Grant{Outcome: o, Detail: "why"}}).err
	}
	require.Equal(t, codes.InvalidArgument, status.Code(refused(capacitypb.Outcome_OUTCOME_INVALID)))
	require.Equal(t, codes.Unavailable, status.Code(refused(capacitypb.Outcome_OUTCOME_STALE)))
	require.Equal(t, codes.Unavailable, status.Code(refused(capacitypb.Outcome_OUTCOME_NOT_CONFIGURED)))
	require.Error(t, granted(&capacitypb.Granted{}).err, "neither grant nor fault")
	require.Error(t, granted(&capacitypb.Granted{Fault: &hostpb.Fault{Text: "no code"}}).err)

	s := &fleetServer{refresh: func(*capacitypb.RefreshRequest) (*capacitypb.RefreshResponse, error) {
		return &capacitypb.RefreshResponse{Grants: []*capacitypb.Granted{{Resource: "another"}}}, nil
	}}
	w := newWire(dialServer(t, func(g *grpc.Server) { capacitypb.RegisterCapacityServer(g, s) }), time.Now)
	_, err := w.refresh(soon(t), "me", someAsks()[:1])
	require.ErrorIs(t, err, errMissing)
}

func TestDoormanWire(t *testing.T) {
	s := &doormanServer{}
	now := time.Unix(1000, 0)
	w := newWire(dialServer(t, func(g *grpc.Server) { doormanpb.RegisterCapacityServer(g, s) }), func() time.Time { return now })
	s.get = func(req *doormanpb.GetCapacityRequest) (*doormanpb.GetCapacityResponse, error) {
		want := &doormanpb.GetCapacityRequest{ClientId: proto.String("me"), Resource: []*doormanpb.ResourceRequest{
			{ResourceId: proto.String("a"), Priority: proto.Int64(-2), Wants: proto.Float64(5)},
			{
				ResourceId: proto.String("b/x"), Priority: proto.Int64(0), Wants: proto.Float64(6),
				Has: &doormanpb.Lease{ExpiryTime: proto.Int64(1234), RefreshInterval: proto.Int64(5), Capacity: proto.Float64(2.5)},
			},
			{ResourceId: proto.String("c"), Priority: proto.Int64(0), Wants: proto.Float64(0)},
		}}
		if !proto.Equal(want, req) {
			return nil, status.Errorf(codes.Internal, "got %v", req)
		}
		lease := func(until int64, capacity float64) *doormanpb.Lease {
			return &doormanpb.Lease{ExpiryTime: proto.Int64(until), RefreshInterval: proto.Int64(5), Capacity: proto.Float64(capacity)}
		}
		return &doormanpb.GetCapacityResponse{Response: []*doormanpb.ResourceResponse{ // in any order
			{ResourceId: proto.String("b/x"), Gets: lease(999, 1)},
			{ResourceId: proto.String("a"), Gets: lease(1015, 4), SafeCapacity: proto.Float64(10)},
		}}, nil
	}
	for range 2 { // the second time without a try of the other service
		grants, err := w.refresh(soon(t), "me", someAsks())
		require.NoError(t, err)
		require.Len(t, grants, 3)
		safe := 10.0
		require.Equal(t, grant{capacity: 4, length: 15 * time.Second, interval: 5 * time.Second, expiry: 1015, safe: &safe}, grants[0])
		require.ErrorContains(t, grants[1].err, "clocks")
		require.ErrorIs(t, grants[2].err, errMissing)
	}
	s.release = func(req *doormanpb.ReleaseCapacityRequest) error {
		if req.GetClientId() != "me" || len(req.GetResourceId()) != 1 {
			return errors.New(req.String())
		}
		return nil
	}
	require.NoError(t, w.release(soon(t), "me", surrender{[]string{"a"}, 7}))
}

func TestAnOriginalThatIsNotMaster(t *testing.T) {
	s := &doormanServer{}
	w := newWire(dialServer(t, func(g *grpc.Server) { doormanpb.RegisterCapacityServer(g, s) }), time.Now)
	for _, m := range []*doormanpb.Mastership{{}, {MasterAddress: proto.String("10.0.0.7:5100")}} {
		s.get = func(*doormanpb.GetCapacityRequest) (*doormanpb.GetCapacityResponse, error) {
			return &doormanpb.GetCapacityResponse{Mastership: m}, nil
		}
		_, err := w.refresh(soon(t), "me", someAsks())
		require.Equal(t, codes.Unavailable, status.Code(err))
		require.ErrorContains(t, err, m.GetMasterAddress())
	}
}

func TestAServerOfNeitherService(t *testing.T) {
	w := newWire(dialServer(t, func(*grpc.Server) {}), time.Now)
	_, err := w.refresh(soon(t), "me", someAsks())
	require.ErrorContains(t, err, "drumline.capacity")
	require.ErrorContains(t, err, "doorman")
}

// TestAnyServerWillDo leases from each kind through the whole client.
func TestAnyServerWillDo(t *testing.T) {
	fleet := &fleetServer{
		refresh: func(*capacitypb.RefreshRequest) (*capacitypb.RefreshResponse, error) {
			return &capacitypb.RefreshResponse{Grants: []*capacitypb.Granted{{Resource: "db", Grant: &capacitypb.Grant{
				Outcome: capacitypb.Outcome_OUTCOME_OK, Capacity: 3, LeaseMs: 60000, RefreshMs: 15000,
			}}}}, nil
		},
		release: func(*capacitypb.ReleaseRequest) error { return nil },
	}
	original := &doormanServer{
		get: func(*doormanpb.GetCapacityRequest) (*doormanpb.GetCapacityResponse, error) {
			until := time.Now().Add(time.Minute).Unix()
			return &doormanpb.GetCapacityResponse{Response: []*doormanpb.ResourceResponse{{
				ResourceId: proto.String("db"),
				Gets:       &doormanpb.Lease{ExpiryTime: &until, RefreshInterval: proto.Int64(15), Capacity: proto.Float64(3)},
			}}}, nil
		},
		release: func(*doormanpb.ReleaseCapacityRequest) error { return nil },
	}
	for name, register := range map[string]func(*grpc.Server){
		"drumline": func(g *grpc.Server) { capacitypb.RegisterCapacityServer(g, fleet) },
		"doorman":  func(g *grpc.Server) { doormanpb.RegisterCapacityServer(g, original) },
	} {
		t.Run(name, func(t *testing.T) {
			c := New(dialServer(t, register))
			defer c.Close()
			r, err := c.Resource("db", WithWants(10))
			require.NoError(t, err)
			require.NoError(t, r.Await(soon(t)))
			require.InDelta(t, 3.0, r.State().Capacity, 0)
		})
	}
}
