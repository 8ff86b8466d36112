package drummer

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// world is the Raft groups that the fake hosts pretend to run: memberships with
// Raft's rules for them, and a leader wherever a quorum of the voters runs.
type world struct {
	mu     sync.Mutex
	hosts  map[string]*fakeHost
	groups map[uint64]*fakeGroup
	// orders counts what was obeyed, by kind.
	orders map[string]int
}

type fakeGroup struct {
	name                    string
	voters, observers, gone map[uint64]string // replica → host
	change                  uint64
	term                    uint64
	leader                  uint64
	opened, sealed          bool
}

func newWorld() *world {
	return &world{hosts: map[string]*fakeHost{}, groups: map[uint64]*fakeGroup{}, orders: map[string]int{}}
}

// elect settles who leads, after anything changed. Under w.mu.
func (w *world) elect(g *fakeGroup, id uint64) {
	var live []uint64
	for r, h := range g.voters {
		if w.runs(h, id, r) {
			live = append(live, r)
		}
	}
	slices.Sort(live)
	switch {
	case len(live) <= len(g.voters)/2:
		g.leader = 0
	case !slices.Contains(live, g.leader):
		g.leader = live[int(id)%len(live)]
		g.term++
	}
}

func (w *world) runs(host string, group, replica uint64) bool {
	h := w.hosts[host]
	return h != nil && h.up && h.replicas[group] == replica
}

func (g *fakeGroup) membership() *drummerpb.Membership {
	return &drummerpb.Membership{
		ConfigChange: g.change, Voters: maps.Clone(g.voters), Observers: maps.Clone(g.observers), Removed: slices.Sorted(maps.Keys(g.gone)),
	}
}

// fakeHost keeps replicas in memory, attends to the drummers and obeys.
type fakeHost struct {
	w        *world
	id, name string
	region   string
	drummers []string
	epoch    uint64

	up       bool // under w.mu, like the rest
	replicas map[uint64]uint64
	cancel   context.CancelFunc
	done     chan struct{}
	attended int    // streams that got a welcome
	last     string // why the last stream ended
}

// addHost makes a host that is down.
func (w *world) addHost(id, region string, drummers []string) *fakeHost {
	h := &fakeHost{w: w, id: id, name: "host-" + id, region: region, drummers: drummers, replicas: map[uint64]uint64{}}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[id] = h
	return h
}

func (h *fakeHost) start(t *testing.T) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	h.up, h.cancel, h.done = true, cancel, make(chan struct{})
	h.epoch++
	h.w.electAll()
	done := h.done
	go func() { defer close(done); h.live(ctx) }()
	t.Cleanup(h.kill)
}

// kill is a kill -9: the streams break, the data stays.
func (h *fakeHost) kill() {
	h.w.mu.Lock()
	if !h.up {
		h.w.mu.Unlock()
		return
	}
	h.up = false
	h.w.electAll()
	cancel, done := h.cancel, h.done
	h.w.mu.Unlock()
	cancel()
	<-done
}

func (w *world) electAll() {
	for id, g := range w.groups {
		w.elect(g, id)
	}
}

