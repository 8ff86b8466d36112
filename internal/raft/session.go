package raft

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"github.com/lni/dragonboat/v3"
	"github.com/lni/dragonboat/v3/client"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/machine"
	"github.com/drumline/drumline/internal/raft/refusal"
	"github.com/drumline/drumline/internal/raft/session"
	"github.com/drumline/drumline/internal/wait"
	"github.com/drumline/drumline/statemachines"
)

// maxSessionsInFlight bounds a group's session commands in flight: each is an
// entry of its own. Together with tempo.MaxInFlight it stays below the proposal queue.
const maxSessionsInFlight = 256

// OpenSession registers a client session. dragonboat keeps 4,096 of a group and
// evicts the least recently used. Only on the leader.
func (h *Host) OpenSession(ctx context.Context, g ids.Group) (Session, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	r, err := h.use(ctx, g)
	if err != nil {
		return Session{}, err
	}
	for {
		// A fresh client number each time: an earlier one may be registered.
		cs := &client.Session{ClusterID: uint64(g), ClientID: 1 + rand.Uint64N(math.MaxUint64-1), SeriesID: client.SeriesIDForRegister}
		_, err := r.sessionCall(ctx, sessionCall{register: cs})
		switch {
		case err == nil:
			return Session{Group: g, Client: cs.ClientID, Series: client.SeriesIDFirstProposal}, nil
		case fault.Is(err, fault.SessionGone): // the number is taken
		case fault.Is(err, fault.UnknownOutcome):
			// Nobody knows of a session that may have been opened: nothing happened.
			return Session{}, fault.Wrap(err, fault.Deadline, "open a session in group %s", r.spec.Name).InGroup(r.spec.Name)
		default:
			return Session{}, err
		}
	}
}

// CloseSession ends a session; one that is gone already is no error. Only on the
// leader.
func (h *Host) CloseSession(ctx context.Context, s Session) error {
	if err := s.Check(); err != nil {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	r, err := h.use(ctx, s.Group)
	if err != nil {
		return err
	}
	cs := s.Dragonboat()
	cs.PrepareForUnregister()
	_, err = r.sessionCall(ctx, sessionCall{register: cs})
	if fault.Is(err, fault.SessionGone) {
		return nil
	}
	return err
}

// ProposeSession applies a command exactly once per (Client, Series): after an
// unknown outcome it is safe to call again with the same Session. The caller
// raises Series, and RespondedTo to the former Series, when it has the result.
// Only on the leader.
func (h *Host) ProposeSession(ctx context.Context, s Session, cmd []byte) (statemachines.Result, error) {
	if err := s.Check(); err != nil {
		return statemachines.Result{}, err
	}
	if len(cmd) > MaxCommand {
		return statemachines.Result{}, tooLarge("command", len(cmd))
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	r, err := h.use(ctx, s.Group)
	if err == nil {
		err = r.notOurs(cmd)
	}
	if err != nil {
		return statemachines.Result{}, err
	}
	return r.sessionCall(ctx, sessionCall{command: s.Dragonboat(), cmd: cmd})
}

// sessionCall is a registration (or its end) or a command.
type sessionCall struct {
	register *client.Session
	command  *client.Session
	cmd      []byte
}

// sessionCall proposes an entry of a session, which goes alone, and repeats it
// while dragonboat says that it did not take it.
func (r *replica) sessionCall(ctx context.Context, c sessionCall) (statemachines.Result, error) {
	select {
	case r.sessions <- struct{}{}:
		defer func() { <-r.sessions }()
	default:
		return statemachines.Result{}, r.busy()
	}
	for {
		now, err := r.awaitReign(ctx)
		if err != nil {
			return statemachines.Result{}, err
		}
		rs, err := r.proposeSession(ctx, c, now)
		var refused bool
		if err == nil {
			res, err := session.Verdict(ctx, r.spec.Name, rs)
			if err != nil || res != nil && c.register != nil {
				return statemachines.Result{}, err
			}
			if res != nil {
				return session.Result(r.spec.Name, res)
			}
			refused = true
		}
		if !refused && !refusal.Passes(err) {
			return statemachines.Result{}, r.requestFault(err)
		}
		if !wait.For(ctx, r.host.opts.Tick) {
			return statemachines.Result{}, fault.Wrap(ctx.Err(), fault.Deadline, "group %s did not take the command", r.spec.Name).InGroup(r.spec.Name)
		}
	}
}

// awaitReign waits until this replica serves or does not lead.
func (r *replica) awaitReign(ctx context.Context) (reign, error) {
	for {
		r.mu.Lock()
		now, serving, changed := r.reign, r.serving(), r.changed
		var err error
		switch {
		case !r.leading():
			err = r.refusal()
		case serving && r.machine.Obeys() != machine.CodeOK:
			err = r.codeFault(r.machine.Obeys())
		}
		r.mu.Unlock()
		if err != nil || serving {
			return now, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return now, fault.Wrap(ctx.Err(), fault.Deadline, "group %s has no serving leader yet; the command was not applied", r.spec.Name).InGroup(r.spec.Name)
		}
	}
}

func (r *replica) proposeSession(ctx context.Context, c sessionCall, now reign) (*dragonboat.RequestState, error) {
	timeout := r.host.ticksLeft(ctx)
	if c.register != nil {
		return r.host.nh.ProposeSession(c.register, timeout)
	}
	e := machine.Entry{
		Kind: machine.KindSessionCommand, Term: now.term, Lead: now.lead,
		Stamp: now.clock.Now(), Commands: [][]byte{c.cmd},
	}
	return r.host.nh.Propose(c.command, e.Encode(), timeout)
}

// ticksLeft is the time left, as dragonboat takes it: at least two ticks.
func (h *Host) ticksLeft(ctx context.Context) time.Duration {
	left := defaultDeadline
	if d, ok := ctx.Deadline(); ok {
		left = time.Until(d)
	}
	return max(left, 2*h.opts.Tick)
}
