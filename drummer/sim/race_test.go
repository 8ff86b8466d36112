//go:build race

package sim

// slower is how many times fewer schedules the quick tests run: the race detector makes
// them as much slower, and finds nothing in runs that share nothing.
const slower = 50
