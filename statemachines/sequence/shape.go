package sequence

import (
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines/sequence/lent"
)

// Bounds and defaults of definitions.
const (
	defaultScatterBits = 63
	leastScatterBits   = 8
	defaultLogicalBits = 18
	leastLogicalBits   = 8
	mostLogicalBits    = 22
	defaultReservation = 30 * time.Second
	longestReservation = 24 * time.Hour
	longestPeriod      = 366 * 24 * time.Hour
	defaultTimeBits    = 41
	defaultWorkerBits  = 10
	mostWorkerBits     = 16
	defaultCounterBits = 12
	defaultLease       = 10 * time.Second
	shortestLease      = time.Second
	longestLease       = 24 * time.Hour
	// mostNumbers is how many numbers a sequence can have.
	mostNumbers = math.MaxUint64
)

// shape is a Definition with its defaults filled in and checked. It is never changed:
// series and frozen views share it.
type shape struct {
	mode             sequencepb.Mode
	step             int64
	start, min, max  int64
	cycle            bool
	cache            uint64
	owner            string
	maxRange         uint64 // 0: no limit
	maxSkip          uint64
	quota            lent.Quota
	scatterBits      uint32 // 0 unless the mode is scatter
	logicalBits      uint32 // 0 unless the mode is tso
	reservation      int64  // nanoseconds
	timeBits         uint32
	workerBits       uint32
	counterBits      uint32
	epochMS, leaseMS uint64
}

// CheckDefinition says what is wrong with a definition, or nil.
func CheckDefinition(d *sequencepb.Definition) error {
	_, err := compile(d)
	return err
}

