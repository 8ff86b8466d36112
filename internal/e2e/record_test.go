//go:build e2e || e2elong

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/localfleet"
)

// TestAllDrummersLost loses the disks of all drummers, twice: the record is rebuilt from
// nothing but the hosts, and from a backup that is older than the newest groups. No replica
// is touched, and the groups serve all the while.
func TestAllDrummersLost(t *testing.T) {
	w := newWorld(t, 3, 3)
	first := specs("first", 5)
	w.create(first...)
	w.within(20*time.Second, "launched", w.whole(nil))
	load := w.load(names(first), 50*time.Millisecond)
	w.within(20*time.Second, "writes go on", func() (bool, string) { return load.Acknowledged() >= 20, "waiting for writes" })

	backup := filepath.Join(w.dir, "record.state")
	for _, from := range [][]string{nil, {"--backup", backup}} {
		before, err := w.groups()
		w.must(err)
		status, err := w.client.Drummer().Status(w.Context(), &drummerpb.StatusRequest{})
		w.must(err)
		w.loseDrummers(from)
		w.within(20*time.Second, "the new drummers know all groups", w.whole(nil))
		after, err := w.groups()
		w.must(err)
		require.Equal(t, replicaIDs(before), replicaIDs(after), "no replica was touched")
		for name, g := range before {
			require.Equal(t, g.GetId(), after[name].GetId())
		}
		now, err := w.client.Drummer().Status(w.Context(), &drummerpb.StatusRequest{})
		w.must(err)
		require.Greater(t, now.GetIncarnation(), status.GetIncarnation())
		if from == nil {
			w.run("record", "backup", "--to", backup)
		}
		more := specs(fmt.Sprintf("after-%d", now.GetIncarnation()), 2)
		w.create(more...)
		w.within(20*time.Second, "new groups are launched", w.whole(names(more)))
		w.numbersAreNew(before, names(more))
	}
	report := w.finish(load)
	require.LessOrEqual(t, report.Gaps[0].Length, 3*time.Second, "a group noticed: %s at %s", report.Gaps[0].Group, report.Gaps[0].Started)
}

// loseDrummers destroys all drummers and starts new ones with what the command made.
func (w *world) loseDrummers(from []string) {
	w.Helper()
	drummers := []string{"drummer-1", "drummer-2", "drummer-3"}
	for _, d := range drummers {
		w.must(w.fleet.Kill(d))
		w.must(os.RemoveAll(filepath.Join(w.dir, d, "data")))
	}
	seed := filepath.Join(w.dir, "seed.state")
	args := append([]string{"record", "rebuild", "--to", seed}, from...)
	out, err := w.commandAt(w.fleet.APIs(localfleet.KindNodeHost), append(args, w.fleet.APIs(localfleet.KindNodeHost)[0])...)
	w.must(err)
	w.Log(out)
	raw, err := os.ReadFile(seed)
	w.must(err)
	for _, d := range drummers {
		data := filepath.Join(w.dir, d, "data")
		w.must(os.MkdirAll(data, 0o700))
		w.must(os.WriteFile(filepath.Join(data, "seed.state"), raw, 0o600))
		w.must(w.fleet.Start(d))
	}
}

// numbersAreNew checks that no number of these groups was given before.
func (w *world) numbersAreNew(before map[string]*drummerpb.GroupInfo, fresh []string) {
	w.Helper()
	now, err := w.groups()
	w.must(err)
	used := replicaIDs(before)
	for _, name := range fresh {
		for _, r := range now[name].GetReplicas() {
			for old, replicas := range used {
				require.NotEqual(w, before[old].GetId(), now[name].GetId())
				require.False(w, slices.Contains(replicas, r.GetId()), strings.Join([]string{name, old}, " "))
			}
		}
	}
}
