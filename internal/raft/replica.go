package raft

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/lni/dragonboat/v3"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/must"
	"github.com/drumline/drumline/internal/raft/intake"
	"github.com/drumline/drumline/internal/raft/machine"
	"github.com/drumline/drumline/statemachines"
)

// replica is one replica that runs here. Its loop (run) does what only a leader
// does: the Lead entry, sealing batches, proposing them. What dragonboat and the
// applying goroutine tell it, they write under mu and wake the loop.
type replica struct {
	host    *Host
	spec    Replica
	machine *machine.Adapter

	// wake, of capacity 1, makes the loop look again.
	wake chan struct{}
	// stop ends the loop, ended is closed by it.
	stop     chan struct{}
	stopOnce sync.Once
	ended    chan struct{}
	// unloaded is closed when dragonboat has let go of the replica.
	unloaded     chan struct{}
	unloadedOnce sync.Once
	// sessions bounds the session commands in flight.
	sessions chan struct{}
	// inbound guards what dragonboat takes in for it; see guard.go.
	inbound intake.Guard

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
	queue  queue
	// flights are the entries in flight by serial; the loop holds them too, in slots.
	flights map[uint64]*flight
	// members is what this replica knows of the membership.
	members members
}

// reign is a leadership whose Lead entry this replica has applied.
type reign struct {
	on    bool
	term  uint64
	lead  uint64
	clock clock
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
	batch  *batch
	// settled: the batch is finished or put back; only the slot is still taken.
	settled bool
	// state is dragonboat's; nil if the proposal was refused at once.
	state *dragonboat.RequestState
}

func newReplica(h *Host, spec Replica) *replica {
	r := &replica{
		host: h, spec: spec,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
		unloaded: make(chan struct{}), sessions: make(chan struct{}, maxSessionsInFlight),
		changed: make(chan struct{}), leaderless: time.Now(),
		flights: make(map[uint64]*flight),
		members: members{observer: spec.Join, voters: maps.Clone(spec.Members)},
	}
	r.inbound.Learn(spec.Members)
	return r
}

// rouse makes the loop look again.
func (r *replica) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// broadcast wakes everybody who waits for a change; mu is held.
func (r *replica) broadcast() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// leading tells whether this replica is the Raft leader; mu is held.
func (r *replica) leading() bool { return r.leader == r.spec.ID && !r.stopped }

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
	r.mu.Unlock()
	r.host.events.add(EventLeader, r.spec)
	if was != is {
		r.host.events.add(EventServing, r.spec)
	}
	r.rouse()
}

// Began implements machine.Watcher. Whatever of an older leadership is still in flight now
// is not in the log before this entry and is refused after it: not applied, surely.
func (r *replica) Began(term, lead uint64, machineTime int64) {
	r.mu.Lock()
	own := r.leading() && r.term == term
	if own {
		r.reign = reign{on: true, term: term, lead: lead, clock: startClock(machineTime)}
		r.broadcast()
	}
	for serial, f := range r.flights {
		if f.lead != lead {
			delete(r.flights, serial)
			r.bounce(f)
		}
	}
	r.mu.Unlock()
	if own {
		r.host.events.add(EventServing, r.spec)
	}
	r.rouse()
}

// Interrupted implements machine.Watcher.
func (r *replica) Interrupted() {
	r.mu.Lock()
	was := r.serving()
	r.reign.on = false
	r.broadcast()
	r.mu.Unlock()
	if was {
		r.host.events.add(EventServing, r.spec)
		r.rouse()
	}
}

// Applied implements machine.Watcher: an entry of ours is through.
func (r *replica) Applied(lead, serial uint64, c machine.Code, results []statemachines.Result) {
	r.mu.Lock()
	f := r.flights[serial]
	mine := f != nil && f.lead == lead
	if mine {
		delete(r.flights, serial)
		r.settle(f, c, results)
	}
	r.mu.Unlock()
	if mine {
		r.rouse()
	}
}

