package raft

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lni/goutils/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/ledger"
	"github.com/drumline/drumline/internal/raft/transport"
	"github.com/drumline/drumline/internal/raft/transport/faults"
	"github.com/drumline/drumline/internal/raft/transport/membook"
	"github.com/drumline/drumline/internal/wait"
	"github.com/drumline/drumline/statemachines"
)

// The tests wait more than they work: several go on beside one another, unless the command
// line says how many.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", atOnce); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	goleak.VerifyTestMain(m)
}

// Times of tests: short ticks, patient deadlines.
const (
	testTick    = 5 * time.Millisecond
	testTimeout = 20 * time.Second
)

// node is one host of a test's cluster.
type node struct {
	*Host
	c     *cluster
	id    ids.Host
	dir   string
	fs    vfs.FS // nil: on disk
	epoch uint64
	up    atomic.Bool // a check that Eventually gave up on may still run
	// live is the Host for goroutines that go on while the node is killed.
	live atomic.Pointer[Host]
	// dark: its power goes, so that nobody hears it any more.
	dark atomic.Bool

	mu     sync.Mutex
	events []Event
}

type cluster struct {
	t       testing.TB
	book    *membook.Book
	version uint32
	nodes   []*node
	tweak   func(*Options)
	// network may be bad.
	network *faults.Network
}

// newCluster starts n hosts in memory.
func newCluster(t testing.TB, n int, tweak ...func(*Options)) *cluster {
	t.Helper()
	c := &cluster{t: t, book: membook.New(), version: 2, network: faults.New(1)}
	if len(tweak) > 0 {
		c.tweak = tweak[0]
	}
	for i := range n {
		c.add(ids.Host(fmt.Sprintf("host-%d", i+1)), vfs.NewMem(), t.TempDir())
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.crash()
		}
	})
	return c
}

func (c *cluster) add(id ids.Host, fs vfs.FS, dir string) *node {
	n := &node{c: c, id: id, dir: dir, fs: fs}
	c.nodes = append(c.nodes, n)
	n.boot()
	return n
}

// boot opens the host, on the "disk" that it had.
func (n *node) boot() {
	t := n.c.t
	t.Helper()
	n.epoch++
	tr, err := transport.New(transport.Options{
		Host: n.id, BootEpoch: n.epoch, Deployment: "test", Listen: "127.0.0.1:0", Book: n.c.book, Hook: n.c.network, Log: testLog(),
	})
	require.NoError(t, err)
	require.NoError(t, n.c.book.Learn(n.id, tr.Addr(), n.epoch))
	apps, err := statemachines.NewRegistry(ledger.App(n.c.version))
	require.NoError(t, err)
	o := Options{
		Host: n.id, Deployment: "test", Dir: n.dir, FS: n.fs, Transport: tr, Apps: apps,
		Tick: hostTick, Log: testLog(), Events: n.event,
	}
	if n.c.tweak != nil {
		n.c.tweak(&o)
	}
	n.Host, err = Open(o)
	require.NoError(t, err)
	n.dark.Store(false)
	n.live.Store(n.Host)
	n.up.Store(true)
}

// isolate loses all that the host sends and is sent.
func (n *node) isolate() {
	for _, m := range n.c.nodes {
		n.c.network.Cut(n.id, m.id)
		n.c.network.Cut(m.id, n.id)
	}
}

// crash closes the host without handing anything off.
func (n *node) crash() {
	if n.up.Swap(false) {
		require.NoError(n.c.t, n.Close())
	}
}

func (n *node) event(e Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, e)
}

func (n *node) saw(k EventKind, g ids.Group) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.events {
		if e.Kind == k && e.Group == g {
			return true
		}
	}
	return false
}

