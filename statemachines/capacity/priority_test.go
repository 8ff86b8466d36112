package capacity_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
)

// ranking is a division by PRIORITY at rest, judged by what the algorithm promises and not
// by a way to get there.
type ranking struct {
	t        *testing.T
	capacity float64
	floors   map[int64]float64
	clients  []ranked
}

type ranked struct {
	id                     string
	priority, weight       int64
	wants, granted, perOne float64
}

// tiny is what sums of these amounts may be wrong by.
const tiny = 1e-6

func newRanking(t *testing.T, rnd *rand.Rand) *ranking {
	r := &ranking{t: t, capacity: eighths(rnd, 200), floors: map[int64]float64{}}
	for p := range int64(4) {
		if rnd.IntN(2) == 0 {
			r.floors[p] = eighths(rnd, 60)
		}
	}
	for i := range 2 + rnd.IntN(10) {
		r.clients = append(r.clients, ranked{
			id: fmt.Sprint("c", i), priority: rnd.Int64N(4), weight: 1 + rnd.Int64N(4)*rnd.Int64N(2), wants: eighths(rnd, 90),
		})
	}
	return r
}

// divide has all come by until nothing changes any more: who has too much, who may have
// more for it, and once again, for those who came in between.
func (r *ranking) divide(rnd *rand.Rand) {
	def := define(priority, r.capacity)
	for p, f := range r.floors {
		def.Floors = append(def.Floors, &capacitypb.Floor{Priority: p, Capacity: f})
	}
	m := newResource(r.t)
	m.configure(def)
	for range 4 {
		rnd.Shuffle(len(r.clients), func(i, j int) { r.clients[i], r.clients[j] = r.clients[j], r.clients[i] })
		for i := range r.clients {
			c := &r.clients[i]
			c.granted = m.settled(&capacitypb.Request{ClientId: c.id, Bands: []*capacitypb.Band{{Priority: c.priority, Clients: c.weight, Wants: c.wants}}})
			c.perOne = c.granted / float64(c.weight)
		}
	}
}

// band sums one priority up, and says what its floor is worth to it.
func (r *ranking) band(p int64) (wants, granted, floor float64) {
	for _, c := range r.clients {
		if c.priority == p {
			wants, granted = wants+c.wants, granted+c.granted
		}
	}
	return wants, granted, min(r.floors[p], wants)
}

// check is what PRIORITY promises.
func (r *ranking) check() {
	var wanted, granted, floors float64
	for p := range int64(4) {
		w, g, f := r.band(p)
		wanted, granted, floors = wanted+w, granted+g, floors+f
	}
	require.InDelta(r.t, min(r.capacity, wanted), granted, tiny, "what is wanted and there is granted: %+v", r)
	for p := range int64(4) {
		w, g, f := r.band(p)
		if floors <= r.capacity {
			require.GreaterOrEqual(r.t, g, f-tiny, "priority %d has its floor: %+v", p, r)
		}
		for q := range p {
			_, lower, floor := r.band(q)
			if g < w-tiny {
				require.LessOrEqual(r.t, lower, floor+tiny, "priority %d lacks something, so %d has its floor at most: %+v", p, q, r)
			}
			if g < f-tiny {
				require.InDelta(r.t, 0, lower, tiny, "priority %d lacks its floor, so %d has nothing: %+v", p, q, r)
			}
		}
	}
	for _, c := range r.clients {
		require.LessOrEqual(r.t, c.granted, c.wants)
		for _, other := range r.clients {
			if other.priority == c.priority && c.granted < c.wants-tiny {
				require.LessOrEqual(r.t, other.perOne, c.perOne+tiny, "%s lacks something, so %s has no more for each of its clients: %+v", c.id, other.id, r)
			}
		}
	}
}

// Higher bands first, max-min by weight inside a band, floors before all.
func TestPriorityDividesAsItPromises(t *testing.T) {
	const worlds = 1000
	bound := 0
	for seed := range uint64(worlds) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		r := newRanking(t, rnd)
		r.divide(rnd)
		r.check()
		if slices.ContainsFunc(r.clients, func(c ranked) bool { return c.granted < c.wants-tiny }) {
			bound++
		}
	}
	require.Greater(t, bound, worlds/2, "mostly there is too little")
}
