package raft

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/coalesce"
	"github.com/drumline/drumline/internal/raft/machine"
	"github.com/drumline/drumline/statemachines"
)

// defaultDeadline bounds a call whose context has no deadline.
const defaultDeadline = 10 * time.Second

// loadChunkSize is the size of the pieces in which a state is loaded.
const loadChunkSize = 256 << 10

// Propose applies a client's command. Only the group's leader takes it; elsewhere the
// fault is NotLeader with the leader's host, if known. cmd is copied before Propose
// returns. Every fault but UnknownOutcome means that the command was not applied.
func (h *Host) Propose(ctx context.Context, g ids.Group, cmd []byte) (statemachines.Result, error) {
	return h.proposeBy(ctx, g, cmd, (*replica).notOurs)
}

// ProposeOwn is Propose for the host's own commands, which clients may not propose (see
// App.Owns).
func (h *Host) ProposeOwn(ctx context.Context, g ids.Group, cmd []byte) (statemachines.Result, error) {
	return h.proposeBy(ctx, g, cmd, func(*replica, []byte) error { return nil })
}

func (h *Host) proposeBy(ctx context.Context, g ids.Group, cmd []byte, allowed func(*replica, []byte) error) (statemachines.Result, error) {
	if len(cmd) > MaxCommand {
		return statemachines.Result{}, tooLarge("command", len(cmd))
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	r, err := h.use(ctx, g)
	if err == nil {
		err = allowed(r, cmd)
	}
	if err != nil {
		return statemachines.Result{}, err
	}
	return r.propose(ctx, cmd)
}

// notOurs refuses a client's command that only hosts propose: whoever could set a group's
// configuration could keep it from ever following another.
func (r *replica) notOurs(cmd []byte) error {
	if owns := r.machine.App().Owns; owns == nil || !owns(cmd) {
		return nil
	}
	return fault.New(fault.Invalid, "clients may not propose this command, only the host that leads group %s: a configuration is applied with drummer-cmd", r.spec.Name).InGroup(r.spec.Name)
}

// OpenGroup opens a group: from now on it obeys commands. Only on the leader;
// idempotent.
func (h *Host) OpenGroup(ctx context.Context, g ids.Group, version uint32) error {
	return h.OpenLoaded(ctx, g, Loaded{Version: version})
}

// Loaded is how a group begins whose state was loaded.
type Loaded struct {
	// Version is the behaviour version.
	Version uint32
	// Generation is the number of the new life, which the Machine is told.
	Generation uint64
	// First, unless empty, is a command that the Machine is given right after that, in the
	// same entry of the log: what it waits for to go on. Its result is nobody's.
	First []byte
}

// OpenLoaded opens a group whose state was loaded and tells its Machine that it lives
// again. Only on the leader; idempotent.
func (h *Host) OpenLoaded(ctx context.Context, g ids.Group, l Loaded) error {
	if err := h.knows(ctx, g, l.Version); err != nil {
		return err
	}
	e := &machine.Entry{Kind: machine.KindOpen, Version: l.Version, Generation: l.Generation}
	if len(l.First) > 0 {
		e.Commands = [][]byte{l.First}
	}
	return h.control(ctx, g, e)
}

// SealGroup ends a group: it obeys nothing afterwards, for ever. Only on the
// leader; idempotent.
func (h *Host) SealGroup(ctx context.Context, g ids.Group) error {
	return h.control(ctx, g, &machine.Entry{Kind: machine.KindSeal})
}

// RaiseVersion raises the group's behaviour version, once every host of the group
// knows the new one. Only on the leader; a lower one changes nothing.
func (h *Host) RaiseVersion(ctx context.Context, g ids.Group, version uint32) error {
	if err := h.knows(ctx, g, version); err != nil {
		return err
	}
	return h.control(ctx, g, &machine.Entry{Kind: machine.KindRaiseVersion, Version: version})
}

// LoadGroup loads the state that a View wrote into a group that is not open yet,
// in pieces through its log. A load that fails is begun again from the start. Only
// on the leader.
func (h *Host) LoadGroup(ctx context.Context, g ids.Group, state io.Reader) error {
	var offset uint64
	var sum uint32
	buf := make([]byte, loadChunkSize)
	for {
		n, err := io.ReadFull(state, buf)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return fault.Wrap(err, fault.Invalid, "read the state to load")
		}
		sum = machine.Checksum(sum, buf[:n])
		chunk := machine.Chunk{Offset: offset, Last: last, CRC: sum, Data: buf[:n]}
		if err := h.control(ctx, g, &machine.Entry{Kind: machine.KindLoad, Load: chunk}); err != nil || last {
			return err
		}
		offset += uint64(n)
	}
}

