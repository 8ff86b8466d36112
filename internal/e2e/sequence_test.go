//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/client/sequence"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	rrseqpb "github.com/drumline/drumline/drummerpb/rrseq"
	"github.com/drumline/drumline/internal/localfleet"
)

// ledger is the independent checker: it keeps every number that any client ever got.
type ledger struct {
	mu    sync.Mutex
	owner map[int64]string // guarded by mu
	bad   []string         // guarded by mu
}

func newLedger() *ledger { return &ledger{owner: map[int64]string{}} }

// note notes what a client got, in its order.
func (l *ledger) note(who string, n, before int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o := l.owner[n]; o != "" {
		l.bad = append(l.bad, fmt.Sprintf("%d is handed out twice: to %s and to %s", n, o, who))
	}
	if n <= before {
		l.bad = append(l.bad, fmt.Sprintf("%s got %d after %d", who, n, before))
	}
	l.owner[n] = who
}

func (l *ledger) check(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Empty(t, l.bad)
}

// draw takes numbers until there are enough, or ctx ends.
func (l *ledger) draw(ctx context.Context, q *sequence.Sequence, who string, enough int) int {
	got, before := 0, int64(0)
	for got < enough {
		n, err := q.Next(ctx)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, sequence.ErrClosed) {
				l.mu.Lock()
				l.bad = append(l.bad, who+": "+err.Error())
				l.mu.Unlock()
			}
			return got
		}
		l.note(who, n, before)
		before = n
		got++
	}
	return got
}

// nemesis kills a host at random, starts it again, and goes on until ctx ends.
func (w *world) nemesis(ctx context.Context, pause time.Duration) (kills int) {
	for ctx.Err() == nil {
		host := fmt.Sprintf("host-%d", 1+rand.IntN(3))
		w.must(w.fleet.Kill(host))
		kills++
		w.must(w.fleet.Start(host))
		ready, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		w.must(w.fleet.WaitReady(ready, host))
		cancel()
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return kills
}

// hostsClient is a client that knows the hosts only, as applications do.
func (w *world) hostsClient() *client.Client {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	c, err := client.Open(ctx, w.fleet.APIs(localfleet.KindNodeHost))
	w.must(err)
	w.Cleanup(c.Close)
	return c
}

// TestSequences: what breaks rr_seq without any fault, under kill -9 of hosts one by one
// and of all together, and after the loss of a host's data. Each number goes to one.
func TestSequences(t *testing.T) {
	w := newWorld(t, 1, 3)
	var specs []*fleetpb.Spec
	for _, name := range []string{"sequence/mixed", "sequence/dense", "sequence/fam"} {
		specs = append(specs, &fleetpb.Spec{Name: name, App: "sequence", Replicas: 3})
	}
	w.create(specs...)
	w.within(20*time.Second, "groups are whole", w.whole(nil))
	c := w.hostsClient()
	w.mixedBuffersAndKills(c)
	w.allKilledAtTheFirstNumber(c)
	w.aHostLosesItsData(c)
	w.originalsWire(c)
}

// mixedBuffersAndKills: sizes mixed as in rr_seq's quick start and worse, no delay, hosts
// killed all the time; beside them unbuffered clients, whose numbers have no gap.
func (w *world) mixedBuffersAndKills(c *client.Client) {
	mixed, dense := newLedger(), newLedger()
	ctx, cancel := context.WithTimeout(w.Context(), 12*time.Second)
	defer cancel()
	var work sync.WaitGroup
	for i := range 16 {
		q := c.Sequence("sequence/mixed", sequence.Buffer([]int{0, 1, 2, 10, 13, 1000, 1250, 1024}[i%8]))
		work.Go(func() {
			defer q.Close() //nolint:errcheck // what it can't give back is a gap
			mixed.draw(ctx, q, fmt.Sprint("client ", i), 40_000)
		})
	}
	// The unbuffered ones end after so many numbers, not by a clock: what is on its way then would be a gap.
	const clients, each = 8, 150
	for i := range clients {
		q := c.Sequence("sequence/dense")
		work.Go(func() {
			defer q.Close() //nolint:errcheck // it has nothing to give back
			long, done := context.WithTimeout(w.Context(), 2*time.Minute)
			defer done()
			require.Equal(w, each, dense.draw(long, q, fmt.Sprint("client ", i), each))
		})
	}
	kills := w.nemesis(ctx, time.Second)
	work.Wait()
	mixed.check(w.T)
	dense.check(w.T)
	require.Len(w, dense.owner, clients*each)
	for n := int64(1); n <= clients*each; n++ {
		require.Contains(w, dense.owner, n, "a gap, although no client was lost")
	}
	w.Logf("%d numbers from mixed buffers and %d without a gap, over %d kills", len(mixed.owner), len(dense.owner), kills)
}

// allKilledAtTheFirstNumber: rr_seq does not write the first range of a name down.
func (w *world) allKilledAtTheFirstNumber(c *client.Client) {
	for round := range 3 {
		name, l := fmt.Sprintf("sequence/fam#round-%d", round), newLedger()
		draw := func(who string, n int) {
			q := c.Sequence(name, sequence.Buffer(100))
			defer q.Close() //nolint:errcheck // all may be dead
			ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
			defer cancel()
			require.Equal(w, n, l.draw(ctx, q, who, n))
		}
		draw("before", 5)
		var kills sync.WaitGroup
		for i := range 3 {
			kills.Go(func() { require.NoError(w, w.fleet.Kill(fmt.Sprintf("host-%d", i+1))) })
		}
		kills.Wait()
		for i := range 3 {
			w.must(w.fleet.Start(fmt.Sprintf("host-%d", i+1)))
		}
		draw("after", 200)
		l.check(w.T)
	}
}

// aHostLosesItsData: it comes back as another host, and nothing is handed out again.
func (w *world) aHostLosesItsData(c *client.Client) {
	l := newLedger()
	q := c.Sequence("sequence/fam#wiped", sequence.Buffer(10))
	defer q.Close() //nolint:errcheck // of no matter here
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	require.Equal(w, 500, l.draw(ctx, q, "before", 500))
	w.must(w.fleet.Kill("host-1"))
	w.must(w.fleet.Wipe("host-1"))
	w.must(w.fleet.Start("host-1"))
	fresh := c.Sequence("sequence/fam#wiped", sequence.Buffer(10))
	defer fresh.Close() //nolint:errcheck // of no matter here
	require.Equal(w, 500, l.draw(ctx, fresh, "after", 500))
	l.check(w.T)
}

// originalsWire: a client of rr_seq asks any host, by the name alone.
func (w *world) originalsWire(c *client.Client) {
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	rr := rrseqpb.NewRRAPIClient(c.Hosts())
	first, err := rr.GRPCNextID(ctx, &rrseqpb.NextIDRequest{Name: "fam#rr", RangeSize: 1000})
	w.must(err)
	second, err := rr.GRPCNextID(ctx, &rrseqpb.NextIDRequest{Name: "fam#rr", RangeSize: 1250})
	w.must(err)
	require.Equal(w, []uint64{1, 1001, 1001, 2251}, []uint64{first.GetFromId(), first.GetToId(), second.GetFromId(), second.GetToId()})
}
