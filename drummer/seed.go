package drummer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/formation"
	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/internal/statefile"
)

// SeedFile is a record that new drummers go on with, in the data directory of each of
// them before its first start. It is looked at until the group is formed and opened.
const SeedFile = "seed.state"

// seed is a record to go on with.
type seed struct {
	path   string
	header *statepb.Header
}

// findSeed reads the seed of a data directory through; nil without one.
func findSeed(dir string) (*seed, error) {
	s := &seed{path: filepath.Join(dir, SeedFile)}
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // the usual case
	}
	if err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	defer func() { _ = f.Close() }() // it is only read
	next, err := statefile.From(f)
	if err != nil {
		return nil, fmt.Errorf("seed %s: %w", s.path, err)
	}
	s.header, err = statefile.Copy(next, func(*statepb.Piece) error { return nil })
	switch {
	case err != nil:
		return nil, fmt.Errorf("seed %s: %w", s.path, err)
	case s.header.GetApp() != fleet.AppName || s.header.GetFleet() == "":
		return nil, fmt.Errorf("seed %s: it is the state of %s, not of a fleet record", s.path, s.header.GetName())
	}
	return s, nil
}

func (s *seed) fleet() string {
	if s == nil {
		return ""
	}
	return s.header.GetFleet()
}

// plant loads the seed into the drummers' group and opens it, as a higher incarnation.
func (s *seed) plant(ctx context.Context, h *raft.Host, f *formation.Formation) error {
	fleetID, _ := f.Fleet()
	if s.fleet() != fleetID {
		return fmt.Errorf("the drummers' group goes on with fleet %s, and this drummer has no seed of it: put %s into its data directory and start it again", fleetID, SeedFile)
	}
	file, err := os.Open(s.path)
	if err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	defer func() { _ = file.Close() }() // it is only read
	next, err := statefile.From(file)
	if err != nil {
		return fmt.Errorf("seed %s: %w", s.path, err)
	}
	r, err := statefile.NewReader(next)
	if err != nil {
		return fmt.Errorf("seed %s: %w", s.path, err)
	}
	if err := h.LoadGroup(ctx, ids.DrummerGroup, r); err != nil {
		return fmt.Errorf("load the seed: %w", err)
	}
	return h.OpenLoaded(ctx, ids.DrummerGroup, raft.Loaded{Version: fleet.AppVersion, Generation: r.Header().GetIncarnation()})
}

// states serves the record to those who save it, on any drummer.
type states struct {
	statepb.UnimplementedStatesServer
	d *drummer
}

// Read sends the record as a linearizable read shows it.
func (s states) Read(r *statepb.ReadRequest, stream grpc.ServerStreamingServer[statepb.Piece]) error {
	if ids.Group(r.GetGroup()) != ids.DrummerGroup || r.GetRetired() || r.GetStaged() != "" {
		return fault.New(fault.Invalid, "a drummer has no state but that of the record, group %d", ids.DrummerGroup)
	}
	h, sup := s.d.parts()
	if h == nil || sup == nil {
		return fault.New(fault.Unavailable, "drummer %s is starting", s.d.cfg.Name)
	}
	st, err := h.State(stream.Context(), ids.DrummerGroup)
	if err != nil {
		return err
	}
	defer st.View.Close()
	w, err := statefile.NewWriter(&statepb.Header{
		Name: st.Name, App: fleet.AppName, Group: uint64(ids.DrummerGroup), Replica: s.d.number, HostId: string(s.d.dir.Host()),
		Applied: st.Applied, Commands: st.Commands, Version: st.Version, Generation: st.Generation, Fleet: s.d.fleet, TakenUnixMs: time.Now().UnixMilli(),
	}, stream.Send)
	if err != nil {
		return err
	}
	if _, err := st.View.WriteTo(w); err != nil {
		return err
	}
	return w.Close()
}

// openRecord opens the group on its very first leadership: empty, or with the seed.
func (d *drummer) openRecord(ctx context.Context) error {
	h, _ := d.parts()
	if d.formation == nil {
		return fault.New(fault.Internal, "a drummer that joined leads a group that was never opened")
	}
	if _, seeded := d.formation.Fleet(); seeded {
		return d.seed.plant(ctx, h, d.formation)
	}
	return h.OpenGroup(ctx, ids.DrummerGroup, fleet.AppVersion)
}
