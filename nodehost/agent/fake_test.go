package agent

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/drumline/drumline/config"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/internal/serve/servetest"
	"github.com/drumline/drumline/nodehost/replicas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// stand is one stream as a fake drummer sees it.
type stand struct {
	hello *drummerpb.Hello
	in    chan *drummerpb.HostMessage // closed when the host's side ends
	out   chan *drummerpb.SupervisorMessage
	fail  chan error // ends the stream
}

// fakeDrummer is a scripted drummer on a real port.
type fakeDrummer struct {
	drummerpb.UnimplementedSupervisorServer
	hostpb.UnimplementedDirectoryServer
	healthpb.UnimplementedHealthServer
	t    *testing.T
	addr string
	// stands gets every stream after its hello; the test answers it.
	stands chan *stand
	frozen chan struct{} // closed: it answers nothing

	mu       sync.Mutex
	location func(ref *hostpb.GroupRef) (*hostpb.Location, error)
}

func newDrummer(t *testing.T) *fakeDrummer {
	d := &fakeDrummer{t: t, stands: make(chan *stand, 100), frozen: make(chan struct{})}
	d.addr = servetest.Start(t, func(s *servetest.Server) {
		drummerpb.RegisterSupervisorServer(s, d)
		hostpb.RegisterDirectoryServer(s, d)
		healthpb.RegisterHealthServer(s, d)
	}).Addr
	return d
}

func (d *fakeDrummer) Attend(st grpc.BidiStreamingServer[drummerpb.HostMessage, drummerpb.SupervisorMessage]) error {
	first, err := st.Recv()
	if err != nil {
		return err
	}
	c := &stand{
		hello: first.GetHello(), in: make(chan *drummerpb.HostMessage, 10000),
		out: make(chan *drummerpb.SupervisorMessage, 100), fail: make(chan error, 1),
	}
	d.stands <- c
	go func() {
		defer close(c.in)
		for {
			m, err := st.Recv()
			if err != nil {
				return
			}
			c.in <- m
		}
	}()
	for {
		select {
		case m := <-c.out:
			if err := st.Send(m); err != nil {
				return err
			}
		case err := <-c.fail:
			return err
		case <-st.Context().Done():
			return st.Context().Err()
		}
	}
}

func (d *fakeDrummer) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	select {
	case <-d.frozen:
		<-ctx.Done()
		return nil, ctx.Err()
	default:
		return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING}, nil
	}
}

func (d *fakeDrummer) Locate(_ context.Context, req *hostpb.LocateRequest) (*hostpb.LocateResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l, err := d.location(req.GetGroup())
	return &hostpb.LocateResponse{Location: l}, err
}

func (d *fakeDrummer) Servers(context.Context, *hostpb.ServersRequest) (*hostpb.ServersResponse, error) {
	return &hostpb.ServersResponse{Servers: []*hostpb.Server{{Kind: "drummer", Api: d.addr}}}, nil
}

// next waits for the next stream.
func (d *fakeDrummer) next() *stand {
	d.t.Helper()
	select {
	case c := <-d.stands:
		return c
	case <-time.After(patience):
		d.t.Fatal("no host attends")
		return nil
	}
}

// admit waits for the next stream and welcomes it.
func (d *fakeDrummer) admit() *stand {
	d.t.Helper()
	c := d.next()
	c.welcome()
	return c
}

const beat = 20 * time.Millisecond

func (c *stand) welcome() {
	c.out <- &drummerpb.SupervisorMessage{Body: &drummerpb.SupervisorMessage_Welcome{Welcome: &drummerpb.Welcome{
		Incarnation: 2, Term: 7, HeartbeatMs: beat.Milliseconds(), Banned: []uint64{1005},
	}}}
}

func redirect(to string) *drummerpb.SupervisorMessage {
	return &drummerpb.SupervisorMessage{Body: &drummerpb.SupervisorMessage_Redirect{Redirect: &drummerpb.Redirect{Leader: to}}}
}

func orderMessage(id uint64) *drummerpb.SupervisorMessage {
	return &drummerpb.SupervisorMessage{Body: &drummerpb.SupervisorMessage_Order{Order: &drummerpb.Order{Id: id}}}
}

// expect returns the next message for which pick returns something.
func expect[T any](t *testing.T, c *stand, what string, pick func(*drummerpb.HostMessage) *T) *T {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case m, ok := <-c.in:
			require.True(t, ok, "the stream ended before %s", what)
			if v := pick(m); v != nil {
				return v
			}
		case <-deadline:
			t.Fatalf("no %s", what)
		}
	}
}

func (c *stand) report(t *testing.T) *drummerpb.Report {
	return expect(t, c, "report", (*drummerpb.HostMessage).GetReport)
}

