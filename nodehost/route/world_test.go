package route_test

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/drumline/drumline/config"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/nodehost/api"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/statemachines"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cluster whose Raft is a map: hosts with real Routers that forward to each
// other over real gRPC.
type world struct {
	t     *testing.T
	hosts map[ids.Host]*host

	mu        sync.Mutex
	groups    map[ids.Group]*group // guarded by mu
	cut       map[[2]ids.Host]bool // guarded by mu: from, to
	drummers  bool                 // guarded by mu: a drummer answers
	questions int                  // guarded by mu: Locate calls
	asking    func()               // guarded by mu: run by each question, may be nil
	uses      map[string]int       // guarded by mu: FirstUse calls by name
	// template makes a group on first use, or refuses; nil: no app has templates. Guarded by mu.
	template  func(name string) (*group, error)
	forwarded map[ids.Host][]uint32 // guarded by mu: hops of the requests that came in
	// prepare is what hosts do with commands for their own replicas; set before the first.
	prepare  func(h ids.Host, g ids.Group, cmds [][]byte) ([][]byte, error)
	refusals int
}

// group is one fake group.
type group struct {
	id      ids.Group
	name    string
	voters  []ids.Host
	leader  ids.Host              // the real one; empty while there is none
	belief  map[ids.Host]ids.Host // what a replica believes instead
	state   string                // launching, open or sealed
	applied []string
	// onPropose replaces what the leader does with a command.
	onPropose func(ctx context.Context, cmd string) error
	onRead    func(ctx context.Context, h ids.Host) error
}

// host is one host.
type host struct {
	w      *world
	id     ids.Host
	addr   string
	router *route.Router
	server *grpc.Server
	db     *bbolt.DB
	pool   *serve.Pool
}

func newWorld(t *testing.T, names ...ids.Host) *world {
	w := &world{
		t: t, hosts: map[ids.Host]*host{}, groups: map[ids.Group]*group{}, cut: map[[2]ids.Host]bool{},
		drummers: true, forwarded: map[ids.Host][]uint32{}, uses: map[string]int{},
	}
	for _, id := range names {
		h := &host{w: w, id: id}
		h.start()
		w.hosts[id] = h
	}
	return w
}

func (h *host) start() {
	t := h.w.t
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "host.db"), 0o600, &bbolt.Options{NoSync: true})
	require.NoError(t, err)
	h.db = db
	h.open()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h.addr = ln.Addr().String()
	h.server = grpc.NewServer(grpc.UnaryInterceptor(h.count))
	api.Register(h.server, api.Options{Router: h})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = h.server.Serve(ln)
	}()
	t.Cleanup(func() {
		h.server.Stop()
		<-served
		require.NoError(t, h.router.Close())
		require.NoError(t, db.Close())
	})
}

// open makes the Router; again after a restart.
func (h *host) open() {
	pool, err := serve.NewPool(config.TLS{})
	require.NoError(h.w.t, err)
	h.w.t.Cleanup(func() { require.NoError(h.w.t, pool.Close()) })
	h.pool = pool
	h.router = route.New(route.Options{
		Self: h.id, Raft: fakeRaft{h}, Local: fakeLocal{h}, Locator: fakeLocator{h.w}, Pool: cutPool{h, pool}, DB: h.db,
		API: h.w.api, Hosts: h.w.others(h.id), Flush: time.Millisecond,
		Prepare: func(_ context.Context, g ids.Group, cmds [][]byte) ([][]byte, error) {
			if h.w.prepare == nil {
				return cmds, nil
			}
			return h.w.prepare(h.id, g, cmds)
		},
	})
}

// The host passes requests to the Router of the moment.

func (h *host) Propose(ctx context.Context, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
	return h.router.Propose(ctx, req)
}

func (h *host) Read(ctx context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
	return h.router.Read(ctx, req)
}

func (h *host) ProposeMany(ctx context.Context, m route.Many) ([]route.Outcome, *hostpb.Location) {
	h.came(m.Hops)
	return h.router.ProposeMany(ctx, m)
}

