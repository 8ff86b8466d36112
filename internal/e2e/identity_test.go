//go:build e2e || e2elong

package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// TestAnOldCopyOfADiskIsRefused starts a host from a copy of its data directory that
// was made before its last start, after the original has stopped. The copy has forgotten
// what the original voted and acknowledged: it must end, and be replaced.
func TestAnOldCopyOfADiskIsRefused(t *testing.T) {
	w := newWorld(t, 3, 4)
	w.patience = soonDown
	copied := &fleetpb.Spec{Name: "kv/copied", App: "kv", Replicas: 3}
	w.create(copied)
	w.within(15*time.Second, "launch", w.whole(names([]*fleetpb.Spec{copied})))
	groups, err := w.groups()
	w.must(err)
	host := hostsOf(groups["kv/copied"])[0]
	data, kept := filepath.Join(w.dir, host, "data"), filepath.Join(w.dir, "copy")

	w.must(w.fleet.Stop(host))
	w.must(os.CopyFS(kept, os.DirFS(data)))
	w.must(w.fleet.Start(host))
	w.within(20*time.Second, "whole with the original", w.whole(nil))
	// The original was started as often as the copy will have been: that it lived is what tells.
	lived := time.Now()
	w.within(10*time.Second, "the original lives for a while", func() (bool, string) { return time.Since(lived) > 4*time.Second, "" })
	_, err = w.client.KV("kv/copied").Put(t.Context(), []byte("k"), []byte("after the copy"))
	w.must(err)
	w.must(w.fleet.Stop(host))

	w.must(os.RemoveAll(data))
	w.must(os.Rename(kept, data))
	w.mayEnd.Store(host, true)
	w.must(w.fleet.Start(host))
	w.within(10*time.Second, "the copy ends", func() (bool, string) {
		p, err := w.fleet.Process(host)
		w.must(err)
		return p.PID == 0, tail(w.dir, host)
	})
	require.Contains(t, tail(w.dir, host), "an old copy of it")
	w.within(downAfter+10*time.Second, "whole without it", w.whole(nil, host))
	entry, found, err := w.client.KV("kv/copied").Get(t.Context(), []byte("k"))
	w.must(err)
	require.True(t, found)
	require.Equal(t, "after the copy", string(entry.Value))
}
