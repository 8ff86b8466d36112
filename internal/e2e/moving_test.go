//go:build e2e || e2elong

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/localfleet"
)

// movingConfig is a Doorman's, with clients that come back soon.
const movingConfig = `resources:
- identifier_glob: proportional
  capacity: 100
  safe_capacity: 10
  algorithm: {kind: PROPORTIONAL_SHARE, lease_length: 15, refresh_interval: 1}
- identifier_glob: "*"
  capacity: 1000
  algorithm: {kind: FAIR_SHARE, lease_length: 60, refresh_interval: 15}
`

// movers are clients of the original, by name, with what they want of a resource.
type movers map[string]*original

func (c movers) join(t *testing.T, name, address string, wants float64) {
	c[name] = newOriginal(t, name, address)
	c[name].ask("proportional", wants)
}

// have waits until the clients have been granted so much, to the bit.
func (w *world) have(c movers, what string, want map[string]float64) {
	w.Helper()
	w.within(newcomerWithin*4, what, func() (bool, string) {
		got := map[string]float64{}
		same := true
		for name, v := range want {
			got[name], _, _ = c[name].capacity("proportional")
			same = same && got[name] == v
		}
		return same, fmt.Sprint(got)
	})
}

// TestMovingFromDoorman moves a crowd of the original's clients from a pair of its servers to a
// cluster, as docs/doorman.md says: the configuration unchanged, then the clients, which are
// given another address and nothing else.
func TestMovingFromDoorman(t *testing.T) {
	old, other := newDoormen(t, 100)
	wants := map[string]float64{"small1": 10, "small2": 10, "small3": 10, "small4": 10, "big": 500}
	before := movers{}
	for _, name := range []string{"small1", "small2", "small3", "small4", "big"} {
		before.join(t, name, other, wants[name])
	}
	w := newWorld(t, 1, 3)
	w.within(newcomerWithin*4, "the old servers serve all", func() (bool, string) {
		sum := 0.0
		for _, c := range before {
			v, _, redirects := c.capacity("proportional")
			if sum += v; redirects == 0 {
				return false, "a client was not sent to the master"
			}
		}
		return sum == 100, fmt.Sprint(sum)
	})

	file := filepath.Join(w.dir, "config.yml")
	w.must(os.WriteFile(file, []byte(movingConfig), 0o600))
	for _, how := range [][]string{{"--dry-run"}, nil} {
		args := append([]string{"--servers", w.fleet.APIs(localfleet.KindDrummer)[0], "capacity", "config", "apply", "-f", file}, how...)
		out, err := exec.CommandContext(t.Context(), filepath.Join(programs(t), "drummer-cmd"), args...).CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "proportional")
	}

	for _, c := range before {
		c.close() // it gives its lease back: the resource is served by one system at a time
	}
	old.mu.Lock()
	left, seen := len(old.held), old.seen
	old.mu.Unlock()
	require.Zero(t, left)
	hosts := w.fleet.APIs(localfleet.KindNodeHost)
	after := movers{}
	for i, name := range []string{"small1", "small2", "small3", "small4", "big"} {
		after.join(t, name, hosts[i%len(hosts)], wants[name])
	}
	w.have(after, "all are served by the cluster", map[string]float64{"small1": 10, "small2": 10, "small3": 10, "small4": 10, "big": 60})
	after.join(t, "bigger", hosts[0], 1000)
	eighth := map[string]float64{"small1": 10, "small4": 10, "big": 25.454545454545457, "bigger": 34.54545454545455}
	w.have(after, "the numbers of the tutorial's step 8", eighth)

	// The host of some is killed with its leases: they back off, and go on where they were.
	dead := w.leader("capacity/proportional")
	w.must(w.fleet.Kill(dead))
	w.have(after, "nobody is told anything else", eighth)
	w.must(w.fleet.Start(dead))
	counts := map[string]int{}
	for name, c := range after {
		_, counts[name], _ = c.capacity("proportional")
	}
	w.within(newcomerWithin*5, "all refresh", func() (bool, string) {
		for name, c := range after {
			if _, n, _ := c.capacity("proportional"); n < counts[name]+2 {
				return false, name
			}
		}
		return true, ""
	})
	w.have(after, "and have what they had", eighth)
	for name, c := range after {
		_, _, redirects := c.capacity("proportional")
		require.Zero(t, redirects, "%s was sent elsewhere", name)
	}
	old.mu.Lock()
	defer old.mu.Unlock()
	require.Equal(t, seen, old.seen, "nobody asks the old servers")
}
