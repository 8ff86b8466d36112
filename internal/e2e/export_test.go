//go:build e2e || e2elong

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestExport takes a live fleet, a host of which was just killed, into the simulator: its
// schedules break no promise, and the same one is the same each time.
func TestExport(t *testing.T) {
	w := newWorld(t, 3, 4)
	groups := specs("kept", 8)
	w.create(groups...)
	w.within(20*time.Second, "launch", w.whole(nil))
	file := filepath.Join(t.TempDir(), "fleet.json")
	exported := func() (hosts, groups int) {
		out := struct{ Hosts, Groups int }{}
		require.NoError(t, json.Unmarshal([]byte(w.run("record", "export", "--to", file)), &out))
		return out.Hosts, out.Groups
	}
	simulated := func(args ...string) (hash string) {
		out := struct {
			Hash     string
			Failures []any
		}{}
		args = append([]string{"simulate", "--from", file, "--seed", "5"}, args...)
		require.NoError(t, json.Unmarshal([]byte(w.run(args...)), &out))
		require.Empty(t, out.Failures)
		return out.Hash
	}
	hosts, n := exported()
	require.Equal(t, 4, hosts)
	require.Equal(t, len(groups), n)
	once := simulated("--schedules", "2")
	require.Equal(t, once, simulated("--schedules", "2"), "the same file and seed give the same trace")

	w.must(w.fleet.Kill("host-2"))
	exported() // it may or may not be noticed yet
	simulated("--schedules", "5")

	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotContains(t, string(data), "127.0.0.1", "addresses are left out")
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(file, data, 0o600))
	_, err = w.command("simulate", "--from", file)
	require.Error(t, err)
}
