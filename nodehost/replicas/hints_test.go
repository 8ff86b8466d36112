package replicas

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/raft"
)

func TestHintsWaitForEachOther(t *testing.T) {
	var h hints
	record := func(g int, unloaded bool) Save {
		return Save{Record: &Record{Group: key(g, 1).Group, Replica: 1, Unloaded: unloaded}, Hint: true}
	}
	require.False(t, h.due(time.Hour), "there are none")
	require.True(t, h.takes(record(1000, true), time.Second))
	require.True(t, h.takes(record(1000, false), 5*time.Second))
	require.True(t, h.takes(record(1001, true), 5*time.Second))
	require.True(t, h.takes(record(1002, true), 5*time.Second))
	require.False(t, h.due(time.Second-1))
	require.True(t, h.due(time.Second), "since the first")

	firm := record(1001, true)
	firm.Hint = false
	require.False(t, h.takes(firm, 0))
	drop := key(1002, 1)
	require.False(t, h.takes(Save{Drop: &drop}, 0))
	left := h.take()
	require.Equal(t, []Save{record(1000, false)}, left, "the newest, of what is not written otherwise")
	require.Empty(t, h.take())
}

// A thousand replicas that fall asleep are one commit, and the next process knows.
func TestKeeperRemembersWhatIsUnloaded(t *testing.T) {
	o := openOffice(t)
	o.Boot()
	const groups = 20
	for i := range groups {
		k := key(1000+i, i+1)
		o.obey(order(uint64(i+1), k, launch))
		o.awaitState(k, stateOK)
	}
	writes := func() int64 {
		stats := o.db.Stats()
		return stats.TxStats.GetWrite()
	}
	before := writes()
	for i := range groups {
		o.Observe(raft.Event{Kind: raft.EventUnloaded, Group: key(1000+i, 0).Group, Replica: key(0, i+1).Replica})
	}
	o.Observe(raft.Event{Kind: raft.EventLoaded, Group: 1000, Replica: 1})
	require.Eventually(t, func() bool {
		n := 0
		for _, l := range o.Locals() {
			if l.Record.Unloaded {
				n++
			}
		}
		return n == groups-1
	}, patience, time.Millisecond)
	require.LessOrEqual(t, writes(), before+10, "one commit at most, of a few pages")
	o.unloads = true
	o.restart()
	o.Boot()
	<-o.Booted()
	for i := range groups {
		require.Equal(t, i > 0, o.raft.running[key(1000+i, 0).Group].Unloaded, i)
	}
}

// A replica is loaded when the disk knows that it may be the last thing to happen.
func TestKeeperKnowsWhatIsLoaded(t *testing.T) {
	o := openOffice(t)
	o.Boot()
	k := key(1000, 1)
	o.obey(order(1, k, launch))
	o.awaitState(k, stateOK)
	o.Observe(raft.Event{Kind: raft.EventUnloaded, Group: k.Group, Replica: k.Replica})
	require.NoError(t, o.Loading(t.Context(), k.Group, k.Replica))
	o.unloads = true
	o.restart() // it was not up again
	o.Boot()
	<-o.Booted()
	require.False(t, o.raft.running[k.Group].Unloaded, "started to find out")

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	o.stop()
	require.ErrorIs(t, o.Loading(ended, k.Group, k.Replica), context.Canceled, "nobody writes any more")
}

func TestTheLogHearsOfALongBootNowAndThen(t *testing.T) {
	var l progressLog
	var said []time.Duration
	for now := time.Duration(0); now < 2*time.Minute; now += 100 * time.Millisecond {
		if l.due(now) {
			said = append(said, now/time.Second)
		}
	}
	require.Equal(t, []time.Duration{2, 6, 14, 30, 60, 90}, said)
}
