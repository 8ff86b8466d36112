package raft

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lni/dragonboat/v3"
	"github.com/lni/dragonboat/v3/client"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/must"
	"github.com/drumline/drumline/internal/raft/coalesce"
	"github.com/drumline/drumline/internal/raft/intake"
	"github.com/drumline/drumline/internal/raft/lease"
	"github.com/drumline/drumline/internal/raft/machine"
	"github.com/drumline/drumline/internal/raft/membership"
	"github.com/drumline/drumline/internal/raft/refusal"
	"github.com/drumline/drumline/internal/raft/share"
	"github.com/drumline/drumline/internal/raft/tempo"
	"github.com/drumline/drumline/statemachines"
)

// replica is one replica that runs here. What callers, dragonboat and the applying
// goroutine tell it, they write under mu and rouse the host's pump, which does what
// only a leader does: the Lead entry, sealing batches, proposing them.
type replica struct {
	host    *Host
	spec    Replica
	machine *machine.Adapter

	// session is dragonboat's, of all commands that have none of their own.
	session *client.Session
	// stopOnce guards ended, which is closed when nothing is taken any more.
	stopOnce sync.Once
	ended    chan struct{}
	// unloaded is closed when dragonboat has let go of the replica.
	unloaded     chan struct{}
	unloadedOnce sync.Once
	// reads shares the ReadIndex of readers.
	reads share.Share[answer]
	// sessions bounds the session commands in flight.
	sessions chan struct{}
	// piled: a snapshot is to be asked for.
	piled atomic.Bool
	// inbound guards what dragonboat takes in for it; see guard.go.
	inbound intake.Guard
	// nap is for unloading and loading; see park.go.
	nap nap
	// epoch is the Waker's in which the group was used last.
	epoch atomic.Uint32

	// mu guards what follows; never held while NodeHost is called.
	mu      sync.Mutex
	changed chan struct{} // closed and replaced when leader, term or serving changes
	stopped bool
	ready   bool
	// leader and term are the last that dragonboat told.
	leader ids.Replica
	term   uint64
	// leaderless is since when leader is 0.
	leaderless time.Time
	// reign is the leadership that the log has confirmed and this replica holds.
	reign  reign
	serial uint64
	queue  coalesce.Queue
	// flights are the entries in flight, oldest first; sealedAt is when the newest was
	// sealed. spent are dragonboat's requests of entries that the log has settled.
	flights []*flight
	spent   []*dragonboat.RequestState
	// tempo says when the next entry goes; alarm rouses the pump for it.
	tempo tempo.Tempo
	alarm *time.Timer
	// roused: the pump knows that there is work. held: something was refused, so that
	// nothing is proposed until its next tick.
	roused bool
	held   bool
	// members is what this replica knows of the membership.
	members members

	// lead is the Lead entry in flight, leadTerm its term; only the pump touches them.
	lead     *dragonboat.RequestState
	leadTerm uint64
}

// reign is a leadership whose Lead entry this replica has applied.
type reign struct {
	on    bool
	term  uint64
	lead  uint64
	clock lease.Clock
}

// members is a replica's knowledge of its group's membership.
type members struct {
	configChange uint64
	observer     bool
	voters       map[ids.Replica]ids.Host
}

// flight is one proposed entry.
type flight struct {
	lead   uint64
	serial uint64
	sealed time.Time
	// batch is nil once it is finished or put back: the flight is settled.
	batch *coalesce.Batch
	// state is dragonboat's; nil until it has taken the proposal.
	state *dragonboat.RequestState
}

func (f *flight) settled() bool { return f.batch == nil }

