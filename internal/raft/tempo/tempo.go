// Package tempo says when a group's next log entry goes. An entry of many commands
// costs as much as one of few, so that commands had better share one: those that come
// while an entry is under way wait for it to come back, and when it is back the callers
// whose commands it brought get a moment to come again. Without that moment a crowd
// falls into two halves, each of which waits for the other's entry.
//
// One caller alone never waits. A crowd that does not come again, because its calls have
// nothing to do with one another, is waited for ever more rarely.
package tempo

import "time"

const (
	// MaxInFlight bounds a group's entries that are proposed and not applied.
	MaxInFlight = 4
	// crowd: so many commands that wait make an entry worth its while beside another.
	crowd = 256
	// near is the round trip of followers that are not far away. Far ones, or a slow
	// disk, are not waited for a whole trip: the next entry goes so long after the last.
	near = 5 * time.Millisecond
	// lost: an entry that has been away for so long does not hold up the others.
	lost = 50 * time.Millisecond
	// memory is how long the quickest round trip counts.
	memory = 30 * time.Second
	// patience is the moment for those who come again, in round trips, and maxPatience
	// bounds it: on a busy machine callers take as long as the group.
	patience    = 4
	maxPatience = 20 * time.Millisecond
	// maxDistrust bounds the doubling of how often it is not granted after it was in vain.
	maxDistrust = 6
)

// Tempo is a group's; the zero value is that of a new one. Its owner locks it.
type Tempo struct {
	// sealed is when the newest entry went, best the quickest round trip since bestAt: a
	// slow trip of a group whose best is quick is a busy machine, where more entries
	// would make it slower still.
	sealed time.Time
	best   time.Duration
	bestAt time.Time
	// until is the end of the moment for those who come again, zero if there is none;
	// want commands end it sooner, and fair of them make it worth its while.
	until      time.Time
	want, fair int
	// vain counts moments that were in vain, one after the other; skip are not granted.
	vain, skip int
}

// Due tells whether the commands that wait, at least one, may go now.
func (t *Tempo) Due(now func() time.Time, flying, waiting int) bool {
	switch {
	case flying == 0:
		return t.until.IsZero() || waiting >= t.want || !now().Before(t.until)
	case flying >= MaxInFlight:
		return false
	case waiting >= crowd:
		return true
	}
	after := lost
	if t.best >= near {
		after = near
	}
	return now().Sub(t.sealed) >= after
}

// Sealed notes that an entry of so many commands goes now.
func (t *Tempo) Sealed(now time.Time, commands int) {
	t.sealed = now
	if t.until.IsZero() {
		return
	}
	t.until = time.Time{}
	if commands >= t.fair {
		t.vain = 0
		return
	}
	t.vain = min(t.vain+1, maxDistrust)
	t.skip = 1<<t.vain - 1
}

// Landing is an entry that came back.
type Landing struct {
	// Sealed is when it went, Back when it came back; zero: now. It may be earlier, because
	// its callers are told later, and cannot come again before.
	Sealed, Back time.Time
	// Commands in it, and commands that wait.
	Commands, Waiting int
	// Flying is how many other entries are under way.
	Flying int
}

// Landed notes an entry that came back now, and returns how long its callers are
// waited for; 0: not at all. Due changes when that time is over.
func (t *Tempo) Landed(now time.Time, l Landing) time.Duration {
	if l.Back.IsZero() {
		l.Back = now
	}
	if trip := l.Back.Sub(l.Sealed); trip <= t.best || now.Sub(t.bestAt) >= memory {
		t.best, t.bestAt = trip, now
	}
	all := l.Commands + l.Waiting
	if l.Flying > 0 || all < 2 {
		return 0
	}
	if t.skip > 0 {
		t.skip--
		return 0
	}
	t.want = all - all/8
	t.fair = min(l.Waiting+(l.Commands+1)/2, t.want)
	wait := min(patience*now.Sub(l.Sealed), maxPatience)
	t.until = now.Add(wait)
	return wait
}
