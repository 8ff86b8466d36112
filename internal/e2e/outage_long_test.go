//go:build e2e && e2elong

package e2e

import "time"

// allDrummersDead is how long reads, writes and a host's restart go on without any drummer.
const allDrummersDead = 60 * time.Second