func newReplica(h *Host, spec Replica) *replica {
	r := &replica{
		host: h, spec: spec,
		// dragonboat tells sessions of that kind apart by nothing, so the number is ours.
		session:  &client.Session{ClusterID: uint64(spec.Group), ClientID: uint64(spec.ID), SeriesID: client.NoOPSeriesID},
		ended:    make(chan struct{}),
		unloaded: make(chan struct{}), sessions: make(chan struct{}, maxSessionsInFlight),
		changed: make(chan struct{}), leaderless: time.Now(),
		queue:   coalesce.Queue{Pool: &h.batches},
		members: members{observer: spec.Join, voters: maps.Clone(spec.Members)},
	}
	r.reads.Ask, r.reads.Closed = r.readIndex, func() answer { return answer{false, r.stopping()} }
	r.inbound.Learn(spec.Members)
	return r
}

// rouse tells the pump that there is work; mu is held.
func (r *replica) rouse() {
	if !r.roused && !r.stopped {
		r.roused = true
		r.host.pump.add(r)
	}
}

// rouseIfDue rouses the pump if the commands that wait may be proposed now; mu is held.
func (r *replica) rouseIfDue() {
	if !r.roused && !r.held && r.queue.Len() > 0 && r.serving() && r.mayFly() {
		r.rouse()
	}
}

// mayFly tells whether it is the waiting commands' time; mu is held.
func (r *replica) mayFly() bool { return r.tempo.Due(time.Now, len(r.flights), r.queue.Len()) }

// broadcast wakes everybody who waits for a change; mu is held.
func (r *replica) broadcast() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// leading tells whether this replica is the Raft leader; mu is held.
func (r *replica) leading() bool { return r.leader == r.spec.ID && !r.stopped }

// leads tells whether this replica is the Raft leader.
func (r *replica) leads() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leading()
}

// serving tells whether it leads and its lease clock runs; mu is held.
func (r *replica) serving() bool {
	return r.leading() && r.reign.on && r.reign.term == r.term
}

// leaderUpdated is dragonboat's news of the leader.
func (r *replica) leaderUpdated(leader ids.Replica, term uint64) {
	r.mu.Lock()
	was := r.serving()
	if leader == 0 && r.leader != 0 {
		r.leaderless = time.Now()
	}
	r.leader, r.term = leader, term
	is := r.serving()
	r.broadcast()
	r.rouse()
	r.mu.Unlock()
	r.stir()
	r.host.events.add(EventLeader, r.spec)
	if was != is {
		r.host.events.add(EventServing, r.spec)
	}
}

// Began implements machine.Watcher. Whatever of an older leadership is still in flight now
// is not in the log before this entry and is refused after it: not applied, surely.
func (r *replica) Began(term, lead uint64, machineTime int64) {
	r.mu.Lock()
	own := r.leading() && r.term == term
	if own {
		r.reign = reign{on: true, term: term, lead: lead, clock: lease.Start(machineTime)}
		r.broadcast()
	}
	for _, f := range slices.Backward(slices.Clone(r.flights)) {
		if f.lead != lead {
			r.bounce(f)
		}
	}
	r.rouse()
	r.mu.Unlock()
	if own {
		r.host.events.add(EventServing, r.spec)
	}
}

// Interrupted implements machine.Watcher.
func (r *replica) Interrupted() {
	r.mu.Lock()
	was := r.serving()
	r.reign.on = false
	r.broadcast()
	if was {
		r.rouse()
	}
	r.mu.Unlock()
	if was {
		r.host.events.add(EventServing, r.spec)
	}
}

// Applied implements machine.Watcher: an entry of ours is through. The callers are
// awakened without the lock, because the next thing they want is the lock.
func (r *replica) Applied(lead, serial uint64, c machine.Code, results []statemachines.Result) {
	r.mu.Lock()
	f := r.flight(lead, serial)
	if f == nil {
		r.mu.Unlock()
		return
	}
	if c == machine.CodeRetry {
		r.bounce(f)
		r.rouse()
		r.mu.Unlock()
		return
	}
	b := r.remove(f)
	r.landed(f, b)
	r.mu.Unlock()
	if c == machine.CodeOK {
		b.Deliver(results)
	} else {
		b.Fail(r.codeFault(c))
	}
	r.mu.Lock()
	r.rouseIfDue()
	r.mu.Unlock()
}

