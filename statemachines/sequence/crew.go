package sequence

import (
	"cmp"
	"time"

	"github.com/google/btree"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// crew is the workers of a time sequence. What makes their numbers unique is not the
// lease but the window: a holder uses time stamps in (floor, ceiling] only, and the next
// holder's floor is not below that ceiling, whatever any clock says.
type crew struct {
	workers *btree.BTreeG[worker] // by number
	ends    *btree.BTreeG[worker] // the same, by the end of the lease
	// fresh is how many workers were ever leased: the numbers from there on are new.
	fresh uint64
	// high is the highest ceiling; floor is that of workers never leased. Unix milliseconds.
	high, floor uint64
}

// worker is one number and its last lease.
type worker struct {
	number, token uint64
	until         int64  // lease clock, nanoseconds; others may have it from then on
	ceiling       uint64 // Unix milliseconds
}

func newCrew() *crew {
	return &crew{
		workers: btree.NewG(degree, func(a, b worker) bool { return a.number < b.number }),
		ends: btree.NewG(degree, func(a, b worker) bool {
			return cmp.Or(cmp.Compare(a.until, b.until), cmp.Compare(a.number, b.number)) < 0
		}),
	}
}

// copied shares the trees' nodes until one of the two is changed.
func (c *crew) copied() *crew {
	if c == nil {
		return nil
	}
	fresh := *c
	fresh.workers, fresh.ends = c.workers.Clone(), c.ends.Clone()
	return &fresh
}

// raise keeps everybody away from what may have been used in a life before: all time
// stamps up to ms beyond the highest that is known.
func (c *crew) raise(ms uint64) {
	c.floor = max(c.floor, c.high+min(ms, 1<<61)) // far less than would overflow
	fresh := newCrew()                            // the holders are of that life; and others may be reading the old trees
	fresh.high, fresh.floor = c.high, c.floor
	*c = *fresh
}

// put takes a worker's new lease, in the place of the old one.
func (c *crew) put(w worker) {
	if old, found := c.workers.ReplaceOrInsert(w); found {
		c.ends.Delete(old)
	}
	c.ends.ReplaceOrInsert(w)
	c.fresh = max(c.fresh, w.number+1)
}

// free is a worker that nobody holds: a new one, or the one that was free for longest.
// Else it says how long it takes until one is.
func (c *crew) free(most uint64, now int64) (w worker, wait int64) {
	if c.fresh < most {
		return worker{number: c.fresh}, 0
	}
	w, _ = c.ends.Min()
	return w, max(w.until-now, 0)
}

// timed is the time sequence of a key; or why not.
func (m *Machine) timed(key string) (*series, *sequencepb.Result) {
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
		m.tokens++
		w.token = m.tokens
	}
	// Two leases ahead: a holder whose renewal is late has something to go on with.
	w.ceiling = min(max(w.ceiling, max(floor, l.GetNowMs())+2*x.leaseMS), last)
	w.until = m.now + int64(x.leaseMS)*int64(time.Millisecond)
	x.crew.put(w)
	x.crew.high = max(x.crew.high, w.ceiling)
	r := ok()
	r.Worker = &sequencepb.Worker{
		Worker: uint32(w.number), Token: w.token, LeaseMs: x.leaseMS, FloorMs: floor, CeilingMs: w.ceiling, Layout: x.layout(), Incarnation: x.incarnation,
	}
	return r
}

// candidate is the worker that a lease is about, with its floor.
func (m *Machine) candidate(x *series, l *sequencepb.LeaseWorker) (worker, uint64, *sequencepb.Result) {
	if l.Worker != nil {
		w, found := x.crew.workers.Get(worker{number: uint64(l.GetWorker())})
		if !found || w.token == 0 || w.token != l.GetToken() {
			return w, 0, refuse(sequencepb.Outcome_OUTCOME_NOT_HELD, "worker %d is somebody else's: lease another", l.GetWorker())
		}
		return w, x.crew.floor, nil
	}
	w, wait := x.crew.free(1<<x.workerBits, m.now)
	if wait > 0 {
		r := refuse(sequencepb.Outcome_OUTCOME_FULL, "all %d workers are leased", 1<<x.workerBits)
		r.RetryMs = uint64((wait-1)/int64(time.Millisecond)) + 1
		return w, 0, r
	}
	return w, max(w.ceiling, x.crew.floor), nil
}

// releaseWorker ends a lease. The ceiling stays: time stamps up to it may be in use.
func (m *Machine) releaseWorker(l *sequencepb.ReleaseWorker) *sequencepb.Result {
	x, refused := m.timed(l.GetKey())
	if refused != nil {
		return refused
	}
	w, found := x.crew.workers.Get(worker{number: uint64(l.GetWorker())})
	if !found || w.token == 0 || w.token != l.GetToken() {
		return refuse(sequencepb.Outcome_OUTCOME_NOT_HELD, "worker %d is somebody else's", l.GetWorker())
	}
	w.until = min(w.until, m.now)
	w.token = 0 // so that the holder cannot renew what it gave up
	x.crew.put(w)
	return ok()
}
