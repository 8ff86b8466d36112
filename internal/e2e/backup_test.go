//go:build e2e || e2elong

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/localfleet"
)

// command runs drummer-cmd against the fleet and returns what it printed.
func (w *world) command(args ...string) (string, error) {
	w.Helper()
	return w.commandAt(w.fleet.APIs(localfleet.KindDrummer), args...)
}

// commandAt runs it with these servers.
func (w *world) commandAt(servers []string, args ...string) (string, error) {
	w.Helper()
	out, _, err := w.converse(servers, args...)
	return out, err
}

// tells is run, and returns also what it told the person who waits.
func (w *world) tells(args ...string) (out, told string) {
	w.Helper()
	out, told, err := w.converse(w.fleet.APIs(localfleet.KindDrummer), args...)
	w.must(err)
	return out, told
}

// converse runs drummer-cmd and returns what it printed on both of its outputs.
func (w *world) converse(servers []string, args ...string) (out, told string, err error) {
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	args = append([]string{"--servers", strings.Join(servers, ","), "--yes", "-o", "json"}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(programs(w.T), "drummer-cmd"), args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	raw, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("drummer-cmd %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(raw), stderr.String(), err
}

// run is command for what must go well.
func (w *world) run(args ...string) string {
	w.Helper()
	out, err := w.command(args...)
	w.must(err)
	return out
}

// TestBackupRestoreClone saves groups while they are written, deletes them, makes them of
// the files again, and copies them.
func TestBackupRestoreClone(t *testing.T) {
	w := newWorld(t, 1, 3)
	groups := specs("saved", 4)
	groups = append(groups, &fleetpb.Spec{Name: "sequence/saved", App: "sequence", Replicas: 3})
	w.create(groups...)
	w.within(20*time.Second, "launched", w.whole(nil))
	before := w.fill(groups)
	load := w.load(names(groups[:2]), 50*time.Millisecond)
	w.within(20*time.Second, "writes go on", func() (bool, string) { return load.Acknowledged() >= 20, "waiting for writes" })
	dir := filepath.Join(w.dir, "backup")
	out := w.run("groups", "backup", "--all", "--to", dir)
	var saved []struct {
		Name, File string
		Bytes      int64
	}
	w.must(json.Unmarshal([]byte(out), &saved))
	require.Len(t, saved, len(groups))
	w.finish(load)

	w.run("groups", "clone", "--wait", "kv/saved-003", "kv/copy")
	e, found, err := w.client.KV("kv/copy").Get(w.Context(), []byte("key"))
	w.must(err)
	require.True(t, found)
	require.Equal(t, fmt.Sprint(before["kv/saved-003"]), string(e.Value))
	_, err = w.client.KV("kv/saved-003").Put(w.Context(), []byte("key"), []byte("later"))
	w.must(err)

	_, err = w.command("groups", "restore", dir)
	require.Error(t, err, "the names are taken")
	w.run("groups", "restore", "--replace", "--margin", fmt.Sprint(recoverMargin), "--wait", dir)
	w.compare(groups[2:], before)
	w.run("groups", "restore", "--as", "kv/other", "--wait", filepath.Join(dir, "kv%2Fsaved-004.state"))
	e, _, err = w.client.KV("kv/other").Get(w.Context(), []byte("key"))
	w.must(err)
	require.Equal(t, fmt.Sprint(before["kv/saved-004"]), string(e.Value))
	w.run("groups", "purge", "--all")
	w.within(20*time.Second, "nothing is kept of what was replaced", func() (bool, string) {
		resp, err := w.client.Drummer().Status(w.Context(), &drummerpb.StatusRequest{})
		return err == nil && resp.GetGroups()["retired"]+resp.GetGroups()["deleting"] == 0, fmt.Sprint(resp.GetGroups(), err)
	})
	damaged := filepath.Join(w.dir, "damaged.state")
	raw, err := os.ReadFile(filepath.Join(dir, "kv%2Fsaved-004.state"))
	w.must(err)
	raw[len(raw)/2] ^= 1
	w.must(os.WriteFile(damaged, raw, 0o600))
	_, err = w.command("groups", "restore", "--as", "kv/damaged", damaged)
	require.ErrorContains(t, err, "damaged")
}
