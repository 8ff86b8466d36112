package raft

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
	"unique"

	"github.com/lni/dragonboat/v3"
	"github.com/lni/dragonboat/v3/config"
	sm "github.com/lni/dragonboat/v3/statemachine"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/engine"
	"github.com/drumline/drumline/internal/raft/machine"
	"github.com/drumline/drumline/internal/raft/park"
	"github.com/drumline/drumline/internal/wait"
	"github.com/drumline/drumline/statemachines"
)

// Limits of starting and stopping.
const (
	// unloadPatience is how long Start waits for an earlier incarnation to unload.
	unloadPatience = 5 * time.Second
	unloadPoll     = 10 * time.Millisecond
	// maxInMemLog is the bytes of a group's entries that are not applied yet; beyond
	// them proposals are refused. Far above what coalescing keeps in flight.
	maxInMemLog = 64 << 20
	// keepDivisor: a tenth of SnapshotEntries stays in the log behind a snapshot, for
	// followers that are a little late.
	keepDivisor = 10
	// snapshotPatience is for how long dragonboat remembers that a snapshot is under way, and
	// takes no other wish for one.
	snapshotPatience = 10 * time.Minute
)

const lostData = "it has no data on this host; a replica that lost its data never comes back under its number"

// Start runs a replica: a launch, a join or a restart, as its data on this host
// and the spec decide. It returns before the replica is ready; idempotent. A fault
// Conflict says that it cannot be run here: its data is gone, or another replica of
// the group is in the way.
func (h *Host) Start(ctx context.Context, spec Replica) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := h.checkReplica(spec); err != nil {
		return err
	}
	leave, err := h.gates.Enter(ctx, spec.Group)
	if err != nil {
		return err
	}
	defer leave()
	if r, err := h.replica(spec.Group); err == nil {
		if r.spec.ID == spec.ID {
			return nil
		}
		return conflict(spec, "replica %d of the group runs here", r.spec.ID)
	}
	if done, err := h.depot.start(ctx, spec); done || err != nil {
		return err
	}
	if err := h.launch(ctx, spec, nil); err != nil {
		return err
	}
	if spec.Unloaded {
		h.events.add(EventLoaded, spec)
	}
	return nil
}

func conflict(spec Replica, format string, args ...any) error {
	return fault.New(fault.Conflict, "start replica %d of group %s: %s", spec.ID, spec.Name, fmt.Sprintf(format, args...)).InGroup(spec.Name)
}

// checkReplica refuses everything that dragonboat would panic on, before it has
// written anything.
func (h *Host) checkReplica(spec Replica) error {
	if spec.Group == 0 || spec.ID == 0 {
		return fault.New(fault.Invalid, "start replica %d of group %d: both need a number", spec.ID, spec.Group)
	}
	if _, err := h.app(spec.Name); err != nil {
		return err
	}
	if spec.Join && len(spec.Members) > 0 {
		return fault.New(fault.Invalid, "start replica %d of group %s: it joins, so it has no list of first members", spec.ID, spec.Name)
	}
	hosts := make(map[ids.Host]bool, len(spec.Members))
	for id, host := range spec.Members {
		if id == 0 || hosts[host] || !h.opts.Transport.Factory().Validate(string(host)) {
			return fault.New(fault.Invalid, "start replica %d of group %s: member %d on host %q: want a number, and a host of its own", spec.ID, spec.Name, id, host)
		}
		hosts[host] = true
	}
	if host, in := spec.Members[spec.ID]; len(spec.Members) > 0 && (!in || host != h.opts.Host) {
		return fault.New(fault.Invalid, "start replica %d of group %s: the first members do not have it on this host", spec.ID, spec.Name)
	}
	c := h.replicaConfig(spec)
	if err := c.Validate(); err != nil {
		return fault.Wrap(err, fault.Invalid, "start replica %d of group %s", spec.ID, spec.Name)
	}
	return nil
}

