package nodehost

import (
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve"
)

const patience = 20 * time.Second

// drummer is a scripted drummer: it takes hosts in, keeps what they report, gives
// the orders that a test tells it to, and knows where groups are.
type drummer struct {
	drummerpb.UnimplementedSupervisorServer
	hostpb.UnimplementedDirectoryServer
	t      *testing.T
	addr   string
	server *grpc.Server
	served chan struct{}

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change
	term    uint64
	orders  uint64
	refuse  map[string]string // host id → why
	hosts   map[string]*attendant
	results map[uint64]*drummerpb.OrderResult
	groups  map[string]*hostpb.Location
	wanted  map[string]int // first uses by name
	// configured is what is said of apps.
	configured []*fleetpb.Configuration
}

// attendant is a host as the drummer sees it.
type attendant struct {
	host    *fleetpb.Host
	reports map[uint64]*drummerpb.ReplicaReport // by replica
	gone    map[uint64]bool
	out     chan *drummerpb.SupervisorMessage
	beats   int
	goodbye bool
	live    bool
}

func newDrummer(t *testing.T) *drummer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d := &drummer{
		t: t, addr: l.Addr().String(), changed: make(chan struct{}), term: 5, served: make(chan struct{}),
		refuse: map[string]string{}, hosts: map[string]*attendant{},
		results: map[uint64]*drummerpb.OrderResult{}, groups: map[string]*hostpb.Location{}, wanted: map[string]int{},
	}
	d.serve(l)
	t.Cleanup(d.stop)
	return d
}

func (d *drummer) serve(l net.Listener) {
	d.server = grpc.NewServer(grpc.StreamInterceptor(func(srv any, st grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
		return serve.Status(h(srv, st)).Err()
	}))
	drummerpb.RegisterSupervisorServer(d.server, d)
	hostpb.RegisterDirectoryServer(d.server, locations{d: d})
	healthpb.RegisterHealthServer(d.server, health.NewServer())
	go func() {
		defer close(d.served)
		_ = d.server.Serve(l)
	}()
}

func (d *drummer) stop() {
	d.server.Stop()
	<-d.served
}

// tell changes the drummer's state and wakes who waits.
func (d *drummer) tell(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
	close(d.changed)
	d.changed = make(chan struct{})
}

// await waits until f, which may look at everything, is true.
func (d *drummer) await(what string, f func() bool) {
	d.t.Helper()
	deadline := time.After(patience)
	for {
		d.mu.Lock()
		ok, changed := f(), d.changed
		d.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			d.log()
			d.t.Fatalf("not in time: %s", what)
		}
	}
}

// log writes what is known, for a test that failed.
func (d *drummer) log() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.hosts {
		d.t.Logf("%s live=%v %v", h.host.GetName(), h.live, h.reports)
	}
}

func (d *drummer) Attend(st grpc.BidiStreamingServer[drummerpb.HostMessage, drummerpb.SupervisorMessage]) error {
	m, err := st.Recv()
	if err != nil {
		return err
	}
	hello := m.GetHello()
	a := &attendant{
		host: hello.GetHost(), reports: map[uint64]*drummerpb.ReplicaReport{}, gone: map[uint64]bool{},
		out: make(chan *drummerpb.SupervisorMessage, 1000), live: true,
	}
	for _, r := range hello.GetReplicas() {
		a.reports[r.GetReplica()] = r
	}
	d.mu.Lock()
	why, term := d.refuse[a.host.GetId()], d.term
	d.mu.Unlock()
	if why != "" {
		return fault.New(fault.Conflict, "%s", why)
	}
	a.out <- &drummerpb.SupervisorMessage{Body: &drummerpb.SupervisorMessage_Welcome{Welcome: &drummerpb.Welcome{
		Incarnation: 1, Term: term, HeartbeatMs: 50,
	}}}
	d.tell(func() {
		d.hosts[a.host.GetId()] = a
		d.spread()
		a.out <- configurations(d.configured...)
	})
	defer d.tell(func() { a.live = false })
	read := make(chan struct{})
	go func() {
		defer close(read)
		for {
			m, err := st.Recv()
			if err != nil {
				return
			}
			d.tell(func() { d.hear(a, m) })
		}
	}()
	for {
		select {
		case m := <-a.out:
			if err := st.Send(m); err != nil {
				return err
			}
		case <-read:
			return nil
		}
	}
}

// spread tells every host of all; the lock is held.
func (d *drummer) spread() {
	all := &drummerpb.Addresses{Drummers: []string{d.addr}}
	for _, a := range d.hosts {
		h := a.host
		all.Hosts = append(all.Hosts, &drummerpb.HostAddress{Id: h.GetId(), Name: h.GetName(), Raft: h.GetRaft(), Api: h.GetApi(), BootEpoch: h.GetBootEpoch()})
	}
	for _, a := range d.hosts {
		a.out <- &drummerpb.SupervisorMessage{Body: &drummerpb.SupervisorMessage_Addresses{Addresses: all}}
	}
}

func configurations(list ...*fleetpb.Configuration) *drummerpb.SupervisorMessage {
	return &drummerpb.SupervisorMessage{Body: &drummerpb.SupervisorMessage_Configurations{
		Configurations: &drummerpb.Configurations{Configurations: list},
	}}
}

