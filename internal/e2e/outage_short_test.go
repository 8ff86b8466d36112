//go:build e2e && !e2elong

package e2e

import "time"

// allDrummersDead is longer than down_after; `make e2e-long` takes a minute.
const allDrummersDead = soonDown + 4*time.Second

// changesFor is how long TestChangesWhileHostsCrash goes on, and changesGranted how many
// changes must have been granted meanwhile.
const (
	changesFor     = 12 * time.Second
	changesGranted = 10
)