func (h *host) ReadMany(ctx context.Context, m route.Many) ([]route.Outcome, *hostpb.Location) {
	h.came(m.Hops)
	return h.router.ReadMany(ctx, m)
}

func (h *host) Self() ids.Host { return h.id }

func (h *host) OpenSession(ctx context.Context, req *hostpb.OpenSessionRequest) (*hostpb.OpenSessionResponse, error) {
	return h.router.OpenSession(ctx, req)
}

func (h *host) CloseSession(ctx context.Context, req *hostpb.CloseSessionRequest) (*hostpb.CloseSessionResponse, error) {
	return h.router.CloseSession(ctx, req)
}

func (h *host) Locate(ctx context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error) {
	return h.router.Locate(ctx, ref)
}

func (h *host) LocateHere(ctx context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error) {
	return h.router.LocateHere(ctx, ref)
}

func (h *host) Servers(ctx context.Context) ([]*hostpb.Server, error) { return h.router.Servers(ctx) }

// count notes what comes in, and makes statuses of faults as internal/serve does.
func (h *host) count(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if r, ok := req.(interface{ GetHops() uint32 }); ok {
		h.came(r.GetHops())
	}
	resp, err := next(ctx, req)
	return resp, serve.Status(err).Err()
}

// came notes the hops of a request.
func (h *host) came(hops uint32) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	h.w.forwarded[h.id] = append(h.w.forwarded[h.id], hops)
}

func (w *world) api(h ids.Host) (string, bool) {
	if x := w.hosts[h]; x != nil {
		return x.addr, true
	}
	return "", false
}

// add makes an open group.
func (w *world) add(g *group) *group {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g.state == "" {
		g.state = "open"
	}
	w.groups[g.id] = g
	return g
}

// change changes the world.
func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// came returns the hops of the requests that came to a host from elsewhere.
func (w *world) came(h ids.Host) []uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.forwarded[h])
}

// asked returns how often a drummer was asked.
func (w *world) asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.questions
}

// commands returns what a group has applied.
func (w *world) commands(g *group) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(g.applied)
}

// location is what a drummer says of a group; mu is held.
func (w *world) location(g *group) *hostpb.Location {
	where := &hostpb.Location{Name: g.name, Id: uint64(g.id), Version: 1}
	for i, v := range g.voters {
		m := &hostpb.Member{Replica: uint64(i + 1), HostId: string(v), HostName: "name-" + string(v)}
		if h := w.hosts[v]; h != nil {
			m.Api = h.addr
		}
		where.Members = append(where.Members, m)
	}
	return where
}

// fakeRaft is a host's view of the world's groups.
type fakeRaft struct{ h *host }

// replica returns the group if the host has a replica of it.
func (f fakeRaft) replica(g ids.Group) (*group, error) {
	x := f.h.w.groups[g]
	if x == nil || !slices.Contains(x.voters, f.h.id) {
		return nil, fault.New(fault.GroupNotFound, "no replica here")
	}
	return x, nil
}

func (f fakeRaft) believed(x *group) ids.Host {
	if b, ok := x.belief[f.h.id]; ok {
		return b
	}
	return x.leader
}

func (f fakeRaft) Propose(ctx context.Context, g ids.Group, cmd []byte) (statemachines.Result, error) {
	f.h.w.mu.Lock()
	defer f.h.w.mu.Unlock()
	x, err := f.replica(g)
	if err != nil {
		return statemachines.Result{}, err
	}
	if x.leader != f.h.id {
		e := fault.New(fault.NotLeader, "not leader")
		e.LeaderHost = string(f.believed(x))
		return statemachines.Result{}, e
	}
	switch x.state {
	case "launching":
		return statemachines.Result{}, fault.New(fault.NotOpen, "not open")
	case "sealed":
		return statemachines.Result{}, fault.New(fault.Sealed, "sealed")
	}
	if do := x.onPropose; do != nil {
		f.h.w.mu.Unlock()
		err := do(ctx, string(cmd))
		f.h.w.mu.Lock()
		if err != nil {
			return statemachines.Result{}, err
		}
	}
	x.applied = append(x.applied, string(cmd))
	return statemachines.Result{Value: uint64(len(x.applied)), Data: cmd}, nil
}

