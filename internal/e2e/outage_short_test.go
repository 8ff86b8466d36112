//go:build e2e && !e2elong

package e2e

import "time"

// allDrummersDead is longer than down_after; `make e2e-long` takes a minute.
const allDrummersDead = 15 * time.Second
