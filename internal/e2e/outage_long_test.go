//go:build e2elong

package e2e

import "time"

// allDrummersDead is how long reads, writes and a host's restart go on without any drummer.
const allDrummersDead = 60 * time.Second

// changesFor is how long TestChangesWhileHostsCrash goes on, and changesGranted how many
// changes must have been granted meanwhile.
const (
	changesFor     = 4 * time.Minute
	changesGranted = 300
)
