package sequence

import (
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines/sequence/lent"
	"github.com/drumline/drumline/statemachines/sequence/pages"
)

// recentPeriod is the length of the windows in which numbers are counted, nanoseconds.
const recentPeriod = 10_000_000_000

// series is one sequence, as its page has it: to be read until the Machine is changed, and
// to be changed itself until the command is done if it comes from own.
type series struct {
	id  pages.ID
	key string
	*ties
	*numbers
}

// ties are what a sequence has pointers to.
type ties struct {
	*shape
	gaps *lent.Gaps // of a gap-free sequence; nil for others
	crew *lent.Crew // of a time sequence; nil for others
}

// numbers are all else of it, and have no pointers. The number of index i is base + i*step;
// next is the index that is handed out next, and size is the index behind the last one.
// Indexes are unsigned and size is at most 2^64-1, so nothing here can overflow.
//
// What handing out touches stands in front: in a large family a series is in no cache, and
// each line of it that is touched costs as much as all the counting.
type numbers struct {
	base       int64
	next, size uint64
	// generation is the life in which the series is open; seen is how much of the
	// group's margin it has skipped.
	generation, seen uint64
	// incarnation tells apart sequences of one key; era tells apart runs of one sequence
	// through its numbers: it grows when base does anything but stay.
	incarnation, era uint64

	issued, ranges, outstanding uint64

	// window is the period that current counts in; previous is of the one before.
	window            int64
	current, previous uint64

	returned, skipped, unused, lost uint64

	bucket lent.Bucket
}

// Copied implements pages.Tied.
func (t ties) Copied() ties { return ties{t.shape, t.gaps.Copied(), t.crew.Copied()} }

// exists is false where there is no such sequence.
func (x series) exists() bool { return x.numbers != nil }

// reshape gives a series a shape, and what it needs beside it.
func (x series) reshape(s *shape, now int64) {
	had := x.shape != nil && x.quota.Numbers > 0
	switch x.shape = s; {
	case x.quota.Numbers == 0:
		x.bucket = lent.Bucket{}
	case had:
		x.bucket = lent.Bucket{Tokens: min(x.bucket.Tokens, x.quota.Numbers), Filled: now}
	default:
		x.bucket = lent.Bucket{Tokens: x.quota.Numbers, Filled: now}
	}
	if x.mode == sequencepb.Mode_MODE_GAPFREE && x.gaps == nil {
		x.gaps = lent.NewGaps()
	}
	if x.mode == sequencepb.Mode_MODE_TIME && x.crew == nil {
		x.crew = lent.NewCrew()
	}
}

// begin lets the series go on with number n, which is between min and max.
func (x series) begin(n int64) {
	x.base, x.next, x.size = n, 0, x.room(n)
	x.era++
}

// number is that of an index. It is right for every index below size, and wraps beyond.
func (x series) number(i uint64) int64 { return int64(uint64(x.base) + i*uint64(x.step)) }

// indexOf is the index of a number that was handed out since base; false for others.
func (x series) indexOf(n int64) (uint64, bool) {
	d, step := uint64(n)-uint64(x.base), uint64(x.step)
	if x.step < 0 {
		d, step = uint64(x.base)-uint64(n), -uint64(x.step)
	}
	i := d / step
	return i, d%step == 0 && i < x.next && x.number(i) == n
}

// left is how many numbers there are before the end.
func (x series) left() uint64 { return x.size - x.next }

// distance is how many numbers lie between the next one and n, rounded up; 0 when n is
// not ahead.
func (x series) distance(n int64) uint64 {
	at := x.number(x.next)
	d, step := uint64(n)-uint64(at), uint64(x.step)
	ahead := n > at
	if x.step < 0 {
		d, step, ahead = uint64(at)-uint64(n), -uint64(x.step), n < at
	}
	if !ahead {
		return 0
	}
	return (d-1)/step + 1
}

// skip leaves out up to n numbers.
func (x series) skip(n uint64) {
	if n = min(n, x.left()); n == 0 {
		return
	}
	x.next += n
	x.skipped += n
}

// count notes that n numbers were handed out.
func (x series) count(n uint64, now int64) {
	x.issued += n
	x.roll(now)
	x.current += n
}

// roll moves the window of recent numbers to now.
func (x series) roll(now int64) {
	w := now / recentPeriod
	switch {
	case w == x.window:
		return
	case w == x.window+1:
		x.previous = x.current
	default:
		x.previous = 0
	}
	x.window, x.current = w, 0
}