// knows refuses a behaviour version that this program does not have.
func (h *Host) knows(ctx context.Context, g ids.Group, version uint32) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	r, err := h.use(ctx, g)
	if err != nil {
		return err
	}
	if app := r.machine.App(); version == 0 || version > app.Version {
		return fault.New(fault.Invalid, "behaviour version %d of app %q: this host knows 1 to %d", version, app.Name, app.Version).InGroup(r.spec.Name)
	}
	return nil
}

func (h *Host) control(ctx context.Context, g ids.Group, e *machine.Entry) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	r, err := h.use(ctx, g)
	if err != nil {
		return err
	}
	return r.control(ctx, e)
}

// bounded gives a context without a deadline the default one.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, defaultDeadline)
}

func tooLarge(what string, size int) error {
	return fault.New(fault.TooLarge, "%s of %d bytes is over the limit of %d", what, size, MaxCommand)
}

// propose queues a command and waits for its result.
func (r *replica) propose(ctx context.Context, cmd []byte) (statemachines.Result, error) {
	r.mu.Lock()
	if err := r.admits(len(cmd)); err != nil {
		r.mu.Unlock()
		return statemachines.Result{}, err
	}
	b, number := r.queue.Add(cmd)
	r.rouseIfDue()
	r.mu.Unlock()
	defer b.Release()
	if err := r.await(ctx, b, number, 1); err != nil {
		return statemachines.Result{}, err
	}
	return b.Result(number), nil
}

// control queues a control entry and waits until the log has it.
func (r *replica) control(ctx context.Context, e *machine.Entry) error {
	r.mu.Lock()
	if !r.leading() {
		defer r.mu.Unlock()
		return r.refusal()
	}
	if r.queue.Full(len(e.Load.Data)) {
		defer r.mu.Unlock()
		return r.busy()
	}
	b := r.queue.AddControl(e)
	r.rouseIfDue()
	r.mu.Unlock()
	defer b.Release()
	return r.await(ctx, b, 0, 1)
}

// await waits for the fate of n commands of a batch: nil means that their results are
// there. Once the context has ended they are taken out of the batch.
func (r *replica) await(ctx context.Context, b *coalesce.Batch, number, n int) error {
	select {
	case <-b.Done():
		return b.Err()
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-b.Done():
		return b.Err()
	default:
	}
	b.Leave(number, n)
	if b.Sealed() {
		return fault.Wrap(ctx.Err(), fault.UnknownOutcome, "group %s did not answer in time: the command may or may not be applied", r.spec.Name).InGroup(r.spec.Name)
	}
	return fault.Wrap(ctx.Err(), fault.Deadline, "the command did not get its turn in group %s and was not applied", r.spec.Name).InGroup(r.spec.Name)
}

// admits tells why a command of that size is not queued; mu is held.
func (r *replica) admits(size int) error {
	if r.spec.Banned {
		return r.codeFault(machine.CodeSealed)
	}
	if !r.leading() {
		return r.refusal()
	}
	if r.serving() {
		// Only a serving leader has applied all that was before it.
		if c := r.machine.Obeys(); c != machine.CodeOK {
			return r.codeFault(c)
		}
	}
	if r.queue.Full(size) {
		return r.busy()
	}
	return nil
}

// refusal is why a replica that does not lead takes nothing; mu is held.
func (r *replica) refusal() error {
	if r.stopped {
		return r.stopping()
	}
	return r.notLeader()
}

func (r *replica) busy() error {
	return fault.New(fault.Busy, "too many commands wait for group %s; try again later", r.spec.Name).InGroup(r.spec.Name)
}