func (h *Host) replicaConfig(spec Replica) config.Config {
	own := spec.Settings
	return config.Config{
		ClusterID: uint64(spec.Group), NodeID: uint64(spec.ID),
		ElectionRTT:  cmp.Or(uint64(own.ElectionTicks), h.opts.ElectionTicks),
		HeartbeatRTT: cmp.Or(uint64(own.HeartbeatTicks), h.opts.HeartbeatTicks),
		CheckQuorum:  true, OrderedConfigChange: true, Quiesce: h.opts.Hibernate,
		// SnapshotEntries is 0: the machine asks for snapshots, which knows how large it is.
		CompactionOverhead: max(1, cmp.Or(own.SnapshotEntries, h.opts.SnapshotEntries)/keepDivisor),
		MaxInMemLogSize:    maxInMemLog,
		// For ever, also after the promotion: with false, dragonboat panics while the
		// entry that added it is still in its log.
		IsObserver: spec.Join,
	}
}

// launch starts a replica that does not run, with the record of it if it was
// unloaded; its group's gate is held.
func (h *Host) launch(ctx context.Context, spec Replica, rec *park.Record) error {
	if err := h.unobstructed(spec); err != nil {
		return err
	}
	members, join, err := h.form(spec)
	if err != nil {
		return err
	}
	app, err := h.app(spec.Name)
	if err != nil {
		return err
	}
	r := newReplica(h, spec)
	r.recall(rec)
	r.machine = machine.New(app, statemachines.Group{ID: uint64(spec.Group), Name: spec.Name}, r)
	r.machine.SnapshotEvery(cmp.Or(spec.Settings.SnapshotEntries, h.opts.SnapshotEntries))
	if err := h.admit(r); err != nil {
		return err
	}
	h.noteData(spec.Group, spec.ID, true)
	if err := h.startCluster(ctx, r, members, join); err != nil {
		h.forget(r)
		h.noteData(spec.Group, spec.ID, h.nh.HasNodeInfo(uint64(spec.Group), uint64(spec.ID)))
		return err
	}
	r.inbound.Open()
	if len(members) > 0 {
		h.waker.Born(r.sleeper())
	}
	return nil
}

// unobstructed refuses a replica while another one's data of the group is here.
func (h *Host) unobstructed(spec Replica) error {
	h.mu.RLock()
	all := h.onDisk.Of(spec.Group)
	h.mu.RUnlock()
	for _, other := range all {
		if other != spec.ID {
			return conflict(spec, "the data of replica %d is still here; destroy it first", other)
		}
	}
	return nil
}

func (h *Host) hasData(g ids.Group, id ids.Replica) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.onDisk.Has(g, id)
}

// form decides how dragonboat is asked: with data here always as a restart. dragonboat
// itself is not asked whether there is any, because it would wait for its lock.
func (h *Host) form(spec Replica) (members map[uint64]string, join bool, err error) {
	switch {
	case h.hasData(spec.Group, spec.ID):
		return nil, false, nil
	case spec.Join && !spec.Restart:
		return nil, true, nil
	case spec.Restart || len(spec.Members) == 0:
		return nil, false, conflict(spec, "%s", lostData)
	}
	members = make(map[uint64]string, len(spec.Members))
	for id, host := range spec.Members {
		// dragonboat keeps the names for ever, those of each group: one copy does.
		members[uint64(id)] = string(unique.Make(host).Value())
	}
	return members, false, nil
}

// startCluster starts the replica in dragonboat, which refuses while an earlier
// incarnation is still unloading.
func (h *Host) startCluster(ctx context.Context, r *replica, members map[uint64]string, join bool) error {
	ctx, cancel := context.WithTimeout(ctx, unloadPatience)
	defer cancel()
	create := func(group, _ uint64) sm.IConcurrentStateMachine {
		return h.crowd.Joins(group, r.machine)
	}
	for {
		err := h.nh.StartConcurrentCluster(members, join, create, h.replicaConfig(r.spec))
		switch {
		case err == nil:
			return nil
		case errors.Is(err, dragonboat.ErrClusterAlreadyExist):
			if !wait.For(ctx, unloadPoll) {
				return fault.Wrap(err, fault.Unavailable, "start replica %d of group %s: an earlier one does not unload", r.spec.ID, r.spec.Name).InGroup(r.spec.Name)
			}
		case errors.Is(err, dragonboat.ErrNodeRemoved):
			return conflict(r.spec, "it was destroyed on this host")
		case errors.Is(err, dragonboat.ErrInvalidClusterSettings), errors.Is(err, dragonboat.ErrInvalidTarget):
			return conflict(r.spec, "%v", err)
		case errors.Is(err, dragonboat.ErrClosed):
			return errHostClosed()
		default:
			return fault.Wrap(err, fault.Internal, "start replica %d of group %s", r.spec.ID, r.spec.Name).InGroup(r.spec.Name)
		}
	}
}

