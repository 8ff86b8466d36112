package desk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/statemachines"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// groups grant everybody what it wants, after a round trip.
type groups struct {
	t    testing.TB
	trip time.Duration
	// refuse says why a command is refused whole, fail why a proposal comes to nothing.
	refuse func(d *capacitypb.Decide) string
	fail   func(ctx context.Context, n int) error

	mu       sync.Mutex
	trips    int
	commands []*capacitypb.Decide
}

func (g *groups) ProposeMany(ctx context.Context, m route.Many) ([]route.Outcome, *hostpb.Location) {
	require.True(g.t, m.Repeatable)
	g.mu.Lock()
	g.trips++
	n := g.trips
	g.mu.Unlock()
	out := make([]route.Outcome, len(m.Items))
	if g.fail != nil {
		if err := g.fail(ctx, n); err != nil {
			for i := range out {
				out[i].Err = err
			}
			return out, nil
		}
	}
	if g.trip > 0 {
		time.Sleep(g.trip) //nolint:forbidigo // in a bubble: virtual time
	}
	for i, item := range m.Items {
		out[i].Result = statemachines.Result{Data: g.apply(item)}
	}
	return out, nil
}

// apply decides a command.
func (g *groups) apply(item []byte) []byte {
	c := &capacitypb.Command{}
	require.NoError(g.t, proto.Unmarshal(item, c))
	d := c.GetDecide()
	g.mu.Lock()
	g.commands = append(g.commands, d)
	g.mu.Unlock()
	res := &capacitypb.Result{Outcome: capacitypb.Outcome_OUTCOME_OK}
	for _, r := range d.GetRequests() {
		res.Grants = append(res.Grants, &capacitypb.Grant{Outcome: capacitypb.Outcome_OUTCOME_OK, Capacity: r.GetBands()[0].GetWants()})
	}
	if g.refuse != nil {
		if why := g.refuse(d); why != "" {
			res = &capacitypb.Result{Outcome: capacitypb.Outcome_OUTCOME_INVALID, Detail: why}
		}
	}
	data, err := proto.Marshal(res)
	require.NoError(g.t, err)
	return data
}

// asking is a job of n requests that want from, from+1 and so on.
func asking(group string, from float64, n int) Job {
	j := Job{Group: group}
	for i := range n {
		j.Ask = append(j.Ask, &capacitypb.Request{ClientId: fmt.Sprint(from), Bands: []*capacitypb.Band{{Clients: 1, Wants: from + float64(i)}}})
	}
	return j
}

// granted checks that a job was answered with what it asked for.
func granted(t require.TestingT, j Job) {
	require.NoError(t, j.Err)
	require.Len(t, j.Answer, len(j.Ask))
	for i, g := range j.Answer {
		require.InDelta(t, j.Ask[i].GetBands()[0].GetWants(), g.GetCapacity(), 0)
	}
}

// do has one job done.
func do(ctx context.Context, d *Desks, j Job) Job {
	jobs := []Job{j}
	d.Do(ctx, jobs)
	return jobs[0]
}

func TestACrowdTravelsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &groups{t: t, trip: 3 * time.Millisecond}
		d := New(g)
		defer d.Close()
		const callers, rounds = 32, 50
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				for r := range rounds {
					jobs := []Job{asking("capacity/a", float64(i), 1), asking("capacity/b", float64(r), 2)}
					d.Do(t.Context(), jobs)
					granted(t, jobs[0])
					granted(t, jobs[1])
				}
			})
		}
		wg.Wait()
		require.Less(t, len(g.commands), 2*2*rounds, "the commands of two resources: a few more than rounds of each")
	})
}

func TestOneAloneIsNotKeptWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &groups{t: t, trip: time.Millisecond}
		d := New(g)
		defer d.Close()
		begun := time.Now()
		for i := range 10 {
			j := asking("capacity/a", float64(i), 1)
			j = do(t.Context(), d, j)
			granted(t, j)
		}
		require.Equal(t, 10*time.Millisecond, time.Since(begun))
		d.Do(t.Context(), nil)
	})
}

func TestALongJobIsSplit(t *testing.T) {
	g := &groups{t: t}
	d := New(g)
	defer d.Close()
	j, none := asking("capacity/a", 7, 2*perCommand+100), asking("capacity/b", 0, 1)
	jobs := []Job{j, none}
	d.Do(t.Context(), jobs)
	granted(t, jobs[0])
	granted(t, jobs[1])
	require.Len(t, g.commands, 4)
	for _, c := range g.commands {
		require.LessOrEqual(t, len(c.GetRequests()), perCommand)
	}
}

