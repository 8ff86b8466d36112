package capacity_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
)

// reference divides as the documents say, in the simplest way: it keeps every
// answer, looks at everybody each time, and fills water round by round.
type reference struct {
	algorithm capacitypb.Algorithm
	capacity  float64
	floors    map[int64]float64
	now       time.Duration
	clients   map[string]*refClient
}

type refClient struct {
	bands   []*capacitypb.Band
	answers []refAnswer // since the last that it has shown to know; the newest last
}

type refAnswer struct {
	capacity float64
	expires  time.Duration
}

// refClaim is one part of a division.
type refClaim struct{ wants, weight float64 }

func (c *refClient) total() (t refClaim) {
	for _, b := range c.bands {
		t.wants += b.GetWants()
		t.weight += float64(b.GetClients())
	}
	return t
}

func (c *refClient) mayUse() (most float64) {
	for _, a := range c.answers {
		most = max(most, a.capacity)
	}
	return most
}

// ids in an order: sums of reals depend on it in the last bits only, but a test
// should fail twice in the same way.
func (r *reference) ids() []string {
	ids := make([]string, 0, len(r.clients))
	for id := range r.clients {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (r *reference) expire() {
	for _, id := range r.ids() {
		c := r.clients[id]
		c.answers = slices.DeleteFunc(c.answers, func(a refAnswer) bool { return a.expires < r.now })
		if len(c.answers) == 0 {
			delete(r.clients, id)
		}
	}
}

// filled fills water: in each round everybody gets an equal share of what is left
// per unit of weight, and who needs less leaves the rest to the others.
func filled(claims []refClaim, capacity float64) []float64 {
	got := make([]float64, len(claims))
	met := make([]bool, len(claims))
	for {
		weight, left := 0.0, capacity
		for i, c := range claims {
			if met[i] {
				left -= c.wants
			} else {
				weight += c.weight
			}
		}
		more := false
		for i, c := range claims {
			if met[i] {
				continue
			}
			got[i] = max(0, left) / weight * c.weight
			if c.wants <= got[i] {
				got[i], met[i], more = c.wants, true, true
			}
		}
		if !more {
			return got
		}
	}
}

func (r *reference) fair(id string) float64 {
	var claims []refClaim
	at := 0
	for _, other := range r.ids() {
		if other == id {
			at = len(claims)
		}
		claims = append(claims, r.clients[other].total())
	}
	return filled(claims, r.capacity)[at]
}

// ranked gives floors first, then serves bands from the top, each as water.
func (r *reference) ranked(id string) float64 {
	type part struct {
		owner string
		refClaim
	}
	bands := map[int64][]part{}
	var order []int64
	for _, owner := range r.ids() {
		for _, b := range r.clients[owner].bands {
			if _, seen := bands[b.GetPriority()]; !seen {
				order = append(order, b.GetPriority())
			}
			bands[b.GetPriority()] = append(bands[b.GetPriority()], part{owner, refClaim{b.GetWants(), float64(b.GetClients())}})
		}
	}
	slices.Sort(order)
	slices.Reverse(order)
	got, left := map[int64]float64{}, r.capacity
	wanted := func(p int64) (w float64) {
		for _, x := range bands[p] {
			w += x.wants
		}
		return w
	}
	for _, p := range order {
		got[p] = min(r.floors[p], wanted(p), left)
		left -= got[p]
	}
	share := 0.0
	for _, p := range order {
		more := min(wanted(p)-got[p], left)
		got[p], left = got[p]+more, left-more
		var claims []refClaim
		for _, x := range bands[p] {
			claims = append(claims, x.refClaim)
		}
		for i, s := range filled(claims, got[p]) {
			if bands[p][i].owner == id {
				share += s
			}
		}
	}
	return share
}

// proportional is the original's formula, step by step; stored is what was known of
// everybody before, q what the caller asks for now.
func (r *reference) proportional(id string, q refClaim) float64 {
	var n, sumWants float64
	known := false
	for _, other := range r.ids() {
		t := r.clients[other].total()
		n += t.weight
		sumWants += t.wants
		known = known || other == id
	}
	if !known {
		n += q.weight
	}
	e := r.capacity / n
	if sumWants <= r.capacity || q.wants <= e*q.weight {
		return q.wants
	}
	extra, need := 0.0, 0.0
	for _, other := range r.ids() {
		t := r.clients[other].total()
		if other == id {
			t = q
		}
		if t.wants < e*t.weight {
			extra += e*t.weight - t.wants
		} else {
			need += t.wants - e*t.weight
		}
	}
	return e*q.weight + (q.wants-e*q.weight)*extra/need
}

// decide answers a request that shows what it knows, or not.
func (r *reference) decide(q *capacitypb.Request, shown bool) float64 {
	r.expire()
	asked := (&refClient{bands: q.GetBands()}).total()
	c := r.clients[q.GetClientId()]
	if c != nil && shown {
		newest := c.answers[len(c.answers)-1]
		if q.GetLimited() {
			newest.capacity = min(newest.capacity, asked.wants)
		}
		c.answers = []refAnswer{newest}
	}
	share := asked.wants
	switch r.algorithm {
	case proportional:
		share = r.proportional(q.GetClientId(), asked)
	case static:
		share = min(r.capacity, asked.wants)
	}
	if c == nil {
		c = &refClient{}
		r.clients[q.GetClientId()] = c
	}
	c.bands = q.GetBands()
	switch r.algorithm {
	case fair:
		share = r.fair(q.GetClientId())
	case priority:
		share = r.ranked(q.GetClientId())
	}
	free := r.capacity
	for _, other := range r.ids() {
		if other != q.GetClientId() {
			free -= r.clients[other].mayUse()
		}
	}
	grant := max(0, min(share, asked.wants))
	if r.algorithm != none && r.algorithm != static {
		grant = max(0, min(grant, free))
	}
	c.answers = append(c.answers, refAnswer{capacity: grant, expires: r.now + time.Minute})
	return grant
}

// eighths are exact in binary, so that the reference's own sums of wants are too.
func eighths(r *rand.Rand, most int) float64 { return float64(r.IntN(8*most)) / 8 }

// duel drives machine and reference side by side.
type duel struct {
	*resource
	ref  *reference
	rand *rand.Rand
	last map[string]*capacitypb.Grant
}

func newDuel(t *testing.T, a capacitypb.Algorithm, seed uint64) *duel {
	rnd := rand.New(rand.NewPCG(seed, uint64(a)))
	d := &duel{
		resource: newResource(t), rand: rnd, last: map[string]*capacitypb.Grant{},
		ref: &reference{algorithm: a, floors: map[int64]float64{}, clients: map[string]*refClient{}},
	}
	d.reconfigure()
	return d
}

func (d *duel) reconfigure() {
	d.ref.capacity = eighths(d.rand, 200)
	def := define(d.ref.algorithm, d.ref.capacity)
	clear(d.ref.floors)
	for p := range d.rand.Int64N(3) {
		d.ref.floors[p] = eighths(d.rand, 60)
		def.Floors = append(def.Floors, &capacitypb.Floor{Priority: p, Capacity: d.ref.floors[p]})
	}
	d.configure(def)
}

func (d *duel) request() *capacitypb.Request {
	q := &capacitypb.Request{ClientId: fmt.Sprintf("c%d", d.rand.IntN(7)), Limited: d.rand.IntN(2) == 0}
	for p := range int64(4) {
		if len(q.Bands) == 0 && p == 3 || d.rand.IntN(3) == 0 {
			q.Bands = append(q.Bands, &capacitypb.Band{Priority: p, Clients: 1 + d.rand.Int64N(4)*d.rand.Int64N(2), Wants: eighths(d.rand, 90)})
		}
	}
	d.rand.Shuffle(len(q.Bands), func(i, j int) { q.Bands[i], q.Bands[j] = q.Bands[j], q.Bands[i] })
	if c := d.ref.clients[q.ClientId]; c != nil && d.rand.IntN(3) == 0 {
		q.Bands = c.bands // most ask for the same again
	}
	return q
}

// step is one decision, compared.
func (d *duel) step() {
	switch d.rand.IntN(20) {
	case 0:
		d.reconfigure()
	case 1:
		id := fmt.Sprintf("c%d", d.rand.IntN(7))
		d.release(id)
		delete(d.ref.clients, id)
	}
	d.now += time.Duration(d.rand.IntN(20)) * time.Second * time.Duration(d.rand.IntN(2))
	d.ref.now = d.now
	d.ref.expire()
	q := d.request()
	c := d.ref.clients[q.GetClientId()]
	shown := c != nil && (d.rand.IntN(4) > 0 || len(c.answers) > 3) // the machine merges from then on
	if shown {
		q.Token = d.last[q.GetClientId()].GetToken()
	}
	want, g := d.ref.decide(q, shown), d.ask(q)
	require.InDelta(d.t, want, g.GetCapacity(), 1e-9*(1+want), "at %v: %v", d.now, q)
	d.last[q.GetClientId()] = g
}

func TestEveryAlgorithmGivesWhatASlowReferenceGives(t *testing.T) {
	const history = 40
	for _, a := range []capacitypb.Algorithm{none, static, proportional, fair, priority} {
		t.Run(a.String(), func(t *testing.T) {
			for seed := range uint64(referenceCases / history) {
				d := newDuel(t, a, seed)
				for range history {
					d.step()
				}
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}