// beats waits for a heartbeat, and tells whether one came before the stream ended.
func (c *stand) beats(t *testing.T) bool {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case m, ok := <-c.in:
			if !ok || m.GetHeartbeat() != nil {
				return ok
			}
		case <-deadline:
			t.Fatal("no heartbeat")
		}
	}
}

func (c *stand) beat(t *testing.T) *drummerpb.Heartbeat {
	return expect(t, c, "heartbeat", (*drummerpb.HostMessage).GetHeartbeat)
}

// ended waits until the host's side is over.
func (c *stand) ended(t *testing.T) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case _, ok := <-c.in:
			if !ok {
				return
			}
		case <-deadline:
			t.Fatal("the stream goes on")
		}
	}
}

// fakeReplicas is what the host has.
type fakeReplicas struct {
	mu      sync.Mutex
	reports map[replicas.Key]*drummerpb.ReplicaReport
	slow    chan struct{} // when set, Report waits for it
	orders  chan func(*drummerpb.OrderResult)
	fences  []replicas.Fence
	banned  []ids.Group
}

func (f *fakeReplicas) Keys() []replicas.Key {
	f.mu.Lock()
	defer f.mu.Unlock()
	var keys []replicas.Key
	for k := range f.reports {
		keys = append(keys, k)
	}
	replicas.SortKeys(keys)
	return keys
}

func (f *fakeReplicas) Report(k replicas.Key) (*drummerpb.ReplicaReport, bool) {
	f.mu.Lock()
	r, ok := f.reports[k]
	slow := f.slow
	f.mu.Unlock()
	if slow != nil {
		<-slow
	}
	return r, ok
}

func (f *fakeReplicas) Order(_ *drummerpb.Order, answer func(*drummerpb.OrderResult)) {
	f.orders <- answer
}

func (f *fakeReplicas) Welcomed(x replicas.Fence, banned []ids.Group) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fences = append(f.fences, x)
	f.banned = append(f.banned, banned...)
}

func (f *fakeReplicas) set(group uint64, leader uint64, applied uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reports[replicas.KeyOf(group, 1)] = &drummerpb.ReplicaReport{Group: group, Replica: 1, LeaderReplica: leader, Applied: applied}
}

type fakeBook struct {
	mu    sync.Mutex
	m     map[ids.Host]string
	epoch map[ids.Host]uint64
}

func (b *fakeBook) Learn(h ids.Host, addr string, epoch uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if epoch >= b.epoch[h] {
		b.m[h], b.epoch[h] = addr, epoch
	}
	return nil
}

// desk is an Agent with everything around it.
type desk struct {
	*Agent
	t        *testing.T
	replicas *fakeReplicas
	book     *fakeBook
	dbPath   string
	tweak    func(*Options)
	stop     func()
	ran      chan struct{} // closed after err is set
	err      error
}

func newDesk(t *testing.T, drummers ...string) *desk {
	d := &desk{
		t: t, dbPath: filepath.Join(t.TempDir(), "host.db"),
		replicas: &fakeReplicas{reports: map[replicas.Key]*drummerpb.ReplicaReport{}, orders: make(chan func(*drummerpb.OrderResult), 10)},
		book:     &fakeBook{m: map[ids.Host]string{}, epoch: map[ids.Host]uint64{}},
	}
	d.open(drummers...)
	t.Cleanup(func() { d.stop() })
	return d
}

func (d *desk) open(drummers ...string) {
	db, err := bbolt.Open(d.dbPath, 0o600, &bbolt.Options{Timeout: time.Second, NoSync: true})
	require.NoError(d.t, err)
	pool, err := serve.NewPool(config.TLS{})
	require.NoError(d.t, err)
	o := Options{
		Self: &fleetpb.Host{Id: "me", Name: "h1", BootEpoch: 4}, Deployment: "test", Version: "v1",
		Drummers: drummers, Pool: pool, Replicas: d.replicas, Book: d.book, DB: db,
		PauseLeast: time.Millisecond, PauseMost: 20 * time.Millisecond, Settle: time.Millisecond,
		Compare: 100 * time.Millisecond, Silence: patience, Patience: patience,
	}
	if d.tweak != nil {
		d.tweak(&o)
	}
	a, err := New(o)
	require.NoError(d.t, err)
	d.Agent = a
	ctx, cancel := context.WithCancel(context.Background())
	d.ran = make(chan struct{})
	go func() {
		defer close(d.ran)
		d.err = a.Run(ctx)
	}()
	d.stop = sync.OnceFunc(func() {
		cancel()
		<-d.ran
		require.NoError(d.t, pool.Close())
		require.NoError(d.t, db.Close())
	})
}

func conflict(text string) error { return fault.New(fault.Conflict, "%s", text) }
