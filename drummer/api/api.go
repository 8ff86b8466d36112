// Package api is what operators, clients and hosts ask of the drummers: the Drummer
// service and the Directory, thin handlers over the record and what the supervisor
// observes.
//
// Any drummer answers. A call that comes to a drummer that does not lead is
// forwarded to the one that does, generically (forward.go); only the leader's
// handlers run, so an answer is never older than the last acknowledged change. One
// exception is Servers, which helps a client to find the others when none leads.
//
// Everything a request says is checked before anything is proposed, and checked
// again by the record itself: a bad request is a clear status and changes nothing.
// CreateGroups answers each spec on its own; it is safe to repeat.
package api

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	gossippb "github.com/drumline/drumline/drummerpb/gossip"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
)

// Record is the drummers' group, as this drummer's replica has it.
type Record interface {
	// View is a linearizable look.
	View(ctx context.Context) (*fleet.View, error)
	// LocalView is the newest look that this replica has.
	LocalView() (*fleet.View, error)
	// Propose stamps the command with the wall clock and proposes it.
	Propose(ctx context.Context, cmd *fleetpb.Command) (*fleetpb.Result, error)
	// Opened is closed when a command that this drummer proposed opens the group; leave is
	// called by whoever waits no more.
	Opened(g ids.Group) (opened <-chan struct{}, leave func())
}

// Supervisor is the leader's loop.
type Supervisor interface {
	// Observed is what it sees; a NotSupervisor fault where it does not lead.
	Observed(ctx context.Context) (*loop.Observed, error)
	// Leading tells whether this drummer supervises.
	Leading() (term uint64, leading bool)
}

// Peers knows the drummers.
type Peers interface {
	// Leader returns the gRPC address of the drummer that leads, empty when unknown.
	Leader() string
	// Servers are all drummers, the leading one marked.
	Servers() []*hostpb.Server
}

// Dialer makes connections; *serve.Pool does.
type Dialer interface {
	Dial(ctx context.Context, addr string) (*grpc.ClientConn, error)
}

// Cluster is what the handlers work on once this drummer has started its replica.
type Cluster struct {
	Record     Record
	Supervisor Supervisor
	Peers      Peers
	Members    Members
}

// Options of a Service; all are needed but Patience.
type Options struct {
	// Deployment is the cluster's; Name is this drummer's; API is the address that
	// others know it by.
	Deployment, Name, API string
	Dial                  Dialer
	// Patience is how long a call waits for a drummer to lead, at most; 0 means 3 s.
	Patience time.Duration
	// Members are those that this drummer knows by gossip; nil knows none.
	Members func() []*gossippb.Member
	Log     *slog.Logger
}

const (
	defaultPatience = 3 * time.Second
	// defaultDeadline is set where the caller has none.
	defaultDeadline = 10 * time.Second
)

// Service answers. Until Ready is called every call is refused as unavailable.
type Service struct {
	drummerpb.UnimplementedDrummerServer
	hostpb.UnimplementedDirectoryServer
	o       Options
	cluster atomic.Pointer[Cluster]
	exports exports
}

// New makes a Service.
func New(o Options) *Service {
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	return &Service{o: o, exports: exports{room: partOfExport}}
}

// Register puts both services on a server, with forwarding.
func (s *Service) Register(r grpc.ServiceRegistrar) error {
	d, errD := s.forwarding(&drummerpb.Drummer_ServiceDesc)
	h, errH := s.forwarding(&hostpb.Directory_ServiceDesc)
	if err := errors.Join(errD, errH); err != nil {
		return err
	}
	r.RegisterService(d, s)
	r.RegisterService(h, s)
	return nil
}

// Ready lets calls in.
func (s *Service) Ready(c Cluster) { s.cluster.Store(&c) }

// use returns the cluster, or why there is none yet.
func (s *Service) use() (*Cluster, error) {
	c := s.cluster.Load()
	if c == nil {
		return nil, fault.New(fault.Unavailable, "drummer %s is starting: it waits for the other drummers or loads the record", s.o.Name)
	}
	return c, nil
}

// look is the record and what is observed, for an answer.
func (s *Service) look(ctx context.Context) (*fleet.View, *loop.Observed, error) {
	c, err := s.use()
	if err != nil {
		return nil, nil, err
	}
	o, err := c.Supervisor.Observed(ctx)
	if err != nil {
		return nil, nil, err
	}
	v, err := c.Record.View(ctx)
	if err != nil {
		return nil, nil, asRead(err)
	}
	return v, o, nil
}

// How long an answer about the fleet's state waits for hosts to connect to a drummer
// that has just taken the lead: most do within a second, and before that every group
// would look unavailable.
const (
	settlePatience = 1500 * time.Millisecond
	settlePoll     = 50 * time.Millisecond
)

// lookSettled is look, once the hosts have had the time to connect.
func (s *Service) lookSettled(ctx context.Context) (*fleet.View, *loop.Observed, error) {
	patience := time.NewTimer(settlePatience)
	defer patience.Stop()
	poll := time.NewTicker(settlePoll)
	defer poll.Stop()
	for {
		v, o, err := s.look(ctx)
		if err != nil || !o.Settling {
			return v, o, err
		}
		select {
		case <-patience.C:
			return v, o, nil
		case <-ctx.Done():
			return v, o, nil
		case <-poll.C:
		}
	}
}

// asRead says of a read's fault that nothing was applied.
func asRead(err error) error {
	if fault.Is(err, fault.UnknownOutcome) || fault.Is(err, fault.NotLeader) {
		return fault.Wrap(err, fault.Unavailable, "read the fleet record: try again")
	}
	return err
}
