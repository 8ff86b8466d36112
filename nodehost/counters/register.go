// Package counters is a host's services for groups of app counter: the native service
// Counter, and HTTP: /v1/counters and the paths of the talk "Clustering in Go" (/, /inc,
// /verbose and /cluster), which are about one counter, counter/default.
//
// Every host answers for every counter: a request becomes a command of the group, and the
// Router brings it to where the group is led. What breaks a limit is refused here and
// never travels; the machine checks again. Many requests at a time share entries of the
// group's log, so a request costs little more than its way.
//
// A counter may be counted in several regions, by a group in each (package exchange). Then
// every host counts in its own region, under the name without one.
//
// A command with an idempotency key is applied once, whoever sends it how often. So when
// the outcome of a try is not known, because the group's leader went away, the host tries
// again as long as the caller waits. Commands without a key are never repeated.
package counters

import (
	"context"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/statemachines/counter"
)

// Router answers for every group; *route.Router does.
type Router interface {
	Read(ctx context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error)
	ProposeMany(ctx context.Context, m route.Many) ([]route.Outcome, *hostpb.Location)
}

var _ Router = (*route.Router)(nil)

// Member is a process of the cluster, for /cluster.
type Member struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	// Kind is host or drummer; drummers are known by gossip only.
	Kind   string `json:"kind"`
	Region string `json:"region,omitempty"`
	Zone   string `json:"zone,omitempty"`
	API    string `json:"api"`
	HTTP   string `json:"http,omitempty"`
	// Gossip is the address that it gossips on, Version that of its program.
	Gossip  string `json:"gossip,omitempty"`
	Version string `json:"version,omitempty"`
	// State is heard or unheard, by gossip; empty on a host that does not gossip.
	State string `json:"state,omitempty"`
	Self  bool   `json:"self"`
}

// Options of a Service.
type Options struct {
	// Router answers for every group.
	Router Router
	// Region is the host's own; a counter with regions is counted there, if it may be.
	Region string
	// Knows tells whether this host knows where the group of a full name is; nil knows of none.
	Knows func(full string) bool
	// Makes tells whether a template makes the group of a full name, with a region, on first
	// use; nil: none does.
	Makes func(full string) bool
	// Regions lists the regions in which there are groups of a name; nil: no counter has
	// regions.
	Regions func(ctx context.Context, name string) ([]string, error)
	// Members are the hosts that this one knows, itself among them.
	Members func() []Member
	// Stopping is closed when the host stops: watches then end. May be nil.
	Stopping <-chan struct{}
	// Now is the host's clock; nil means time.Now.
	Now func() time.Time
}

// Service serves counters. Its methods may be called from any goroutine.
type Service struct {
	desk     *desk
	members  func() []Member
	stopping <-chan struct{}
}

// New makes a Service; Close it.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Members == nil {
		o.Members = func() []Member { return nil }
	}
	if o.Knows == nil {
		o.Knows = func(string) bool { return false }
	}
	if o.Makes == nil {
		o.Makes = func(string) bool { return false }
	}
	a := &atlas{region: o.Region, knows: o.Knows, makes: o.Makes, regions: o.Regions, now: o.Now, lists: map[string]list{}}
	d := &desk{router: o.Router, now: o.Now, atlas: a}
	d.gather = d.newGather()
	return &Service{desk: d, members: o.Members, stopping: o.Stopping}
}

// Close ends what is being counted, with errors for those who wait; idempotent.
func (s *Service) Close() error {
	s.desk.gather.Close()
	return nil
}

// Prepare is for the Router: commands for a counter's group get the time of this host, which
// leads it. name is the group's; cmds are not changed.
func (s *Service) Prepare(name string, cmds [][]byte) [][]byte {
	if !strings.HasPrefix(name, counter.Name+"/") {
		return cmds
	}
	now, out := uint64(max(s.desk.now().UnixMilli(), 0)), make([][]byte, len(cmds))
	for i, cmd := range cmds {
		out[i] = counter.Stamped(cmd, now)
	}
	return out
}

// Register registers the native service.
func (s *Service) Register(registrar grpc.ServiceRegistrar) {
	counterpb.RegisterCounterServer(registrar, &native{desk: s.desk, stopping: s.stopping})
}

// Handle hands every HTTP path to handle, which takes patterns as http.ServeMux does.
func (s *Service) Handle(handle func(pattern string, h http.Handler)) {
	w := &web{desk: s.desk, members: s.members, plain: []string{plainText}}
	for pattern, f := range w.paths() {
		handle(pattern, f)
	}
}
