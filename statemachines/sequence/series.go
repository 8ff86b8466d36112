package sequence

import (
	"math/bits"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines/sequence/lent"
)

// recentPeriod is the length of the windows in which numbers are counted, nanoseconds.
const recentPeriod = 10_000_000_000

// series is one sequence. The number of index i is base + i*step; next is the index that
// is handed out next, and size is the index behind the last one. Indexes are unsigned
// and size is at most 2^64-1, so nothing here can overflow.
//
// What handing out touches stands in the first 128 bytes: in a large family a series is in
// no cache, and each line of it that is touched costs as much as all the counting.
type series struct {
	key   string
	epoch uint64
	*shape
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

	*bucket            // the quota's; nil without, as the shape says
	gaps    *lent.Gaps // of a gap-free sequence; nil for others
	crew    *lent.Crew // of a time sequence; nil for others
}

// bucket is what a quota allows now: tokens, and part of another one in units of
// 1/period. Both were right at filled on the lease clock.
type bucket struct {
	tokens, part uint64
	filled       int64
}

// Key implements lookup.Named.
func (x *series) Key() string { return x.key }

// newSeries begins a sequence.
func newSeries(key string, s *shape, now int64) *series {
	x := &series{key: key, shape: s}
	x.begin(s.start)
	x.reshape(now)
	return x
}

// reshape makes what the shape needs beside it.
func (x *series) reshape(now int64) {
	switch {
	case x.quota == 0:
		x.bucket = nil
	case x.bucket == nil:
		x.bucket = &bucket{tokens: x.quota, filled: now}
	default:
		x.bucket = &bucket{tokens: min(x.tokens, x.quota), filled: now}
	}
	if x.mode == sequencepb.Mode_MODE_GAPFREE && x.gaps == nil {
		x.gaps = lent.NewGaps()
	}
	if x.mode == sequencepb.Mode_MODE_TIME && x.crew == nil {
		x.crew = lent.NewCrew()
	}
}

// copied is the series for another epoch: it can be changed while a view reads x.
func (x *series) copied(epoch uint64) *series {
	c := *x
	c.epoch = epoch
	if x.bucket != nil {
		b := *x.bucket
		c.bucket = &b
	}
	c.gaps, c.crew = x.gaps.Copied(), x.crew.Copied()
	return &c
}

// begin lets the series go on with number n, which is between min and max.
func (x *series) begin(n int64) {
	x.base, x.next, x.size = n, 0, x.room(n)
	x.era++
}

// number is that of an index. It is right for every index below size, and wraps beyond.
func (x *series) number(i uint64) int64 { return int64(uint64(x.base) + i*uint64(x.step)) }

// indexOf is the index of a number that was handed out since base; false for others.
func (x *series) indexOf(n int64) (uint64, bool) {
	d, step := uint64(n)-uint64(x.base), uint64(x.step)
	if x.step < 0 {
		d, step = uint64(x.base)-uint64(n), -uint64(x.step)
	}
	i := d / step
	return i, d%step == 0 && i < x.next && x.number(i) == n
}

// left is how many numbers there are before the end.
func (x *series) left() uint64 { return x.size - x.next }

// distance is how many numbers lie between the next one and n, rounded up; 0 when n is
// not ahead.
func (x *series) distance(n int64) uint64 {
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
func (x *series) skip(n uint64) {
	if n = min(n, x.left()); n == 0 {
		return
	}
	x.next += n
	x.skipped += n
}

// count notes that n numbers were handed out.
func (x *series) count(n uint64, now int64) {
	x.issued += n
	x.roll(now)
	x.current += n
}

// roll moves the window of recent numbers to now.
func (x *series) roll(now int64) {
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

// refill adds to the bucket what time brought. What is less than a token is kept, so
// that many small refills are worth one large one.
func (x *series) refill(now int64) {
	hi, lo := bits.Mul64(uint64(now-x.filled), x.quota)
	lo, carry := bits.Add64(lo, x.part, 0)
	hi, x.filled = hi+carry, now
	more, part := x.quota, uint64(0)
	if hi < uint64(x.period) {
		more, part = bits.Div64(hi, lo, uint64(x.period))
	}
	if more >= x.quota-x.tokens {
		x.tokens, x.part = x.quota, 0
		return
	}
	x.tokens, x.part = x.tokens+more, part
}

// await is how many milliseconds it takes until the bucket holds n, which is more than
// it does and at most the quota.
func (x *series) await(n uint64) uint64 {
	const ms = 1_000_000
	hi, lo := bits.Mul64(n-x.tokens, uint64(x.period))
	lo, borrow := bits.Sub64(lo, x.part, 0) // part is less than a period
	ns, rest := bits.Div64(hi-borrow, lo, x.quota)
	if rest > 0 {
		ns++
	}
	return (ns-1)/ms + 1
}

// refund gives back what a quota had been charged.
func (x *series) refund(n uint64) {
	if x.bucket != nil {
		x.tokens = min(x.quota, x.tokens+n)
	}
}