// Stop stops the group's replica here and returns when it is unloaded; its data
// stays. A group without a replica here is no error.
func (h *Host) Stop(ctx context.Context, g ids.Group) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	leave, err := h.gates.Enter(ctx, g)
	if err != nil {
		return err
	}
	defer leave()
	h.depot.drop(g, 0)
	r, err := h.replica(g)
	if err != nil {
		return nil //nolint:nilerr // not running is what is wanted
	}
	defer func() { h.waker.Desert(r.sleeper()) }()
	return h.unload(ctx, r)
}

// unload stops a replica; its group's gate is held.
func (h *Host) unload(ctx context.Context, r *replica) error {
	r.inbound.Shut()
	r.halt()
	husk, grip := engine.Grip(h.nh, uint64(r.spec.Group))
	if grip != nil && !errors.Is(grip, dragonboat.ErrClusterNotFound) && !errors.Is(grip, dragonboat.ErrClosed) {
		h.opts.Log.Warn("a stopped replica keeps its memory", "group", r.spec.Name, "error", grip)
	}
	err := h.nh.StopNode(uint64(r.spec.Group), uint64(r.spec.ID))
	switch {
	case errors.Is(err, dragonboat.ErrClosed):
		return errHostClosed()
	case err != nil && !errors.Is(err, dragonboat.ErrClusterNotFound): // not found: it stops by itself
		return fault.Wrap(err, fault.Internal, "stop the replica of group %s", r.spec.Name)
	}
	select {
	case <-r.unloaded:
		husk.Empty()
		if r.nap.leaving.Load() { // what is stopped for good may keep its state for who reads it
			h.graves.Lay(husk, time.Now())
		}
		h.forget(r)
		return nil
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.Deadline, "the replica of group %s is still unloading", r.spec.Name)
	}
}

// Destroy removes a replica's data for ever, stopping it first if it runs. A
// replica that was never here is no error. Only for replicas that have left their
// group, or whose group is gone: that is the caller's to prove.
func (h *Host) Destroy(ctx context.Context, g ids.Group, id ids.Replica) error {
	if g == 0 || id == 0 {
		return fault.New(fault.Invalid, "destroy replica %d of group %d: both need a number", id, g)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	leave, err := h.gates.Enter(ctx, g)
	if err != nil {
		return err
	}
	defer leave()
	h.depot.drop(g, id)
	if r, err := h.replica(g); err == nil && r.spec.ID == id {
		defer func() { h.waker.Desert(r.sleeper()) }()
		if err := h.unload(ctx, r); err != nil {
			return err
		}
	}
	return h.removeData(ctx, g, id)
}

// removeData is the barrier before another replica of the group may start here:
// dragonboat gives the data up only when every worker has let go of the replica.
func (h *Host) removeData(ctx context.Context, g ids.Group, id ids.Replica) error {
	dir := h.opts.Dir
	if h.opts.FS != nil {
		dir = ""
	}
	for {
		err := engine.RemoveData(h.nh, dir, uint64(g), uint64(id))
		switch {
		case err == nil:
			h.noteData(g, id, false)
			return nil
		case errors.Is(err, dragonboat.ErrClosed):
			return errHostClosed()
		case !errors.Is(err, dragonboat.ErrClusterNotStopped):
			return fault.Wrap(err, fault.Internal, "remove the data of replica %d of group %d", id, g)
		}
		if !wait.For(ctx, unloadPoll) {
			return fault.Wrap(ctx.Err(), fault.Deadline, "replica %d of group %d is still unloading", id, g)
		}
	}
}
