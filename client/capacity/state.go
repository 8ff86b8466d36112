package capacity

import (
	"math"
	"strconv"
	"time"
)

// Basis is the ground on which a capacity is used.
type Basis int

const (
	// Pending is before the first answer: the capacity is 0.
	Pending Basis = iota
	// Leased is under a lease that the fleet counts.
	Leased
	// Safe is without a lease: it ended and no server could be asked, or the resource was
	// refused. The capacity is the resource's safe capacity.
	Safe
	// Released is after Release or Close: the capacity is 0 for ever.
	Released
)

// String is one lower-case word.
func (b Basis) String() string {
	switch b {
	case Pending:
		return "pending"
	case Leased:
		return "leased"
	case Safe:
		return "safe"
	case Released:
		return "released"
	default:
		return "basis " + strconv.Itoa(int(b))
	}
}

// State is what may be used of a resource at an instant.
type State struct {
	Basis Basis
	// Capacity is in the resource's own unit; never negative, and infinite when the safe
	// capacity is "unlimited".
	Capacity float64
	// Until is when the lease must no longer be used, by the wall clock, with the margin
	// taken off; zero without a lease.
	Until time.Time
}

// Unlimited tells whether there is no limit at all.
func (s State) Unlimited() bool { return math.IsInf(s.Capacity, 1) }

// same tells whether nothing that a user acts on is different.
func (s State) same(t State) bool { return s.Basis == t.Basis && s.Capacity == t.Capacity }