func testLog() *slog.Logger {
	if os.Getenv("RAFT_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (c *cluster) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	c.t.Cleanup(cancel)
	return ctx
}

// spec is the replica of a group on a node: replica ids are group×10+node.
func spec(g ids.Group, i int) Replica {
	return Replica{Group: g, ID: replicaID(g, i), Name: fmt.Sprintf("ledger/%d", g)}
}

func replicaID(g ids.Group, i int) ids.Replica { return ids.Replica(uint64(g)*10 + uint64(i) + 1) }

// launch starts a group on the nodes of those indices and opens it.
func (c *cluster) launch(g ids.Group, on ...int) *node {
	c.t.Helper()
	c.start(g, on...)
	c.open(g)
	return c.leader(g)
}

// open opens a group whose leader may change meanwhile.
func (c *cluster) open(g ids.Group) {
	c.t.Helper()
	require.NoError(c.t, c.ask(g, func(l *node) error { return l.OpenGroup(c.ctx(), g, 1) }))
}

// settled makes a call that may be repeated again after each election that came in
// between: on a busy machine there may be one at any time.
func (c *cluster) settled(call func() error) error {
	c.t.Helper()
	for ctx := c.ctx(); ; {
		if err := call(); !betweenLeaders(err) || !wait.For(ctx, testTick) {
			return err
		}
	}
}

// ask makes such a call to whoever leads.
func (c *cluster) ask(g ids.Group, call func(l *node) error) error {
	c.t.Helper()
	return c.settled(func() error { return call(c.leader(g)) })
}

// betweenLeaders tells whether an election is enough of a reason for an error.
func betweenLeaders(err error) bool {
	return fault.Is(err, fault.NotLeader) || fault.Is(err, fault.NoQuorum) || fault.Is(err, fault.UnknownOutcome)
}

// follows makes a call to a follower until one says that it does not lead.
func (c *cluster) follows(g ids.Group, call func(f *node) error) *fault.Error {
	c.t.Helper()
	var err error
	require.Eventually(c.t, func() bool {
		err = call(c.follower(g))
		return fault.Is(err, fault.NotLeader)
	}, testTimeout, testTick)
	return fault.Of(err)
}

func (c *cluster) start(g ids.Group, on ...int) {
	c.t.Helper()
	members := make(map[ids.Replica]ids.Host)
	for _, i := range on {
		members[replicaID(g, i)] = c.nodes[i].id
	}
	for _, i := range on {
		s := spec(g, i)
		s.Members = members
		require.NoError(c.t, c.nodes[i].Start(c.ctx(), s))
	}
}

// leader waits for the node that serves a group, and wakes a group that was unloaded
// before anybody looked.
func (c *cluster) leader(g ids.Group) *node {
	c.t.Helper()
	var found *node
	require.Eventually(c.t, func() bool {
		var asleep *node
		for _, n := range c.nodes {
			if !n.up.Load() {
				continue
			}
			s, ok := n.Status(g)
			if ok && s.Serving {
				found = n
				return true
			}
			if ok && s.Unloaded {
				asleep = n
			}
		}
		if asleep != nil {
			_ = asleep.CatchUp(c.ctx(), g)
		}
		return false
	}, testTimeout, testTick, "group %d has no serving leader", g)
	return found
}

func (c *cluster) follower(g ids.Group) *node {
	c.t.Helper()
	l := c.leader(g)
	for _, n := range c.nodes {
		if n.up.Load() && n != l {
			if _, ok := n.Status(g); ok {
				return n
			}
		}
	}
	require.Fail(c.t, "no follower")
	return nil
}

// propose goes to whoever leads, until the command is applied.
func (c *cluster) propose(g ids.Group, text string) statemachines.Result {
	c.t.Helper()
	for {
		res, err := c.leader(g).Propose(c.ctx(), g, []byte(text))
		if err == nil {
			return res
		}
		require.False(c.t, mayHaveApplied(err), "propose %q: %v", text, err)
	}
}

func (n *node) read(g ids.Group, q string) string {
	n.c.t.Helper()
	for ctx := n.c.ctx(); ; {
		b, err := n.Read(ctx, g, []byte(q))
		if !fault.Is(err, fault.NoQuorum) || !wait.For(ctx, testTick) { // an election is waited out
			require.NoError(n.c.t, err)
			return string(b)
		}
	}
}

// catchUp waits out an election.
func (n *node) catchUp(g ids.Group) {
	n.c.t.Helper()
	var err error
	require.Eventually(n.c.t, func() bool {
		err = n.CatchUp(n.c.ctx(), g)
		return !fault.Is(err, fault.NoQuorum)
	}, testTimeout, testTick)
	require.NoError(n.c.t, err)
}
