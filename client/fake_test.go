package client_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/client"
	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a set of fake servers that know of each other.
type cluster struct {
	t testing.TB

	mu      sync.Mutex
	servers []*server // guarded by mu
	calls   int       // guarded by mu: all RPCs that came in
}

// server is a fake drummer or nodehost; what it does with a call is scripted.
type server struct {
	hostpb.UnimplementedGroupsServer
	hostpb.UnimplementedDirectoryServer
	drummerpb.UnimplementedDrummerServer
	capacitypb.UnimplementedCapacityServer

	c    *cluster
	kind string
	addr string
	grpc *grpc.Server

	mu     sync.Mutex
	counts map[string]int // guarded by mu: calls by method
	leads  bool           // guarded by mu

	alone bool // it has no streams
	batch func(req *hostpb.ProposeBatchRequest) (*hostpb.ProposeBatchResponse, error)

	propose      func(ctx context.Context, n int, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error)
	read         func(ctx context.Context, n int, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error)
	closeSession func(ctx context.Context, n int, req *hostpb.CloseSessionRequest) (*hostpb.CloseSessionResponse, error)
	locate       func(ctx context.Context, n int, req *hostpb.LocateRequest) (*hostpb.LocateResponse, error)
	status       func(ctx context.Context, n int) (*drummerpb.StatusResponse, error)
	create       func(ctx context.Context, n int) (*drummerpb.CreateGroupsResponse, error)
	look         func(ctx context.Context) error // what else only reads
	lease        func(ctx context.Context) error
	grants       func(req *capacitypb.RefreshRequest) *capacitypb.RefreshResponse
}

func newCluster(t testing.TB) *cluster { return &cluster{t: t} }

