package sequence

import "time"

// NewTimeIDsAt is NewTimeIDs with a clock of the test's.
func NewTimeIDsAt(group Group, now func() time.Time, opts ...Option) *TimeIDs {
	return newTimeIDs(group, "sequence/test", "", now, opts...)
}
