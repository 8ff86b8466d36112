package raft

import (
	"context"
	"time"

	"github.com/lni/dragonboat/v3"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/machine"
	"github.com/drumline/drumline/internal/raft/refusal"
	"github.com/drumline/drumline/internal/wait"
)

// Read answers a query linearizably, on any replica: it sees every command that was
// acknowledged before it began.
func (h *Host) Read(ctx context.Context, g ids.Group, query []byte) ([]byte, error) {
	if len(query) > MaxCommand {
		return nil, tooLarge("query", len(query))
	}
	r, err := h.caughtUp(ctx, g)
	if err != nil {
		return nil, err
	}
	b, err := r.machine.Query(query)
	return b, r.readFault(err)
}

// ReadEach answers queries linearizably, all in one state, and hands the answers to
// take, in their order, until that returns false. The group applies nothing meanwhile,
// so take must not wait.
func (h *Host) ReadEach(ctx context.Context, g ids.Group, queries [][]byte, take func(answer []byte, err error) bool) error {
	r, err := h.caughtUp(ctx, g)
	if err != nil {
		return err
	}
	return r.readFault(r.machine.QueryEach(queries, func(b []byte, err error) bool { return take(b, r.readFault(err)) }))
}

// View returns the typed view of a Machine that is a statemachines.Viewer, as
// linearizable as Read.
func (h *Host) View(ctx context.Context, g ids.Group) (any, error) {
	r, err := h.caughtUp(ctx, g)
	if err != nil {
		return nil, err
	}
	v, err := r.machine.View(true)
	return v, r.readFault(err)
}

// LocalView returns the view of what this replica has applied; it may be old, and
// empty in a group that is not open.
func (h *Host) LocalView(g ids.Group) (any, error) {
	ctx, cancel := bounded(context.Background())
	defer cancel()
	r, err := h.use(ctx, g)
	if err != nil {
		return nil, err
	}
	v, err := r.machine.View(false)
	return v, r.readFault(err)
}

// CatchUp returns once this very replica has applied everything that the group had
// committed when it was called, whatever the group's life.
func (h *Host) CatchUp(ctx context.Context, g ids.Group) error {
	_, err := h.caughtUp(ctx, g)
	return err
}

func (h *Host) caughtUp(ctx context.Context, g ids.Group) (*replica, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	r, err := h.use(ctx, g)
	if err != nil {
		return nil, err
	}
	if r.spec.Banned {
		return nil, r.codeFault(machine.CodeSealed)
	}
	return r, r.barrier(ctx)
}

// answer is what a ReadIndex came to; with retry it may be asked again.
type answer struct {
	retry bool
	err   error
}

// barrier waits for a ReadIndex that is asked after the call, again whenever it gets
// lost. All who come before it is asked share it.
func (r *replica) barrier(ctx context.Context) error {
	for ctx.Err() == nil {
		round := r.reads.Join()
		select {
		case <-round.Done():
		case <-ctx.Done():
			return r.unread(ctx)
		}
		if a := round.Answer(); a.err == nil || !a.retry {
			return a.err
		}
		if f := r.noQuorum(); f != nil {
			return f
		}
		wait.For(ctx, r.host.opts.Tick)
	}
	return r.unread(ctx)
}

// readIndex asks once. An attempt is given an election's time: a leader that went
// away takes the question with it.
func (r *replica) readIndex() answer {
	rs, err := r.host.nh.ReadIndex(uint64(r.spec.Group), r.host.opts.electionTimeout())
	if err != nil {
		return answer{refusal.Passes(err), r.requestFault(err)}
	}
	select {
	case res := <-rs.AppliedC():
		rs.Release()
		if res.Completed() {
			return answer{}
		}
		return answer{!res.Terminated(), r.verdictFault(res)}
	case <-r.ended:
		return answer{false, r.stopping()}
	}
}

func (r *replica) verdictFault(res dragonboat.RequestResult) error {
	if res.Terminated() {
		return r.stopping()
	}
	return fault.New(fault.NoQuorum, "group %s did not answer", r.spec.Name).InGroup(r.spec.Name)
}

// patience is how long a group may be without a leader before readers are told.
func (h *Host) patience() time.Duration { return 2 * h.opts.electionTimeout() }

// noQuorum is the fault of a group that has had no leader for too long, or nil.
func (r *replica) noQuorum() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leader != 0 || time.Since(r.leaderless) < r.host.patience() {
		return nil
	}
	return fault.New(fault.NoQuorum, "group %s has no leader that this host can reach: most likely too few of its replicas are up", r.spec.Name).InGroup(r.spec.Name)
}

// unread is the fault of a read that ran out of time.
func (r *replica) unread(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leader == 0 {
		return fault.Wrap(ctx.Err(), fault.NoQuorum, "group %s has no leader that this host can reach", r.spec.Name).InGroup(r.spec.Name)
	}
	return fault.Wrap(ctx.Err(), fault.Deadline, "group %s did not answer in time", r.spec.Name).InGroup(r.spec.Name)
}
