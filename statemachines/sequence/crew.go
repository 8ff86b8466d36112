package sequence

import (
	"time"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines/sequence/lent"
)

// timed is the time sequence of a key; or why not.
func (m *Machine) timed(key string) (series, *sequencepb.Result) {
	x, refused := m.find(key)
	if refused == nil && x.crew == nil {
		refused = refuse(sequencepb.Outcome_OUTCOME_WRONG_MODE, "the sequence has no workers: its numbers are not made of time")
	}
	return x, refused
}

// leaseWorker leases a worker, or renews the lease.
func (m *Machine) leaseWorker(l *sequencepb.LeaseWorker) *sequencepb.Result {
	x, refused := m.timed(l.GetKey())
	if refused == nil {
		refused = x.stranger(l.GetIncarnation())
	}
	if refused != nil {
		return refused
	}
	last := x.epochMS + 1<<x.timeBits - 1 // the last time stamp that the layout can tell
	if now := l.GetNowMs(); now < x.epochMS || now > last {
		return refuse(sequencepb.Outcome_OUTCOME_INVALID, "the time %d is not between %d and %d, which the layout can tell", now, x.epochMS, last)
	}
	w, floor, refused := m.candidate(x, l)
	if refused != nil {
		return refused
	}
	if floor >= last {
		return refuse(sequencepb.Outcome_OUTCOME_EXHAUSTED, "the time stamps of the layout are used up")
	}
	if l.Worker == nil {
		m.tokens = m.unique(m.tokens)
		w.Token = m.tokens
	}
	// Two leases ahead: a holder whose renewal is late has something to go on with.
	w.Ceiling = min(max(w.Ceiling, max(floor, l.GetNowMs())+2*x.leaseMS), last)
	w.Until = m.now + int64(x.leaseMS)*int64(time.Millisecond)
	x.crew.Put(w)
	x.crew.High = max(x.crew.High, w.Ceiling)
	r := ok()
	r.Worker = &sequencepb.Worker{
		Worker: uint32(w.Number), Token: w.Token, LeaseMs: x.leaseMS, FloorMs: floor, CeilingMs: w.Ceiling, Layout: x.layout(), Incarnation: x.incarnation,
	}
	return r
}

// candidate is the worker that a lease is about, with its floor.
func (m *Machine) candidate(x series, l *sequencepb.LeaseWorker) (lent.Worker, uint64, *sequencepb.Result) {
	if l.Worker != nil {
		w, found := x.crew.Workers.Get(lent.Worker{Number: uint64(l.GetWorker())})
		if !found || w.Token == 0 || w.Token != l.GetToken() {
			return w, 0, refuse(sequencepb.Outcome_OUTCOME_NOT_HELD, "worker %d is somebody else's: lease another", l.GetWorker())
		}
		return w, x.crew.Floor, nil
	}
	w, wait := x.crew.Free(1<<x.workerBits, m.now)
	if wait > 0 {
		r := refuse(sequencepb.Outcome_OUTCOME_FULL, "all %d workers are leased", 1<<x.workerBits)
		r.RetryMs = uint64((wait-1)/int64(time.Millisecond)) + 1
		return w, 0, r
	}
	return w, max(w.Ceiling, x.crew.Floor), nil
}

// releaseWorker ends a lease. The ceiling stays: time stamps up to it may be in use.
func (m *Machine) releaseWorker(l *sequencepb.ReleaseWorker) *sequencepb.Result {
	x, refused := m.timed(l.GetKey())
	if refused != nil {
		return refused
	}
	w, found := x.crew.Workers.Get(lent.Worker{Number: uint64(l.GetWorker())})
	if !found || w.Token == 0 || w.Token != l.GetToken() {
		return refuse(sequencepb.Outcome_OUTCOME_NOT_HELD, "worker %d is somebody else's", l.GetWorker())
	}
	w.Until = min(w.Until, m.now)
	w.Token = 0 // so that the holder cannot renew what it gave up
	x.crew.Put(w)
	return ok()
}
