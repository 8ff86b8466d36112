package route

import (
	"context"
	"log/slog"
	"time"

	"go.etcd.io/bbolt"
	"google.golang.org/grpc"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/statemachines"
)

// Locator asks a drummer; nodehost/agent implements it.
type Locator interface {
	// Locate tells where a group is: fault.GroupNotFound when the fleet has none.
	Locate(ctx context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error)
	// FirstUse is Locate for a full name that somebody uses and that has no open group: a
	// drummer makes one if a template of its app says so, and waits a moment until it is
	// open. fault.GroupNotFound when nothing makes it, fault.Limit when there are too
	// many, fault.NotOpen when it needs longer: ask again.
	FirstUse(ctx context.Context, full string) (*hostpb.Location, error)
	// Servers lists the cluster's servers.
	Servers(ctx context.Context) ([]*hostpb.Server, error)
}

// Local knows this host's replicas; nodehost/replicas implements it.
type Local interface {
	// GroupByName returns the open group of that full name with a replica here; the
	// highest number wins.
	GroupByName(full string) (ids.Group, bool)
}

// Raft is what a Router needs of *raft.Host.
type Raft interface {
	Propose(ctx context.Context, g ids.Group, cmd []byte) (statemachines.Result, error)
	ProposeMany(ctx context.Context, g ids.Group, cmds [][]byte) []raft.Outcome
	ProposeSession(ctx context.Context, s raft.Session, cmd []byte) (statemachines.Result, error)
	OpenSession(ctx context.Context, g ids.Group) (raft.Session, error)
	CloseSession(ctx context.Context, s raft.Session) error
	Read(ctx context.Context, g ids.Group, query []byte) ([]byte, error)
	ReadEach(ctx context.Context, g ids.Group, queries [][]byte, take func(answer []byte, err error) bool) error
	Status(g ids.Group) (raft.Status, bool)
}

var _ Raft = (*raft.Host)(nil)

// Pool connects to other hosts; *serve.Pool does.
type Pool interface {
	// Dial returns an established connection; its error means that nothing was sent.
	Dial(ctx context.Context, addr string) (*grpc.ClientConn, error)
}

var _ Pool = (*serve.Pool)(nil)

// Options of a Router.
type Options struct {
	// Self is this host's id.
	Self ids.Host
	// Raft runs this host's replicas.
	Raft Raft
	// Local resolves names of local groups.
	Local Local
	// Locator asks a drummer.
	Locator Locator
	// Pool connects to other hosts.
	Pool Pool
	// DB keeps the directory; nil keeps it in memory only.
	DB *bbolt.DB
	// Advertise is this host's own gRPC address; empty: API is asked.
	Advertise string
	// API returns the gRPC address of a host as it was last told; may be nil.
	API func(ids.Host) (string, bool)
	// Hosts returns the gRPC addresses of the hosts that are known, to be asked where
	// a group is while no drummer answers; may be nil.
	Hosts func() []string
	// Prepare, unless nil, is given the commands that this host's own replica is about to
	// be proposed, and returns those to propose instead: it adds what only the leader's
	// host knows. A fault refuses them; one of a reason that passes is tried again.
	Prepare func(ctx context.Context, g ids.Group, cmds [][]byte) ([][]byte, error)
	// Log may be nil.
	Log *slog.Logger
	// Entries bounds the directory; 0 means 65,536 groups.
	Entries int
	// Flush is how long a changed hint may wait for the disk; 0 means 2 s.
	Flush time.Duration
}

// Defaults and limits.
const (
	defaultDeadline = 10 * time.Second
	defaultEntries  = 1 << 16
	defaultFlush    = 2 * time.Second
	maxHops         = 3
	// MaxItems bounds the commands or queries of one Many, MaxItemBytes their bytes.
	MaxItems     = 4096
	MaxItemBytes = 4 << 20
)

// withDefaults fills in what is optional.
func (o Options) withDefaults() Options {
	if o.Entries <= 0 {
		o.Entries = defaultEntries
	}
	if o.Flush <= 0 {
		o.Flush = defaultFlush
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Prepare == nil {
		o.Prepare = func(_ context.Context, _ ids.Group, cmds [][]byte) ([][]byte, error) { return cmds, nil }
	}
	if o.Hosts == nil {
		o.Hosts = func() []string { return nil }
	}
	if o.API == nil {
		o.API = func(ids.Host) (string, bool) { return "", false }
	}
	return o
}
