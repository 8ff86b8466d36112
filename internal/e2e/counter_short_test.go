//go:build e2e && !e2elong

package e2e

import "time"

// How long the scenarios of counters go on.
const (
	oceanLatencies = 200
	oceanSevered   = 2 * time.Second
	oceanFlaps     = 2
	oceanFlap      = 300 * time.Millisecond
	oceanKeys      = 2000
	oceanWindows   = 3 * time.Second
	oceanFire      = 6 * time.Second // while histories are recorded
)
