package states

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/statefile"
)

// Bounds of Look.
const (
	maxLooks     = 1000
	looksAtOnce  = 16
	lookPatience = time.Second
	// inventoryPart is how many replicas are in one message.
	inventoryPart = 1024
)

// Read implements statepb.StatesServer.
func (s *States) Read(r *statepb.ReadRequest, stream grpc.ServerStreamingServer[statepb.Piece]) error {
	switch {
	case (r.GetGroup() == 0) == (r.GetStaged() == ""):
		return fault.New(fault.Invalid, "name one state: a group's, or a staged one")
	case r.GetRetired() || r.GetStaged() != "":
		return s.readFile(r, stream)
	}
	g := ids.Group(r.GetGroup())
	st, err := s.o.Raft.State(stream.Context(), g)
	if err != nil {
		return err
	}
	defer st.View.Close()
	here, _ := s.o.Raft.Status(g)
	return pour(s.header(st, g, here.Replica), st, stream.Send)
}

func fileOf(r *statepb.ReadRequest) (string, error) {
	if r.GetStaged() != "" {
		return stagedName(r.GetStaged())
	}
	return retiredName(r.GetGroup()), nil
}

func (s *States) readFile(r *statepb.ReadRequest, stream grpc.ServerStreamingServer[statepb.Piece]) error {
	name, err := fileOf(r)
	if err != nil {
		return err
	}
	next, f, err := s.store.open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	_, err = statefile.Copy(next, stream.Send)
	return err
}

// Stage implements statepb.StatesServer.
func (s *States) Stage(stream grpc.ClientStreamingServer[statepb.Piece, statepb.StageResponse]) error {
	if err := s.store.sweep(false); err != nil {
		return err
	}
	id := newID()
	err := s.store.write(stagedPrefix+id, func(send func(*statepb.Piece) error) error {
		_, err := statefile.Copy(stream.Recv, send)
		return err
	})
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "stage a state")
	}
	return stream.SendAndClose(&statepb.StageResponse{Staged: id, HostId: string(s.o.Self)})
}

// TakeInventory implements statepb.StatesServer.
func (s *States) TakeInventory(_ *statepb.InventoryRequest, stream grpc.ServerStreamingServer[statepb.Inventory]) error {
	if s.o.Inventory == nil {
		return fault.New(fault.Unavailable, "this host has no inventory")
	}
	all := s.o.Inventory()
	rest := all.GetReplicas()
	for {
		n := min(inventoryPart, len(rest))
		all.Replicas, rest = rest[:n], rest[n:]
		if err := stream.Send(all); err != nil || len(rest) == 0 {
			return err
		}
		all = &statepb.Inventory{}
	}
}

// Look implements statepb.StatesServer.
func (s *States) Look(ctx context.Context, r *statepb.LookRequest) (*statepb.LookResponse, error) {
	if len(r.GetGroups()) > maxLooks {
		return nil, fault.New(fault.Invalid, "%d groups in one call, at most %d are allowed", len(r.GetGroups()), maxLooks)
	}
	resp := &statepb.LookResponse{HostId: string(s.o.Self)}
	looks := make([]*statepb.Look, len(r.GetGroups()))
	var all errgroup.Group
	all.SetLimit(looksAtOnce)
	for i, id := range r.GetGroups() {
		all.Go(func() error {
			// one that is unloaded would wait for a leader that it can't have
			short, cancel := context.WithTimeout(ctx, lookPatience)
			defer cancel()
			looks[i] = s.look(short, ids.Group(id))
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	resp.Looks = slices.DeleteFunc(looks, func(l *statepb.Look) bool { return l == nil })
	return resp, nil
}

func (s *States) look(ctx context.Context, g ids.Group) *statepb.Look {
	f, ok := s.o.Raft.Facts(ctx, g)
	st, runs := s.o.Raft.Status(g)
	if !ok || !runs {
		return s.lookAtRetired(g)
	}
	l := &statepb.Look{
		Group: uint64(g), Replica: uint64(st.Replica), Applied: f.Applied, Commands: f.Commands, Opened: f.Opened, Sealed: f.Sealed,
		Leader: uint64(st.Leader), ConfigChange: st.ConfigChange, Voters: map[uint64]string{},
	}
	for r, h := range s.o.Raft.Voters(g) {
		l.Voters[uint64(r)] = string(h)
	}
	return l
}

// lookAtRetired is nil when nothing of the group is here.
func (s *States) lookAtRetired(g ids.Group) *statepb.Look {
	next, f, err := s.store.open(retiredName(uint64(g)))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // it was only read
	r, err := statefile.NewReader(next)
	if err != nil {
		return nil
	}
	h := r.Header()
	return &statepb.Look{Group: uint64(g), Replica: h.GetReplica(), Applied: h.GetApplied(), Commands: h.GetCommands(), Opened: true, Retired: true}
}

func nameOf(f interface{ Name() string }) string { return filepath.Base(f.Name()) }
