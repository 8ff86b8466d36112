package raft

import (
	"context"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/coalesce"
	"github.com/drumline/drumline/statemachines"
)

// Outcome is what became of one command of ProposeMany.
type Outcome struct {
	Result statemachines.Result
	// Err is as of Propose: every fault but UnknownOutcome means "not applied".
	Err error
}

// ProposeMany applies commands of one group in order, as far as they are applied;
// each has an outcome of its own. They travel in as few entries as possible. Once
// one could not be applied, or nobody knows, those that would come in later entries
// are not tried: they have the same fault, or Deadline. A command that is too large,
// or not a client's to propose, harms only itself. Only on the leader; cmds are copied before ProposeMany returns.
func (h *Host) ProposeMany(ctx context.Context, g ids.Group, cmds [][]byte) []Outcome {
	out := make([]Outcome, len(cmds))
	ctx, cancel := bounded(ctx)
	defer cancel()
	r, err := h.use(ctx, g)
	if err != nil {
		failAll(out, err)
		return out
	}
	bad := func(cmd []byte) error {
		if len(cmd) > MaxCommand {
			return tooLarge("command", len(cmd))
		}
		return r.notOurs(cmd)
	}
	for from := 0; from < len(cmds); {
		n := runOf(cmds[from:], bad)
		if n == 0 {
			from++
			continue
		}
		done, err := r.proposeRun(ctx, cmds[from:from+n], out[from:from+n])
		from += done
		if err != nil {
			failAll(out[from:], r.untried(err))
			break
		}
	}
	refuse(cmds, out, bad)
	return out
}

// runOf is how many of the first commands are not bad.
func runOf(cmds [][]byte, bad func(cmd []byte) error) int {
	for i, cmd := range cmds {
		if bad(cmd) != nil {
			return i
		}
	}
	return len(cmds)
}

func failAll(out []Outcome, err error) {
	for i := range out {
		out[i].Err = err
	}
}

// refuse gives bad commands their own fault, whatever else went wrong.
func refuse(cmds [][]byte, out []Outcome, bad func(cmd []byte) error) {
	for i, cmd := range cmds {
		if err := bad(cmd); err != nil {
			out[i] = Outcome{Err: err}
		}
	}
}

// untried is the fault of commands that were not tried because an earlier one failed.
func (r *replica) untried(err error) error {
	if !fault.Is(err, fault.UnknownOutcome) {
		return err
	}
	return fault.New(fault.Deadline, "nobody knows what became of an earlier command for group %s; this one was not tried and not applied", r.spec.Name).InGroup(r.spec.Name)
}

// proposeRun proposes as many of the commands as go into one entry, waits for it and
// fills in their outcomes. err is the fault of all of these, if they failed.
func (r *replica) proposeRun(ctx context.Context, cmds [][]byte, out []Outcome) (n int, err error) {
	b, first, n, err := r.addMany(cmds)
	if err != nil {
		return 0, err
	}
	defer b.Release()
	if err := r.await(ctx, b, first, n); err != nil {
		failAll(out[:n], err)
		return n, err
	}
	for i := range n {
		out[i].Result = b.Result(first + i)
	}
	return n, nil
}

// addMany queues as many of the commands as go into one entry.
func (r *replica) addMany(cmds [][]byte) (b *coalesce.Batch, first, n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.admits(len(cmds[0])); err != nil {
		return nil, 0, 0, err
	}
	b, first, n = r.queue.AddMany(cmds)
	r.rouseIfDue()
	return b, first, n, nil
}
