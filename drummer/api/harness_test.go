package api

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/config"
	"github.com/drumline/drumline/drummer/api/openings"
	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/versions"
	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/statemachines"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is the real record without Raft; all drummers of a test share one.
type memory struct {
	mu       sync.Mutex
	machine  *fleet.Machine
	fail     error // of the next proposals
	commands []*fleetpb.Command
	reads    error
	hang     atomic.Bool // linearizable reads never come back
	older    bool        // the record is at its first version
	openings openings.Openings
}

func (m *memory) Opened(g ids.Group) (opened <-chan struct{}, leave func()) {
	return m.openings.Await(g)
}

func (m *memory) View(ctx context.Context) (*fleet.View, error) {
	if m.hang.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return m.LocalView()
}

func (m *memory) LocalView() (*fleet.View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.machine.Freeze(), m.reads
}

func (m *memory) Propose(_ context.Context, cmd *fleetpb.Command) (*fleetpb.Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	if m.older && !versions.Knows(1, cmd) {
		return nil, fault.New(fault.Conflict, "some drummer runs a program that does not know all of this")
	}
	m.commands = append(m.commands, cmd)
	return m.apply(cmd), nil
}

// do applies commands that must succeed.
func (m *memory) do(t *testing.T, cmds ...*fleetpb.Command) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, cmd := range cmds {
		r := m.apply(cmd)
		require.Equal(t, fleetpb.Code_CODE_OK, r.GetCode(), r.GetDetail())
		if to := cmd.GetAdvance(); to.GetState() == fleetpb.GroupState_GROUP_STATE_OPEN {
			m.openings.Tell(ids.Group(to.GetGroup()))
		}
	}
}

func (m *memory) failWith(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// apply applies a command; m.mu is held.
func (m *memory) apply(cmd *fleetpb.Command) *fleetpb.Result {
	data, err := proto.Marshal(cmd)
	if err != nil {
		return &fleetpb.Result{Code: fleetpb.Code_CODE_INVALID, Detail: err.Error()}
	}
	version := uint32(fleet.AppVersion)
	if m.older {
		version = 1
	}
	results := make([]statemachines.Result, 1)
	m.machine.Apply([]statemachines.Command{{Index: 1, Version: version, Data: data}}, results)
	r := &fleetpb.Result{}
	if err := proto.Unmarshal(results[0].Data, r); err != nil {
		return nil
	}
	return r
}

// town is some drummers with their servers; leader is the index of the one that
// supervises, and believed what each one takes for the leader.
type town struct {
	t       *testing.T
	record  *memory
	leader  atomic.Int64
	addrs   []string
	service []*Service
	conns   []*grpc.ClientConn
	// observed may be replaced.
	observed loop.Observed
	// settles counts the looks until the hosts have connected.
	settles  atomic.Int64
	believed []atomic.Int64
}

// impatience is how long the drummers of most towns wait for a leader.
const impatience = 200 * time.Millisecond

func newTown(t *testing.T, size int) *town { return newPatientTown(t, size, impatience) }

func newPatientTown(t *testing.T, size int, patience time.Duration) *town {
	w := &town{t: t, record: &memory{machine: fleet.New()}, believed: make([]atomic.Int64, size)}
	w.observed = loop.Observed{Leading: true, Term: 7}
	pool, err := serve.NewPool(config.TLS{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	var listeners []net.Listener
	for range size {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		listeners = append(listeners, l)
		w.addrs = append(w.addrs, l.Addr().String())
	}
	for i, l := range listeners {
		s := New(Options{Deployment: "test", Name: drummerName(i), API: w.addrs[i], Dial: pool, Patience: patience})
		server, err := serve.NewServer(serve.Options{Kind: "drummer", Name: drummerName(i), APIListener: l})
		require.NoError(t, err)
		require.NoError(t, s.Register(server.GRPC()))
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- server.Serve(ctx) }()
		t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
		conn, err := pool.Conn(w.addrs[i])
		require.NoError(t, err)
		w.service, w.conns = append(w.service, s), append(w.conns, conn)
		s.Ready(Cluster{Record: w.record, Supervisor: &boss{w, i}, Peers: &boss{w, i}})
	}
	return w
}

func drummerName(i int) string { return string(rune('a' + i)) }

// lead makes one drummer supervise, and all believe it; -1 for none.
func (w *town) lead(i int) {
	w.leader.Store(int64(i))
	for n := range w.believed {
		w.believed[n].Store(int64(i))
	}
}

func (w *town) drummer(i int) drummerpb.DrummerClient { return drummerpb.NewDrummerClient(w.conns[i]) }

func (w *town) directory(i int) hostpb.DirectoryClient { return hostpb.NewDirectoryClient(w.conns[i]) }

// boss is Supervisor and Peers of one drummer.
type boss struct {
	w *town
	i int
}

func (b *boss) Leading() (uint64, bool) { return 7, b.w.leader.Load() == int64(b.i) }

func (b *boss) Observed(context.Context) (*loop.Observed, error) {
	if _, leading := b.Leading(); !leading {
		return nil, fault.New(fault.NotSupervisor, "not me")
	}
	o := b.w.observed
	o.Settling = b.w.settles.Add(-1) >= 0
	return &o, nil
}

func (b *boss) Leader() string {
	if i := b.w.believed[b.i].Load(); i >= 0 {
		return b.w.addrs[i]
	}
	return ""
}

func (b *boss) Servers() []*hostpb.Server {
	var list []*hostpb.Server
	for i, a := range b.w.addrs {
		list = append(list, &hostpb.Server{Kind: "drummer", Name: drummerName(i), Api: a, Leader: b.Leader() == a})
	}
	return list
}

// reasonOf is the reason of a call's error.
func reasonOf(err error) fault.Reason { return fault.ReasonOf(serve.ReadFault(err)) }

func requireReason(t *testing.T, want fault.Reason, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want.String(), reasonOf(err).String(), "%v", err)
}