// configure tells all hosts what is said of an app, now and when they come.
func (d *drummer) configure(c *fleetpb.Configuration) {
	d.tell(func() {
		d.configured = []*fleetpb.Configuration{c}
		for _, a := range d.hosts {
			a.out <- configurations(c)
		}
	})
}

func (d *drummer) hear(a *attendant, m *drummerpb.HostMessage) {
	switch b := m.GetBody().(type) {
	case *drummerpb.HostMessage_Report:
		for _, r := range b.Report.GetChanged() {
			a.reports[r.GetReplica()] = r
		}
		for _, r := range b.Report.GetGone() {
			delete(a.reports, r.GetReplica())
			a.gone[r.GetReplica()] = true
		}
	case *drummerpb.HostMessage_Heartbeat:
		a.beats++
	case *drummerpb.HostMessage_Result:
		d.results[b.Result.GetOrder()] = b.Result
	case *drummerpb.HostMessage_Goodbye:
		a.goodbye = true
	}
}

// locations is the drummer's directory.
type locations struct {
	hostpb.UnimplementedDirectoryServer
	d *drummer
}

// send gives an order to a host and returns its answer.
func (d *drummer) send(h *testHost, group, replica uint64, opts ...func(*drummerpb.Order)) *drummerpb.OrderResult {
	d.t.Helper()
	id := h.id()
	var o *drummerpb.Order
	d.await("stream of "+h.name, func() bool { return d.hosts[id] != nil && d.hosts[id].live })
	d.tell(func() {
		a := d.hosts[id]
		d.orders++
		o = &drummerpb.Order{
			Id: d.orders, Incarnation: 1, Term: d.term, HostId: id, BootEpoch: a.host.GetBootEpoch(),
			Group: group, Replica: replica, Generation: 1,
		}
		for _, opt := range opts {
			opt(o)
		}
		a.out <- &drummerpb.SupervisorMessage{Body: &drummerpb.SupervisorMessage_Order{Order: o}}
	})
	d.await(fmt.Sprintf("answer to %v", o), func() bool { return d.results[o.GetId()] != nil })
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.results[o.GetId()]
}

// obey gives an order until it is obeyed, as a supervisor would.
func (d *drummer) obey(h *testHost, group, replica uint64, opt func(*drummerpb.Order)) *drummerpb.OrderResult {
	d.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		r := d.send(h, group, replica, opt)
		if r.GetOk() {
			return r
		}
		require.False(d.t, r.GetRefused(), r.GetDetail())
		require.True(d.t, time.Now().Before(deadline), "never obeyed: %s", r.GetDetail())
	}
}

// reportLocked returns what a host says of a replica, or nil; mu is held.
func (d *drummer) reportLocked(h *testHost, replica uint64) *drummerpb.ReplicaReport {
	if a := d.hosts[h.id()]; a != nil && a.live {
		return a.reports[replica]
	}
	return nil
}

func (d *drummer) awaitReport(h *testHost, replica uint64, what string, f func(*drummerpb.ReplicaReport) bool) {
	d.t.Helper()
	d.await(fmt.Sprintf("%s: replica %d %s", h.name, replica, what), func() bool {
		r := d.reportLocked(h, replica)
		return r != nil && f(r)
	})
}

func isOK(r *drummerpb.ReplicaReport) bool {
	return r.GetState() == drummerpb.ReplicaState_REPLICA_STATE_OK
}

// leader waits until one of the hosts serves the group.
func (d *drummer) leader(group uint64, hosts ...*testHost) (leader *testHost, replica uint64) {
	d.t.Helper()
	d.await("a leader", func() bool {
		for _, h := range hosts {
			a := d.hosts[h.id()]
			if a == nil || !a.live {
				continue
			}
			for id, r := range a.reports {
				if r.GetGroup() == group && r.GetServing() {
					leader, replica = h, id
					return true
				}
			}
		}
		return false
	})
	return leader, replica
}

// launch starts a group with replica i+1 on hosts[i], and opens it.
func (d *drummer) launch(group uint64, name string, first uint64, hosts ...*testHost) {
	d.t.Helper()
	members := map[uint64]string{}
	for i, h := range hosts {
		members[first+uint64(i)] = h.id()
	}
	app, _, _ := strings.Cut(name, "/")
	for i, h := range hosts {
		d.obey(h, group, first+uint64(i), func(o *drummerpb.Order) {
			o.Body = &drummerpb.Order_Start{Start: &drummerpb.Start{Name: name, App: app, InitialMembers: maps.Clone(members)}}
		})
	}
	for i, h := range hosts {
		d.awaitReport(h, first+uint64(i), "runs", isOK)
	}
	leader, replica := d.leader(group, hosts...)
	d.obey(leader, group, replica, func(o *drummerpb.Order) {
		o.Body = &drummerpb.Order_Open{Open: &drummerpb.Open{Version: 1}}
	})
	d.locate(group, name, members)
}

func (d *drummer) locate(group uint64, name string, members map[uint64]string) {
	l := &hostpb.Location{Name: name, Id: group, Version: 1}
	d.tell(func() {
		for id, host := range members {
			l.Members = append(l.Members, &hostpb.Member{Replica: id, HostId: host, Api: d.hosts[host].host.GetApi()})
		}
		d.groups[name] = l
	})
}
