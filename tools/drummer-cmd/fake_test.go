package main

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	gossippb "github.com/drumline/drumline/drummerpb/gossip"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	kvpb "github.com/drumline/drumline/drummerpb/kv"
	multiraftpb "github.com/drumline/drumline/drummerpb/multiraft"
	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/nodehost/counters"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/nodehost/sequences"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/capacity"
	"github.com/drumline/drumline/statemachines/counter"
	"github.com/drumline/drumline/statemachines/example"
	"github.com/drumline/drumline/statemachines/kv"
	"github.com/drumline/drumline/statemachines/sequence"
)

// fake is a cluster of one process that is drummer and nodehost at once: real gRPC,
// real state machines, and a record of a few lists.
type fake struct {
	drummerpb.UnimplementedDrummerServer
	hostpb.UnimplementedDirectoryServer
	hostpb.UnimplementedGroupsServer

	address string
	server  *grpc.Server
	served  sync.WaitGroup

	mu        sync.Mutex
	groups    []*drummerpb.GroupInfo // sorted by name
	machines  map[uint64]statemachines.Machine
	hosts     []*drummerpb.HostInfo
	events    []*fleetpb.Event
	seen      map[string]int // calls by method
	another   *sync.Cond     // on mu: there was another call
	next      uint64
	page      int
	calls     int            // of CreateGroups
	policies  int            // of these, with a policy
	failing   hostpb.Reason  // answer of everything, unless unspecified
	failAfter int            // of CreateGroups calls, unless 0
	slow      map[string]int // how often a group is listed as launching before it is ok
	lost      int            // proposals under a session whose answer is lost
	sessions  map[uint64]*multiraftpb.RaftResponse
	proposals int
	exports   string // what Export answers, unless empty
	keysOnly  int    // lists of app kv that want no values

	configured *configured
	paused     []string
	drained    *drummerpb.HostInfo // is drained when the hosts are listed
}

func newFake(t require.TestingT) *fake {
	f := &fake{
		machines: map[uint64]statemachines.Machine{}, next: 1000, page: 1000, slow: map[string]int{},
		sessions: map[uint64]*multiraftpb.RaftResponse{}, configured: newConfigured(),
	}
	f.another, f.seen = sync.NewCond(&f.mu), map[string]int{}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	f.address = ln.Addr().String()
	f.server = grpc.NewServer(grpc.UnaryInterceptor(f.intercept))
	drummerpb.RegisterDrummerServer(f.server, f)
	hostpb.RegisterDirectoryServer(f.server, f)
	hostpb.RegisterGroupsServer(f.server, f)
	statepb.RegisterStatesServer(f.server, &statesFake{f: f})
	multiraftpb.RegisterNodehostAPIServer(f.server, &rawFake{f: f})
	capacitypb.RegisterCapacityServer(f.server, &leaseFake{f: f})
	sequences.Register(f.server, sequences.Options{Router: sequenceFake{f}})
	counters.New(counters.Options{Router: sequenceFake{f}}).Register(f.server)
	f.served.Go(func() { _ = f.server.Serve(ln) })
	return f
}

func (f *fake) stop() {
	f.server.Stop()
	f.served.Wait()
}

func refuse(reason hostpb.Reason, text string) error { return refuseAbout("", reason, text) }

// refuseAbout is refuse of what is about something else than a group.
func refuseAbout(missing string, reason hostpb.Reason, text string) error {
	code := codes.Unavailable
	switch reason {
	case hostpb.Reason_REASON_GROUP_NOT_FOUND:
		code = codes.NotFound
	case hostpb.Reason_REASON_CONFLICT, hostpb.Reason_REASON_SEALED:
		code = codes.FailedPrecondition
	case hostpb.Reason_REASON_INVALID:
		code = codes.InvalidArgument
	}
	st, err := status.New(code, text).WithDetails(&errdetails.ErrorInfo{
		Reason: strings.TrimPrefix(reason.String(), "REASON_"), Domain: "drumline",
		Metadata: map[string]string{"outcome": "not_applied", "group": "kv/a", "missing": missing},
	})
	if err != nil {
		return err
	}
	return st.Err()
}

func (f *fake) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen[info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:]]++
	f.another.Broadcast()
	if f.failing != hostpb.Reason_REASON_UNSPECIFIED && !strings.HasSuffix(info.FullMethod, "Servers") {
		return nil, refuse(f.failing, "as the test wants it")
	}
	if strings.HasPrefix(info.FullMethod, "/drumline.sequence.") || strings.HasPrefix(info.FullMethod, "/drumline.counter.") {
		f.mu.Unlock()
		defer f.mu.Lock()
	}
	resp, err := next(ctx, req)
	if fault.Of(err) != nil {
		err = serve.Status(err).Err()
	}
	return resp, err
}

