package raft

import (
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/lni/dragonboat/v3"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/raft/coalesce"
	"github.com/drumline/drumline/internal/raft/machine"
	"github.com/drumline/drumline/internal/raft/tempo"
)

// pump is the one goroutine of a Host that seals batches and proposes them, for all
// groups. Callers and the applying goroutines only note that a group has work. Once a
// tick it looks after what comes rarely: entries that dragonboat dropped, or gave
// up, and Lead entries that did not come through.
type pump struct {
	wake chan struct{} // of capacity 1
	stop chan struct{}
	// ended is closed by the goroutine.
	ended chan struct{}
	tick  time.Duration

	// mu guards dirty, the replicas that have work; taken with a replica's mu held.
	mu    sync.Mutex
	dirty []*replica

	// What follows is the goroutine's own. spare takes turns with dirty; watched are
	// the replicas with something under way, looked at each tick; buf is for encoding:
	// dragonboat copies what it is given.
	spare   []*replica
	watched map[*replica]struct{}
	timer   *time.Timer
	armed   bool
	buf     []byte
}

func newPump(tick time.Duration) *pump {
	p := &pump{
		wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}), tick: tick,
		watched: make(map[*replica]struct{}), timer: time.NewTimer(time.Hour),
	}
	p.timer.Stop()
	return p
}

// add notes that a replica has work.
func (p *pump) add(r *replica) {
	p.mu.Lock()
	p.dirty = append(p.dirty, r)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run is the goroutine; close ends it.
func (p *pump) run() {
	defer close(p.ended)
	defer p.timer.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-p.timer.C:
			p.armed = false
			p.look()
		case <-p.wake:
			// Callers that were awakened together with this goroutine bring their next
			// commands first.
			runtime.Gosched()
			for _, r := range p.take() {
				p.serve(r)
			}
		}
		p.arm()
	}
}

func (p *pump) close() {
	close(p.stop)
	<-p.ended
}

// take returns what is dirty; it is valid until the next take.
func (p *pump) take() []*replica {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.spare)
	rs := p.dirty
	p.dirty, p.spare = p.spare[:0], rs
	return rs
}

// arm sets the timer while anything is under way.
func (p *pump) arm() {
	if !p.armed && len(p.watched) > 0 {
		p.timer.Reset(p.tick)
		p.armed = true
	}
}

// serve leads or proposes, as a replica's leadership allows, and takes snapshots.
func (p *pump) serve(r *replica) {
	r.mu.Lock()
	r.roused = false
	leading, serving, term, held := r.leading(), r.serving(), r.term, r.held
	if !leading {
		r.turnAway()
	}
	r.mu.Unlock()
	r.snapshot()
	switch {
	case !leading || held:
	case !serving:
		p.proposeLead(r, term)
	default:
		p.proposeSome(r)
	}
}

// proposeSome proposes what is due, and no more than may be in flight: one group whose
// entries come back at once must not keep the others waiting.
func (p *pump) proposeSome(r *replica) {
	for range tempo.MaxInFlight {
		if !p.proposeNext(r) {
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rouseIfDue()
}

// look serves what is under way and rare.
func (p *pump) look() {
	for r := range p.watched {
		idle := p.lookAt(r)
		if idle {
			delete(p.watched, r)
			continue
		}
		p.serve(r)
	}
}

// lookAt takes dragonboat's verdicts on what a replica has under way and tells
// whether nothing is.
func (p *pump) lookAt(r *replica) (idle bool) {
	if r.lead != nil && landed(r.lead) != nil {
		r.lead = nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = false
	for i := len(r.flights) - 1; i >= 0; i-- {
		if f := r.flights[i]; f.state != nil {
			if res := landed(f.state); res != nil {
				r.land(f, *res)
			}
		}
	}
	return r.stopped || r.lead == nil && len(r.flights) == 0 && r.queue.Len() == 0 && (r.serving() || !r.leading())
}

// landed is dragonboat's verdict, if it is there; then the request is released.
func landed(rs *dragonboat.RequestState) *dragonboat.RequestResult {
	select {
	case res := <-rs.AppliedC():
		rs.Release()
		return &res
	default:
		return nil
	}
}

// proposeLead proposes the entry that begins a leadership, unless it is under way. The
// one of an earlier leadership may be lost without anybody's saying so: it is not
// waited for.
func (p *pump) proposeLead(r *replica, term uint64) {
	p.watched[r] = struct{}{}
	if r.lead != nil && r.leadTerm == term {
		return
	}
	e := machine.Entry{Kind: machine.KindLead, Term: term}
	rs, err := p.propose(r, &e, r.host.opts.electionTimeout())
	if err != nil {
		rs = nil // again after a tick
	}
	r.lead, r.leadTerm = rs, term
}

func (p *pump) propose(r *replica, e *machine.Entry, timeout time.Duration) (*dragonboat.RequestState, error) {
	p.buf = e.AppendTo(p.buf[:0])
	defer func() {
		if cap(p.buf) > 2*coalesce.MaxBytes {
			p.buf = nil // a single huge command
		}
	}()
	return r.host.nh.Propose(r.session, p.buf, timeout)
}

// proposeNext seals the oldest waiting batch and proposes it; false if there is
// none, it is not its time, or it was refused.
func (p *pump) proposeNext(r *replica) bool {
	var e machine.Entry
	f, b := r.seal(&e)
	if f == nil {
		return false
	}
	defer b.Release() // the entry's bytes are its
	p.watched[r] = struct{}{}
	rs, err := p.propose(r, &e, r.host.proposalTimeout())
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil && f.settled():
		r.spent = append(r.spent, rs)
	case err == nil:
		f.state = rs
	case f.settled():
	case errors.Is(err, dragonboat.ErrPayloadTooBig):
		r.remove(f).Fail(fault.Wrap(err, fault.TooLarge, "propose to group %s", r.spec.Name).InGroup(r.spec.Name))
	default: // busy, not ready or closing: dragonboat did not take it
		r.bounce(f)
	}
	r.held = err != nil
	return err == nil
}
