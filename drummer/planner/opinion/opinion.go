// Package opinion is what the neighbours of a host that drummers don't hear say of it. It
// is pure.
package opinion

import (
	"fmt"
	"time"
)

// Opinion is the neighbours' view of a host that is silent.
type Opinion struct {
	// Unreachable tells that most of them hear it: it is no more than suspect until it is
	// silent for ReplacedAfter.
	Unreachable bool
	// HeardBy of them hear it, Of have an opinion.
	HeardBy, Of int
	// ReplacedAfter is how long the silence of such a host lasts before it is replaced.
	ReplacedAfter time.Duration
}

// New judges. One that more than half of them hear lives, and has lost only its way to the
// drummers: replacing it would move data and take a vote from a host that serves, so it gets
// more time. One neighbour of several is not believed: its own view may be old.
func New(heardBy, of int, silent, replacedAfter time.Duration) Opinion {
	return Opinion{2*heardBy > of && silent <= replacedAfter, heardBy, of, replacedAfter}
}

// String says what it means for the host, behind its name.
func (o Opinion) String() string {
	return fmt.Sprintf("is unreachable: drummers do not hear it, %d of %d hosts that gossip do; it is replaced when it is silent for %s", o.HeardBy, o.Of, o.ReplacedAfter)
}

// Reasons say what is special about how a host comes and goes; none for most.
func (o Opinion) Reasons(flapping bool) (reasons []string) {
	if o.Unreachable {
		reasons = append(reasons, "it "+o.String())
	}
	if flapping {
		reasons = append(reasons, "it came and went several times lately: other hosts are chosen first")
	}
	return reasons
}

// Mark makes a number of a host's state that differs where the opinion makes a difference.
func (o Opinion) Mark(state int) int {
	if o.Unreachable {
		return -1 - state
	}
	return state
}
