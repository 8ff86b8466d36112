package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/config"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
)

// patience is far above what anything here takes.
const patience = 20 * time.Second

// groups is a service of functions.
type groups struct {
	hostpb.UnimplementedGroupsServer
	propose func(context.Context, *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error)
}

func (g groups) Propose(ctx context.Context, r *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
	return g.propose(ctx, r)
}

// running is a served Server.
type running struct {
	*Server
	t      *testing.T
	stop   context.CancelFunc
	served chan error
	pool   *Pool
}

// start serves with free ports on loopback; the test's end stops it.
func start(t *testing.T, o Options, propose func(context.Context, *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error)) *running {
	t.Helper()
	o.Kind, o.Name = "nodehost", "host-1"
	o.API.Listen, o.HTTP.Listen = "127.0.0.1:0", "127.0.0.1:0"
	s, err := NewServer(o)
	require.NoError(t, err)
	hostpb.RegisterGroupsServer(s.GRPC(), groups{propose: propose})
	pool, err := NewPool(o.TLS)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Server: s, t: t, stop: cancel, served: make(chan error, 1), pool: pool}
	go func() { r.served <- s.Serve(ctx); close(r.served) }()
	t.Cleanup(func() {
		require.NoError(t, r.pool.Close())
		http.DefaultClient.CloseIdleConnections()
		r.end()
	})
	return r
}

// end stops the server, unless it has ended already.
func (r *running) end() {
	r.t.Helper()
	r.stop()
	select {
	case err := <-r.served:
		require.NoError(r.t, err)
	case <-time.After(patience):
		require.FailNow(r.t, "the server does not stop")
	}
}

func (r *running) conn() *grpc.ClientConn {
	r.t.Helper()
	c, err := r.pool.Conn(r.APIAddr())
	require.NoError(r.t, err)
	return c
}

func (r *running) propose() error {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	_, err := hostpb.NewGroupsClient(r.conn()).Propose(ctx, &hostpb.ProposeRequest{}, grpc.WaitForReady(true))
	return err
}

// proposeOnce does not wait for a connection.
func (r *running) proposeOnce(c *grpc.ClientConn) error {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	_, err := hostpb.NewGroupsClient(c).Propose(ctx, &hostpb.ProposeRequest{})
	return err
}

func (r *running) get(path string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.HTTPAddr()+path, nil)
	require.NoError(r.t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(r.t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	require.NoError(r.t, resp.Body.Close())
	return resp.StatusCode, string(body)
}

func fine(context.Context, *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
	return &hostpb.ProposeResponse{Value: 7}, nil
}

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestFaultsCrossTheWire(t *testing.T) {
	r := start(t, Options{}, func(context.Context, *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		return nil, fault.New(fault.NotLeader, "ask the leader").InGroup("kv/a").TryAt("h:1")
	})
	err := r.propose()
	require.Equal(t, codes.Unavailable, status.Code(err))
	f := fault.Of(Fault(err))
	require.Equal(t, fault.NotLeader, f.Reason)
	require.Equal(t, "h:1", f.Leader)
}

func TestAPanicIsOneFailedCall(t *testing.T) {
	log := &syncBuffer{}
	r := start(t, Options{Log: slog.New(slog.NewTextHandler(log, nil))}, func(context.Context, *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		panic("secret of the handler")
	})
	for range 2 {
		err := r.propose()
		require.Equal(t, codes.Internal, status.Code(err))
		require.NotContains(t, err.Error(), "secret")
		require.True(t, fault.MayHaveApplied(Fault(err)))
	}
	require.Contains(t, log.String(), "secret of the handler")
	require.Contains(t, log.String(), "server_test.go", "no stack")
}

func TestAuthorizerIsAskedFirst(t *testing.T) {
	var asked atomic.Value
	reached := false
	r := start(t, Options{Authorize: func(_ context.Context, method string) error {
		if !strings.Contains(method, "Groups") {
			return nil
		}
		asked.Store(method)
		return errors.New("not for you")
	}}, func(context.Context, *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		reached = true
		return &hostpb.ProposeResponse{}, nil
	})
	require.Equal(t, codes.PermissionDenied, status.Code(r.propose()))
	require.Equal(t, "/drumline.host.Groups/Propose", asked.Load())
	require.False(t, reached)
}

func TestTooLargeARequestIsRefusedAndTheConnectionLives(t *testing.T) {
	r := start(t, Options{}, fine)
	big := func(n int) error {
		_, err := hostpb.NewGroupsClient(r.conn()).Propose(t.Context(), &hostpb.ProposeRequest{Command: make([]byte, n)},
			grpc.WaitForReady(true), grpc.MaxCallSendMsgSize(64<<20))
		return err
	}
	require.NoError(t, big(4<<20), "4 MiB of payload must pass")
	require.Equal(t, codes.ResourceExhausted, status.Code(big(8<<20)))
	require.NoError(t, r.propose())
}

func TestHealthAndReadiness(t *testing.T) {
	var problem atomic.Pointer[error]
	set := func(err error) { problem.Store(&err) }
	set(errors.New("no leader yet"))
	r := start(t, Options{Ready: func() error { return *problem.Load() }}, fine)
	health := healthpb.NewHealthClient(r.conn())
	state := func(service string) healthpb.HealthCheckResponse_ServingStatus {
		resp, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
		require.NoError(t, err)
		return resp.GetStatus()
	}
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, state(""), "it lives")
	require.Equal(t, healthpb.HealthCheckResponse_NOT_SERVING, state("drumline.host.Groups"))
	code, body := r.get("/readyz")
	require.Equal(t, 503, code)
	require.Equal(t, "not ready: no leader yet\n", body)
	_, body = r.get("/readyz?verbose")
	require.Equal(t, "[-] serving: no leader yet\n", body)
	code, _ = r.get("/livez")
	require.Equal(t, 200, code)

	watch, err := health.Watch(t.Context(), &healthpb.HealthCheckRequest{Service: "drumline.host.Groups"})
	require.NoError(t, err)
	first, err := watch.Recv()
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_NOT_SERVING, first.GetStatus())
	set(nil)
	next, err := watch.Recv()
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, next.GetStatus())
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, state("drumline.host.Groups"))
	code, body = r.get("/readyz?verbose")
	require.Equal(t, 200, code)
	require.Equal(t, "[+] serving: ok\n", body)
	_, err = health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "nobody"})
	require.Equal(t, codes.NotFound, status.Code(err))
}