func (f *fake) Servers(context.Context, *hostpb.ServersRequest) (*hostpb.ServersResponse, error) {
	return &hostpb.ServersResponse{Servers: []*hostpb.Server{
		{Kind: "nodehost", Id: "h1", Name: "host-1", Api: f.address, Region: "east"},
		{Kind: "drummer", Id: "d1", Name: "drummer-1", Api: "localhost" + f.address[strings.LastIndex(f.address, ":"):], Leader: true, Region: "west"},
	}}, nil
}

// byName finds a group by its full name.
func (f *fake) byName(full string) *drummerpb.GroupInfo {
	for _, g := range slices.Backward(f.groups) {
		if statemachines.NameOf(g) == full {
			return g
		}
	}
	return nil
}

func (f *fake) Locate(_ context.Context, req *hostpb.LocateRequest) (*hostpb.LocateResponse, error) {
	g := f.byName(statemachines.NameOf(req.GetGroup()))
	if g == nil {
		return nil, refuse(hostpb.Reason_REASON_GROUP_NOT_FOUND, "no group "+req.GetGroup().GetName())
	}
	return &hostpb.LocateResponse{Location: &hostpb.Location{Name: g.GetName(), Region: g.GetRegion(), Id: g.GetId(), LeaderApi: f.address}}, nil
}

// add makes a group of three replicas.
func (f *fake) add(full, state string) *drummerpb.GroupInfo {
	name, region := statemachines.CutRegion(full)
	g := &drummerpb.GroupInfo{Name: name, Region: region, Id: f.next, App: name[:strings.Index(name, "/")], State: state, Want: 3, Generation: 4}
	g.Spec = &fleetpb.Spec{Name: name, Region: region, App: g.GetApp(), Replicas: 3}
	f.next++
	for i, host := range []string{"host-1", "host-2", "host-3"} {
		g.Replicas = append(g.Replicas, &drummerpb.ReplicaInfo{
			Id: 10*g.GetId() + uint64(i), Host: host, HostId: "h" + host[5:], Leader: i == 0, State: drummerpb.ReplicaState_REPLICA_STATE_OK, Applied: 7,
		})
	}
	app := kv.App()
	switch g.GetApp() {
	case "board":
		app = example.App()
	case "capacity":
		app = capacity.App()
	case "sequence":
		app = sequence.App()
	case "counter":
		app = counter.App()
	}
	f.machines[g.GetId()] = app.New(statemachines.Group{ID: g.GetId(), Name: full})
	f.groups = append(f.groups, g)
	slices.SortStableFunc(f.groups, func(a, b *drummerpb.GroupInfo) int { return strings.Compare(a.GetName(), b.GetName()) })
	return g
}

func (f *fake) CreateGroups(_ context.Context, req *drummerpb.CreateGroupsRequest) (*drummerpb.CreateGroupsResponse, error) {
	f.calls++
	if f.failAfter > 0 && f.calls > f.failAfter {
		return nil, refuse(hostpb.Reason_REASON_CONFLICT, "the record has had enough")
	}
	if len(req.GetSpecs()) > 500 {
		return nil, refuse(hostpb.Reason_REASON_INVALID, "too many groups in one call")
	}
	if req.GetPolicy() != nil {
		f.policies++
	}
	resp := &drummerpb.CreateGroupsResponse{}
	for _, s := range req.GetSpecs() {
		resp.Items = append(resp.Items, f.create(s, req.GetDryRun()))
	}
	return resp, nil
}

func (f *fake) create(s *fleetpb.Spec, dryRun bool) *fleetpb.ItemResult {
	item := &fleetpb.ItemResult{Name: s.GetName(), Code: fleetpb.Code_CODE_OK}
	g := f.byName(statemachines.NameOf(s))
	switch {
	case strings.Contains(s.GetName(), "bad"):
		item.Code, item.Detail = fleetpb.Code_CODE_INVALID, "no such thing"
	case g != nil && g.GetWant() != s.GetReplicas():
		item.Code, item.Detail = fleetpb.Code_CODE_EXISTS, "it exists with another spec"
	case g == nil && !dryRun:
		g = f.add(statemachines.NameOf(s), "ok")
		g.Want, g.Regions, g.Spec = s.GetReplicas(), s.GetRegions(), s
	}
	item.Id = g.GetId()
	return item
}

