//go:build e2e && !e2elong

package e2e

import "time"

// underFire is how long the crowd of TestTheCapacityUnderFire is under fire.
const underFire = 30 * time.Second
