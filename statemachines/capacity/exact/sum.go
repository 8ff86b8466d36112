// Package exact sums amounts without any rounding, so that a sum that is changed a
// billion times by adding and taking away is still what a sum of what is left
// would be: nothing drifts, and the order does not matter.
//
// A Sum is a fixed-point number wide enough for every amount: Limit bounds amounts
// from above and Least from below. Both keep far away from what anybody leases.
package exact

import (
	"math"
	"math/bits"
)

// Least and Limit bound amounts; see Amount.
const (
	Least = 0x1p-256
	Limit = 0x1p333
)

// The fixed-point number: limbs of 32 bits, the lowest bit of limb 0 is 2^base.
// Least has its lowest bit at 2^-308; 2^31 amounts of Limit stay below limb 23.
const (
	base  = -320
	width = 32
	limbs = 24
	mask  = 1<<width - 1
)

// Bits of a float64.
const (
	mantissa = 52
	bias     = 1023
	hidden   = 1 << mantissa
)

// Amount makes an amount of v, which must be a number and not negative: less than
// Least is nothing, more than Limit is Limit.
func Amount(v float64) float64 {
	switch {
	case v < Least:
		return 0
	case v > Limit:
		return Limit
	}
	return v
}

// Sum is a sum of amounts; the zero value is zero. It may be negative on the way.
// Copy it to try something out.
type Sum struct {
	// limb holds digits of 32 bits; the last one has the sign.
	limb [limbs]int64
}

// Add adds an amount.
func (s *Sum) Add(v float64) {
	if v != 0 {
		at, d := digits(v)
		for i, x := range d {
			s.limb[at+i] += x
		}
		s.carry(at)
	}
}

// Sub takes an amount away.
func (s *Sum) Sub(v float64) {
	if v != 0 {
		at, d := digits(v)
		for i, x := range d {
			s.limb[at+i] -= x
		}
		s.carry(at)
	}
}

// digits are the three digits that an amount may touch, from limb at on.
func digits(v float64) (at int, d [3]int64) {
	b := math.Float64bits(v)
	low := int(b>>mantissa) - bias - mantissa - base // where its lowest bit stands
	m := b&(hidden-1) | hidden
	at, off := low/width, uint(low%width)
	d[0] = int64(m << off & mask)
	d[1] = int64(m >> (width - off) & mask)
	d[2] = int64(m >> (2*width - off))
	return at, d
}

// carry brings the digits back into their range; those from limb at on changed, three
// at most.
func (s *Sum) carry(at int) {
	for i := at; i < limbs-1; i++ {
		over := s.limb[i] >> width
		if over == 0 && i >= at+2 {
			return
		}
		s.limb[i] &= mask
		s.limb[i+1] += over
	}
}

// Room is what is left of an amount when the sum is taken away from it, rounded
// towards zero; nothing when the sum is larger.
func (s *Sum) Room(v float64) float64 {
	var left Sum
	borrow := int64(0)
	for i, x := range s.limb[:limbs-1] {
		d := borrow - x
		left.limb[i], borrow = d&mask, d>>width
	}
	left.limb[limbs-1] = borrow - s.limb[limbs-1]
	left.Add(v)
	return left.Value()
}

// Value is the sum rounded towards zero; a negative sum is 0.
func (s *Sum) Value() float64 {
	if s.limb[limbs-1] < 0 {
		return 0
	}
	top := limbs - 1
	for top > 0 && s.limb[top] == 0 {
		top--
	}
	// Two digits below the top one hold more bits than a float64 has.
	m, shift := uint64(s.limb[top]), base+width*top
	for i := top - 1; i >= 0 && i >= top-2; i-- {
		room := width - max(0, bits.Len64(m)+width-64)
		m = m<<uint(room) | uint64(s.limb[i])>>uint(width-room)
		shift -= room
		if room < width {
			break
		}
	}
	if extra := bits.Len64(m) - mantissa - 1; extra > 0 {
		m = m >> uint(extra) << uint(extra)
	}
	return math.Ldexp(float64(m), shift)
}