func (f *fake) DeleteGroup(_ context.Context, req *drummerpb.DeleteGroupRequest) (*drummerpb.DeleteGroupResponse, error) {
	g := f.byName(statemachines.NameOf(req))
	if g == nil {
		return nil, refuse(hostpb.Reason_REASON_GROUP_NOT_FOUND, "no group "+req.GetName())
	}
	f.groups = slices.DeleteFunc(f.groups, func(o *drummerpb.GroupInfo) bool { return o == g })
	return &drummerpb.DeleteGroupResponse{Id: g.GetId()}, nil
}

func (f *fake) ListGroups(_ context.Context, req *drummerpb.ListGroupsRequest) (*drummerpb.ListGroupsResponse, error) {
	resp := &drummerpb.ListGroupsResponse{}
	for _, g := range f.groups {
		seen := g.GetName() < req.GetAfter() || g.GetName() == req.GetAfter() && g.GetId() <= req.GetAfterId()
		if seen || !strings.HasPrefix(g.GetName(), req.GetPrefix()) {
			continue
		}
		if len(resp.GetGroups()) == f.page {
			resp.More = true
			break
		}
		shown, ok := proto.Clone(g).(*drummerpb.GroupInfo)
		if n := f.slow[g.GetName()]; ok && n > 0 {
			f.slow[g.GetName()]--
			shown.State = "launching"
		}
		resp.Groups = append(resp.Groups, shown)
	}
	return resp, nil
}

func (f *fake) Explain(_ context.Context, req *drummerpb.ExplainRequest) (*drummerpb.ExplainResponse, error) {
	if req.GetName() == "" {
		return f.explainOther(req)
	}
	g := f.byName(statemachines.NameOf(req))
	if g == nil {
		return nil, refuse(hostpb.Reason_REASON_GROUP_NOT_FOUND, "no group "+req.GetName())
	}
	return &drummerpb.ExplainResponse{Group: g, Reasons: []string{"no host is left that has none of its replicas"}, Operations: []*fleetpb.Operation{
		{Id: 7, Kind: "replace", Reason: "host-2 is down", StartedUnixMs: 1790000000123},
		{Id: 3, Kind: "launch", StartedUnixMs: 1780000000000, EndedUnixMs: 1780000001000, Result: "done"},
	}}, nil
}

func (f *fake) ListHosts(_ context.Context, req *drummerpb.ListHostsRequest) (*drummerpb.ListHostsResponse, error) {
	if f.drained != nil {
		f.drained.Duty = "drained"
	}
	resp := &drummerpb.ListHostsResponse{Hosts: f.hosts}
	if req.GetGossip() && len(f.hosts) > 0 {
		card := &gossippb.Card{Id: "d1", Name: "drummer-1", Kind: gossippb.Kind_KIND_DRUMMER, Region: "east", Api: "10.0.0.1:9121", Raft: "10.0.0.1:9122", Version: "v1", BootEpoch: 2}
		host := &gossippb.Card{Id: "h1", Name: "host-1", Kind: gossippb.Kind_KIND_HOST, Region: "east", Zone: "a", Api: "10.0.0.2:9221", Raft: "10.0.0.2:9222", Version: "v1", BootEpoch: 7}
		resp.Members = []*gossippb.Member{
			{Card: card, Address: "10.0.0.1:9124", State: "heard", SinceMs: 61_000},
			{Card: host, Address: "10.0.0.2:9224", State: "unheard", SinceMs: 5_400},
		}
	}
	return resp, nil
}

func (f *fake) Status(context.Context, *drummerpb.StatusRequest) (*drummerpb.StatusResponse, error) {
	return &drummerpb.StatusResponse{
		Deployment: "example", Leader: "drummer-1", Term: 9, Incarnation: 1, Revision: 42, Operations: 1,
		Groups: map[string]uint32{"ok": 100, "degraded": 1}, Hosts: map[string]uint32{"up": 4, "down": 1},
		Policy: &fleetpb.Policy{SuspectAfterMs: 3000, DownAfterMs: 10000, OperationsPerHost: 4, OperationsTotal: 50},
	}, nil
}

func (f *fake) ListEvents(_ context.Context, req *drummerpb.ListEventsRequest) (*drummerpb.ListEventsResponse, error) {
	resp := &drummerpb.ListEventsResponse{}
	for _, e := range f.events {
		if e.GetSequence() <= req.GetAfter() {
			continue
		}
		if len(resp.GetEvents()) == f.page {
			resp.More = true
			break
		}
		resp.Events = append(resp.Events, e)
	}
	return resp, nil
}

