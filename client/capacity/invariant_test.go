package capacity

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/capacity"
)

// group is the real machine behind a network that delays, loses and repeats messages, and
// a leadership whose lease clock stands still at times, as it does over a failover.
type group struct {
	t *testing.T

	mu       sync.Mutex
	rng      *rand.Rand            // guarded by mu
	m        *capacity.Machine     // guarded by mu
	begin    time.Time             // of the lease clock
	lag      time.Duration         // guarded by mu: how much the lease clock is late
	lead     uint64                // guarded by mu
	back     time.Time             // guarded by mu: nobody leads before
	revision uint64                // guarded by mu
	limits   map[time.Time]float64 // guarded by mu: capacities by when they came into force
	faults   float64               // guarded by mu: the share of messages that are lost, each way
	late     sync.WaitGroup        // messages that are still on their way
}

const (
	simLease    = 4 * time.Second
	simInterval = time.Second
)

func newGroup(t *testing.T, seed uint64, a capacitypb.Algorithm, limit float64) *group {
	g := &group{t: t, rng: rand.New(rand.NewPCG(seed, 1)), m: capacity.New(), begin: time.Now(), lead: 1, limits: map[time.Time]float64{}}
	g.configure(a, limit)
	return g
}

func (g *group) configure(a capacitypb.Algorithm, limit float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.revision++
	g.limits[time.Now()] = limit
	g.apply(&capacitypb.Command{Op: &capacitypb.Command_Configure{Configure: &capacitypb.Configure{
		Revision: g.revision, Definition: &capacitypb.Definition{
			Capacity: &limit, Algorithm: a, LeaseLengthMs: simLease.Milliseconds(), RefreshIntervalMs: simInterval.Milliseconds(),
		},
	}}})
}

// apply applies a command; with the lock held.
func (g *group) apply(cmd *capacitypb.Command) *capacitypb.Result {
	data, err := proto.Marshal(cmd)
	require.NoError(g.t, err)
	results := make([]statemachines.Result, 1)
	g.m.Apply([]statemachines.Command{{
		Time: int64(time.Since(g.begin) - g.lag), Lead: g.lead, Version: capacity.Version, Data: data,
	}}, results)
	out := &capacitypb.Result{}
	require.NoError(g.t, proto.Unmarshal(results[0].Data, out))
	require.Equal(g.t, capacitypb.Outcome_OUTCOME_OK, out.GetOutcome(), out.GetDetail())
	return out
}

// failover has nobody answer for a while, in which the lease clock stands still.
func (g *group) failover(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.back = later(g.back, time.Now()).Add(d)
	g.lag += d
	g.lead++
}

// away is how long nobody will answer.
func (g *group) away() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Until(g.back)
}

// commit applies a command as soon as somebody leads.
func (g *group) commit(cmd *capacitypb.Command) *capacitypb.Result {
	for d := g.away(); d > 0; d = g.away() {
		time.Sleep(d)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.apply(cmd)
}

// chance draws a fault and a delay.
func (g *group) chance() (lost bool, delay time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delay = time.Duration(g.rng.Int64N(int64(50 * time.Millisecond)))
	if g.rng.Float64() < 0.05 {
		delay *= 60 // a long way round: up to three seconds
	}
	return g.rng.Float64() < g.faults, delay
}

// limit is the most that may be in use: the largest capacity of the time of any lease.
func (g *group) limit() (most float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	newest := time.Time{}
	for since := range g.limits {
		if since.After(newest) {
			newest = since
		}
	}
	for since, c := range g.limits {
		if ended := g.ended(since); ended.IsZero() || time.Since(ended) < simLease {
			most = max(most, c)
		}
	}
	return most
}

// ended is when the capacity that came into force at since was replaced.
func (g *group) ended(since time.Time) (end time.Time) {
	for other := range g.limits {
		if other.After(since) && (end.IsZero() || other.Before(end)) {
			end = other
		}
	}
	return end
}

// simWire is a client's way to the group.
type simWire struct{ g *group }

// send carries a command there, and its result back. What gets lost on the way there may
// arrive much later all the same.
func (w simWire) send(ctx context.Context, cmd *capacitypb.Command) (*capacitypb.Result, error) {
	lost, delay := w.g.chance()
	if lost {
		w.g.late.Go(func() {
			time.Sleep(50 * delay)
			w.g.commit(cmd)
		})
		return nil, w.wait(ctx, time.Hour)
	}
	if err := w.wait(ctx, delay); err != nil {
		return nil, err
	}
	result := w.g.commit(cmd)
	lost, delay = w.g.chance()
	if lost {
		delay = time.Hour
	}
	return result, w.wait(ctx, delay)
}

func (simWire) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w simWire) refresh(ctx context.Context, client string, asks []ask) ([]grant, error) {
	req := refreshRequest(client, asks).GetAsks()[0]
	result, err := w.send(ctx, &capacitypb.Command{Op: &capacitypb.Command_Decide{Decide: &capacitypb.Decide{Requests: []*capacitypb.Request{{
		ClientId: client, Bands: req.GetBands(), Has: req.Has, Token: req.GetToken(), Serial: req.GetSerial(), Limited: req.GetLimited(),
	}}}}})
	if err != nil {
		return nil, err
	}
	return []grant{granted(&capacitypb.Granted{Grant: result.GetGrants()[0]})}, nil
}

