package capacity

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/config"
	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	doormanpb "github.com/drumline/drumline/drummerpb/doorman"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/internal/raft/rafttest"
	"github.com/drumline/drumline/internal/raft/transport/membook"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/internal/serve/servetest"
	"github.com/drumline/drumline/nodehost/api"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/statemachines/capacity"
)

// fleet is real hosts (Raft in memory, gRPC on loopback) that share an address book,
// which also plays the drummer.
type fleet struct {
	t     *testing.T
	hosts []*realHost
	book  *membook.Book

	mu     sync.Mutex
	groups map[string]*hostpb.Location // guarded by mu: by name
	jump   time.Duration               // guarded by mu: added to the wall clock of all hosts
	config string
}

// realHost is one of them.
type realHost struct {
	f       *fleet
	id      ids.Host
	addr    string
	raft    *raft.Host
	router  *route.Router
	leases  *Service
	pool    *serve.Pool
	server  *servetest.Server
	stop    context.CancelFunc
	running sync.WaitGroup
	dead    bool
}

func newFleet(t *testing.T, n int) *fleet {
	f := &fleet{t: t, book: membook.New(), groups: map[string]*hostpb.Location{}}
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
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.groups {
		if g.GetName() == ref.GetName() || g.GetId() == ref.GetId() {
			return proto.CloneOf(g), nil
		}
	}
	return nil, fault.New(fault.GroupNotFound, "there is no such group")
}

func (f *fleet) FirstUse(ctx context.Context, name string) (*hostpb.Location, error) {
	return f.Locate(ctx, &hostpb.GroupRef{Name: name})
}

func (f *fleet) Servers(context.Context) ([]*hostpb.Server, error) { return nil, nil }

// Groups and Configuration make it a Cluster.
func (f *fleet) Groups(_ context.Context, prefix, after string, limit uint32) ([]*drummerpb.GroupInfo, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*drummerpb.GroupInfo
	for name, g := range f.groups {
		if len(name) > len(prefix) && name > after {
			out = append(out, &drummerpb.GroupInfo{Name: name, Id: g.GetId(), State: "ok", Replicas: []*drummerpb.ReplicaInfo{{Host: "host-<1>", Leader: true}}})
		}
	}
	slices.SortFunc(out, func(a, b *drummerpb.GroupInfo) int { return slices.Compare([]byte(a.GetName()), []byte(b.GetName())) })
	n := min(len(out), int(limit))
	return out[:n], n < len(out), nil
}

func (f *fleet) Configuration(context.Context, string) (uint64, string, error) {
	return 7, f.config, nil
}

// all are the numbers of all groups.
func (f *fleet) all() []ids.Group {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []ids.Group
	for _, g := range f.groups {
		out = append(out, ids.Group(g.GetId()))
	}
	return out
}

// now is the hosts' clocks.
func (f *fleet) now() moment {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := present()
	m.wall = m.wall.Add(f.jump)
	return m
}

// GroupByName makes a host a route.Local.
func (h *realHost) GroupByName(name string) (ids.Group, bool) {
	h.f.mu.Lock()
	g := ids.Group(h.f.groups[name].GetId())
	h.f.mu.Unlock()
	s, ok := h.raft.Status(g)
	return g, ok && s.Opened && !s.Sealed
}

func (h *realHost) boot() {
	t := h.f.t
	var err error
	h.raft = rafttest.Open(t, h.f.book, h.id, capacity.App())
	h.pool, err = serve.NewPool(config.TLS{})
	require.NoError(t, err)
	h.router = route.New(route.Options{
		Self: h.id, Raft: h.raft, Local: h, Locator: h.f, Pool: h.pool, API: h.f.api,
		Prepare: func(ctx context.Context, g ids.Group, cmds [][]byte) ([][]byte, error) {
			return h.leases.Prepare(ctx, g, cmds)
		},
	})
	h.server = servetest.Start(t, func(s *servetest.Server) {
		h.addr = s.Addr
		h.leases = New(Options{Router: h.router, Raft: h.raft, Cluster: h.f, Led: h.f.all, Advertise: h.addr, now: h.f.now, idle: time.Second})
		api.Register(s, api.Options{Router: h.router})
		h.leases.Register(s)
	})
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	h.running.Go(func() { h.leases.Run(ctx) })
}

// kill ends the host without handing anything off.
func (h *realHost) kill() {
	if h.dead {
		return
	}
	h.dead = true
	h.server.Close()
	h.stop()
	h.running.Wait()
	require.NoError(h.f.t, h.router.Close())
	require.NoError(h.f.t, h.raft.Close())
	require.NoError(h.f.t, h.pool.Close())
}

// launch starts a resource's group on some hosts, opens it, and gives it its definition.
func (f *fleet) launch(id ids.Group, resource string, def *capacitypb.Definition, hosts ...int) {
	name, members := groupOf(resource), map[ids.Replica]ids.Host{}
	where := &hostpb.Location{Name: name, Id: uint64(id), Version: 1}
	for _, at := range hosts {
		h := f.hosts[at]
		replica := ids.Replica(uint64(id)*10 + uint64(at))
		members[replica] = h.id
		where.Members = append(where.Members, &hostpb.Member{Replica: uint64(replica), HostId: string(h.id), HostName: string(h.id), Api: h.addr})
	}
	f.mu.Lock()
	f.groups[name] = where
	f.mu.Unlock()
	ctx := within(f.t, 30*time.Second)
	for _, at := range hosts {
		replica := ids.Replica(uint64(id)*10 + uint64(at))
		require.NoError(f.t, f.hosts[at].raft.Start(ctx, raft.Replica{Group: id, ID: replica, Name: name, Members: members}))
	}
	require.Eventually(f.t, func() bool { return f.leader(id).raft.OpenGroup(ctx, id, 1) == nil }, 20*time.Second, 10*time.Millisecond)
	f.configure(id, 1, def)
}

