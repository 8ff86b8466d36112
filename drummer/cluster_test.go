package drummer

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/drumline/drumline/config"
	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/freeport"
	"github.com/drumline/drumline/internal/raft/transport/faults"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testTick = 10 * time.Millisecond

// cluster is drummers in this process, with real Raft on real disks.
type cluster struct {
	t          *testing.T
	dir        string
	addresses  []string // of all masters
	configured []string // of the first ones
	masters    []*master
	tls        config.TLS
	hook       faults.Hook
}

// master is one drummer that may be stopped and started again.
type master struct {
	c      *cluster
	index  int
	disk   string
	cancel context.CancelFunc
	done   chan struct{}
	err    error // after done
	conn   *grpc.ClientConn
	port   net.Listener // reserved for the first start
	web    net.Listener // nil for no HTTP port
	joins  bool         // it waits to be added
}

// newCluster reserves the API ports; nothing runs yet.
func newCluster(t *testing.T, size int) *cluster {
	c := &cluster{t: t, dir: t.TempDir()}
	for range size {
		c.add()
	}
	c.configured = c.addresses
	t.Cleanup(func() {
		for _, m := range c.masters {
			if m.cancel != nil {
				m.cancel()
			}
		}
		for _, m := range c.masters {
			m.stop()
			require.NoError(t, m.conn.Close())
			if m.port != nil {
				require.NoError(t, m.port.Close())
			}
		}
	})
	return c
}

// add reserves the API port of one more drummer.
func (c *cluster) add() *master {
	l, err := freeport.Listen() // it comes back there
	require.NoError(c.t, err)
	addr := l.Addr().String()
	c.addresses = append(c.addresses, addr)
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second}))
	require.NoError(c.t, err)
	n := len(c.masters) + 1
	m := &master{c: c, index: n, disk: fmt.Sprintf("drummer-%d", n), conn: conn, port: l}
	c.masters = append(c.masters, m)
	return m
}