func (w simWire) release(ctx context.Context, client string, back surrender) error {
	what := &capacitypb.Release{ClientIds: []string{client}, Serial: back.serial}
	_, err := w.send(ctx, &capacitypb.Command{Op: &capacitypb.Command_Release{Release: what}})
	return err
}

// member is one client of the group, with a wall clock of its own.
type member struct {
	c    *Client
	wall *wallClock
	r    *Resource
}

// step does one of the things that a program, or its machine, may do.
func (m *member) step(t *testing.T, rng *rand.Rand) {
	switch n := rng.IntN(20); {
	case n < 8:
		if m.r != nil {
			require.NoError(t, m.r.SetWants(float64(rng.IntN(100))))
		}
	case n < 9:
		m.wall.jump(time.Duration(rng.Int64N(int64(2*simLease))) - simLease)
	case n < 10 && m.r != nil:
		m.r.Release()
		m.r = nil
	case n < 14 && m.r == nil:
		var err error
		m.r, err = m.c.Resource("x", WithWants(float64(rng.IntN(100))))
		require.NoError(t, err)
	}
}

// used is what the clients use together under leases, by their own clocks.
func used(all []*member) (sum float64, text string) {
	for i, m := range all {
		if m.r == nil {
			continue
		}
		if s := m.r.State(); s.Basis == Leased {
			sum += s.Capacity
			text += fmt.Sprintf(" %d:%v", i, s.Capacity)
		}
	}
	return sum, text
}

// TestTheCapacityIsNeverExceeded runs whole clients against the real machine, with lost,
// late and repeated messages, failovers, clocks that are set, and wants and capacities
// that change at any time: what they use together is never more than there is.
func TestTheCapacityIsNeverExceeded(t *testing.T) {
	for _, algorithm := range []capacitypb.Algorithm{
		capacitypb.Algorithm_ALGORITHM_PROPORTIONAL_SHARE, capacitypb.Algorithm_ALGORITHM_FAIR_SHARE, capacitypb.Algorithm_ALGORITHM_PRIORITY,
	} {
		for _, faults := range []float64{0, 0.05, 0.3} {
			t.Run(fmt.Sprintf("%v, %v of the messages lost", algorithm, faults), func(t *testing.T) {
				for range 15 {
					// The seed does not fix a run, for goroutines go as they like; it is new each time.
					synctest.Test(t, func(t *testing.T) { simulate(t, rand.Uint64(), algorithm, faults) })
				}
			})
		}
	}
}

// simulate runs a small world for half a minute of virtual time.
func simulate(t *testing.T, seed uint64, algorithm capacitypb.Algorithm, faults float64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	g := newGroup(t, seed, algorithm, 100)
	g.faults = faults
	var all []*member
	for i := range 6 {
		m := &member{wall: &wallClock{}}
		m.c = newClient(simWire{g}, WithID(fmt.Sprint("client-", i)), withWall(m.wall.now), WithGap(200*time.Millisecond))
		all = append(all, m)
	}
	most := 0.0
	for range 300 {
		time.Sleep(time.Duration(rng.Int64N(int64(200 * time.Millisecond))))
		all[rng.IntN(len(all))].step(t, rng)
		switch n := rng.IntN(100); {
		case n == 0 && g.away() <= 0:
			g.configure(algorithm, float64(20+rng.IntN(100)))
		case n == 1:
			g.failover(time.Duration(rng.Int64N(int64(time.Second))))
		}
		sum, text := used(all)
		most = max(most, sum)
		if limit := g.limit(); sum > limit+1e-6 {
			t.Errorf("%v of %v are in use:%s", sum, limit, text)
			break
		}
	}
	for _, m := range all {
		m.c.Close()
	}
	g.late.Wait()
	if faults == 0 {
		require.Greater(t, most, 20.0, "next to nothing was used: nothing was tested")
	}
}
