package cluster

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
func (w *World) later(after time.Duration, do func()) {
	w.waiting++
	w.plan(after, event{do: do})
}

func (w *World) routine(after time.Duration, do func()) {
	w.plan(after, event{do: do, routine: true})
}

func (w *World) plan(after time.Duration, e event) {
	w.seq++
	e.at, e.seq = w.Now+max(after, 0), w.seq
	w.queue.push(e)
}

// At plans something at a virtual time: faults, and their ends.
func (w *World) At(virtual time.Duration, do func()) {
	w.seq++
	w.Agenda.push(event{at: max(virtual, w.Virtual()), seq: w.seq, do: do})
}

// Virtual is the time in the world, jumps included. The clocks of the real code run
// on w.Now, which knows nothing of jumps.
func (w *World) Virtual() time.Duration { return w.Now + w.skipped }

// Run lets virtual time pass until the agenda is done and nothing more than that end
// is left, or until stop says so.
func (w *World) Run(end time.Duration, stop func() bool) {
	for w.Virtual() < end && (stop == nil || !stop()) {
		w.jump(end)
		w.step(end)
	}
}

// step lets the next event happen, if it does before the end.
func (w *World) step(end time.Duration) {
	next := end - w.skipped
	if len(w.queue) > 0 {
		next = min(next, w.queue[0].at)
	}
	if len(w.Agenda) > 0 && w.Agenda[0].at-w.skipped <= next {
		w.Now = max(w.Now, w.Agenda[0].at-w.skipped)
		e := w.Agenda.pop()
		e.do()
		return
	}
	w.Now = next
	if len(w.queue) == 0 || w.queue[0].at > next {
		return
	}
	e := w.queue.pop()
	if !e.routine {
		w.waiting--
	}
	w.Steps++
	e.do()
}

// Quiet that is long enough for a jump. Where something is amiss and nothing can be
// done about it, it is longer than the timers that a fault starts.
const (
	quietWhenStill = 3 * time.Second
	quietOtherwise = 12 * time.Second // and down_after
)

// jump leaves out the time in which nothing would happen.
func (w *World) jump(end time.Duration) {
	if w.NoJumps || w.waiting > 0 || w.Now-w.Active < quietWhenStill {
		return
	}
	if w.Now-w.Active < quietOtherwise+w.DownAfter && !w.still() {
		return
	}
	to := end
	if len(w.Agenda) > 0 {
		to = min(to, w.Agenda[0].at)
	}
	if d := to - w.Virtual(); d > time.Second {
		w.skipped += d
		w.Active = w.Now
	}
}

// still tells that the drummer that leads has nothing to do and nothing to say.
func (w *World) still() bool {
	for _, d := range w.Drummers {
		if d.leads && (d.Paused || !d.Core.Still()) {
			return false
		}
	}
	return w.Leader >= 0
}

// between draws a time.
func (w *World) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.Rng.Int64N(int64(most-least)+1))
}

// one tells, one time of n, true.
func (w *World) one(n int) bool { return w.Rng.IntN(n) == 0 }