// live attends to one drummer after the other.
func (h *fakeHost) live(ctx context.Context) {
	next := h.drummers[0]
	for i := 0; ctx.Err() == nil; i++ {
		redirect, err := h.attend(ctx, next)
		h.w.mu.Lock()
		if err != nil {
			h.last = err.Error()
		}
		h.w.mu.Unlock()
		if next = redirect; next == "" {
			next = h.drummers[i%len(h.drummers)]
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

func (h *fakeHost) attend(ctx context.Context, addr string) (redirect string, err error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // ends the stream's goroutines
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	st, err := drummerpb.NewSupervisorClient(conn).Attend(ctx)
	if err != nil {
		return "", err
	}
	sent := h.reports()
	if err := st.Send(h.hello(sent)); err != nil {
		return "", err
	}
	in := make(chan *drummerpb.SupervisorMessage)
	var failed error
	go func() {
		defer close(in)
		for {
			m, err := st.Recv()
			if err != nil {
				failed = err
				return
			}
			select {
			case in <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := uint64(1); ; n++ {
		select {
		case m, ok := <-in:
			if !ok {
				return "", failed
			}
			if m.GetRedirect() != nil {
				return m.GetRedirect().GetLeader(), nil
			}
			if told := m.GetAddresses().GetDrummers(); len(told) > 0 {
				h.drummers = told
			}
			if err := h.obey(st, m); err != nil {
				return "", err
			}
		case <-tick.C:
			if n%10 == 0 {
				err = st.Send(&drummerpb.HostMessage{Body: &drummerpb.HostMessage_Heartbeat{Heartbeat: &drummerpb.Heartbeat{Sequence: n}}})
			}
			if sent, err = h.report(st, sent, err); err != nil {
				return "", err
			}
		}
	}
}

func (h *fakeHost) hello(reports map[uint64]*drummerpb.ReplicaReport) *drummerpb.HostMessage {
	return &drummerpb.HostMessage{Body: &drummerpb.HostMessage_Hello{Hello: &drummerpb.Hello{
		Deployment: "test", Version: "fake", Replicas: slices.Collect(maps.Values(reports)),
		Host: &fleetpb.Host{
			Id: h.id, Name: h.name, Region: h.region, Api: h.name + ":1", Raft: h.name + ":2", BootEpoch: h.epoch,
			Apps: []*fleetpb.App{{Name: "kv", Version: 1}},
		},
	}}}
}

// reports says how every replica here is.
func (h *fakeHost) reports() map[uint64]*drummerpb.ReplicaReport {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	out := map[uint64]*drummerpb.ReplicaReport{}
	for group, replica := range h.replicas {
		g := h.w.groups[group]
		_, voter := g.voters[replica]
		r := &drummerpb.ReplicaReport{
			Group: group, Replica: replica, Name: g.name, State: drummerpb.ReplicaState_REPLICA_STATE_OK, Observer: !voter,
			LeaderReplica: g.leader, Term: g.term, ConfigChange: g.change, Opened: g.opened, Sealed: g.sealed, Version: 1,
		}
		if g.leader == replica {
			r.Serving, r.Membership = true, g.membership()
		}
		out[group] = r
	}
	return out
}

// report sends what changed since the last time.
func (h *fakeHost) report(st grpc.BidiStreamingClient[drummerpb.HostMessage, drummerpb.SupervisorMessage], sent map[uint64]*drummerpb.ReplicaReport, err error) (map[uint64]*drummerpb.ReplicaReport, error) {
	now := h.reports()
	r := &drummerpb.Report{}
	for group, state := range now {
		if !proto.Equal(sent[group], state) {
			r.Changed = append(r.Changed, state)
		}
	}
	for group, state := range sent {
		if now[group].GetReplica() != state.GetReplica() {
			r.Gone = append(r.Gone, &drummerpb.ReplicaRef{Group: group, Replica: state.GetReplica()})
		}
	}
	if err != nil || len(r.GetChanged())+len(r.GetGone()) == 0 {
		return now, err
	}
	return now, st.Send(&drummerpb.HostMessage{Body: &drummerpb.HostMessage_Report{Report: r}})
}

func (h *fakeHost) obey(st grpc.BidiStreamingClient[drummerpb.HostMessage, drummerpb.SupervisorMessage], m *drummerpb.SupervisorMessage) error {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	if m.GetWelcome() != nil {
		h.attended++
	}
	o := m.GetOrder()
	if o == nil {
		return nil
	}
	membership, err := h.carryOut(o)
	h.w.electAll()
	result := &drummerpb.OrderResult{Order: o.GetId(), Ok: err == nil, Membership: membership}
	if err != nil {
		result.Detail = err.Error()
	}
	return st.Send(&drummerpb.HostMessage{Body: &drummerpb.HostMessage_Result{Result: result}})
}

// carryOut obeys one order. Under w.mu.
func (h *fakeHost) carryOut(o *drummerpb.Order) (*drummerpb.Membership, error) {
	if o.GetHostId() != h.id || o.GetBootEpoch() != h.epoch {
		return nil, errors.New("for another host or boot")
	}
	g := h.w.groups[o.GetGroup()]
	switch b := o.GetBody().(type) {
	case *drummerpb.Order_Start:
		h.w.orders["start"]++
		if g == nil {
			g = &fakeGroup{name: b.Start.GetName(), voters: maps.Clone(b.Start.GetInitialMembers()), observers: map[uint64]string{}, gone: map[uint64]string{}, change: 3, term: 1}
			h.w.groups[o.GetGroup()] = g
		}
		h.replicas[o.GetGroup()] = o.GetReplica()
	case *drummerpb.Order_Destroy:
		h.w.orders["destroy"]++
		if h.replicas[o.GetGroup()] == o.GetReplica() {
			delete(h.replicas, o.GetGroup())
		}
	case *drummerpb.Order_CatchUp:
		h.w.orders["catch-up"]++
		if g == nil || g.leader == 0 {
			return nil, errors.New("no leader")
		}
	default:
		return h.carryOutAsLeader(o, g)
	}
	return nil, nil
}

func (h *fakeHost) carryOutAsLeader(o *drummerpb.Order, g *fakeGroup) (*drummerpb.Membership, error) {
	if g == nil || g.leader == 0 || h.replicas[o.GetGroup()] != g.leader {
		return nil, errors.New("not the leader")
	}
	switch b := o.GetBody().(type) {
	case *drummerpb.Order_Open:
		h.w.orders["open"]++
		g.opened = true
	case *drummerpb.Order_Seal:
		h.w.orders["seal"]++
		g.sealed = true
	case *drummerpb.Order_Change:
		h.w.orders["change"]++
		err := g.apply(b.Change)
		return g.membership(), err
	}
	return g.membership(), nil
}

func (g *fakeGroup) apply(c *drummerpb.Change) error {
	if c.GetConfigChange() != g.change {
		return errors.New("another config change")
	}
	switch c.GetKind() {
	case drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER:
		g.observers[c.GetReplica()] = c.GetHostId()
	case drummerpb.ChangeKind_CHANGE_KIND_PROMOTE:
		g.voters[c.GetReplica()] = g.observers[c.GetReplica()]
		delete(g.observers, c.GetReplica())
	case drummerpb.ChangeKind_CHANGE_KIND_REMOVE:
		g.gone[c.GetReplica()] = ""
		delete(g.observers, c.GetReplica())
		delete(g.voters, c.GetReplica())
	case drummerpb.ChangeKind_CHANGE_KIND_UNSPECIFIED:
		return nil
	}
	g.change++
	return nil
}
