package supervise

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/drumline/drumline/config"
	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/serve"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a Core that notes what happens and answers as the test says.
type script struct {
	mu     sync.Mutex
	events []loop.Event
	react  func(loop.Event) []loop.Effect
}

func (c *script) Step(e loop.Event, _ time.Duration) []loop.Effect {
	c.mu.Lock()
	c.events = append(c.events, e)
	react := c.react
	c.mu.Unlock()
	if react == nil {
		return nil
	}
	return react(e)
}

func (c *script) Observed(time.Duration) *loop.Observed { return &loop.Observed{Leading: true} }

func (c *script) on(react func(loop.Event) []loop.Effect) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.react = react
}

// count counts the events that match.
func (c *script) count(match func(loop.Event) bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, e := range c.events {
		if match(e) {
			n++
		}
	}
	return n
}

func is[E loop.Event](e loop.Event) bool { _, ok := e.(E); return ok }

// ledger is a Record whose leadership the test gives and takes.
type ledger struct {
	term     atomic.Uint64 // 0: not leading
	takeOver func() error
	propose  func(ctx context.Context, cmd *fleetpb.Command) (*fleetpb.Result, error)
}

func (l *ledger) Leading() (uint64, bool) { t := l.term.Load(); return t, t != 0 }

func (l *ledger) TakeOver(context.Context) (*fleet.View, error) {
	if l.takeOver != nil {
		if err := l.takeOver(); err != nil {
			return nil, err
		}
	}
	return fleet.EmptyView(), nil
}

func (l *ledger) LocalView() (*fleet.View, error) { return fleet.EmptyView(), nil }

func (l *ledger) Propose(ctx context.Context, cmd *fleetpb.Command) (*fleetpb.Result, error) {
	return l.propose(ctx, cmd)
}

// rig is a running Supervisor behind a real server.
type rig struct {
	t       *testing.T
	core    *script
	record  *ledger
	sup     *Supervisor
	leader  atomic.Value
	client  drummerpb.SupervisorClient
	metrics *prometheus.Registry
	stop    func() // ends the Supervisor, and waits
}

func newRig(t *testing.T, change ...func(*Options)) *rig {
	r := &rig{t: t, core: &script{}, record: &ledger{}, metrics: prometheus.NewRegistry()}
	r.leader.Store("")
	o := Options{
		Record: r.record, Core: r.core, Deployment: "test", PassEvery: 10 * time.Millisecond,
		Leader:  func() string { return r.leader.Load().(string) },
		Metrics: r.metrics, Log: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&o)
	}
	r.sup = New(o)
	r.serve()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.sup.Run(ctx) }()
	r.stop = func() { cancel(); <-done }
	t.Cleanup(r.stop)
	return r
}

func (r *rig) serve() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(r.t, err)
	server, err := serve.NewServer(serve.Options{Kind: "drummer", Name: "d", APIListener: l, StopTimeout: 3 * time.Second})
	require.NoError(r.t, err)
	drummerpb.RegisterSupervisorServer(server.GRPC(), r.sup)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx) }()
	pool, err := serve.NewPool(config.TLS{})
	require.NoError(r.t, err)
	conn, err := pool.Conn(l.Addr().String())
	require.NoError(r.t, err)
	r.client = drummerpb.NewSupervisorClient(conn)
	r.t.Cleanup(func() {
		require.NoError(r.t, pool.Close())
		cancel()
		require.NoError(r.t, <-done)
	})
}

// lead gives the leadership and waits until the Core has it.
func (r *rig) lead(term uint64) {
	r.record.term.Store(term)
	r.sup.Poke()
	r.eventually(func() bool { got, leading := r.sup.Leading(); return leading && got == term }, "lead in term %d", term)
}

func (r *rig) eventually(f func() bool, what string, args ...any) {
	r.t.Helper()
	require.Eventuallyf(r.t, f, 20*time.Second, time.Millisecond, what, args...)
}

type hostStream = grpc.BidiStreamingClient[drummerpb.HostMessage, drummerpb.SupervisorMessage]

func (r *rig) stream() hostStream {
	st, err := r.client.Attend(r.t.Context())
	require.NoError(r.t, err)
	return st
}

func hello(change ...func(*drummerpb.Hello)) *drummerpb.HostMessage {
	h := &drummerpb.Hello{Deployment: "test", Version: "v1", Host: &fleetpb.Host{Id: "h1", Name: "one", Api: "a:1", Raft: "a:2", BootEpoch: 1}}
	for _, f := range change {
		f(h)
	}
	return &drummerpb.HostMessage{Body: &drummerpb.HostMessage_Hello{Hello: h}}
}

// attend opens a stream that the Core has accepted.
func (r *rig) attend() hostStream {
	before := r.core.count(is[loop.Connected])
	st := r.stream()
	require.NoError(r.t, st.Send(hello()))
	r.eventually(func() bool { return r.core.count(is[loop.Connected]) == before+1 }, "connected")
	return st
}

func beat() *drummerpb.HostMessage {
	return &drummerpb.HostMessage{Body: &drummerpb.HostMessage_Heartbeat{Heartbeat: &drummerpb.Heartbeat{Sequence: 1}}}
}

func report(r *drummerpb.Report) *drummerpb.HostMessage {
	return &drummerpb.HostMessage{Body: &drummerpb.HostMessage_Report{Report: r}}
}

func welcome() *drummerpb.SupervisorMessage {
	return &drummerpb.SupervisorMessage{Body: &drummerpb.SupervisorMessage_Welcome{Welcome: &drummerpb.Welcome{Term: 1}}}
}

// metric reads one metric; of a histogram its count.
func (r *rig) metric(name string, label ...string) int {
	families, err := r.metrics.Gather()
	require.NoError(r.t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if len(label) == 0 || m.GetLabel()[0].GetValue() == label[0] {
				return int(m.GetGauge().GetValue()+m.GetCounter().GetValue()) + int(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}