// A proposal that hangs keeps others neither waiting for long nor from their places for ever,
// and those in it are proposed again.
func TestAProposalThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &groups{t: t, fail: func(ctx context.Context, n int) error {
			if n > 1 {
				return nil
			}
			<-ctx.Done()
			return fault.Wrap(ctx.Err(), fault.UnknownOutcome, "lost")
		}}
		d := New(g)
		defer d.Close()
		begun := time.Now()
		var first time.Duration
		var wg sync.WaitGroup
		wg.Go(func() {
			j := asking("capacity/a", 1, 1)
			j = do(within(t, 10*time.Second), d, j)
			granted(t, j)
			first = time.Since(begun)
		})
		synctest.Wait()
		second := asking("capacity/a", 2, 1)
		second = do(within(t, 10*time.Second), d, second)
		granted(t, second)
		require.Less(t, time.Since(begun), 100*time.Millisecond)
		wg.Wait()
		require.Equal(t, patience, first)
	})
}

func TestWhoLeavesIsNotProposed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &groups{t: t, trip: 30 * time.Millisecond}
		d := New(g)
		defer d.Close()
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i := range errs { // one is under way, one waits
			wg.Go(func() {
				j := asking("capacity/a", float64(i), 1)
				j = do(within(t, 20*time.Millisecond), d, j)
				errs[i] = j.Err
			})
			synctest.Wait()
		}
		wg.Wait()
		require.True(t, fault.Is(errs[0], fault.UnknownOutcome), "%v", errs[0])
		require.True(t, fault.Is(errs[1], fault.Deadline), "%v", errs[1])
		last := asking("capacity/a", 2, 1)
		last = do(t.Context(), d, last)
		granted(t, last)
		require.Len(t, g.commands, 2)
	})
}

func TestOneJobSpoilsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &groups{t: t, trip: time.Millisecond, refuse: func(d *capacitypb.Decide) string {
			for _, r := range d.GetRequests() {
				if r.GetClientId() == "13" {
					return "unlucky"
				}
			}
			return ""
		}}
		d := New(g)
		defer d.Close()
		jobs := make([]Job, 20)
		var wg sync.WaitGroup
		for i := range jobs {
			jobs[i] = asking("capacity/a", float64(i), 1)
			wg.Go(func() { d.Do(t.Context(), jobs[i:i+1]) })
		}
		wg.Wait()
		for i, j := range jobs {
			if i == 13 {
				require.True(t, fault.Is(j.Err, fault.Invalid), "%v", j.Err)
				continue
			}
			granted(t, j)
		}
	})
}

func TestFaultsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &groups{t: t, fail: func(context.Context, int) error { return fault.New(fault.NoQuorum, "two of three are down") }}
		d := New(g)
		j := asking("capacity/a", 1, 1)
		begun := time.Now()
		j = do(within(t, 10*time.Second), d, j)
		require.True(t, fault.Is(j.Err, fault.NoQuorum), "%v", j.Err)
		require.Zero(t, time.Since(begun), "the router has tried all it could")
		d.Close()
		j = do(t.Context(), d, j)
		require.True(t, fault.Is(j.Err, fault.Unavailable), "%v", j.Err)
	})
}

// No quorum for longer than one proposal takes: the caller is told so, when its time is over.
func TestNoQuorumForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &groups{t: t, fail: func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return fault.New(fault.NoQuorum, "two of three are down")
		}}
		d := New(g)
		defer d.Close()
		j := asking("capacity/a", 1, 1)
		begun := time.Now()
		j = do(within(t, 7*time.Second), d, j)
		require.True(t, fault.Is(j.Err, fault.NoQuorum), "%v", j.Err)
		require.Greater(t, time.Since(begun), 6*time.Second)
		require.Equal(t, 3, g.trips)
	})
}

// Whoever leaves and whatever fails, every answer is that of its own request.
func TestAnswersAreTheirOwners(t *testing.T) {
	g := &groups{t: t, fail: func(context.Context, int) error {
		if rand.N(10) == 0 {
			return fault.New(fault.Busy, "too many commands wait")
		}
		return nil
	}}
	d := New(g)
	defer d.Close()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for n := range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.N(int64(time.Millisecond))))
				jobs := []Job{asking("capacity/a", float64(1000*i+n), 1+n%3), asking(fmt.Sprintf("capacity/%d", n%5), float64(n), 1)}
				d.Do(ctx, jobs)
				cancel()
				for _, j := range jobs {
					if j.Err == nil {
						granted(t, j)
					} else if !errors.Is(j.Err, context.DeadlineExceeded) {
						require.True(t, fault.Is(j.Err, fault.Busy), "%v", j.Err)
					}
				}
			}
		})
	}
	wg.Wait()
}

// within gives a call a deadline.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
