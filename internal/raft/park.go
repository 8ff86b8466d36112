package raft

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/mail"
	"github.com/drumline/drumline/internal/raft/park"
)

// Bounds of unloading and loading.
const (
	// loadAtOnce is few: dragonboat starts under one lock. A stop holds that one for next to
	// nothing, but has its workers list all replicas anew: many that stop together share that.
	loadAtOnce   = 4
	unloadAtOnce = 64
	// sweepsToIdle is how many times the host looks for idle replicas in UnloadAfter.
	sweepsToIdle = 4
)

// depot has what a host unloaded, and brings it back.
type depot struct {
	h      *Host
	lot    *park.Lot
	crew   *park.Crew
	vigil  *park.Vigil
	office mail.Office

	cancel context.CancelFunc
	work   sync.WaitGroup
	// unloads are under way: one that waits, as for a snapshot, keeps no other replica in memory.
	unloads errgroup.Group
}

func newDepot(h *Host) *depot {
	ctx, cancel := context.WithCancel(context.Background())
	d := &depot{h: h, lot: park.NewLot(), cancel: cancel}
	d.unloads.SetLimit(unloadAtOnce)
	d.office.Deployment, d.office.Self = deploymentID(h.opts.Deployment), h.opts.Host
	d.crew = park.NewCrew(loadAtOnce, func(g ids.Group) error { return d.load(ctx, g) })
	d.vigil = park.NewVigil(h.opts.Tick, 2*int(h.opts.ElectionTicks), d.office.Send)
	d.work.Go(func() {
		defer d.office.Close()
		d.vigil.Run(ctx)
	})
	if h.opts.UnloadAfter > 0 {
		d.work.Go(func() { d.sweep(ctx) })
	}
	return d
}

// close ends loading and unloading and waits for it; nothing that is unloaded needs it.
func (d *depot) close() {
	d.cancel()
	d.crew.Close()
	d.work.Wait()
	_ = d.unloads.Wait() // each has told of its own error
}

// nap is what a replica has for being unloaded and loaded.
type nap struct {
	// used is the sweep in which the replica was last used.
	used atomic.Uint32
	// leaving: it is being unloaded; set with Host.mu held.
	leaving atomic.Bool
	// due: its unloading is under way.
	due atomic.Bool
	// risen is closed when a replica that was loaded for a call or a peer knows a
	// leader, or will not soon; nil for one that Start started.
	risen chan struct{}
}

// touch notes a use.
func (n *nap) touch(h *Host) {
	if now := h.sweeps.Load(); n.used.Load() != now {
		n.used.Store(now)
	}
}

// use returns the group's replica for a call; one that is unloaded is loaded first, and
// has a leader if it can have one soon.
func (h *Host) use(ctx context.Context, g ids.Group) (*replica, error) {
	for {
		if r := h.inUse(g); r != nil {
			r.awaitRisen(ctx)
			r.stirred()
			return r, nil
		}
		if h.depot.lot.Get(g) == nil {
			if r := h.inUse(g); r != nil { // it came between the two looks
				continue
			}
			return h.replica(g)
		}
		if err := h.depot.fetch(ctx, g); err != nil {
			return nil, err
		}
	}
}

// inUse returns a group's replica and notes the use, or nil if it is not here or being
// unloaded. Whoever gets it has it for UnloadAfter: idleness is judged under the lock.
func (h *Host) inUse(g ids.Group) *replica {
	h.mu.RLock()
	defer h.mu.RUnlock()
	r := h.replicas[g]
	if r == nil || r.nap.leaving.Load() {
		return nil
	}
	r.nap.touch(h)
	return r
}

// awaitRisen waits until a replica that was just loaded knows a leader, or there is no
// hope that it soon will; what then becomes of the call is the group's affair.
func (r *replica) awaitRisen(ctx context.Context) {
	if r.nap.risen == nil {
		return
	}
	select {
	case <-r.nap.risen:
		return
	default:
	}
	r.host.depot.vigil.Ask(r.spec.Group)
	select {
	case <-r.nap.risen:
	case <-r.ended:
	case <-ctx.Done():
	}
}

