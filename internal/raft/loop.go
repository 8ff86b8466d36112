package raft

import (
	"errors"
	"time"

	"github.com/lni/dragonboat/v3"
	"github.com/lni/dragonboat/v3/client"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/raft/machine"
)

// loop is the state that only a replica's own goroutine touches.
type loop struct {
	r       *replica
	session *client.Session
	// slots are the entries in flight.
	slots [maxInFlight]*flight
	// lead is the Lead entry in flight.
	lead *dragonboat.RequestState
	// pause, when set, holds proposals back until it fires: something refused one.
	pause   *time.Timer
	pausing bool
}

// run is the replica's goroutine.
func (r *replica) run() {
	defer close(r.ended)
	l := &loop{r: r, session: r.host.nh.GetNoOPSession(uint64(r.spec.Group)), pause: time.NewTimer(time.Hour)}
	defer l.pause.Stop()
	defer r.abandon()
	for l.step() {
	}
}

// step does what can be done now and waits for more; false ends the loop.
func (l *loop) step() bool {
	l.poll()
	l.work()
	select {
	case <-l.r.stop:
		return false
	case <-l.r.wake:
	case <-l.pause.C:
		l.pausing = false
	case <-verdict(l.lead):
		l.leadLanded()
	case res := <-l.slots[0].verdict():
		l.landed(0, res)
	case res := <-l.slots[1].verdict():
		l.landed(1, res)
	case res := <-l.slots[2].verdict():
		l.landed(2, res)
	case res := <-l.slots[3].verdict():
		l.landed(3, res)
	}
	return true
}

func verdict(rs *dragonboat.RequestState) <-chan dragonboat.RequestResult {
	if rs == nil {
		return nil
	}
	return rs.AppliedC()
}

func (f *flight) verdict() <-chan dragonboat.RequestResult {
	if f == nil {
		return nil
	}
	return verdict(f.state)
}

// poll frees the slots of settled flights. Their verdict may still be to come; the
// log's word is enough.
func (l *loop) poll() {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	for i, f := range l.slots {
		if f != nil && f.settled {
			l.slots[i] = nil
		}
	}
}

// landed takes dragonboat's verdict on a flight. The log's own word came before if
// the entry was applied.
func (l *loop) landed(slot int, res dragonboat.RequestResult) {
	f := l.slots[slot]
	l.slots[slot] = nil
	f.state.Release()
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	switch {
	case f.settled:
	case res.Dropped():
		delete(l.r.flights, f.serial)
		l.r.bounce(f)
		l.hold()
	case res.Terminated():
		l.r.lose(f, "the replica was stopped")
	default:
		l.r.lose(f, "the group did not answer in time")
	}
}

// leadLanded ends an attempt at the Lead entry. If it did not do, the next attempt
// waits a tick, whatever the reason.
func (l *loop) leadLanded() {
	l.lead.Release()
	l.lead = nil
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	if !l.r.serving() {
		l.hold()
	}
}

// hold stops proposing for a tick.
func (l *loop) hold() {
	l.pausing = true
	l.pause.Reset(l.r.host.opts.Tick)
}

// work fails, leads or proposes, as leadership allows.
func (l *loop) work() {
	l.r.mu.Lock()
	leading, serving, term := l.r.leading(), l.r.serving(), l.r.term
	if !leading {
		for _, b := range l.r.queue.drain() {
			b.finish(l.r.notLeader())
		}
	}
	l.r.mu.Unlock()
	switch {
	case !leading || l.pausing:
	case !serving:
		l.proposeLead(term)
	default:
		for i := range l.slots {
			if l.slots[i] == nil && !l.proposeNext(i) {
				return
			}
		}
	}
}

// proposeLead proposes the entry that begins this leadership, unless it is under way.
func (l *loop) proposeLead(term uint64) {
	if l.lead != nil {
		return
	}
	e := machine.Entry{Kind: machine.KindLead, Term: term}
	rs, err := l.propose(e.Encode(), l.r.host.opts.electionTimeout())
	if err != nil {
		l.hold()
		return
	}
	l.lead = rs
}

func (l *loop) propose(encoded []byte, timeout time.Duration) (*dragonboat.RequestState, error) {
	return l.r.host.nh.Propose(l.session, encoded, timeout)
}

// proposeNext seals the oldest waiting batch and proposes it; false if there is none
// or it was refused.
func (l *loop) proposeNext(slot int) bool {
	f, encoded := l.seal()
	if f == nil {
		return false
	}
	rs, err := l.propose(encoded, l.r.host.proposalTimeout())
	if err == nil {
		f.state = rs
		l.slots[slot] = f
		return true
	}
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	delete(l.r.flights, f.serial)
	switch {
	case f.settled:
	case errors.Is(err, dragonboat.ErrPayloadTooBig):
		f.batch.finish(fault.Wrap(err, fault.TooLarge, "propose to group %s", l.r.spec.Name).InGroup(l.r.spec.Name))
	default: // busy, not ready or closing: dragonboat did not take it
		l.r.bounce(f)
	}
	l.hold()
	return false
}

// seal takes the oldest waiting batch and stamps it: every command in it has
// arrived, so that the stamp is no earlier than any of them. It is encoded under the
// lock, because a caller that leaves may use its bytes again.
func (l *loop) seal() (*flight, []byte) {
	r := l.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.serving() {
		return nil, nil
	}
	b := r.queue.take()
	if b == nil {
		return nil, nil
	}
	b.sealed = true
	r.serial++
	f := &flight{lead: r.reign.lead, serial: r.serial, batch: b}
	r.flights[f.serial] = f
	e := &machine.Entry{Kind: machine.KindCommands}
	if b.control != nil {
		c := *b.control
		e = &c
	} else {
		e.Commands = b.commands()
	}
	e.Term, e.Lead, e.Serial, e.Stamp = r.reign.term, r.reign.lead, f.serial, r.reign.clock.now()
	return f, e.Encode()
}
