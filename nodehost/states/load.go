package states

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/internal/statefile"
	"github.com/drumline/drumline/statemachines"
)

// Load carries an order out: it fetches the state, proves it, loads it into the group
// that is led here, opens the group, and has its machine go on, both in one entry. Whatever fails, the
// whole may be tried again: a load begins anew, and what is open is left as it is.
func (s *States) Load(ctx context.Context, g ids.Group, l *drummerpb.Load) error {
	st, ok := s.o.Raft.Status(g)
	switch {
	case !ok:
		return fault.New(fault.Unavailable, "group %d is not here", g)
	case st.Opened:
		return nil
	case !st.Serving:
		return fault.New(fault.NotLeader, "group %s is not led here", st.Name)
	}
	f, h, err := s.fetch(ctx, l)
	if err != nil {
		return fmt.Errorf("fetch the state for group %s: %w", st.Name, err)
	}
	defer func() { _ = f.Close() }() // a temporary file that is removed already
	app, err := s.check(st.Name, h)
	if err != nil {
		return err
	}
	if err := s.o.Raft.LoadGroup(ctx, g, f); err != nil {
		return fmt.Errorf("load the state of %s: %w", statemachines.NameOf(h), err)
	}
	open := raft.Loaded{Version: max(l.GetVersion(), h.GetVersion()), Generation: max(l.GetGeneration(), h.GetGeneration()+1)}
	if app.Resume != nil {
		if open.First, err = app.Resume(l.GetMargin()); err != nil {
			return fmt.Errorf("have the machine of app %s go on: %w", app.Name, err)
		}
	}
	if err := s.o.Raft.OpenLoaded(ctx, g, open); err != nil {
		return fmt.Errorf("open group %s: %w", st.Name, err)
	}
	s.o.Log.Info("group loaded", "group", st.Name, "number", g, "from", statemachines.NameOf(h), "from_number", h.GetGroup(), "applied", h.GetApplied(), "generation", open.Generation)
	return nil
}

// check says why a state does not fit into a group.
func (s *States) check(name string, h *statepb.Header) (statemachines.App, error) {
	own, err := statemachines.AppOf(name)
	if err != nil {
		return statemachines.App{}, err
	}
	if own != h.GetApp() {
		return statemachines.App{}, fault.New(fault.Invalid, "group %s is of app %s, and the state is of app %s", name, own, h.GetApp())
	}
	app, err := s.o.Apps.App(own)
	if err == nil && h.GetVersion() > app.Version {
		err = fault.New(fault.Unavailable, "the state is of behaviour version %d of app %s, this host knows versions up to %d: run a newer program", h.GetVersion(), own, app.Version)
	}
	return app, err
}

// fetch brings a state here, whole and proved, before any of it goes into a log.
func (s *States) fetch(ctx context.Context, l *drummerpb.Load) (*os.File, *statepb.Header, error) {
	next, done, err := s.from(ctx, l)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	f, err := os.CreateTemp(s.store.dir, temporary)
	if err != nil {
		return nil, nil, err
	}
	h, err := spool(f, next)
	if err = errors.Join(err, s.store.remove(nameOf(f))); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, h, nil
}

// spool writes the state's own bytes to a file and goes back to its start.
func spool(f *os.File, next func() (*statepb.Piece, error)) (*statepb.Header, error) {
	r, err := statefile.NewReader(next)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(f, r); err != nil {
		return nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return r.Header(), err
}

// from opens a state here or on another host; done ends the reading.
func (s *States) from(ctx context.Context, l *drummerpb.Load) (next func() (*statepb.Piece, error), done func(), err error) {
	if l.GetHostId() == string(s.o.Self) && (l.GetRetired() || l.GetStaged() != "") {
		name, err := fileOf(source(l))
		if err != nil {
			return nil, nil, err
		}
		next, c, err := s.store.open(name)
		return next, func() { _ = c.Close() }, err // it was only read
	}
	conn, err := s.o.Pool.Dial(ctx, l.GetApi())
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stream, err := statepb.NewStatesClient(conn).Read(ctx, source(l))
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return stream.Recv, cancel, nil
}