func (f *fake) machine(name string, id uint64) (statemachines.Machine, error) {
	if name != "" {
		id = f.byName(name).GetId()
	}
	m, ok := f.machines[id]
	if !ok {
		return nil, refuse(hostpb.Reason_REASON_GROUP_NOT_FOUND, "no such group")
	}
	return m, nil
}

func (f *fake) apply(m statemachines.Machine, cmd []byte) statemachines.Result {
	f.proposals++
	results := make([]statemachines.Result, 1)
	m.Apply([]statemachines.Command{{Index: uint64(f.proposals), Version: 1, Data: cmd}}, results)
	return results[0]
}

func (f *fake) Propose(_ context.Context, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
	m, err := f.machine(statemachines.NameOf(req.GetGroup()), req.GetGroup().GetId())
	if err != nil {
		return nil, err
	}
	r := f.apply(m, req.GetCommand())
	return &hostpb.ProposeResponse{Value: r.Value, Data: r.Data}, nil
}

func (f *fake) Read(_ context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
	data, err := f.query(statemachines.NameOf(req.GetGroup()), req.GetGroup().GetId(), req.GetQuery())
	return &hostpb.ReadResponse{Data: data}, err
}

func (f *fake) query(name string, id uint64, query []byte) ([]byte, error) {
	m, err := f.machine(name, id)
	if err != nil {
		return nil, err
	}
	var q kvpb.Query
	if proto.Unmarshal(query, &q) == nil && q.GetList().GetKeysOnly() {
		f.keysOnly++
	}
	data, err := m.Query(query)
	if err != nil {
		return nil, refuse(hostpb.Reason_REASON_INVALID, err.Error())
	}
	return data, nil
}

// rawFake is the v2 service of the fake.
type rawFake struct {
	multiraftpb.UnimplementedNodehostAPIServer
	f *fake
}

func (r *rawFake) GetSession(_ context.Context, req *multiraftpb.SessionRequest) (*multiraftpb.Session, error) {
	return &multiraftpb.Session{ClusterID: req.ClusterId, ClientID: proto.Uint64(5), SeriesID: proto.Uint64(1), RespondedTo: proto.Uint64(0)}, nil
}

func (r *rawFake) CloseSession(context.Context, *multiraftpb.Session) (*multiraftpb.SessionResponse, error) {
	return &multiraftpb.SessionResponse{Completed: proto.Bool(true)}, nil
}

func (r *rawFake) Propose(_ context.Context, req *multiraftpb.RaftProposal) (*multiraftpb.RaftResponse, error) {
	m, err := r.f.machine("", req.GetSession().GetClusterID())
	if err != nil {
		return nil, err
	}
	series := req.GetSession().GetSeriesID()
	if req.GetSession().GetClientID() == 0 {
		return nil, refuse(hostpb.Reason_REASON_INVALID, "the session has no client id")
	}
	if old := r.f.sessions[series]; series > 0 && old != nil {
		return old, nil
	}
	result := r.f.apply(m, req.GetData())
	resp := &multiraftpb.RaftResponse{Result: proto.Uint64(result.Value), Data: result.Data}
	r.f.sessions[series] = resp
	if r.f.lost > 0 {
		r.f.lost--
		return nil, status.Error(codes.DeadlineExceeded, "the answer is lost")
	}
	return resp, nil
}

func (r *rawFake) Read(_ context.Context, req *multiraftpb.RaftReadIndex) (*multiraftpb.RaftResponse, error) {
	data, err := r.f.query("", req.GetClusterId(), req.GetData())
	return &multiraftpb.RaftResponse{Result: proto.Uint64(0), Data: data}, err
}

// sequenceFake lets the hosts' services of apps work on the fake's groups. It takes the
// lock itself: streams come without the interceptor and look again while others work.
type sequenceFake struct{ f *fake }

func (s sequenceFake) ProposeMany(_ context.Context, m route.Many) ([]route.Outcome, *hostpb.Location) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	out := make([]route.Outcome, len(m.Items))
	machine, err := s.f.machine(statemachines.NameOf(m.Group), 0)
	for i, item := range m.Items {
		if out[i].Err = err; err == nil {
			out[i].Result.Data = s.f.apply(machine, item).Data
		}
	}
	return out, nil
}

func (s sequenceFake) Read(_ context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	data, err := s.f.query(statemachines.NameOf(req.GetGroup()), 0, req.GetQuery())
	return &hostpb.ReadResponse{Data: data}, err
}
