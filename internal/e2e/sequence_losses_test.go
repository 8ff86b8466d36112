//go:build e2e || e2elong

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client/sequence"
)

// skipped is what sequences of a recovered group skip here, and sinceBackup those of one
// that is put back: more than clients take in the meantime.
const (
	skipped     = 20_000
	sinceBackup = 1_000_000_000
)

// TestSequencesLoseTheirMajority: the data of two hosts of three is removed, under load.
// Nobody gets a number until somebody says that the survivor shall go on; then everybody
// does, beyond a margin, and no number comes twice.
func TestSequencesLoseTheirMajority(t *testing.T) {
	w, c := newSequences(t, "sequence/lost")
	group, key := newCast(t, c, "sequence/lost"), newCast(t, c, family+"#lost")
	var load crew
	for i, p := range []*cast{group, key} {
		load.hire(p, fmt.Sprint("unbuffered ", i))
		load.hire(p, fmt.Sprint("buffered ", i), sequence.Buffer(100))
	}
	load.calm(w, 50)
	for _, host := range []string{"host-2", "host-3"} {
		w.must(w.fleet.Wipe(host))
		w.must(w.fleet.Start(host))
	}
	w.refuses(group)
	w.within(30*time.Second, "the quorums are known to be lost", func() (bool, string) { return w.allLost(2) })
	w.refuses(key)
	high := group.numbers.Highest()
	w.run("groups", "recover", "--margin", fmt.Sprint(skipped), "--wait", "sequence/lost", family)
	load.calm(w, 200)
	require.Greater(t, group.numbers.Highest(), high+skipped/2, "the margin is not skipped")
	group.play("who comes after", 100, sequence.Buffer(10))
	load.home()
	group.judge(false)
	key.judge(false)
	w.within(40*time.Second, "three voters again", w.whole([]string{"sequence/lost", family}))
}

// refuses demands that a newcomer gets no number.
func (w *world) refuses(p *cast) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 2*time.Second)
	defer cancel()
	a := p.actor("who asks in vain")
	defer a.end()
	require.Error(w, a.one(ctx), "a number, although the majority is lost")
}

// TestSequencesLoseEverything: all data of all hosts is removed, and what is left is a
// backup that is older than the last numbers. Put back with a margin, those who were there
// before go on beyond what they know, and no number comes twice. Then the drummers' data is
// removed as well: it is another cluster, and those who are running stop and say so.
func TestSequencesLoseEverything(t *testing.T) {
	w, c := newSequences(t, "sequence/lost")
	p := newCast(t, c, "sequence/lost")
	var load crew
	load.hire(p, "unbuffered")
	load.hire(p, "buffered", sequence.Buffer(100))
	load.calm(w, 50)
	dir := filepath.Join(w.dir, "backup")
	w.run("groups", "backup", "--all", "--to", dir)
	load.calm(w, 50) // of which the backup knows nothing
	for _, host := range w.hostNames() {
		w.must(w.fleet.Wipe(host))
	}
	w.startAll(w.hostNames()...)
	w.ready()
	w.refuses(p)
	_, err := w.command("groups", "recover", "sequence/lost")
	require.Error(t, err, "nothing is left that could be recovered")
	w.attended()
	w.run("groups", "restore", "--replace", "--margin", fmt.Sprint(sinceBackup), "--wait", dir)
	load.calm(w, 100)
	require.Greater(t, p.numbers.Highest(), int64(sinceBackup), "the margin is not skipped")
	p.play("who comes after", 100, sequence.Buffer(10))
	load.home()
	p.judge(false)

	running := p.actor("who runs on", sequence.Buffer(0))
	w.must(running.draw(t.Context(), 5, nil))
	w.newCluster()
	w.refuses(p)
	w.create(sequenceSpecs("sequence/lost")...)
	w.within(20*time.Second, "the name is there, in another cluster", w.whole([]string{"sequence/lost"}))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	// A host that was asked before the name was there believes for a second that it is not.
	w.within(20*time.Second, "it is seen to be another one", func() (bool, string) {
		err := running.one(ctx)
		require.Error(t, err, "a number of another cluster")
		return errors.Is(err, sequence.ErrDifferent), err.Error()
	})
	require.ErrorIs(t, running.one(ctx), sequence.ErrDifferent, "it stays")
	running.end()
}

// attended waits until the supervisor knows all hosts.
func (w *world) attended() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	w.must(w.fleet.WaitAttended(ctx, w.client))
}

// newCluster removes the data of everybody, and starts everybody: it is another cluster,
// under the same addresses.
func (w *world) newCluster() {
	w.Helper()
	w.must(w.fleet.KillAll())
	for _, p := range w.fleet.Processes() {
		w.must(os.RemoveAll(filepath.Join(w.dir, p.Name, "data")))
	}
	w.must(w.fleet.StartAll())
	w.ready()
	w.attended()
}

// TestSequencesAndChangingHosts: a fourth and a fifth host come, the first one leaves for
// good, and all others are restarted in turn, under load: nobody waits for long, and no
// number is missing or comes twice.
func TestSequencesAndChangingHosts(t *testing.T) {
	w, c := newSequences(t, "sequence/rolls")
	p := newCast(t, c, "sequence/rolls")
	var load crew
	for i := range 4 {
		load.hire(p, fmt.Sprint("unbuffered ", i))
	}
	load.calm(w, 20)
	began := time.Now()
	for _, want := range []string{"host-4", "host-5"} {
		w.addHost(want)
		load.calm(w, 20)
	}
	w.attended()
	w.run("hosts", "decommission", "host-1", "--wait")
	w.within(20*time.Second, "whole without host-1", w.whole(nil, "host-1"))
	w.run("hosts", "remove", "host-1")
	w.must(w.fleet.Stop("host-1"))
	for _, host := range []string{"host-2", "host-3", "host-4", "host-5"} {
		w.restart(host, sequenceSpecs("sequence/rolls", family))
		load.calm(w, 20)
	}
	over := time.Now()
	load.home()
	stall := p.numbers.Stall(began, over)
	p.dense(p.judge(true))
	t.Logf("nobody waited for longer than %s", stall)
	require.LessOrEqual(t, stall, stallOfLeader)
}
