package lent

import "math/bits"

// Bucket is what a quota allows now: Tokens, and Part of another one in units of 1/period.
// Both were right at Filled on the lease clock, nanoseconds. Without a quota all are 0.
type Bucket struct {
	Tokens, Part uint64
	Filled       int64
}

// Quota is how many numbers each period allows, nanoseconds; Numbers is 0 without one.
type Quota struct {
	Numbers uint64
	Period  int64
}

// Refill adds to the bucket what time brought. What is less than a token is kept, so
// that many small refills are worth one large one.
func (b *Bucket) Refill(q Quota, now int64) {
	hi, lo := bits.Mul64(uint64(now-b.Filled), q.Numbers)
	lo, carry := bits.Add64(lo, b.Part, 0)
	hi, b.Filled = hi+carry, now
	more, part := q.Numbers, uint64(0)
	if hi < uint64(q.Period) {
		more, part = bits.Div64(hi, lo, uint64(q.Period))
	}
	if more >= q.Numbers-b.Tokens {
		b.Tokens, b.Part = q.Numbers, 0
		return
	}
	b.Tokens, b.Part = b.Tokens+more, part
}

// Await is how many milliseconds it takes until the bucket holds n, which is more than
// it does and at most the quota.
func (b *Bucket) Await(q Quota, n uint64) uint64 {
	const ms = 1_000_000
	hi, lo := bits.Mul64(n-b.Tokens, uint64(q.Period))
	lo, borrow := bits.Sub64(lo, b.Part, 0) // part is less than a period
	ns, rest := bits.Div64(hi-borrow, lo, q.Numbers)
	if rest > 0 {
		ns++
	}
	return (ns-1)/ms + 1
}

// Refund gives back what a quota had been charged.
func (b *Bucket) Refund(q Quota, n uint64) { b.Tokens = min(q.Numbers, b.Tokens+n) }
