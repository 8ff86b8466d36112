//go:build e2e || e2elong

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
)

// openMargin is what restored sequences skip here.
const openMargin = 1000

// TestSequencesOpenWhileHostsDie: a family is restored, that is launched, loaded and opened, and a
// host that has to do with it is killed in the middle, later in each round and as a rule
// the one that leads. Whoever leads then takes up what was interrupted: each copy opens by
// itself, with all keys, and beyond the margin.
func TestSequencesOpenWhileHostsDie(t *testing.T) {
	const origin, keys = "sequence/keys", 5000
	w, c := newSequences(t, origin)
	drawKeys(t, c, 0, keys)
	saved, found := filepath.Join(w.dir, "keys.state"), map[string]int{}
	w.run("groups", "backup", "--to", saved, origin)
	for round := range seqOpenings {
		name := fmt.Sprintf("sequence/copy-%02d", round)
		made := make(chan error, 1)
		go func() {
			_, err := w.command("groups", "restore", "--as", name, "--margin", fmt.Sprint(openMargin), "--wait", saved)
			made <- err
		}()
		victim, state := w.victimOf(name, round)
		w.must(w.fleet.Kill(victim))
		w.must(w.fleet.Start(victim))
		found[state]++
		w.must(<-made) // it says so when it can't be made
		for _, key := range []int{0, keys / 2, keys - 1} {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			q := c.Sequence(fmt.Sprint(name, "#key-", key))
			n, err := q.Next(ctx)
			w.must(err)
			require.EqualValues(t, openMargin+2, n, "%s, which was killed while %s: 1 was handed out, and the margin is skipped once", victim, state)
			cancel()
			_ = q.Close()
		}
		w.ready()
	}
	t.Logf("states of copies when a host was killed: %v", found)
}

// victimOf waits until a group is being made, and rather longer in later rounds, and returns
// the host to kill: the one that leads the group if there is one.
func (w *world) victimOf(group string, round int) (host, state string) {
	w.Helper()
	seen := 0
	w.within(30*time.Second, group+" is being made", func() (bool, string) {
		groups, err := w.groups()
		g := groups[group]
		if err != nil || len(g.GetReplicas()) == 0 {
			return false, fmt.Sprint(g, err)
		}
		state, host = g.GetState(), g.GetReplicas()[round%len(g.GetReplicas())].GetHost()
		if lead := leaderAmong(g.GetReplicas()); lead != "" {
			host, state = lead, state+", led"
		}
		seen++
		return seen > round/2 || g.GetState() == "ok", state
	})
	return host, state
}

// leaderAmong is the host of the replica that leads; empty if nobody does.
func leaderAmong(replicas []*drummerpb.ReplicaInfo) string {
	for _, r := range replicas {
		if r.GetLeader() {
			return r.GetHost()
		}
	}
	return ""
}
