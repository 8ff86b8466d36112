package api_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/config"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	kvpb "github.com/drumline/drumline/drummerpb/kv"
	multiraftpb "github.com/drumline/drumline/drummerpb/multiraft"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/internal/raft/rafttest"
	"github.com/drumline/drumline/internal/raft/transport/membook"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/internal/serve/servetest"
	"github.com/drumline/drumline/nodehost/api"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/statemachines/kv"
)

// demo is the group of these tests.
const demo ids.Group = 1000

// fleet is real hosts (Raft in memory, gRPC on loopback) that share an address book,
// which also plays the drummer.
type fleet struct {
	t     *testing.T
	hosts []*realHost
	book  *membook.Book
}

// realHost is one of them.
type realHost struct {
	f      *fleet
	id     ids.Host
	addr   string
	raft   *raft.Host
	router *route.Router
	pool   *serve.Pool
	server *servetest.Server
	dead   bool
}

func newFleet(t *testing.T, n int) *fleet {
	f := &fleet{t: t, book: membook.New()}
	for i := range n {
		h := &realHost{f: f, id: ids.Host(fmt.Sprintf("host-%d", i+1))}
		f.hosts = append(f.hosts, h)
		h.boot()
		t.Cleanup(h.kill)
	}
	return f
}

func (f *fleet) api(h ids.Host) (string, bool) {
	for _, x := range f.hosts {
		if x.id == h && x.addr != "" {
			return x.addr, true
		}
	}
	return "", false
}

func (f *fleet) Locate(_ context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error) {
	if ref.GetName() != "kv/demo" && ref.GetId() != uint64(demo) {
		return nil, fault.New(fault.GroupNotFound, "there is no such group")
	}
	where := &hostpb.Location{Name: "kv/demo", Id: uint64(demo), Version: 1}
	for i, h := range f.hosts[:3] {
		where.Members = append(where.Members, &hostpb.Member{Replica: uint64(i + 1), HostId: string(h.id), HostName: string(h.id), Api: h.addr})
	}
	return where, nil
}

// FirstUse makes no group.
func (f *fleet) FirstUse(ctx context.Context, name string) (*hostpb.Location, error) {
	return f.Locate(ctx, &hostpb.GroupRef{Name: name})
}

func (f *fleet) Servers(context.Context) ([]*hostpb.Server, error) {
	var out []*hostpb.Server
	for _, h := range f.hosts {
		out = append(out, &hostpb.Server{Kind: "nodehost", Id: string(h.id), Api: h.addr})
	}
	return out, nil
}

// GroupByName makes a host a route.Local.
func (h *realHost) GroupByName(name string) (ids.Group, bool) {
	s, ok := h.raft.Status(demo)
	return demo, ok && s.Name == name && s.Opened && !s.Sealed
}

func (h *realHost) boot() {
	t := h.f.t
	var err error
	h.raft = rafttest.Open(t, h.f.book, h.id, kv.App())
	h.pool, err = serve.NewPool(config.TLS{})
	require.NoError(t, err)
	h.router = route.New(route.Options{Self: h.id, Raft: h.raft, Local: h, Locator: h.f, Pool: h.pool, API: h.f.api})
	h.server = servetest.Start(t, func(s *servetest.Server) { api.Register(s, api.Options{Router: h.router}) })
	h.addr = h.server.Addr
}

// kill ends the host without handing anything off.
func (h *realHost) kill() {
	if h.dead {
		return
	}
	h.dead = true
	h.server.Close()
	require.NoError(h.f.t, h.router.Close())
	require.NoError(h.f.t, h.raft.Close())
	require.NoError(h.f.t, h.pool.Close())
}

// launch starts the group on the first three hosts and opens it.
func (f *fleet) launch() {
	members := map[ids.Replica]ids.Host{}
	for i, h := range f.hosts[:3] {
		members[ids.Replica(i+1)] = h.id
	}
	ctx := within(f.t, 20*time.Second)
	for i, h := range f.hosts[:3] {
		require.NoError(f.t, h.raft.Start(ctx, raft.Replica{Group: demo, ID: ids.Replica(i + 1), Name: "kv/demo", Members: members}))
	}
	require.Eventually(f.t, func() bool { return f.leader().raft.OpenGroup(ctx, demo, 1) == nil }, 20*time.Second, 10*time.Millisecond)
}

// leader waits for the host that serves the group.
func (f *fleet) leader() *realHost {
	var found *realHost
	require.Eventually(f.t, func() bool {
		i := slices.IndexFunc(f.hosts, func(h *realHost) bool {
			if h.dead {
				return false
			}
			s, ok := h.raft.Status(demo)
			return ok && s.Serving
		})
		if i >= 0 {
			found = f.hosts[i]
		}
		return i >= 0
	}, 20*time.Second, 5*time.Millisecond)
	return found
}

// addresses of the hosts alive.
func (f *fleet) addresses() []string {
	var out []string
	for _, h := range f.hosts {
		if !h.dead {
			out = append(out, h.addr)
		}
	}
	return out
}

