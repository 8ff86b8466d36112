package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.etcd.io/bbolt"
	"google.golang.org/grpc"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/nodehost/replicas"
)

// Replicas is what the agent reports of and hands orders to; *replicas.Keeper is one.
type Replicas interface {
	Keys() []replicas.Key
	Report(k replicas.Key) (*drummerpb.ReplicaReport, bool)
	Order(o *drummerpb.Order, answer func(*drummerpb.OrderResult))
	Welcomed(f replicas.Fence, banned []ids.Group)
}

var _ Replicas = (*replicas.Keeper)(nil)

// Book keeps the Raft addresses of hosts; hostdir's does, on disk.
type Book interface {
	Learn(h ids.Host, addr string, epoch uint64) error
}

// Pool connects to servers; *serve.Pool does.
type Pool interface {
	// Conn gives the shared connection, made or not.
	Conn(addr string) (*grpc.ClientConn, error)
	// Dial gives it once it stands.
	Dial(ctx context.Context, addr string) (*grpc.ClientConn, error)
	// Forget closes it.
	Forget(addr string) error
}

var _ Pool = (*serve.Pool)(nil)

// Options of an Agent. Zero times become defaults.
type Options struct {
	// Self is what the host says of itself.
	Self *fleetpb.Host
	// Deployment and Version of the program go into the hello.
	Deployment, Version string
	// Drummers are the configured gRPC addresses.
	Drummers []string
	// Pool connects to drummers.
	Pool Pool
	// Replicas is told of orders.
	Replicas Replicas
	// Booting says how many of the host's replicas are through their start, of how many,
	// and whether it starts them still: heartbeats carry it. May be nil.
	Booting func() (done, total int, booting bool)
	// Booted is closed when it has started them; a heartbeat says so at once. May be nil.
	Booted <-chan struct{}
	// Age is that of the host's data directory, by which an old copy of it is known: hello
	// and heartbeats carry it. May be nil.
	Age func() uint64
	// Unheard are the hosts that this one does not hear by gossip, of those that Hosts lists;
	// nil when it does not gossip.
	Unheard func() []string
	// Book is told of Raft addresses.
	Book Book
	// Configured is told of configurations of apps, new or known; may be nil.
	Configured func([]*fleetpb.Configuration) error
	// DB keeps the directory of hosts and drummers.
	DB *bbolt.DB
	// Connect bounds dialling a drummer, Handshake the time from there to the welcome:
	// a drummer that is taking the lead keeps its hosts waiting.
	Connect, Handshake time.Duration
	// Silence is the least time of hearing nothing after which a stream is dropped;
	// three heartbeats if that is more.
	Silence time.Duration
	// Patience is for how long a refusal may last before it is believed: a drummer
	// also refuses a host while the stream of the process before has not ended.
	Patience time.Duration
	// PauseLeast and PauseMost bound the pause before a drummer is dialled again.
	PauseLeast, PauseMost time.Duration
	// Settle is how long a change waits for others before it is reported, Compare
	// the period of the comparison of everything.
	Settle, Compare time.Duration
	Log             *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.Self == nil || o.Pool == nil || o.Replicas == nil || o.Book == nil || o.DB == nil {
		return o, errors.New("agent: an option that has no default is missing")
	}
	if len(o.Drummers) == 0 {
		return o, errors.New("agent: no drummers configured")
	}
	def := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.Connect, time.Second)
	def(&o.Handshake, 4*time.Second)
	def(&o.Silence, time.Second)
	def(&o.Patience, 30*time.Second)
	def(&o.PauseLeast, 50*time.Millisecond)
	def(&o.PauseMost, time.Second)
	def(&o.Settle, 10*time.Millisecond)
	def(&o.Compare, 5*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Refusal is a drummer's word that this host must not run: its identity is lost, or
// in use elsewhere, or belongs to another deployment.
type Refusal struct {
	// Drummer that said so.
	Drummer string
	// Cause is what it said.
	Cause error
}

// Error says who refused and why.
func (r *Refusal) Error() string {
	return fmt.Sprintf("drummer %s refuses this host: %v", r.Drummer, r.Cause)
}

// Unwrap returns what the drummer said.
func (r *Refusal) Unwrap() error { return r.Cause }
