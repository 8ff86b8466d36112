//go:build e2elong

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
)

// TestADamagedSleeperIsFound damages a replica while it is out of memory. Loading it ends
// the host's process; that one finds out which it was by the marker, over some starts, and
// keeps it down while all others serve.
func TestADamagedSleeperIsFound(t *testing.T) {
	t.Setenv("NODEHOST_UNLOAD_AFTER", "10s")
	w := newWorld(t, 3, 3) // and no host where it could be replaced
	groups := specs("quiet", 6)
	w.create(groups...)
	w.within(15*time.Second, "launch", w.whole(names(groups)))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	put := func(group string) {
		w.within(30*time.Second, group+" takes a command", func() (bool, string) {
			_, err := w.client.KV(group).Put(ctx, []byte("k"), []byte("w"))
			return err == nil, fmt.Sprint(err)
		})
	}
	for _, g := range groups {
		put(g.GetName())
	}
	w.within(time.Minute, "all replicas unloaded", func() (bool, string) {
		n, err := w.unloaded()
		return err == nil && n == 3*len(groups), fmt.Sprint(n, err)
	})
	// A host notes what it unloaded within a second.
	since := time.Now()
	w.within(10*time.Second, "the hosts have noted it", func() (bool, string) { return time.Since(since) > 3*time.Second, "" })

	victim := groups[2].GetName()
	w.spoil("host-1", w.replicaOn(victim, "host-1").GetId())
	w.mayEnd.Store("host-1", true)
	put(victim) // the other two hosts have it
	w.within(30*time.Second, "the process ended as it loaded the replica", func() (bool, string) { return !w.runs("host-1"), "it runs" })

	deaths := 0
	for deaths < 5 && !w.comesUp("host-1") {
		deaths++
	}
	require.Equal(t, 2, deaths, "alone, and alone again")
	w.within(30*time.Second, "it is kept down, and nothing else is", func() (bool, string) {
		r := w.replicaOn(victim, "host-1")
		return w.runs("host-1") && r.GetState() == drummerpb.ReplicaState_REPLICA_STATE_DOWN && w.othersServe(victim), fmt.Sprint(r)
	})
	for _, g := range groups {
		put(g.GetName())
	}
	require.True(t, w.runs("host-1"), "the process that found it stays")
}

// spoil puts a file where dragonboat wants the directory of a replica's snapshots.
func (w *world) spoil(host string, replica uint64) {
	w.Helper()
	var found []string
	w.must(filepath.WalkDir(filepath.Join(w.dir, host), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if ok, _ := filepath.Match(fmt.Sprintf("snapshot-*-%d", replica), d.Name()); ok {
			found = append(found, path)
			return filepath.SkipDir
		}
		return nil
	}))
	var dirs []string
	for _, path := range found {
		if ok, _ := filepath.Match("snapshot-part-*", filepath.Base(path)); !ok {
			dirs = append(dirs, path)
		}
	}
	require.Len(w, dirs, 1)
	w.must(os.Rename(dirs[0], filepath.Join(w.T.TempDir(), "away")))
	w.must(os.WriteFile(dirs[0], []byte("no directory"), 0o600))
}

func (w *world) replicaOn(group, host string) *drummerpb.ReplicaInfo {
	w.Helper()
	all, err := w.groups()
	w.must(err)
	for _, r := range members(all[group]) {
		if r.GetHost() == host {
			return r
		}
	}
	w.Fatalf("%s has no replica on %s", group, host)
	return nil
}

// othersServe tells whether all replicas but those of one group run, or could.
func (w *world) othersServe(but string) bool {
	all, err := w.groups()
	if err != nil {
		return false
	}
	delete(all, but)
	for _, g := range all {
		for _, r := range members(g) {
			if s := r.GetState(); s != drummerpb.ReplicaState_REPLICA_STATE_OK && s != drummerpb.ReplicaState_REPLICA_STATE_UNLOADED {
				return false
			}
		}
	}
	return true
}

func (w *world) runs(name string) bool {
	p, err := w.fleet.Process(name)
	return err == nil && p.PID != 0
}

// comesUp starts a process and tells whether it became ready, or ended.
func (w *world) comesUp(name string) bool {
	w.Helper()
	w.must(w.fleet.Start(name))
	ready := false
	w.within(time.Minute, name+" is ready or ends", func() (bool, string) {
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		runs := w.runs(name)
		ready = runs && w.fleet.WaitReady(ctx, name) == nil
		return ready || !runs, "it runs"
	})
	return ready
}
