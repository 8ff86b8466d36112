package counters_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve/servetest"
	"github.com/drumline/drumline/nodehost/counters"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/counter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is groups without Raft: real machines behind a Router that can fail.
type cluster struct {
	mu      sync.Mutex
	groups  map[string]*counter.Machine // guarded by mu, by full name
	lost    bool                        // guarded by mu: the next answer is lost
	down    error                       // guarded by mu: what every call fails with
	silent  map[string]chan struct{}    // guarded by mu: groups whose reads wait for this
	seconds int64                       // guarded by mu: of the clock
	// auto, guarded by mu, tells which groups are made on first use.
	auto func(name string) bool
}

func newCluster(groups ...string) *cluster {
	c := &cluster{groups: map[string]*counter.Machine{}}
	for i, name := range groups {
		c.groups[name] = counter.New(statemachines.Group{ID: uint64(1000 + i), Name: name})
	}
	return c
}

// clock is the time of the hosts under test.
func (c *cluster) clock() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.UnixMilli(1_700_000_000_000 + c.seconds*1000)
}

// change changes what the cluster does.
func (c *cluster) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *cluster) machine(group string) (*counter.Machine, error) {
	if c.down != nil {
		return nil, c.down
	}
	m := c.groups[group]
	if m == nil {
		return nil, fault.New(fault.GroupNotFound, "there is no group %s", group)
	}
	return m, nil
}

func (c *cluster) apply(group string, data []byte) (statemachines.Result, error) {
	m, err := c.machine(group)
	if err != nil {
		return statemachines.Result{}, err
	}
	out := make([]statemachines.Result, 1)
	m.Apply([]statemachines.Command{{Version: 1, Data: data}}, out)
	if c.lost {
		c.lost = false
		return statemachines.Result{}, fault.New(fault.UnknownOutcome, "the leader went away")
	}
	return out[0], nil
}

func (c *cluster) ProposeMany(_ context.Context, m route.Many) ([]route.Outcome, *hostpb.Location) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]route.Outcome, len(m.Items))
	name := statemachines.NameOf(m.Group)
	if c.groups[name] == nil && c.auto != nil && c.auto(name) {
		c.groups[name] = counter.New(statemachines.Group{ID: uint64(1000 + len(c.groups)), Name: name})
	}
	for i, item := range m.Items {
		r, err := c.apply(name, item)
		for m.Repeatable && fault.Is(err, fault.UnknownOutcome) { // as the Router does
			r, err = c.apply(name, item)
		}
		out[i].Result.Value, out[i].Result.Data, out[i].Err = r.Value, r.Data, err
	}
	return out, nil
}

func (c *cluster) Read(_ context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
	c.mu.Lock()
	silent := c.silent[statemachines.NameOf(req.GetGroup())]
	c.mu.Unlock()
	if silent != nil {
		<-silent
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m, err := c.machine(statemachines.NameOf(req.GetGroup()))
	if err != nil {
		return nil, err
	}
	data, err := m.Query(req.GetQuery())
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "query")
	}
	return &hostpb.ReadResponse{Data: data}, nil
}

func (c *cluster) service(t testing.TB, stopping <-chan struct{}) *counters.Service {
	t.Helper()
	members := func() []counters.Member {
		return []counters.Member{{Name: "nh1", ID: "a", Region: "ord", API: "127.0.0.1:1", Self: true}}
	}
	s := counters.New(counters.Options{Router: c, Members: members, Stopping: stopping, Now: c.clock})
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// dial serves the native service and returns a client of it.
func (c *cluster) dial(t testing.TB, stopping <-chan struct{}) counterpb.CounterClient {
	t.Helper()
	return counterpb.NewCounterClient(servetest.Dial(t, func(s *servetest.Server) { c.service(t, stopping).Register(s) }))
}

// web serves HTTP.
func (c *cluster) web(t testing.TB) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	c.service(t, nil).Handle(mux.Handle)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// within gives a test a deadline.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
