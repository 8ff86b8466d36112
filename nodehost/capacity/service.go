// Package capacity is a host's side of app capacity: it leases shares of resources to
// clients, whichever host leads the resource's group.
//
// # Services
//
// The doorman package's Capacity is wire-compatible with Doorman: its clients and servers
// work unchanged, and never need another host than the one they asked. The native
// Capacity carries what the original's wire lacks (tokens, serials, milliseconds) and
// answers each resource by itself.
//
// A request is checked whole before anything of it is proposed. Then it is split by
// resource, each part goes to the resource's group, all at a time, in one command with the
// parts of other requests (package desk), and the answers are put together in the request's
// order. What is asked twice of one resource in one request is decided twice, in that order. A decide may be repeated (an answer that
// was lost stays reserved until its client shows what it knows), so one of unknown outcome
// is tried again until the caller's deadline; a release is not.
//
// # Trees
//
// A resource whose definition names a parent divides what its group leases from the
// parent's: see tree.go.
//
// # Pages
//
// Pages shows people and Prometheus what resources there are and who holds what.
//
//	s := capacity.New(capacity.Options{Router: router, Raft: raftHost, Advertise: server.APIAddr(), Log: log})
//	s.Register(server.GRPC())
//	g.Go(func() error { s.Run(ctx); return nil })
package capacity

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	doormanpb "github.com/drumline/drumline/drummerpb/doorman"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/capacity/desk"
	"github.com/drumline/drumline/nodehost/route"
)

// Router answers for every group; *route.Router does.
type Router interface {
	ProposeMany(ctx context.Context, m route.Many) ([]route.Outcome, *hostpb.Location)
	Read(ctx context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error)
	Find(ctx context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error)
	Locate(ctx context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error)
	Knows(name string) bool
}

var _ Router = (*route.Router)(nil)

// Options of a Service.
type Options struct {
	// Router answers for every group.
	Router Router
	// Advertise is this host's own gRPC address, which Discovery names.
	Advertise string
	// Raft runs this host's replicas.
	Raft Raft
	// Cluster is asked by the pages.
	Cluster Cluster
	// Makes tells whether a template makes a group of that name on first use, as far as this
	// host knows; nil knows of none.
	Makes func(group string) bool
	// Led lists the groups that may be led here, for the gauges; nil for none.
	Led func() []ids.Group
	// now reads both clocks, idle is idleAfter: tests have their own.
	now  func() moment
	idle time.Duration
	// Log may be nil.
	Log *slog.Logger
}

// Service leases capacity. Its methods may be called from any goroutine.
type Service struct {
	o     Options
	calls *calls
	desks *desk.Desks
	tree  *tree
	// partings of the original's clients; our own releases have numbers.
	partings partings
}

// New makes a Service.
func New(o Options) *Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Makes == nil {
		o.Makes = func(string) bool { return false }
	}
	if o.Led == nil {
		o.Led = func() []ids.Group { return nil }
	}
	if o.now == nil {
		o.now = present
	}
	if o.idle == 0 {
		o.idle = idleAfter
	}
	return &Service{o: o, calls: newCalls(), desks: desk.New(o.Router), tree: newTree(o)}
}

// Run looks after the resources that this host leads and that have parents, until ctx ends.
// It ends when nothing is under way any more; calls that come later are refused.
func (s *Service) Run(ctx context.Context) {
	s.tree.run(ctx)
	s.desks.Close()
}

// Prepare is for the Router: commands for a group with a parent wait until this host, its
// leader, has asked that once, and those of newcomers until it has asked for them.
func (s *Service) Prepare(ctx context.Context, g ids.Group, cmds [][]byte) ([][]byte, error) {
	return cmds, s.tree.prepare(ctx, g, cmds)
}

// Register registers both services.
func (s *Service) Register(registrar grpc.ServiceRegistrar) {
	doormanpb.RegisterCapacityServer(registrar, &doorman{Service: s})
	capacitypb.RegisterCapacityServer(registrar, &native{Service: s})
}