// fetch loads a group's replica and waits for it.
func (d *depot) fetch(ctx context.Context, g ids.Group) error {
	job := d.crew.Ask(g, true)
	select {
	case <-job.Done:
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.Deadline, "the replica of group %d is still being loaded", g).InGroup(fmt.Sprint(uint64(g)))
	}
	if errors.Is(job.Err, park.ErrClosed) {
		return errHostClosed()
	}
	return job.Err
}

// knock loads a replica, if it is the one that is unloaded, because a peer needs it.
func (d *depot) knock(g ids.Group, id ids.Replica) {
	if rec := d.lot.Get(g); rec != nil && rec.Replica == id {
		d.crew.Ask(g, false)
	}
}

// load is the crew's work.
func (d *depot) load(ctx context.Context, g ids.Group) error {
	leave, err := d.h.gates.Enter(ctx, g)
	if err != nil {
		return err
	}
	defer leave()
	rec := d.lot.Get(g)
	if rec == nil {
		return nil
	}
	return d.launch(ctx, g, rec)
}

// launch loads a replica; its group's gate is held.
func (d *depot) launch(ctx context.Context, g ids.Group, rec *park.Record) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	spec := Replica{Group: g, ID: rec.Replica, Name: rec.Name, Join: rec.Join, Restart: true, Settings: rec.Settings}
	var err error
	if tell := d.h.opts.BeforeLoad; tell != nil {
		err = tell(ctx, g, rec.Replica)
	}
	if err == nil {
		err = d.h.launch(ctx, spec, rec)
	}
	if err != nil {
		d.h.opts.Log.Warn("an unloaded replica could not be loaded", "group", rec.Name, "replica", uint64(rec.Replica), "error", err)
		return err
	}
	d.lot.Remove(g)
	d.h.events.add(EventLoaded, spec)
	return nil
}

// recall prepares a replica that is about to be started: with a record, it was unloaded.
func (r *replica) recall(rec *park.Record) {
	r.nap.touch(r.host)
	if rec == nil {
		return
	}
	r.nap.risen = make(chan struct{})
	r.members = members{configChange: rec.ConfigChange, observer: rec.Observer, voters: rec.Voters()}
	r.inbound.Learn(r.members.voters)
	r.host.depot.vigil.Watch(r.spec.Group, r, false)
}

// View implements park.Replica.
func (r *replica) View() park.View {
	r.mu.Lock()
	defer r.mu.Unlock()
	return park.View{
		Self: r.spec.ID, Ready: r.ready, Observer: r.members.observer, Leader: r.leader, Term: r.term,
		Voters: r.members.voters,
	}
}

// Stand implements park.Replica.
func (r *replica) Stand() { r.host.campaign(r) }

// Risen implements park.Replica.
func (r *replica) Risen() { close(r.nap.risen) }

// stir tells of news of a replica that may be rising.
func (r *replica) stir() {
	if r.nap.risen != nil {
		r.host.depot.vigil.Stir(r.spec.Group)
	}
}

// called takes a peer's call.
func (d *depot) called(r *replica, c park.Call, from ids.Host) {
	if c.Up {
		d.vigil.Heard(c)
	}
	v := r.View()
	if !c.Wake || !v.Ready { // it tells when it is
		return
	}
	d.vigil.Post(from, park.Call{Group: c.Group, From: v.Self, To: c.From, Up: true, Leader: v.Leader})
	if v.Leader == v.Self {
		d.h.wake(r)
	}
}

