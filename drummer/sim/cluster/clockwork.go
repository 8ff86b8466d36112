package cluster

import (
	"time"

	"github.com/drumline/drumline/drummer/sim/cluster/agenda"
)

// Later plans something that has to happen.
func (w *World) Later(after time.Duration, do func()) {
	w.waiting++
	w.plan(after, agenda.Event{Do: do})
}

// Routine plans what always does; it does not keep time from jumping.
func (w *World) Routine(after time.Duration, do func()) {
	w.plan(after, agenda.Event{Do: do, Routine: true})
}

func (w *World) plan(after time.Duration, e agenda.Event) {
	w.seq++
	e.At, e.Seq = w.Now+max(after, 0), w.seq
	w.queue.Push(e)
}

// At plans something at a virtual time: faults, and their ends.
func (w *World) At(virtual time.Duration, do func()) {
	w.seq++
	w.Agenda.Push(agenda.Event{At: max(virtual, w.Virtual()), Seq: w.seq, Do: do})
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
		next = min(next, w.queue[0].At)
	}
	if len(w.Agenda) > 0 && w.Agenda[0].At-w.skipped <= next {
		w.Now = max(w.Now, w.Agenda[0].At-w.skipped)
		e := w.Agenda.Pop()
		e.Do()
		return
	}
	w.Now = next
	if len(w.queue) == 0 || w.queue[0].At > next {
		return
	}
	e := w.queue.Pop()
	if !e.Routine {
		w.waiting--
	}
	w.Steps++
	e.Do()
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
	patience := quietOtherwise + w.DownAfter
	if w.Gossips {
		patience += w.UnreachableAfter
	}
	if w.Now-w.Active < patience && !w.still() {
		return
	}
	to := end
	if len(w.Agenda) > 0 {
		to = min(to, w.Agenda[0].At)
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

// Between draws a time.
func (w *World) Between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.Rng.Int64N(int64(most-least)+1))
}

// One tells, one time of n, true.
func (w *World) One(n int) bool { return w.Rng.IntN(n) == 0 }