// settle gives a flight's callers what the log said; mu is held.
func (r *replica) settle(f *flight, c machine.Code, results []statemachines.Result) {
	switch {
	case c == machine.CodeRetry:
		r.bounce(f)
		return
	case c != machine.CodeOK:
		f.batch.finish(r.codeFault(c))
	case f.batch.control != nil:
		f.batch.finish(nil)
	default:
		must.Hold(len(results) == len(f.batch.tickets), "group %d: %d results for %d commands", r.spec.Group, len(results), len(f.batch.tickets))
		f.batch.deliver(results)
	}
	f.settled = true
}

// bounce puts the batch of a flight that was surely not applied back in front, or
// tells its callers to go elsewhere; mu is held.
func (r *replica) bounce(f *flight) {
	f.settled = true
	if r.leading() {
		r.queue.putBack(f.batch)
		return
	}
	f.batch.finish(r.notLeader())
}

// lose tells the callers of a flight that its outcome is unknown; mu is held.
func (r *replica) lose(f *flight, why string) {
	delete(r.flights, f.serial)
	f.settled = true
	f.batch.finish(fault.New(fault.UnknownOutcome, "%s: the command may or may not be applied", why).InGroup(r.spec.Name))
}

// LifeChanged implements machine.Watcher.
func (r *replica) LifeChanged() { r.host.events.add(EventLife, r.spec) }

// Restored implements machine.Watcher: a snapshot came instead of entries, among which the
// ones in flight may have been.
func (r *replica) Restored() {
	r.mu.Lock()
	for _, f := range r.flights {
		r.lose(f, "the host fell behind its group")
	}
	r.mu.Unlock()
	r.LifeChanged()
	r.rouse()
}

// halt ends the loop and waits for it; callers that wait are told.
func (r *replica) halt() {
	r.stopOnce.Do(func() { close(r.stop) })
	<-r.ended
}

// abandon is the end of the loop: nothing waits afterwards.
func (r *replica) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	r.reign.on = false
	for _, b := range r.queue.drain() {
		b.finish(r.stopping())
	}
	for _, f := range r.flights {
		r.lose(f, "the replica was stopped")
	}
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
	r.host.events.add(EventReady, r.spec)
}

// setMembers notes the membership that dragonboat reports, and tells whether it is news.
func (r *replica) setMembers(configChange uint64, observer bool, voters map[uint64]string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if configChange != 0 && r.members.configChange == configChange && r.members.observer == observer {
		return false
	}
	r.members = members{configChange: configChange, observer: observer, voters: hostsOf(voters)}
	r.inbound.Learn(r.members.voters)
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

func (r *replica) stopping() *fault.Error {
	return fault.New(fault.Unavailable, "the replica of group %s here is being stopped; try another host", r.spec.Name).InGroup(r.spec.Name)
}

// codeFault makes a fault of an entry's result.
func (r *replica) codeFault(c machine.Code) *fault.Error {
	var f *fault.Error
	switch c {
	case machine.CodeNotOpen:
		f = fault.New(fault.NotOpen, "group %s is being launched", r.spec.Name)
	case machine.CodeSealed:
		f = fault.New(fault.Sealed, "group %s was deleted", r.spec.Name)
	case machine.CodeRefused:
		f = fault.New(fault.Conflict, "group %s refused a piece of the state being loaded: out of order, damaged, or already open", r.spec.Name)
	default:
		f = fault.New(fault.Internal, "group %s could not decode an machine.Entry (result %d)", r.spec.Name, c)
	}
	return f.InGroup(r.spec.Name)
}

// readFault makes a fault of an error of machine.query or view.
func (r *replica) readFault(err error) error {
	var le machine.LifeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &le):
		return r.codeFault(machine.Code(le))
	case errors.Is(err, machine.ErrClosed):
		return r.stopping()
	case errors.Is(err, statemachines.ErrInvalidQuery):
		return fault.Wrap(err, fault.Invalid, "group %s refused the query", r.spec.Name).InGroup(r.spec.Name)
	case errors.Is(err, machine.ErrNoView):
		return fault.Wrap(err, fault.Invalid, "group %s", r.spec.Name).InGroup(r.spec.Name)
	}
	return fault.Wrap(err, fault.Internal, "read group %s", r.spec.Name).InGroup(r.spec.Name)
}

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
	s.Applied, s.Version = r.machine.Index(), r.machine.Version()
	return s
}