// landed lets the callers of an entry that came back come again; mu is held.
func (r *replica) landed(f *flight, b *coalesce.Batch) {
	wait := r.tempo.Landed(time.Now(), tempo.Landing{Sealed: f.sealed, Commands: b.Len(), Waiting: r.queue.Len(), Flying: len(r.flights)})
	switch {
	case wait == 0:
	case r.alarm == nil:
		r.alarm = time.AfterFunc(wait, r.ring)
	default:
		r.alarm.Reset(wait)
	}
}

// ring is the alarm.
func (r *replica) ring() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rouseIfDue()
}

// flight returns the entry in flight with those numbers, or nil; mu is held.
func (r *replica) flight(lead, serial uint64) *flight {
	for _, f := range r.flights {
		if f.serial == serial && f.lead == lead {
			return f
		}
	}
	return nil
}

// remove takes a flight out of those in flight and returns its batch, which the
// caller ends or puts back; mu is held.
func (r *replica) remove(f *flight) *coalesce.Batch {
	i := slices.Index(r.flights, f)
	must.Hold(i >= 0, "group %d: flight %d is settled twice", r.spec.Group, f.serial)
	r.flights = slices.Delete(r.flights, i, i+1)
	if f.state != nil {
		r.spent = append(r.spent, f.state)
		f.state = nil
	}
	b := f.batch
	f.batch = nil
	return b
}

// bounce puts the batch of a flight that was surely not applied back in front, or
// tells its callers to go elsewhere; mu is held.
func (r *replica) bounce(f *flight) {
	b := r.remove(f)
	if r.leading() {
		r.queue.PutBack(b)
		return
	}
	b.Fail(r.notLeader())
}

// lose tells the callers of a flight that its outcome is unknown; mu is held.
func (r *replica) lose(f *flight, why string) {
	r.remove(f).Fail(fault.New(fault.UnknownOutcome, "%s: the command may or may not be applied", why).InGroup(r.spec.Name))
}

// loseAll does that to all that is in flight; mu is held.
func (r *replica) loseAll(why string) {
	for len(r.flights) > 0 {
		r.lose(r.flights[0], why)
	}
}

// land takes dragonboat's verdict on a flight that the log has not settled; mu is
// held. dragonboat's request has been released.
func (r *replica) land(f *flight, res dragonboat.RequestResult) {
	f.state = nil
	switch {
	case res.Dropped():
		r.bounce(f)
	case res.Terminated():
		r.lose(f, "the replica was stopped")
	default:
		r.lose(f, "the group did not answer in time")
	}
}

// reap releases dragonboat's requests of settled entries, so that it uses them
// again. Its answer comes soon after the log's; mu is held.
func (r *replica) reap() {
	r.spent = slices.DeleteFunc(r.spent, func(rs *dragonboat.RequestState) bool { return landed(rs) != nil })
}

// seal takes the oldest waiting batch and stamps it: every command in it has
// arrived, so that the stamp is no earlier than any of them. The caller releases the
// batch when it has used the entry.
func (r *replica) seal(e *machine.Entry) (*flight, *coalesce.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reap()
	if r.held || !r.serving() || !r.mayFly() {
		return nil, nil
	}
	b := r.queue.Take()
	if b == nil {
		return nil, nil
	}
	r.serial++
	f := &flight{lead: r.reign.lead, serial: r.serial, batch: b}
	r.flights = append(r.flights, f)
	b.Retain()
	b.Seal(e)
	e.Term, e.Lead, e.Serial, e.Stamp = r.reign.term, r.reign.lead, f.serial, r.reign.clock.Now()
	f.sealed = time.Now()
	r.tempo.Sealed(f.sealed, b.Len())
	return f, b
}

