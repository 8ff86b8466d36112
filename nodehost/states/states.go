package states

import (
	"context"
	"io"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/internal/raft/machine"
	"github.com/drumline/drumline/internal/statefile"
	"github.com/drumline/drumline/statemachines"
)

// Raft is what States needs of *raft.Host.
type Raft interface {
	State(ctx context.Context, g ids.Group) (raft.State, error)
	Facts(ctx context.Context, g ids.Group) (machine.Facts, bool)
	Retire(ctx context.Context, g ids.Group, keep func(raft.State) error) error
	LoadGroup(ctx context.Context, g ids.Group, state io.Reader) error
	OpenLoaded(ctx context.Context, g ids.Group, l raft.Loaded) error
	Status(g ids.Group) (raft.Status, bool)
	Voters(g ids.Group) map[ids.Replica]ids.Host
}

var _ Raft = (*raft.Host)(nil)

// Dialer makes connections to other hosts; *serve.Pool does.
type Dialer interface {
	Dial(ctx context.Context, addr string) (*grpc.ClientConn, error)
}

// Options of States; all are needed but Log.
type Options struct {
	// Self is this host, Fleet tells the fleet that it attends.
	Self  ids.Host
	Fleet func() string
	// Dir is where states are kept; made if it is not there.
	Dir  string
	Raft Raft
	Apps *statemachines.Registry
	Pool Dialer
	// Inventory is all that the host knows; may be nil, then nobody is told.
	Inventory func() *statepb.Inventory
	Log       *slog.Logger
}

// States is the room. Make it with Open; nothing of it needs to be closed.
type States struct {
	statepb.UnimplementedStatesServer
	o     Options
	store store
}

// Open makes the directory and removes the states that were staged long ago.
func Open(o Options) (*States, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	st, err := openStore(o.Dir)
	if err != nil {
		return nil, err
	}
	return &States{o: o, store: st}, nil
}

// Register puts the service on a server.
func (s *States) Register(r grpc.ServiceRegistrar) { statepb.RegisterStatesServer(r, s) }

// Retire stops a replica and keeps its last state; it tells how far that is.
func (s *States) Retire(ctx context.Context, g ids.Group, r ids.Replica) (applied uint64, err error) {
	err = s.o.Raft.Retire(ctx, g, func(st raft.State) error {
		applied = st.Applied
		h := s.header(st, g, r)
		h.Retired = true
		return s.store.write(retiredName(uint64(g)), func(send func(*statepb.Piece) error) error { return pour(h, st, send) })
	})
	return applied, err
}

// Forget removes what is kept of a retired replica.
func (s *States) Forget(g ids.Group) error { return s.store.remove(retiredName(uint64(g))) }

func (s *States) header(st raft.State, g ids.Group, r ids.Replica) *statepb.Header {
	app, _ := statemachines.AppOf(st.Name) // of a group that runs here
	name, region := statemachines.CutRegion(st.Name)
	return &statepb.Header{
		Name: name, Region: region, App: app, Group: uint64(g), Replica: uint64(r), HostId: string(s.o.Self),
		Applied: st.Applied, Commands: st.Commands, Version: st.Version, Generation: st.Generation,
		Fleet: s.o.Fleet(), TakenUnixMs: time.Now().UnixMilli(),
	}
}

// pour sends a state.
func pour(h *statepb.Header, st raft.State, send func(*statepb.Piece) error) error {
	w, err := statefile.NewWriter(h, send)
	if err != nil {
		return err
	}
	if _, err := st.View.WriteTo(w); err != nil {
		return err
	}
	return w.Close()
}

// source is what a Load takes its state from; the request names the same on the wire.
func source(l *drummerpb.Load) *statepb.ReadRequest {
	return &statepb.ReadRequest{Group: l.GetGroup(), Retired: l.GetRetired(), Staged: l.GetStaged()}
}
