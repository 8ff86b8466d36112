package sim

import "time"

// event is something to be done at a time.
type event struct {
	at  time.Duration
	seq uint64 // events of the same time happen in the order that they were planned
	// routine events (heartbeats, passes) do not keep time from jumping.
	routine bool
	do      func()
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// queue is a heap of events.
type queue []event

func (q *queue) push(e event) {
	*q = append(*q, e)
	h := *q
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(&h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (q *queue) pop() event {
	h := *q
	first := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h[last] = event{}
	h = h[:last]
	*q = h
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h); c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		if least == i {
			return first
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// later plans something that has to happen; routine plans what always does.
func (w *world) later(after time.Duration, do func()) {
	w.waiting++
	w.plan(after, event{do: do})
}

func (w *world) routine(after time.Duration, do func()) {
	w.plan(after, event{do: do, routine: true})
}

func (w *world) plan(after time.Duration, e event) {
	w.seq++
	e.at, e.seq = w.now+max(after, 0), w.seq
	w.queue.push(e)
}

// at plans something at a virtual time: faults, and their ends.
func (w *world) at(virtual time.Duration, do func()) {
	w.seq++
	w.agenda.push(event{at: max(virtual, w.virtual()), seq: w.seq, do: do})
}

// virtual is the time in the world, jumps included. The clocks of the real code run
// on w.now, which knows nothing of jumps.
func (w *world) virtual() time.Duration { return w.now + w.skipped }

// run lets virtual time pass until the agenda is done and nothing more than that end
// is left, or until stop says so.
func (w *world) run(end time.Duration, stop func() bool) {
	for w.virtual() < end && (stop == nil || !stop()) {
		w.jump(end)
		w.step(end)
	}
}

// step lets the next event happen, if it does before the end.
func (w *world) step(end time.Duration) {
	next := end - w.skipped
	if len(w.queue) > 0 {
		next = min(next, w.queue[0].at)
	}
	if len(w.agenda) > 0 && w.agenda[0].at-w.skipped <= next {
		w.now = max(w.now, w.agenda[0].at-w.skipped)
		e := w.agenda.pop()
		e.do()
		return
	}
	w.now = next
	if len(w.queue) == 0 || w.queue[0].at > next {
		return
	}
	e := w.queue.pop()
	if !e.routine {
		w.waiting--
	}
	w.steps++
	e.do()
}

// Quiet that is long enough for a jump. Where something is amiss and nothing can be
// done about it, it is longer than the timers that a fault starts.
const (
	quietWhenStill = 3 * time.Second
	quietOtherwise = 12 * time.Second // and down_after
)

// jump leaves out the time in which nothing would happen.
func (w *world) jump(end time.Duration) {
	if w.noJumps || w.waiting > 0 || w.now-w.active < quietWhenStill {
		return
	}
	if w.now-w.active < quietOtherwise+w.downAfter && !w.still() {
		return
	}
	to := end
	if len(w.agenda) > 0 {
		to = min(to, w.agenda[0].at)
	}
	if d := to - w.virtual(); d > time.Second {
		w.skipped += d
		w.active = w.now
	}
}

// still tells that the drummer that leads has nothing to do and nothing to say.
func (w *world) still() bool {
	for _, d := range w.drummers {
		if d.leads && (d.paused || !d.core.Still()) {
			return false
		}
	}
	return w.leader >= 0
}

// between draws a time.
func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rng.Int64N(int64(most-least)+1))
}

// one tells, one time of n, true.
func (w *world) one(n int) bool { return w.rng.IntN(n) == 0 }