func testLog() *slog.Logger {
	if os.Getenv("DRUMMER_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (m *master) config() config.Drummer {
	cfg := config.DefaultDrummer()
	cfg.Name = fmt.Sprintf("drummer-%d", m.index)
	cfg.Deployment = "test"
	cfg.DataDir = filepath.Join(m.c.dir, m.disk)
	cfg.Index, cfg.Join = m.index, m.joins
	if cfg.Drummers = m.c.configured; m.index > len(m.c.configured) {
		cfg.Index = 0
	}
	cfg.API = config.Listener{Listen: m.c.addresses[m.index-1]}
	cfg.Raft = config.Listener{Listen: "127.0.0.1:0"} // another port at each start: the others must find it
	cfg.HTTP = config.Listener{}
	cfg.TLS = m.c.tls
	cfg.Tick = testTick
	cfg.ElectionTicks = 20 // a loaded machine must not look like a dead leader
	return cfg
}

func (m *master) start() {
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel, m.done, m.err = cancel, make(chan struct{}), nil
	o := Options{Config: m.config(), Log: testLog().With("drummer", m.index), Loop: loop.Options{Heartbeat: 100 * time.Millisecond, Resend: 500 * time.Millisecond}}
	o.APIListener, m.port = m.port, nil
	o.Hook = m.c.hook
	o.HTTPListener = m.web
	done := m.done
	go func() { defer close(done); m.err = RunWith(ctx, o) }()
}

// stop is a SIGTERM; it must end without an error.
func (m *master) stop() {
	if m.cancel == nil {
		return
	}
	m.cancel()
	<-m.done
	m.cancel = nil
	require.NoError(m.c.t, m.err)
}

// serves waits until the drummer answers: its replica of the record was started.
func (m *master) serves() {
	m.c.t.Helper()
	require.Eventually(m.c.t, func() bool {
		_, err := m.drummer().Status(m.c.t.Context(), &drummerpb.StatusRequest{})
		return err == nil
	}, 20*time.Second, 10*time.Millisecond, "drummer %d answers", m.index)
}

// refuses waits until a drummer that was started ends by itself, and returns why.
func (m *master) refuses() error {
	m.c.t.Helper()
	select {
	case <-m.done:
		m.cancel = nil
		return m.err
	case <-time.After(20 * time.Second):
		require.Fail(m.c.t, "the drummer goes on", "drummer %d", m.index)
		return nil
	}
}

func (c *cluster) start() {
	for _, m := range c.masters {
		m.start()
	}
}

func (m *master) drummer() drummerpb.DrummerClient { return drummerpb.NewDrummerClient(m.conn) }

func (m *master) directory() hostpb.DirectoryClient { return hostpb.NewDirectoryClient(m.conn) }

// status asks any drummer that runs; nil while none answers.
func (c *cluster) status() *drummerpb.StatusResponse {
	for _, m := range c.masters {
		if m.cancel == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		st, err := m.drummer().Status(ctx, &drummerpb.StatusRequest{})
		cancel()
		if err == nil {
			return st
		}
	}
	return nil
}

// record is the status once a drummer answers.
func (c *cluster) record() *drummerpb.StatusResponse {
	c.t.Helper()
	var st *drummerpb.StatusResponse
	require.True(c.t, eventually(func() bool { st = c.status(); return st != nil }, 30*time.Second), "a drummer answers")
	return st
}

// leader waits until one leads and returns it.
func (c *cluster) leader() *master {
	c.t.Helper()
	var found *master
	require.True(c.t, eventually(func() bool {
		name := c.status().GetLeader()
		i := slices.IndexFunc(c.masters, func(m *master) bool { return m.config().Name == name })
		if i >= 0 {
			found = c.masters[i]
		}
		return i >= 0
	}, 30*time.Second), "a drummer leads")
	return found
}

// follower returns one that runs, answers and does not lead.
func (c *cluster) follower() *master {
	c.t.Helper()
	leader := c.leader()
	for _, m := range c.masters {
		if m == leader || m.cancel == nil {
			continue
		}
		m.serves()
		return m
	}
	require.Fail(c.t, "no follower")
	return nil
}

// groups lists all groups, through any drummer, once one answers.
func (c *cluster) groups() []*drummerpb.GroupInfo {
	c.t.Helper()
	var groups []*drummerpb.GroupInfo
	require.NoError(c.t, c.ask(func(ctx context.Context, d drummerpb.DrummerClient) error {
		resp, err := d.ListGroups(ctx, &drummerpb.ListGroupsRequest{})
		groups = resp.GetGroups()
		return err
	}))
	return groups
}

// awaitOK waits until so many groups are ok and satisfy the condition.
func (c *cluster) awaitOK(n int, also func(*drummerpb.GroupInfo) bool) {
	c.t.Helper()
	var last []*drummerpb.GroupInfo
	ok := func() bool {
		last = c.groups()
		good := 0
		for _, g := range last {
			if g.GetState() == "ok" && (also == nil || also(g)) {
				good++
			}
		}
		return good == n && len(last) == n
	}
	if !eventually(ok, 30*time.Second) {
		c.t.Fatalf("not %d groups are ok: %v", n, last)
	}
}

func eventually(f func() bool, patience time.Duration) bool {
	end := time.Now().Add(patience)
	for !f() {
		if time.Now().After(end) {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	return true
}

func kvSpecs(n int) []*fleetpb.Spec {
	var specs []*fleetpb.Spec
	for i := range n {
		specs = append(specs, &fleetpb.Spec{Name: fmt.Sprintf("kv/demo-%03d", i+1), App: "kv", Replicas: 3})
	}
	return specs
}

// policy is quick, but not so quick that a busy machine makes living hosts silent: one
// that is silent for two seconds is dead.
func policy() *fleetpb.Policy { return &fleetpb.Policy{SuspectAfterMs: 1000, DownAfterMs: 2000} }

// settled launches groups on hosts that attend.
func (c *cluster) settled(w *world, hosts, groups int) []*fakeHost {
	c.t.Helper()
	var list []*fakeHost
	for i := range hosts {
		h := w.addHost(fmt.Sprintf("h%d", i+1), []string{"east", "west"}[i%2], c.addresses)
		h.start(c.t)
		list = append(list, h)
	}
	c.leader()
	require.True(c.t, eventually(func() bool {
		resp, err := c.masters[0].drummer().ListHosts(c.t.Context(), &drummerpb.ListHostsRequest{})
		return err == nil && len(resp.GetHosts()) == hosts
	}, 30*time.Second), "all hosts attend")
	require.NoError(c.t, c.ask(func(ctx context.Context, d drummerpb.DrummerClient) error {
		_, err := d.CreateGroups(ctx, &drummerpb.CreateGroupsRequest{Specs: kvSpecs(groups), Policy: policy()})
		return err
	}))
	c.awaitOK(groups, nil)
	return list
}