// configure gives a group a definition.
func (f *fleet) configure(id ids.Group, revision uint64, def *capacitypb.Definition) {
	cmd := pack(&capacitypb.Command{Op: &capacitypb.Command_Configure{Configure: &capacitypb.Configure{Revision: revision, Definition: def}}})
	require.Eventually(f.t, func() bool {
		res, err := f.leader(id).raft.ProposeOwn(within(f.t, 5*time.Second), id, cmd)
		if err != nil {
			return false
		}
		out := &capacitypb.Result{}
		require.NoError(f.t, proto.Unmarshal(res.Data, out))
		require.Equal(f.t, capacitypb.Outcome_OUTCOME_OK, out.GetOutcome(), "%s", out.GetDetail())
		return true
	}, 20*time.Second, 10*time.Millisecond)
}

// leader waits for the host that serves a group.
func (f *fleet) leader(id ids.Group) *realHost {
	var found *realHost
	require.Eventually(f.t, func() bool {
		i := slices.IndexFunc(f.hosts, func(h *realHost) bool {
			if h.dead {
				return false
			}
			s, ok := h.raft.Status(id)
			return ok && s.Serving
		})
		if i >= 0 {
			found = f.hosts[i]
		}
		return i >= 0
	}, 30*time.Second, 5*time.Millisecond)
	return found
}

// summary reads a resource's summary through a host.
func (f *fleet) summary(h *realHost, resource string) *capacitypb.Summary {
	a, err := h.leases.o.describe(within(f.t, 10*time.Second), groupOf(resource))
	require.NoError(f.t, err)
	return a.GetSummary()
}

// doorman is the original's service at a host.
func (h *realHost) doorman() doormanpb.CapacityClient {
	conn, err := h.pool.Conn(h.addr)
	require.NoError(h.f.t, err)
	return doormanpb.NewCapacityClient(conn)
}

// get asks as an original client does, and returns what is granted in the request's order.
func (h *realHost) get(client string, entries ...*doormanpb.ResourceRequest) []float64 {
	h.f.t.Helper()
	resp, err := h.doorman().GetCapacity(within(h.f.t, 20*time.Second), getting(client, entries...))
	require.NoError(h.f.t, err)
	var out []float64
	for _, r := range resp.GetResponse() {
		out = append(out, r.GetGets().GetCapacity())
	}
	return out
}

// knowing is an entry of a client that shows its newest answer.
func knowing(resource string, wants, has float64) *doormanpb.ResourceRequest {
	r := wanted(resource, wants)
	r.Has = &doormanpb.Lease{ExpiryTime: new(int64(1)), RefreshInterval: new(int64(1)), Capacity: new(has)}
	return r
}

func defined(algorithm capacitypb.Algorithm, capacity float64) *capacitypb.Definition {
	return &capacitypb.Definition{Algorithm: algorithm, Capacity: new(capacity), LeaseLengthMs: 15_000, RefreshIntervalMs: 5_000}
}

// The numbers of the original's tutorial, through a host that holds none of the groups,
// with a bulk request over groups of different hosts, and through the death of a leader.
func TestTheTutorialThroughAStranger(t *testing.T) {
	f := newFleet(t, 6)
	proportional, fair := defined(capacitypb.Algorithm_ALGORITHM_PROPORTIONAL_SHARE, 100), defined(capacitypb.Algorithm_ALGORITHM_FAIR_SHARE, 1000)
	proportional.LeaseLengthMs, fair.LeaseLengthMs = 600_000, 600_000 // no lease ends meanwhile
	f.launch(1000, "proportional", proportional, 0, 1, 2)
	f.launch(1001, "fair/x", fair, 2, 3, 4)
	h := f.hosts[5]
	for _, small := range []string{"small1", "small2", "small3", "small4"} {
		require.Equal(t, []float64{100, 10}, h.get(small, wanted("fair/x", 100), wanted("proportional", 10)))
	}
	require.Equal(t, []float64{60}, h.get("big", wanted("proportional", 500)))
	require.Equal(t, []float64{0}, h.get("bigger", wanted("proportional", 1000)))
	f.leader(1000).kill()
	require.Equal(t, []float64{25.454545454545457}, h.get("big", knowing("proportional", 500, 60)))
	require.Equal(t, []float64{0}, h.get("bigger", wanted("proportional", 1000)), "big may still use 60")
	require.Equal(t, []float64{25.454545454545457}, h.get("big", knowing("proportional", 500, 25.454545454545457)))
	require.Equal(t, []float64{34.54545454545455}, h.get("bigger", wanted("proportional", 1000)))

	require.Equal(t, []float64{600}, h.get("big", wanted("fair/x", 1000)))
	require.Equal(t, []float64{0}, h.get("bigger", wanted("fair/x", 2000)))
	require.Equal(t, []float64{300}, h.get("big", knowing("fair/x", 1000, 600)))
	require.Equal(t, []float64{300}, h.get("big", knowing("fair/x", 1000, 300)))
	require.Equal(t, []float64{300}, h.get("bigger", knowing("fair/x", 2000, 0)))
	sum := f.summary(h, "fair/x")
	require.Equal(t, []float64{1000, 1000}, []float64{sum.GetGranted(), sum.GetReserved()})

	_, err := h.doorman().ReleaseCapacity(within(t, 10*time.Second), &doormanpb.ReleaseCapacityRequest{ClientId: new("big"), ResourceId: []string{"fair/x"}})
	require.NoError(t, err)
	require.InDelta(t, 700.0, f.summary(h, "fair/x").GetGranted(), 0)
}