// compile fills in defaults and checks.
func compile(d *sequencepb.Definition) (*shape, error) {
	if d == nil {
		d = &sequencepb.Definition{}
	}
	s := &shape{
		mode: d.GetMode(), step: d.GetStep(), cycle: d.GetCycle(), cache: d.GetCache(), owner: d.GetOwner(),
		maxRange: d.GetMaxRange(), maxSkip: or(d.GetMaxSkip(), DefaultSkip),
	}
	if s.mode == sequencepb.Mode_MODE_UNSPECIFIED {
		s.mode = sequencepb.Mode_MODE_DENSE
	}
	if s.step == 0 {
		s.step = 1
	}
	if len(s.owner) > MaxOwner || !utf8.ValidString(s.owner) {
		return nil, refusal(fmt.Sprintf("the owner has %d bytes, at most %d of UTF-8 are allowed", len(s.owner), MaxOwner))
	}
	for _, fill := range []func(*sequencepb.Definition) error{s.fillMode, s.fillRange, s.fillQuota} {
		if err := fill(d); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// or is v, or what stands for zero.
func or[T uint32 | uint64](v, instead T) T {
	if v == 0 {
		return instead
	}
	return v
}

// fillMode takes what belongs to the mode, and refuses what belongs to others.
func (s *shape) fillMode(d *sequencepb.Definition) error {
	switch s.mode {
	case sequencepb.Mode_MODE_DENSE, sequencepb.Mode_MODE_CACHED:
	case sequencepb.Mode_MODE_SCATTER:
		s.scatterBits = or(d.GetScatterBits(), defaultScatterBits)
		if s.scatterBits < leastScatterBits || s.scatterBits > defaultScatterBits {
			return refusal(fmt.Sprintf("scatter_bits is %d, want %d to %d", s.scatterBits, leastScatterBits, defaultScatterBits))
		}
	case sequencepb.Mode_MODE_GAPFREE:
		return s.fillGapFree(d)
	case sequencepb.Mode_MODE_TIME:
		return s.fillTime(d)
	case sequencepb.Mode_MODE_TSO:
		return s.fillTSO(d)
	default:
		return refusal(fmt.Sprintf("mode %d is none that this version knows", s.mode))
	}
	return nil
}

func (s *shape) fillGapFree(d *sequencepb.Definition) error {
	if s.cycle {
		return refusal("a gap-free sequence cannot cycle: its numbers would come again")
	}
	ms := or(d.GetReservationMs(), uint64(defaultReservation/time.Millisecond))
	if ms > uint64(longestReservation/time.Millisecond) {
		return refusal(fmt.Sprintf("reservation_ms is %d, at most a day is allowed", ms))
	}
	s.reservation = int64(ms) * int64(time.Millisecond)
	return nil
}

func (s *shape) fillTSO(d *sequencepb.Definition) error {
	s.logicalBits = or(d.GetLogicalBits(), defaultLogicalBits)
	if s.logicalBits < leastLogicalBits || s.logicalBits > mostLogicalBits {
		return refusal(fmt.Sprintf("logical_bits is %d, want %d to %d", s.logicalBits, leastLogicalBits, mostLogicalBits))
	}
	return s.noRange(d)
}

func (s *shape) fillTime(d *sequencepb.Definition) error {
	t := d.GetTime()
	s.timeBits, s.workerBits = or(t.GetTimeBits(), defaultTimeBits), or(t.GetWorkerBits(), defaultWorkerBits)
	s.counterBits = or(t.GetCounterBits(), defaultCounterBits)
	s.epochMS, s.leaseMS = t.GetEpochMs(), or(t.GetLeaseMs(), uint64(defaultLease/time.Millisecond))
	switch {
	case s.timeBits > 63 || s.counterBits > 63 || s.timeBits+s.workerBits+s.counterBits > 63:
		return refusal("the layout's bits are more than 63 in all")
	case s.workerBits > mostWorkerBits:
		return refusal(fmt.Sprintf("worker_bits is %d, at most %d are allowed", s.workerBits, mostWorkerBits))
	case s.epochMS > 1<<62:
		return refusal("epoch_ms is beyond any date")
	case s.leaseMS < uint64(shortestLease/time.Millisecond) || s.leaseMS > uint64(longestLease/time.Millisecond):
		return refusal(fmt.Sprintf("lease_ms is %d, want a second to a day", s.leaseMS))
	}
	return s.noRange(d)
}

// noRange refuses bounds for numbers that are made of a clock.
func (s *shape) noRange(d *sequencepb.Definition) error {
	if d.Start != nil || d.Min != nil || d.Max != nil || s.step != 1 || s.cycle {
		return refusal("numbers made of a clock have no start, step, min, max or cycle")
	}
	return nil
}

// fillRange takes the bounds. A clock's numbers begin at 0.
func (s *shape) fillRange(d *sequencepb.Definition) error {
	s.min, s.max = 1, math.MaxInt64
	switch {
	case s.logicalBits > 0 || s.timeBits > 0:
		s.min = 0
	case s.scatterBits > 0:
		s.max = 1<<s.scatterBits - 1
	case s.step < 0:
		s.min, s.max = math.MinInt64, -1
	}
	if d.Min != nil {
		s.min = d.GetMin()
	}
	if d.Max != nil {
		s.max = d.GetMax()
	}
	if s.start = s.min; s.step < 0 {
		s.start = s.max
	}
	if d.Start != nil {
		s.start = d.GetStart()
	}
	return s.checkRange()
}

func (s *shape) checkRange() error {
	switch {
	case s.min > s.max:
		return refusal(fmt.Sprintf("min %d is above max %d", s.min, s.max))
	case s.start < s.min || s.start > s.max:
		return refusal(fmt.Sprintf("start %d is not between min %d and max %d", s.start, s.min, s.max))
	case uint64(s.max)-uint64(s.min) > mostNumbers-1:
		return refusal("min and max are too far apart: 2^64-1 numbers are the most")
	case s.scatterBits > 0 && (s.min < 0 || uint64(s.max) >= 1<<s.scatterBits):
		return refusal(fmt.Sprintf("a scattered sequence of %d bits counts from 0 to 2^%d-1 at most", s.scatterBits, s.scatterBits))
	}
	return nil
}

func (s *shape) fillQuota(d *sequencepb.Definition) error {
	q := d.GetQuota()
	if q == nil {
		return nil
	}
	s.quota.Numbers = q.GetNumbers()
	switch {
	case s.mode == sequencepb.Mode_MODE_GAPFREE || s.mode == sequencepb.Mode_MODE_TIME || s.mode == sequencepb.Mode_MODE_TSO:
		return refusal("a quota is for sequences that hand out ranges")
	case s.quota.Numbers == 0 || s.quota.Numbers > MaxCount:
		return refusal("the quota's numbers are not between 1 and 2^62")
	case q.GetPeriodMs() == 0 || q.GetPeriodMs() > uint64(longestPeriod/time.Millisecond):
		return refusal(fmt.Sprintf("the quota's period_ms is %d, want 1 ms to 366 days", q.GetPeriodMs()))
	}
	s.quota.Period = int64(q.GetPeriodMs()) * int64(time.Millisecond)
	return nil
}

// definition is the shape on the wire, with all defaults filled in.
func (s *shape) definition() *sequencepb.Definition {
	d := &sequencepb.Definition{
		Mode: s.mode, Step: s.step, Start: &s.start, Min: &s.min, Max: &s.max, Cycle: s.cycle, Cache: s.cache, Owner: s.owner,
		MaxRange: s.maxRange, MaxSkip: s.maxSkip, ScatterBits: s.scatterBits, LogicalBits: s.logicalBits,
		ReservationMs: uint64(s.reservation / int64(time.Millisecond)),
	}
	if s.quota.Numbers > 0 {
		d.Quota = &sequencepb.Quota{Numbers: s.quota.Numbers, PeriodMs: uint64(s.quota.Period / int64(time.Millisecond))}
	}
	if s.timeBits > 0 {
		d.Time = s.layout()
	}
	if s.timeBits > 0 || s.logicalBits > 0 {
		d.Start, d.Min, d.Max = nil, nil, nil // so that it can be sent back
	}
	return d
}

func (s *shape) layout() *sequencepb.TimeLayout {
	return &sequencepb.TimeLayout{
		TimeBits: s.timeBits, WorkerBits: s.workerBits, CounterBits: s.counterBits, EpochMs: s.epochMS, LeaseMs: s.leaseMS,
	}
}

// room is how many numbers there are from n on, n included; n is between min and max.
func (s *shape) room(n int64) uint64 {
	if s.step > 0 {
		return (uint64(s.max)-uint64(n))/uint64(s.step) + 1
	}
	return (uint64(n)-uint64(s.min))/-uint64(s.step) + 1
}

// low is where a cycle begins.
func (s *shape) low() int64 {
	if s.step > 0 {
		return s.min
	}
	return s.max
}

// holds tells whether n is between min and max.
func (s *shape) holds(n int64) bool { return n >= s.min && n <= s.max }
