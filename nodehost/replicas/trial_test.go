package replicas

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// keptDownOf is a host of n replicas, booted, that keeps the last one down.
func keptDownOf(n, crashes int) (*world, Key) {
	w, bad := manifestOf(n), key(1000+n-1, 1)
	r := w.disk.Records[bad]
	r.Crashes, r.Suspect = crashes, true
	w.disk.Records[bad] = r
	return w, bad
}

// bootUp starts a process and lets all replicas but one come up.
func bootUp(w *world, but Key) {
	w.restart()
	w.step(Boot{})
	for _, k := range w.core.Keys() {
		if k != but {
			w.step(Started{Key: k}, Up{k})
		}
	}
	w.take()
}

func kept(t *testing.T, w *world, k Key) bool {
	l, ok := w.core.Look(k)
	require.True(t, ok)
	return l.KeptDown
}

func TestWhatIsKeptDownIsTriedAgainAlone(t *testing.T) {
	w, bad := keptDownOf(3, 2)
	bootUp(w, bad)
	w.now += 10*time.Minute - time.Second
	require.Empty(t, w.step(Tick{}).take())
	require.True(t, kept(t, w, bad))
	w.now += time.Second
	require.Equal(t, []string{"start 1002.1"}, w.step(Tick{}).take())
	require.Equal(t, []Key{bad}, w.disk.Marker, "a death is counted")
	require.Equal(t, Progress{Begun: true, Done: true, Total: 2, Through: 2}, w.core.Progress(), "the host stays ready")
	w.step(Started{Key: bad}, Up{bad})
	require.Equal(t, "OK", state(t, w, bad))
	require.Empty(t, w.disk.Marker)
	require.Zero(t, w.disk.Records[bad].Crashes)
	require.False(t, w.disk.Records[bad].Suspect)
	require.NotContains(t, w.take(), "booted", "it is once")
}

// Each death in a trial doubles the calm that the next one waits for.
func TestTrialsBecomeRarer(t *testing.T) {
	w, bad := keptDownOf(2, 2)
	for i, pause := range []time.Duration{10, 20, 40, 80, 160, 320, 360, 360} {
		bootUp(w, bad)
		require.Equal(t, 2+i, w.disk.Records[bad].Crashes)
		l, _ := w.core.Look(bad)
		require.Contains(t, l.Detail, "has run for "+(pause*time.Minute).String())
		w.now += pause*time.Minute - time.Second
		require.Empty(t, w.step(Tick{}).take())
		w.now += time.Second
		require.Contains(t, w.step(Tick{}).take(), "start 1001.1")
	}
}

func TestTrialsGoOneAfterTheOther(t *testing.T) {
	w, bad := keptDownOf(3, 2)
	other := key(1000, 1)
	r := w.disk.Records[other]
	r.Crashes = 2
	w.disk.Records[other] = r
	w.restart()
	w.step(Boot{}, Started{Key: key(1001, 1)}, Up{key(1001, 1)}).take()
	w.now += 10 * time.Minute
	require.Contains(t, w.step(Tick{}).take(), "start 1000.1")
	require.NotContains(t, w.step(Tick{}).take(), "start 1002.1")
	require.Equal(t, []Key{other}, w.disk.Marker)
	w.step(Started{Key: other, Err: "its disk is full"})
	require.Empty(t, w.disk.Marker, "it has failed in order")
	require.Contains(t, w.step(Tick{}).take(), "start 1002.1")
	require.Equal(t, []Key{bad}, w.disk.Marker)
	w.step(Started{Key: bad})
	w.now += 11 * time.Second // it hangs, and the other is due again
	require.Contains(t, w.step(Tick{}, Tick{}).take(), "start 1000.1")
	require.Equal(t, []Key{other}, w.disk.Marker)
	w.step(order(1, other, destroy), Started{Key: other}, Destroyed{Key: other})
	require.Empty(t, w.disk.Marker)
}
