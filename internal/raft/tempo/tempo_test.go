package tempo

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// ms is so many milliseconds after the beginning of time.
func ms(n float64) time.Time {
	return time.Unix(1, 0).Add(time.Duration(n * float64(time.Millisecond)))
}

func clock(n float64) func() time.Time { return func() time.Time { return ms(n) } }

func TestWhenTheNextEntryGoes(t *testing.T) {
	far := Tempo{}
	far.Sealed(ms(0), 1)
	far.Landed(ms(30), Landing{Sealed: ms(0), Commands: 1})
	far.Sealed(ms(30), 1)
	busy := Tempo{}
	busy.Sealed(ms(0), 1)
	busy.Landed(ms(1), Landing{Sealed: ms(0), Commands: 1})
	busy.Sealed(ms(1), 1)
	busy.Landed(ms(30), Landing{Sealed: ms(1), Commands: 1})
	busy.Sealed(ms(30), 1)
	crowded := busy
	crowded.Landed(ms(40), Landing{Sealed: ms(39), Commands: 10, Waiting: 6})
	for name, c := range map[string]struct {
		tempo           Tempo
		at              float64
		flying, waiting int
		due             bool
	}{
		"nothing under way":                       {Tempo{}, 0, 0, 1, true},
		"one under way":                           {busy, 31, 1, 1, false},
		"a crowd waits":                           {busy, 31, 1, crowd, true},
		"a crowd waits, much under way":           {busy, 31, MaxInFlight, crowd, false},
		"followers far away":                      {far, 35, 1, 1, true},
		"followers far away, too soon":            {far, 34, 1, 1, false},
		"followers near, slow now":                {busy, 50, 1, 1, false},
		"lost":                                    {busy, 80, 1, 1, true},
		"callers may come again":                  {crowded, 41, 0, 13, false},
		"nearly all came":                         {crowded, 41, 0, 14, true},
		"they did not come":                       {crowded, 44, 0, 1, true},
		"they may come again, while one is there": {crowded, 43, 1, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.due, c.tempo.Due(clock(c.at), c.flying, c.waiting))
		})
	}
}

// A quick trip long ago says nothing about where the followers are now.
func TestTheBestTripIsForgotten(t *testing.T) {
	var x Tempo
	x.Landed(ms(1), Landing{Sealed: ms(0), Commands: 1})
	later := 1 + float64(memory/time.Millisecond)
	x.Sealed(ms(later-30), 1)
	x.Landed(ms(later), Landing{Sealed: ms(later - 30), Commands: 1})
	x.Sealed(ms(later), 1)
	require.True(t, x.Due(clock(later+5), 1, 1))
}

func TestWhoIsWaitedFor(t *testing.T) {
	for name, c := range map[string]struct {
		landing Landing
		wait    time.Duration
	}{
		"nobody: one caller alone":    {Landing{Sealed: ms(8), Commands: 1}, 0},
		"nobody: one is under way":    {Landing{Sealed: ms(8), Commands: 5, Flying: 1}, 0},
		"a control entry's":           {Landing{Sealed: ms(8)}, 0},
		"some trips' time":            {Landing{Sealed: ms(8), Commands: 2}, patience * 2 * time.Millisecond},
		"not that of slow trips":      {Landing{Sealed: ms(0), Commands: 2}, maxPatience},
		"one, because another waits":  {Landing{Sealed: ms(8), Commands: 1, Waiting: 1}, patience * 2 * time.Millisecond},
		"one, behind a control entry": {Landing{Sealed: ms(8), Waiting: 2}, patience * 2 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			var x Tempo
			require.Equal(t, c.wait, x.Landed(ms(10), c.landing))
		})
	}
}

// Callers who are told late get their moment from then on, and the trip is as quick as it was.
func TestCallersWhoAreToldLate(t *testing.T) {
	var x Tempo
	x.Sealed(ms(0), 2)
	wait := x.Landed(ms(3), Landing{Sealed: ms(0), Back: ms(1), Commands: 2})
	require.Equal(t, patience*3*time.Millisecond, wait)
	require.Equal(t, time.Millisecond, x.best)
}

// Callers who call again at once share entries, however they began.
func TestACrowdComesTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.IntRange(2, 200).Draw(t, "callers")
		flying := rapid.IntRange(1, all).Draw(t, "first")
		back := rapid.Float64Range(0.01, 0.9).Draw(t, "time to come again, of a trip")
		var x Tempo
		at := 0.0
		for range 20 {
			x.Sealed(ms(at), flying)
			at++
			x.Landed(ms(at), Landing{Sealed: ms(at - 1), Commands: flying, Waiting: all - flying})
			if !x.Due(clock(at), 0, max(1, all-flying)) || all == flying {
				at += back
				flying = all
				continue
			}
			flying = all - flying
		}
		if flying != all {
			t.Fatalf("%d of %d callers share an entry", flying, all)
		}
	})
}

// Calls that have nothing to do with one another are not kept waiting for long.
func TestACrowdThatDoesNotComeAgainIsWaitedForRarely(t *testing.T) {
	var x Tempo
	waited, at := time.Duration(0), 0.0
	const entries = 1000
	for range entries {
		x.Sealed(ms(at), 2)
		at++
		if wait := x.Landed(ms(at), Landing{Sealed: ms(at - 1), Commands: 8, Waiting: 1}); wait > 0 {
			require.False(t, x.Due(clock(at), 0, 2))
			at += float64(wait) / float64(time.Millisecond)
			waited += wait
		}
		require.True(t, x.Due(clock(at), 0, 2))
	}
	require.Less(t, waited, entries*time.Millisecond/8)
	require.Positive(t, waited, "it may come again some day")
}
