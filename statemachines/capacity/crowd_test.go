package capacity_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines/capacity"
)

// crowded has n clients hold leases, a few of which end later.
func crowded(t require.TestingT, n int) *resource {
	r := newResource(t)
	d := define(capacitypb.Algorithm_ALGORITHM_FAIR_SHARE, float64(n))
	d.MaxClients = uint32(min(n+100, capacity.MaxClients))
	r.configure(d)
	for from := 0; from < n; from += 10_000 {
		var all []*capacitypb.Request
		for i := from; i < min(from+10_000, n); i++ {
			all = append(all, wants(fmt.Sprint("c", i), 1))
		}
		for _, g := range r.apply(decide(all...)).GetGrants() {
			require.InDelta(t, 1.0, g.GetCapacity(), 0)
		}
	}
	r.now += 30 * time.Second
	for i := range 10 { // these have asked again: what the machine looks at first is their older ends
		r.ask(wants(fmt.Sprint("c", 7*i), 1))
	}
	return r
}

// The ends of very many leases are spread over several entries. What is not ended yet counts
// as held, who waits for it is told to ask again soon, and its client finds it ended.
func TestVeryManyLeasesEndAtOnce(t *testing.T) {
	const n = 20_000
	r := crowded(t, n)
	r.now += 45 * time.Second
	late := r.ask(wants("late", n))
	require.Positive(t, late.GetCapacity())
	require.Less(t, late.GetCapacity(), float64(n-11), "not all have ended yet")
	require.Equal(t, int64(50), late.GetRetryMs())
	left := r.summary().GetHolders()
	require.Greater(t, left, uint64(11), "not all have ended yet")
	require.Less(t, left, uint64(n-2_000), "thousands have")
	require.LessOrEqual(t, r.summary().GetReserved(), float64(n))
	again := r.find(fmt.Sprint("c", n-1))
	require.NotNil(t, again, "its turn has not come")
	g := r.ask(wants(fmt.Sprint("c", n-1), 2))
	require.InDelta(t, 1.0, g.GetCapacity(), 0, "a client begins anew: its own lease is over, and all else is taken")
	for range n / 2_048 {
		r.now += 50 * time.Millisecond
		r.confirm("late", late)
	}
	require.Equal(t, uint64(12), r.summary().GetHolders(), "ten asked again, one is back, one is new")
	late = r.ask(wants("late", n))
	require.InDelta(t, n-12, late.GetCapacity(), 1e-6, "all that the others leave")
	require.Zero(t, late.GetRetryMs())
}

// A replica that was restored on the way ends the same leases, in the same order.
func TestLeasesEndInOneOrder(t *testing.T) {
	r := crowded(t, 9_000)
	snap := func(m *capacity.Machine) []byte {
		var out bytes.Buffer
		v := m.Snapshot()
		defer v.Close()
		_, err := v.WriteTo(&out)
		require.NoError(t, err)
		return out.Bytes()
	}
	twin := &resource{t: t, m: capacity.New(), now: r.now, lead: r.lead}
	require.NoError(t, twin.m.Restore(bytes.NewReader(snap(r.m))))
	for _, wait := range []time.Duration{31 * time.Second, 0, time.Second, 40 * time.Second} {
		r.now, twin.now = r.now+wait, twin.now+wait
		require.Equal(t, r.ask(wants("late", 5)).String(), twin.ask(wants("late", 5)).String())
		require.Equal(t, r.summary().String(), twin.summary().String())
		require.True(t, bytes.Equal(snap(r.m), snap(twin.m)), "after %v", wait) // few are left
	}
}
