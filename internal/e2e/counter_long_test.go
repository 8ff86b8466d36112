//go:build e2elong

package e2e

import "time"

// How long the scenarios of counters go on.
const (
	oceanLatencies = 2000
	oceanSevered   = time.Minute
	oceanFlaps     = 10
	oceanFlap      = time.Second
	oceanKeys      = 100_000
	oceanWindows   = 3 * time.Minute
	oceanFire      = 3 * time.Minute // while histories are recorded
)
