//go:build e2elong

package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAThousandResourcesFollow: a thousand names come into being by use, and all follow
// an apply within two seconds.
func TestAThousandResourcesFollow(t *testing.T) {
	const many, callers = 1000, 64
	w := newWorld(t, 3, 3)
	w.create()
	first := w.applyResources(100)
	names := make([]string, many)
	for n := range names {
		names[n] = fmt.Sprintf("capacity/many-%04d", n)
	}
	start := time.Now()
	w.each(names, callers, func(name string) {
		if _, err := w.definition(name, time.Minute); err != nil {
			t.Errorf("first use of %s: %v", name, err)
		}
	})
	t.Logf("first use of %d names by %d callers: %.1fs", many, callers, time.Since(start).Seconds())
	w.within(30*time.Second, "all have the configuration", w.haveAll(names, first))

	var took []time.Duration
	for n := range 5 {
		took = append(took, w.following(names, 200+n))
	}
	slices.Sort(took)
	t.Logf("they follow after %s in the median", took[len(took)/2])
	// A thousand are asked in turns by who looks, and a machine with other work takes much longer.
	require.Less(t, took[len(took)/2], followWithin, "in the median of %v", took)
}