// add starts a server.
func (c *cluster) add(kind string, opts ...grpc.ServerOption) *server {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(c.t, err)
	s := &server{c: c, kind: kind, addr: ln.Addr().String(), counts: map[string]int{}}
	s.grpc = grpc.NewServer(append(opts, grpc.UnaryInterceptor(c.count))...)
	hostpb.RegisterDirectoryServer(s.grpc, s)
	if kind == "drummer" {
		drummerpb.RegisterDrummerServer(s.grpc, s)
	} else {
		hostpb.RegisterGroupsServer(s.grpc, s)
		capacitypb.RegisterCapacityServer(s.grpc, s)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.grpc.Serve(ln)
	}()
	c.t.Cleanup(func() {
		s.grpc.Stop()
		<-served
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.servers = append(c.servers, s)
	return s
}

// count counts all calls.
func (c *cluster) count(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	c.mu.Lock()
	c.calls++
	c.mu.Unlock()
	return next(ctx, req)
}

// total is the number of calls that came in.
func (c *cluster) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

// open opens a client of the cluster.
func (c *cluster) open(addresses ...string) *client.Client {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cl, err := client.Open(ctx, addresses)
	require.NoError(c.t, err)
	c.t.Cleanup(cl.Close)
	return cl
}

// nth counts a call of a method and returns its number, from 1.
func (s *server) nth(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[method]++
	return s.counts[method]
}

// came is how often a method was called.
func (s *server) came(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[method]
}

func (s *server) Servers(context.Context, *hostpb.ServersRequest) (*hostpb.ServersResponse, error) {
	s.nth("servers")
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	resp := &hostpb.ServersResponse{}
	for _, x := range s.c.servers {
		x.mu.Lock()
		resp.Servers = append(resp.Servers, &hostpb.Server{Kind: x.kind, Api: x.addr, Id: x.addr, Leader: x.leads})
		x.mu.Unlock()
	}
	return resp, nil
}

func (s *server) Locate(ctx context.Context, req *hostpb.LocateRequest) (*hostpb.LocateResponse, error) {
	return s.locate(ctx, s.nth("locate"), req)
}

func (s *server) Propose(ctx context.Context, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
	n := s.nth("propose")
	if s.propose == nil {
		return &hostpb.ProposeResponse{Data: req.GetCommand(), Leader: led(s)}, nil
	}
	return s.propose(ctx, n, req)
}

func (s *server) Read(ctx context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
	n := s.nth("read")
	if s.read == nil {
		return &hostpb.ReadResponse{Data: req.GetQuery(), Leader: led(s)}, nil
	}
	return s.read(ctx, n, req)
}

func (s *server) OpenSession(_ context.Context, _ *hostpb.OpenSessionRequest) (*hostpb.OpenSessionResponse, error) {
	s.nth("open")
	return &hostpb.OpenSessionResponse{Session: &hostpb.Session{Group: 1000, Client: 7, Series: 1}}, nil
}

func (s *server) CloseSession(ctx context.Context, req *hostpb.CloseSessionRequest) (*hostpb.CloseSessionResponse, error) {
	n := s.nth("close")
	if s.closeSession == nil {
		return &hostpb.CloseSessionResponse{}, nil
	}
	return s.closeSession(ctx, n, req)
}

func (s *server) Status(ctx context.Context, _ *drummerpb.StatusRequest) (*drummerpb.StatusResponse, error) {
	n := s.nth("status")
	if s.status == nil {
		return &drummerpb.StatusResponse{Leader: s.addr}, nil
	}
	return s.status(ctx, n)
}

// looks answers what only reads and has no answer of its own here.
func (s *server) looks(ctx context.Context) error {
	s.nth("look")
	if s.look == nil {
		return nil
	}
	return s.look(ctx)
}

func (s *server) ListOperations(ctx context.Context, _ *drummerpb.ListOperationsRequest) (*drummerpb.ListOperationsResponse, error) {
	return &drummerpb.ListOperationsResponse{}, s.looks(ctx)
}

func (s *server) ListDrummers(ctx context.Context, _ *drummerpb.ListDrummersRequest) (*drummerpb.ListDrummersResponse, error) {
	return &drummerpb.ListDrummersResponse{}, s.looks(ctx)
}

func (s *server) ShowConfiguration(ctx context.Context, _ *drummerpb.ShowConfigurationRequest) (*drummerpb.ShowConfigurationResponse, error) {
	return &drummerpb.ShowConfigurationResponse{}, s.looks(ctx)
}

func (s *server) ListConfigurations(ctx context.Context, _ *drummerpb.ListConfigurationsRequest) (*drummerpb.ListConfigurationsResponse, error) {
	return &drummerpb.ListConfigurationsResponse{}, s.looks(ctx)
}

func (s *server) CreateGroups(ctx context.Context, _ *drummerpb.CreateGroupsRequest) (*drummerpb.CreateGroupsResponse, error) {
	n := s.nth("create")
	if s.create == nil {
		return &drummerpb.CreateGroupsResponse{}, nil
	}
	return s.create(ctx, n)
}

// led is a location of the group that tests use, led by s.
func led(s *server) *hostpb.Location {
	return &hostpb.Location{Name: "kv/x", Id: 1000, LeaderHost: s.addr, LeaderApi: s.addr, Version: 1}
}

// saying makes the error that a server of the project sends.
func saying(reason, leader string) error {
	outcome := "not_applied"
	if reason == "UNKNOWN_OUTCOME" || reason == "INTERNAL" {
		outcome = "unknown"
	}
	st, err := status.New(codes.Unavailable, "said "+reason).WithDetails(&errdetails.ErrorInfo{
		Domain: "drumline", Reason: reason, Metadata: map[string]string{"outcome": outcome, "group": "kv/x", "leader": leader},
	})
	if err != nil {
		return err
	}
	return st.Err()
}

// die cuts the server's connections while a handler runs, and returns when they are cut.
func (s *server) die(ctx context.Context) error {
	go s.grpc.Stop()
	<-ctx.Done()
	return ctx.Err()
}

// ample is a deadline that no busy machine uses up.
const ample = 20 * time.Second

// endsWith makes a call until its time is up in the way that is wanted, with ever longer
// deadlines: on a busy machine the last try of a short one may just be on its way then.
func endsWith(t *testing.T, want hostpb.Reason, call func(ctx context.Context) error) error {
	t.Helper()
	for d := 2 * time.Second; ; d += time.Second {
		if err := call(within(t, d)); client.ReasonOf(err) == want || d > 10*time.Second {
			return err
		}
	}
}

// within gives a test a deadline.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// deadAddress is one that nobody listens on.
func deadAddress(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	return ln.Addr().String()
}

// requireError asserts reason and outcome.
func requireError(t testing.TB, err error, reason hostpb.Reason, outcome client.Outcome) *client.Error {
	t.Helper()
	var e *client.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, reason.String(), e.Reason.String(), "error: %v", err)
	require.Equal(t, outcome.String(), e.Outcome.String(), "error: %v", err)
	return e
}