func (f *fleet) open() *client.Client {
	c, err := client.Open(within(f.t, 20*time.Second), f.addresses())
	require.NoError(f.t, err)
	f.t.Cleanup(c.Close)
	return c
}

// TestRealHosts runs client, api, route, raft and kv together: four hosts, of which
// three have a replica.
func TestRealHosts(t *testing.T) {
	f := newFleet(t, 4)
	f.launch()
	c := f.open()
	store := c.KV("kv/demo")
	_, err := store.Put(within(t, 20*time.Second), []byte("k"), []byte("v"))
	require.NoError(t, err)

	for _, h := range f.hosts { // any host answers
		one, err := client.Open(within(t, 20*time.Second), []string{h.addr})
		require.NoError(t, err)
		e, ok, err := one.KV("kv/demo").Get(within(t, 20*time.Second), []byte("k"))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "v", string(e.Value))
		one.Close()
	}
	_, err = c.KV("kv/none").Put(within(t, 20*time.Second), []byte("k"), nil)
	require.Equal(t, hostpb.Reason_REASON_GROUP_NOT_FOUND, client.ReasonOf(err))

	v2Client(t, f.hosts[3].addr)
	sessionsAreExactlyOnce(t, f, c)
	noQuorum(t, f, c)
}

// v2Client does what a program of Drummer v2 does, through a host without a replica.
func v2Client(t *testing.T, addr string) {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	old, ctx := multiraftpb.NewNodehostAPIClient(conn), within(t, 20*time.Second)
	s, err := old.GetSession(ctx, &multiraftpb.SessionRequest{ClusterId: new(uint64(demo))})
	require.NoError(t, err)
	cmd := pack(t, &kvpb.Command{Op: &kvpb.Command_Put{Put: &kvpb.Put{Key: []byte("old"), Value: []byte("1")}}})
	var first []byte
	for i := range 3 { // the same series: applied once
		resp, err := old.Propose(ctx, &multiraftpb.RaftProposal{Session: s, Data: cmd})
		require.NoError(t, err)
		if i == 0 {
			first = resp.GetData()
		}
		require.Equal(t, first, resp.GetData())
	}
	resp, err := old.Read(ctx, &multiraftpb.RaftReadIndex{
		ClusterId: new(uint64(demo)), Data: pack(t, &kvpb.Query{Op: &kvpb.Query_Get{Get: &kvpb.Get{Key: []byte("old")}}}),
	})
	require.NoError(t, err)
	answer := &kvpb.Answer{}
	require.NoError(t, proto.Unmarshal(resp.GetData(), answer))
	require.True(t, answer.GetFound())
	done, err := old.CloseSession(ctx, s)
	require.NoError(t, err)
	require.True(t, done.GetCompleted())
	_, err = old.Propose(ctx, &multiraftpb.RaftProposal{Session: s, Data: cmd})
	require.Equal(t, codes.InvalidArgument, status.Code(err), "%v", err)
}

// sessionsAreExactlyOnce proposes through a leader change: kv counts its changes, so
// the revision tells how often commands were applied.
func sessionsAreExactlyOnce(t *testing.T, f *fleet, c *client.Client) {
	t.Helper()
	s, err := c.Group("kv/demo").Session(within(t, 20*time.Second))
	require.NoError(t, err)
	before, err := c.KV("kv/demo").Put(within(t, 20*time.Second), []byte("mark"), nil)
	require.NoError(t, err)
	const n = 300
	var longest time.Duration
	for i := range n {
		if i == n/3 {
			f.leader().kill()
		}
		start := time.Now()
		cmd := pack(t, &kvpb.Command{Op: &kvpb.Command_Put{Put: &kvpb.Put{Key: []byte("s"), Value: fmt.Append(nil, i)}}})
		_, err := s.Propose(within(t, 20*time.Second), cmd)
		require.NoError(t, err)
		longest = max(longest, time.Since(start))
	}
	e, ok, err := c.KV("kv/demo").Get(within(t, 20*time.Second), []byte("s"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, fmt.Sprint(n-1), string(e.Value))
	require.Equal(t, before+n, e.Revision, "each command once")
	require.NoError(t, s.Close(within(t, 20*time.Second)))
	t.Logf("longest gap through the death of the leader: %v", longest)
}

// noQuorum takes the second of three replicas away.
func noQuorum(t *testing.T, f *fleet, c *client.Client) {
	t.Helper()
	f.leader().kill()
	_, err := c.KV("kv/demo").Put(within(t, 3*time.Second), []byte("k"), nil)
	require.Error(t, err)
	for d := 3 * time.Second; d < 20*time.Second; d += time.Second { // it may meet dying connections: the client's, and those of other hosts
		if client.ReasonOf(err) == hostpb.Reason_REASON_NO_QUORUM {
			break
		}
		_, err = c.KV("kv/demo").Put(within(t, d), []byte("k"), nil)
	}
	require.Equal(t, hostpb.Reason_REASON_NO_QUORUM, client.ReasonOf(err), "%v", err)
	require.Equal(t, client.NotApplied, client.OutcomeOf(err))
	require.ErrorContains(t, err, "drummer-cmd explain kv/demo")
}