// sweep unloads what is idle, until the host closes.
func (d *depot) sweep(ctx context.Context) {
	ticker := time.NewTicker(d.h.opts.UnloadAfter / sweepsToIdle)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			d.h.sweeps.Add(1)
			d.unloadIdle(ctx)
			d.h.graves.Bury(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

func (d *depot) unloadIdle(ctx context.Context) {
	for _, r := range d.h.all() {
		if !d.idle(r) || !r.quiet() || !r.nap.due.CompareAndSwap(false, true) {
			continue
		}
		d.unloads.Go(func() error {
			defer r.nap.due.Store(false)
			if err := d.unload(ctx, r); err != nil && ctx.Err() == nil {
				d.h.opts.Log.Warn("an idle replica could not be unloaded", "group", r.spec.Name, "error", err)
			}
			return nil
		})
	}
}

// idle tells whether nobody has used a replica for long.
func (d *depot) idle(r *replica) bool { return d.h.sweeps.Load()-r.nap.used.Load() > sweepsToIdle }

// quiet tells whether a replica has nothing under way. One that knows no leader is in
// trouble, or its group is: it stays.
func (r *replica) quiet() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ready && r.leader != 0 && !r.stopped && r.queue.Len() == 0 && len(r.flights) == 0 && len(r.sessions) == 0
}

// unload unloads an idle replica and keeps a record of it.
func (d *depot) unload(ctx context.Context, r *replica) error {
	leave, err := d.h.gates.Enter(ctx, r.spec.Group)
	if err != nil {
		return err
	}
	defer leave()
	if !d.depart(r, r.record()) {
		return nil
	}
	if err := d.h.unload(ctx, r); err != nil {
		d.h.forget(r)
		return err
	}
	d.h.events.add(EventUnloaded, r.spec)
	return nil
}

// depart takes a replica out of use, unless it was used after all or has ended.
func (d *depot) depart(r *replica, rec *park.Record) bool {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	select {
	case <-r.unloaded:
		return false
	default:
	}
	if d.h.closed || d.h.replicas[r.spec.Group] != r || !d.idle(r) {
		return false
	}
	d.lot.Put(r.spec.Group, rec)
	r.nap.leaving.Store(true)
	return true
}

// record is what is kept of a replica.
func (r *replica) record() *park.Record {
	s := r.status()
	rec := &park.Record{
		Replica: s.Replica, Name: s.Name, Join: r.spec.Join, Observer: s.Observer, Term: s.Term,
		ConfigChange: s.ConfigChange, Applied: s.Applied, Opened: s.Opened, Sealed: s.Sealed, Version: s.Version,
		Settings: r.spec.Settings,
	}
	rec.SetVoters(r.View().Voters)
	return rec
}

// status is the Status of an unloaded replica.
func (d *depot) status(g ids.Group) (Status, bool) {
	rec := d.lot.Get(g)
	if rec == nil {
		return Status{}, false
	}
	return statusOf(g, rec), true
}

func statusOf(g ids.Group, rec *park.Record) Status {
	return Status{
		Group: g, Replica: rec.Replica, Name: rec.Name, Ready: true, Unloaded: true, Observer: rec.Observer, Term: rec.Term,
		ConfigChange: rec.ConfigChange, Applied: rec.Applied, Opened: rec.Opened, Sealed: rec.Sealed, Version: rec.Version,
	}
}

// start is Start of a replica that does not run: done if that is all there is to do.
// Its group's gate is held.
func (d *depot) start(ctx context.Context, spec Replica) (done bool, err error) {
	rec := d.lot.Get(spec.Group)
	switch {
	case rec != nil && rec.Replica != spec.ID:
		return true, conflict(spec, "replica %d of the group is here, unloaded", rec.Replica)
	case rec != nil && spec.Unloaded:
		return true, nil
	case rec != nil:
		return true, d.launch(ctx, spec.Group, rec)
	case !spec.Unloaded || d.h.opts.UnloadAfter == 0:
		return false, nil
	}
	if err := d.h.unobstructed(spec); err != nil {
		return true, err
	}
	if !d.h.hasData(spec.Group, spec.ID) {
		return true, conflict(spec, "%s", lostData)
	}
	d.lot.Put(spec.Group, &park.Record{Replica: spec.ID, Name: spec.Name, Join: spec.Join, Observer: spec.Join, Settings: spec.Settings})
	return true, nil
}

// drop forgets an unloaded replica, as when it is stopped or destroyed; its group's gate
// is held.
func (d *depot) drop(g ids.Group, id ids.Replica) {
	if rec := d.lot.Get(g); rec != nil && (id == 0 || rec.Replica == id) {
		d.lot.Remove(g)
		d.h.events.add(EventStopped, Replica{Group: g, ID: rec.Replica, Name: rec.Name})
	}
}