// turnAway tells all who wait that this replica does not lead; mu is held.
func (r *replica) turnAway() {
	for _, b := range r.queue.Drain() {
		b.Fail(r.notLeader())
	}
}

// LifeChanged implements machine.Watcher.
func (r *replica) LifeChanged() { r.host.events.add(EventLife, r.spec) }

// Restored implements machine.Watcher: a snapshot came instead of entries, among which the
// ones in flight may have been.
func (r *replica) Restored() {
	r.mu.Lock()
	r.loseAll("the host fell behind its group")
	r.rouse()
	r.mu.Unlock()
	r.LifeChanged()
}

// Piled implements machine.Watcher.
func (r *replica) Piled() {
	r.piled.Store(true)
	r.mu.Lock()
	r.rouse()
	r.mu.Unlock()
}

// snapshot has dragonboat take a snapshot, if one is wanted. What it refuses, because one is
// under way or the replica is not ready, the machine asks for again.
func (r *replica) snapshot() {
	if !r.piled.Swap(false) {
		return
	}
	if _, err := r.host.nh.RequestSnapshot(uint64(r.spec.Group), dragonboat.SnapshotOption{}, snapshotPatience); err != nil {
		r.host.opts.Log.Warn("a snapshot is put off; it is asked for again while the log grows", "group", r.spec.Name, "error", err)
	}
}

// halt makes the replica take nothing any more; callers that wait are told.
func (r *replica) halt() {
	r.stopOnce.Do(r.abandon)
	r.reads.Close()
}

func (r *replica) abandon() {
	defer close(r.ended)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	r.reign.on = false
	for _, b := range r.queue.Drain() {
		b.Fail(r.stopping())
	}
	r.loseAll("the replica was stopped")
	r.broadcast()
}

func (r *replica) markUnloaded() {
	r.unloadedOnce.Do(func() { close(r.unloaded) })
}

func (r *replica) setReady() {
	r.mu.Lock()
	r.ready = true
	r.broadcast()
	r.mu.Unlock()
	r.stir()
	r.host.events.add(EventReady, r.spec)
}

// setMembers notes the membership that dragonboat reports, and tells whether it is news.
// A replica that was loaded replays its log, and reports older ones than it is known to have.
func (r *replica) setMembers(configChange uint64, observer bool, voters map[uint64]string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.members
	if configChange < known.configChange || configChange != 0 && configChange == known.configChange && observer == known.observer {
		return false
	}
	r.members = members{configChange: configChange, observer: observer, voters: membership.HostsOf(voters)}
	r.inbound.Learn(r.members.voters)
	r.stir()
	return true
}

// notLeader says who leads, as far as known; mu is held.
func (r *replica) notLeader() *fault.Error {
	f := fault.New(fault.NotLeader, "group %s is not led here", r.spec.Name).InGroup(r.spec.Name)
	if r.leader != 0 && r.leader != r.spec.ID {
		f.LeaderHost = string(r.members.voters[r.leader])
	}
	return f
}

func (r *replica) stopping() *fault.Error { return refusal.Stopping(r.spec.Name) }

func (r *replica) codeFault(c machine.Code) *fault.Error { return refusal.Code(r.spec.Name, c) }

func (r *replica) readFault(err error) error { return refusal.Read(r.spec.Name, err) }

// status is a snapshot of what is known.
func (r *replica) status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Status{
		Group: r.spec.Group, Replica: r.spec.ID, Name: r.spec.Name, Ready: r.ready,
		Observer: r.members.observer, Leader: r.leader, LeaderHost: r.members.voters[r.leader], Term: r.term,
		Leading: r.leading(), Serving: r.serving(), ConfigChange: r.members.configChange,
	}
	if s.Leading {
		s.LeaderHost = r.host.opts.Host
	}
	s.Opened, s.Sealed = r.machine.Life()
	s.Sealed = s.Sealed || r.spec.Banned
	s.Applied, s.Version = r.machine.Index(), r.machine.Version()
	return s
}