func TestReflection(t *testing.T) {
	r := start(t, Options{}, fine)
	stream, err := reflectpb.NewServerReflectionClient(r.conn()).ServerReflectionInfo(t.Context(), grpc.WaitForReady(true))
	require.NoError(t, err)
	require.NoError(t, stream.Send(&reflectpb.ServerReflectionRequest{MessageRequest: &reflectpb.ServerReflectionRequest_ListServices{}}))
	resp, err := stream.Recv()
	require.NoError(t, err)
	var names []string
	for _, s := range resp.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	require.Subset(t, names, []string{"drumline.host.Groups", "grpc.health.v1.Health"})
	require.NoError(t, stream.CloseSend())
}

func TestMetrics(t *testing.T) {
	r := start(t, Options{}, fine)
	require.NoError(t, r.propose())
	code, body := r.get("/metrics")
	require.Equal(t, 200, code)
	for _, want := range []string{
		`grpc_server_handled_total{grpc_code="OK",grpc_method="Propose",grpc_service="drumline.host.Groups",grpc_type="unary"} 1`,
		"nodehost_ready 1", `nodehost_info{name="host-1",version="`, "go_goroutines", "process_open_fds",
	} {
		require.Contains(t, body, want)
	}
}

func TestFurtherHandlers(t *testing.T) {
	o := Options{Kind: "nodehost", API: config.Listener{Listen: "127.0.0.1:0"}}
	var err error
	o.HTTPListener, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s, err := NewServer(o)
	require.NoError(t, err)
	require.Equal(t, o.HTTPListener.Addr().String(), s.HTTPAddr(), "a bound port was given")
	s.Handle("GET /inc", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, "1") }))
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	resp, err := http.Get("http://" + s.HTTPAddr() + "/inc")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 200, resp.StatusCode)
	http.DefaultClient.CloseIdleConnections()
	cancel()
	require.NoError(t, <-served)
}

func TestGracefulStopFinishesCallsInOrder(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	var order []string
	var r *running
	o := Options{OnStop: func(context.Context) {
		_, body := r.get("/readyz")
		order = append(order, strings.TrimSpace(body))
		close(release) // the running call goes on while stopping
	}}
	r = start(t, o, func(context.Context, *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		close(entered)
		<-release
		return &hostpb.ProposeResponse{}, nil
	})
	done := make(chan error, 1)
	go func() { done <- r.propose() }()
	<-entered
	r.end()
	require.NoError(t, <-done, "a running call was cut off")
	require.Equal(t, []string{"not ready: the server is stopping"}, order)
	_, err := net.Dial("tcp", r.APIAddr())
	require.Error(t, err, "the port is still open")
}

func TestAStopIsBounded(t *testing.T) {
	entered := make(chan struct{})
	r := start(t, Options{StopTimeout: 50 * time.Millisecond}, func(ctx context.Context, _ *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		close(entered)
		<-ctx.Done() // ends only when it is cut off
		return nil, ctx.Err()
	})
	done := make(chan error, 1)
	go func() { done <- r.propose() }()
	<-entered
	r.end()
	require.True(t, fault.MayHaveApplied(Fault(<-done)))
}

func TestPortsAreFreedWhenNothingIsServed(t *testing.T) {
	s, err := NewServer(Options{Kind: "nodehost", API: config.Listener{Listen: "127.0.0.1:0"}, HTTP: config.Listener{Listen: "127.0.0.1:0"}})
	require.NoError(t, err)
	_, err = NewServer(Options{Kind: "nodehost", API: config.Listener{Listen: "127.0.0.1:0"}, HTTP: config.Listener{Listen: s.APIAddr()}})
	require.ErrorContains(t, err, "http.listen "+s.APIAddr())
	require.NoError(t, s.Close())
	_, err = NewServer(Options{Kind: "nodehost", API: config.Listener{Listen: "127.0.0.1:0"}, TLS: config.TLS{CA: "/no/such"}})
	require.ErrorContains(t, err, "tls:")
}

func TestAdvertise(t *testing.T) {
	s, err := NewServer(Options{Kind: "drummer", API: config.Listener{Listen: "127.0.0.1:0", Advertise: "d.example:9121"}})
	require.NoError(t, err)
	require.Equal(t, "d.example:9121", s.APIAddr())
	require.Empty(t, s.HTTPAddr())
	require.NoError(t, s.Close())
}

// Twenty bytes of nonsense and idle connections must cost nothing.
func TestNoiseOnThePort(t *testing.T) {
	r := start(t, Options{}, fine)
	for range 16 {
		c, err := net.Dial("tcp", r.APIAddr())
		require.NoError(t, err)
		_, err = c.Write([]byte("\x00\xff\x13\x37nonsense\r\n\r\n"))
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
	}
	require.NoError(t, r.propose())
}
