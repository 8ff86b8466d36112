package sequence

import (
	"math/bits"
	"sync/atomic"
	"time"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// span is a range in hand. Its numbers are taken by counting up, from any goroutine.
type span struct {
	taken atomic.Uint64 // may exceed count: such callers found nothing left
	count uint64
	// low is the index that calls for more ranges when it is taken.
	low   uint64
	first int64
	step  int64
	bits  uint // of a scattered sequence; 0 of others

	serial uint64
	client *sequencepb.Client
	// after is the number of the newest flight when this one landed: whatever is granted
	// by later flights lies beyond.
	after uint64
	began time.Time // when its first number was taken
}

func newSpan(g *sequencepb.Grant) *span {
	return &span{count: g.GetCount(), low: g.GetCount() / 2, first: g.GetFirst(), step: g.GetStep(), bits: uint(g.GetScatterBits())}
}

// number is that of an index below count.
func (s *span) number(i uint64) int64 {
	n := uint64(s.first) + i*uint64(s.step)
	if s.bits > 0 {
		return int64(bits.Reverse64(n) >> (64 - s.bits))
	}
	return int64(n)
}

// left tells whether there are numbers to take.
func (s *span) left() bool { return s.taken.Load() < s.count }

// retire takes all that is left at once, and says how many numbers that were.
func (s *span) retire() uint64 {
	taken := s.taken.Swap(1 << 63) // no caller counts beyond it
	return s.count - min(taken, s.count)
}

// before tells whether s is handed out before t.
func (s *span) before(t *span) bool {
	if s.step < 0 {
		return s.first > t.first
	}
	return s.first < t.first
}
