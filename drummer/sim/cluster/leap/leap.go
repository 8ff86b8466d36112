// Package leap remembers by how much more than time passed what is committed went on, as it
// does when a quorum depended on a slow disk and one that is faster comes back. Who had all
// that was committed before it may be that far behind, and nobody could know.
package leap

import "time"

// remembered is for how long a leap is: longer than any proof of being up to date counts.
const remembered = 12 * time.Second

// Leap is that of one group; the zero value is none.
type Leap struct{ by, at time.Duration }

// Add notes that it went on so much further than time; less than that is no leap.
func (l *Leap) Add(now, by time.Duration) {
	if by > 0 {
		l.by, l.at = l.Lately(now)+by, now
	}
}

// Lately is how far the leaps of the last seconds went.
func (l *Leap) Lately(now time.Duration) time.Duration {
	if now-l.at > remembered {
		return 0
	}
	return l.by
}