func (f fakeRaft) ProposeMany(ctx context.Context, g ids.Group, cmds [][]byte) []raft.Outcome {
	out := make([]raft.Outcome, len(cmds))
	for i, cmd := range cmds {
		out[i].Result, out[i].Err = f.Propose(ctx, g, cmd)
	}
	return out
}

func (f fakeRaft) ProposeSession(ctx context.Context, s raft.Session, cmd []byte) (statemachines.Result, error) {
	if s.Client == 404 {
		return statemachines.Result{}, fault.New(fault.SessionGone, "the session was evicted: open another")
	}
	return f.Propose(ctx, s.Group, cmd)
}

func (f fakeRaft) OpenSession(ctx context.Context, g ids.Group) (raft.Session, error) {
	if _, err := f.Propose(ctx, g, []byte("open")); err != nil {
		return raft.Session{}, err
	}
	return raft.Session{Group: g, Client: 77, Series: 1}, nil
}

func (f fakeRaft) CloseSession(ctx context.Context, s raft.Session) error {
	_, err := f.Propose(ctx, s.Group, []byte("close"))
	return err
}

func (f fakeRaft) Read(ctx context.Context, g ids.Group, query []byte) ([]byte, error) {
	f.h.w.mu.Lock()
	defer f.h.w.mu.Unlock()
	x, err := f.replica(g)
	if err != nil {
		return nil, err
	}
	if do := x.onRead; do != nil {
		f.h.w.mu.Unlock()
		err := do(ctx, f.h.id)
		f.h.w.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
	switch {
	case x.state == "sealed":
		return nil, fault.New(fault.Sealed, "sealed")
	case x.leader == "":
		return nil, fault.New(fault.NoQuorum, "no leader")
	}
	return append([]byte(f.h.id+" of "+ids.Host(x.name)+": "), query...), nil
}

func (f fakeRaft) ReadEach(ctx context.Context, g ids.Group, queries [][]byte, take func([]byte, error) bool) error {
	for _, q := range queries {
		b, err := f.Read(ctx, g, q)
		if err != nil {
			return err
		}
		if !take(b, nil) {
			return nil
		}
	}
	return nil
}

func (f fakeRaft) Status(g ids.Group) (raft.Status, bool) {
	f.h.w.mu.Lock()
	defer f.h.w.mu.Unlock()
	x, err := f.replica(g)
	if err != nil {
		return raft.Status{}, false
	}
	leads := x.leader == f.h.id
	return raft.Status{
		Group: g, Name: x.name, Ready: true, Leading: leads, Serving: leads, LeaderHost: f.believed(x),
		Opened: x.state != "launching", Sealed: x.state == "sealed",
	}, true
}

// fakeLocal resolves names of open local groups.
type fakeLocal struct{ h *host }

func (f fakeLocal) GroupByName(name string) (ids.Group, bool) {
	f.h.w.mu.Lock()
	defer f.h.w.mu.Unlock()
	var best ids.Group
	for _, g := range f.h.w.groups {
		if g.name == name && g.state == "open" && slices.Contains(g.voters, f.h.id) {
			best = max(best, g.id)
		}
	}
	return best, best != 0
}

// fakeLocator is a drummer: it knows the newest group of a name.
type fakeLocator struct{ w *world }

func (f fakeLocator) Locate(ctx context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.questions++
	if do := f.w.asking; do != nil {
		f.w.mu.Unlock()
		done := make(chan struct{})
		go func() { do(); close(done) }()
		select {
		case <-done:
		case <-ctx.Done():
		}
		f.w.mu.Lock()
	}
	return f.locate(ref)
}

// locate is a drummer's answer; mu is held.
func (f fakeLocator) locate(ref *hostpb.GroupRef) (*hostpb.Location, error) {
	if !f.w.drummers {
		return nil, fault.New(fault.Unavailable, "no drummer answers")
	}
	var best *group
	for _, g := range f.w.groups {
		if (ref.GetName() == g.name || ref.GetId() == uint64(g.id)) && (best == nil || g.id > best.id) {
			best = g
		}
	}
	if best == nil {
		return nil, fault.New(fault.GroupNotFound, "there is no group %s", ref)
	}
	switch best.state {
	case "launching":
		return nil, fault.New(fault.NotOpen, "group %s is being launched", best.name)
	case "sealed":
		return nil, fault.New(fault.Sealed, "group %s is being deleted", best.name)
	}
	return f.w.location(best), nil
}

// FirstUse makes a group as the world's template says.
func (f fakeLocator) FirstUse(_ context.Context, name string) (*hostpb.Location, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	where, err := f.locate(named(name))
	if f.w.uses[name]++; !fault.Is(err, fault.GroupNotFound) || f.w.template == nil {
		return where, err
	}
	g, err := f.w.template(name)
	if err != nil {
		return nil, err
	}
	f.w.groups[g.id] = g
	if g.state == "launching" {
		return nil, fault.New(fault.NotOpen, "group %s is being launched", name)
	}
	return f.w.location(g), nil
}

// used returns how often a drummer was asked for the first use of a name.
func (w *world) used(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.uses[name]
}

func (f fakeLocator) Servers(context.Context) ([]*hostpb.Server, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if !f.w.drummers {
		return nil, fault.New(fault.Unavailable, "no drummer answers")
	}
	return []*hostpb.Server{{Kind: "drummer", Id: "d1"}}, nil
}

// cutPool connects unless the way is cut.
type cutPool struct {
	h    *host
	pool *serve.Pool
}

func (c cutPool) Dial(ctx context.Context, addr string) (*grpc.ClientConn, error) {
	c.h.w.mu.Lock()
	for id, h := range c.h.w.hosts {
		if h.addr == addr && c.h.w.cut[[2]ids.Host{c.h.id, id}] {
			c.h.w.mu.Unlock()
			return nil, fault.New(fault.Unavailable, "cut off")
		}
	}
	c.h.w.mu.Unlock()
	return c.pool.Dial(ctx, addr)
}

// kill ends a host's server and waits until another one has noticed.
func (w *world) kill(h, noticed ids.Host) {
	w.t.Helper()
	w.hosts[h].server.Stop()
	require.Eventually(w.t, func() bool {
		_, err := w.hosts[noticed].pool.Dial(w.t.Context(), w.hosts[h].addr)
		return err != nil
	}, ample, time.Millisecond)
}

// named and numbered are references.
func named(name string) *hostpb.GroupRef { return &hostpb.GroupRef{Name: name} }

func numbered(id uint64) *hostpb.GroupRef { return &hostpb.GroupRef{Id: id} }

// ample is a deadline that no busy machine uses up.
const ample = 20 * time.Second

// endsWith makes a call with a short deadline until its time is up in the way that is
// wanted: a machine that stands still for a moment may use the deadline up before anybody
// was asked, or when a command was just on its way, but not each time.
func endsWith(t *testing.T, want fault.Reason, call func() error) error {
	t.Helper()
	err := call()
	for range 20 {
		if fault.Is(err, want) {
			break
		}
		err = call()
	}
	requireReason(t, err, want)
	return err
}

// propose proposes through a host, with a deadline.
func (w *world) propose(via ids.Host, ref *hostpb.GroupRef, cmd string, within time.Duration) (*hostpb.ProposeResponse, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), within)
	defer cancel()
	return w.hosts[via].router.Propose(ctx, &hostpb.ProposeRequest{Group: ref, Command: []byte(cmd)})
}

// read reads through a host, with a deadline.
func (w *world) read(via ids.Host, ref *hostpb.GroupRef, within time.Duration) (*hostpb.ReadResponse, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), within)
	defer cancel()
	return w.hosts[via].router.Read(ctx, &hostpb.ReadRequest{Group: ref, Query: []byte("q")})
}

// requireReason asserts the reason of an error.
func requireReason(t *testing.T, err error, want fault.Reason) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want.String(), fault.ReasonOf(err).String(), "error: %v", err)
}
