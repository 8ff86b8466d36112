package replicas

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas/life"
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

// Each death in a trial doubles the calm that the next one waits for, and the last one ends
// it: the others of the host are not to die with this one for ever.
func TestTrialsBecomeRarer(t *testing.T) {
	w, bad := keptDownOf(2, 2)
	for i, pause := range []time.Duration{10, 20, 40, 80} {
		bootUp(w, bad)
		require.Equal(t, 2+i, w.disk.Records[bad].Crashes)
		l, _ := w.core.Look(bad)
		require.Contains(t, l.Detail, "has run for "+(pause*time.Minute).String())
		w.now += pause*time.Minute - time.Second
		require.Empty(t, w.step(Tick{}).take())
		w.now += time.Second
		require.Contains(t, w.step(Tick{}).take(), "start 1001.1")
	}
	bootUp(w, bad)
	l, _ := w.core.Look(bad)
	require.Contains(t, l.Detail, "given up: the process died 6 times")
	require.Equal(t, "DOWN", state(t, w, bad))
	require.True(t, l.KeptDown)
	w.now += 1000 * time.Hour
	require.Empty(t, w.step(Tick{}).take())
	require.Equal(t, []string{"ok 9"}, w.step(order(9, bad, retire)).take(), "a recovery does not wait for it")
}

func TestAnotherProgramTriesAgain(t *testing.T) {
	w, bad := keptDownOf(2, 6)
	bootUp(w, bad)
	require.Empty(t, w.step(Welcomed{Fence{2, 9}, nil}).take())
	w.program = "v2"
	bootUp(w, bad)
	require.Equal(t, 2, w.disk.Records[bad].Crashes, "its trials begin anew")
	w.now += 10 * time.Minute
	require.Contains(t, w.step(Tick{}).take(), "start 1001.1")
	require.Equal(t, "v2", w.disk.Records[bad].Tried)
	r := w.disk.Records[bad]
	r.Crashes = 6
	w.disk.Records[bad] = r
	bootUp(w, bad)
	l, _ := w.core.Look(bad)
	require.Contains(t, l.Detail, "given up", "this program has tried it")
}

// What is kept down of a banned group may be all that is left of it: its state is had in a
// trial, whether the ban comes before the boot, behind it, or was there already.
func TestWhatIsKeptDownIsRetiredWithItsState(t *testing.T) {
	for name, ban := range map[string]func(w *world, bad Key){
		"welcome": func(w *world, bad Key) {
			w.restart()
			w.step(Welcomed{Fence{2, 9}, []ids.Group{bad.Group}}, Boot{})
		},
		"order": func(w *world, bad Key) {
			w.restart()
			w.step(Boot{}, order(1, bad, retire))
			require.Contains(t, w.take(), "later 1: the replica has to start for that, and is kept down for now")
		},
		"earlier": func(w *world, bad Key) {
			r := w.disk.Records[bad]
			r.Life = life.Retiring
			w.disk.Records[bad] = r
			w.restart()
			w.step(Boot{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, bad := keptDownOf(2, 2)
			ban(w, bad)
			w.step(Started{Key: key(1000, 1)}, Up{key(1000, 1)}).take()
			require.Equal(t, life.Retiring, w.disk.Records[bad].Life)
			require.True(t, kept(t, w, bad))
			w.now += 10 * time.Minute
			require.Equal(t, []string{"start 1001.1"}, w.step(Tick{}).take())
			w.step(Started{Key: bad}, Up{bad})
			require.Zero(t, w.disk.Records[bad].Crashes)
			require.Empty(t, w.disk.Marker)
			require.Equal(t, []string{"replicas.Retire"}, w.step(RetireEnded{Key: bad, Applied: 9}).take())
			require.EqualValues(t, 9, w.disk.Records[bad].Applied)
		})
	}
}

// A recovery has an end: what dies in every trial is retired without a state.
func TestARecoveryDoesNotWaitForEver(t *testing.T) {
	w, bad := keptDownOf(2, 5)
	r := w.disk.Records[bad]
	r.Life = life.Retiring
	w.disk.Records[bad] = r
	bootUp(w, bad)
	w.now += 80 * time.Minute
	require.Contains(t, w.step(Tick{}).take(), "start 1001.1")
	bootUp(w, bad)
	require.Equal(t, "RETIRED", state(t, w, bad))
	require.Zero(t, w.disk.Records[bad].Applied)
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
