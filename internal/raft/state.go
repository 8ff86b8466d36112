package raft

import (
	"context"
	"maps"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/machine"
	"github.com/drumline/drumline/internal/wait"
	"github.com/drumline/drumline/statemachines"
)

// State is a group's state as one replica has it: what is copied into another group, or
// into a file.
type State struct {
	machine.Facts
	// Name of the group.
	Name string
	// View is the Machine's state; whoever got it closes it.
	View statemachines.View
}

// State is an open group's state, as linearizable as Read: it has every command that
// was acknowledged before the call.
func (h *Host) State(ctx context.Context, g ids.Group) (State, error) {
	r, err := h.caughtUp(ctx, g)
	if err != nil {
		return State{}, err
	}
	s, err := r.freeze()
	if err == nil && (!s.Opened || s.Sealed) {
		s.View.Close()
		return State{}, r.codeFault(r.machine.Obeys())
	}
	return s, err
}

// Facts describe the state that this replica has, however old that is: nobody else is
// asked. False when it is not here; one that is unloaded is loaded.
func (h *Host) Facts(ctx context.Context, g ids.Group) (machine.Facts, bool) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	r, err := h.use(ctx, g)
	if err != nil {
		return machine.Facts{}, false
	}
	return r.machine.Facts()
}

// Retire stops the group's replica here and hands the state that it had in the end to
// keep, which may read it until it returns. Its data stays, and it must not be started
// again: then the state that was kept would not be the last. After an error it may be
// started, and retired again.
func (h *Host) Retire(ctx context.Context, g ids.Group, keep func(State) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	r, err := h.use(ctx, g)
	if err != nil {
		return err
	}
	if err := r.replayed(ctx); err != nil {
		return err
	}
	r.machine.Keep()
	defer r.machine.Drop()
	if err := h.Stop(ctx, g); err != nil {
		return err
	}
	s, err := r.freeze()
	if err != nil {
		return err
	}
	defer s.View.Close()
	return keep(s)
}

// replayed waits until the machine has all that the log here says is committed: a replica
// that was just started is ready before that, and it may have no leader to tell it more.
func (r *replica) replayed(ctx context.Context) error {
	group, id := uint64(r.spec.Group), uint64(r.spec.ID)
	logs := r.host.logs.Store()
	for committed := logs.Committed(group, id); ; {
		facts, up := r.machine.Facts()
		behind, err := logs.Behind(group, id, facts.Applied, committed)
		switch {
		case err != nil:
			return fault.Wrap(err, fault.Internal, "the log of group %s here", r.spec.Name).InGroup(r.spec.Name)
		case up && !behind:
			return nil
		case !wait.For(ctx, r.host.opts.Tick):
			return fault.Wrap(ctx.Err(), fault.Deadline, "the replica of group %s here is still reading its log; try again", r.spec.Name).InGroup(r.spec.Name)
		}
	}
}

func (r *replica) freeze() (State, error) {
	facts, view, err := r.machine.Freeze()
	if err != nil {
		return State{}, fault.Wrap(err, fault.Unavailable, "the replica of group %s here is unloaded; try again", r.spec.Name).InGroup(r.spec.Name)
	}
	return State{Facts: facts, Name: r.spec.Name, View: view}, nil
}

// Voters are those of the group as the replica here knows them; empty when it is not in memory.
func (h *Host) Voters(g ids.Group) map[ids.Replica]ids.Host {
	r, err := h.replica(g)
	if err != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.members.voters)
}
