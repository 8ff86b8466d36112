//go:build mutation

package sim

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/mutant"
)

// busy is the most faults that a schedule draws by itself: some bugs need two that meet.
const busy = 24

// TestMutations plants each bug and demands that the schedules find it.
func TestMutations(t *testing.T) {
	for _, bug := range mutant.List() {
		t.Run(bug, func(t *testing.T) {
			mutant.Plant(bug)
			defer mutant.Plant("")
			var found *Outcome
			n := 0
			Many(Setup{Seed: 1, Faults: busy}, schedules, runtime.GOMAXPROCS(0), func(o *Outcome) bool {
				n++
				if len(o.Violations) > 0 {
					found = o
				}
				return found == nil
			})
			require.NotNil(t, found, "no schedule of %d found it", n)
			t.Logf("found by schedule %d, seed %d: %s", n, found.Setup.Seed, found.Violations[0])
		})
	}
}
