// Package pace keeps work that grows with everything there is, and is wanted after
// each small change, from taking more than its share of the time: while thousands of
// replicas start, each event of one would cost a look at all.
package pace

import "time"

// Pace lets a piece of work follow the last one only after a rest of several times
// its duration. It belongs to one goroutine.
type Pace struct {
	// C fires when work that was put off is due.
	C     <-chan time.Time
	timer *time.Timer
	rest  time.Duration // of the duration of the work
	next  time.Time     // when the last work is paid off
	due   bool
}

// New makes a Pace for work that may take one of so many parts of the time. Stop frees it.
func New(parts int) *Pace {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &Pace{C: t.C, timer: t, rest: time.Duration(parts)}
}

// Stop frees the timer; C does not fire any more.
func (p *Pace) Stop() { p.timer.Stop() }

// Now tells whether the work may be done now; if not, C fires when it may.
func (p *Pace) Now() bool {
	wait := time.Until(p.next)
	if wait > 0 && !p.due {
		p.due = true
		p.timer.Reset(wait)
	}
	return wait <= 0
}

// Done notes that the work that began then has been done.
func (p *Pace) Done(begun time.Time) {
	p.due = false
	p.timer.Stop()
	p.next = begun.Add(p.rest * time.Since(begun))
}
