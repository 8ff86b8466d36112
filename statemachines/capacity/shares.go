package capacity

import (
	"slices"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines/capacity/exact"
	"github.com/drumline/drumline/statemachines/capacity/levels"
)

// shares knows what everybody wants, in the form that the algorithm asks for, and
// says what would be a client's share if all capacity were free.
type shares struct {
	algorithm capacitypb.Algorithm
	floors    []floor
	// all claims in one tree, for the algorithms that know no priorities.
	all *levels.Tree
	// bands by falling priority, those with clients only; but see prune.
	bands   []*bandSum
	emptied bool
	// water of the capacity that was last divided; see level.
	water    water
	capacity float64
	known    bool // water is that of capacity and of the claims as they are
}

// water is a level that nobody gets more of per unit of weight, if limited.
type water struct {
	level   float64
	limited bool
}

// of is what a claim gets.
func (w water) of(wants, weight float64) float64 {
	if !w.limited {
		return wants
	}
	return min(wants, float64(w.level*weight))
}

// bandSum sums one priority up.
type bandSum struct {
	priority int64
	weight   int64
	wants    exact.Sum
	claims   *levels.Tree // for PRIORITY only
	water    water
	// pending: water has to be found for a division of got.
	pending bool
	got     float64
}

func newShares(d *definition) shares {
	s := shares{}
	if d == nil {
		return s
	}
	s.algorithm, s.floors = d.algorithm, d.floors
	if s.algorithm == capacitypb.Algorithm_ALGORITHM_FAIR_SHARE || s.algorithm == capacitypb.Algorithm_ALGORITHM_PROPORTIONAL_SHARE {
		s.all = levels.New()
	}
	return s
}

// divides tells whether the algorithm keeps the sum of grants below the capacity.
func (s *shares) divides() bool {
	return s.algorithm != capacitypb.Algorithm_ALGORITHM_NONE && s.algorithm != capacitypb.Algorithm_ALGORITHM_STATIC
}

// newPriorities counts those of bands that no client has yet.
func (s *shares) newPriorities(bands []band) int {
	n := 0
	for _, b := range bands {
		if _, found := s.find(b.priority); !found {
			n++
		}
	}
	return n
}

// add counts what a client wants.
func (s *shares) add(c *client) {
	s.known = false
	for _, b := range c.bands {
		sum := s.band(b.priority)
		sum.weight += b.weight
		sum.wants.Add(b.wants)
		if sum.claims != nil {
			sum.claims.Insert(b.claim(c.slot))
		}
	}
	if s.all != nil {
		s.all.Insert(c.claim())
	}
}

// remove counts it no more.
func (s *shares) remove(c *client) {
	s.known = false
	for _, b := range c.bands {
		sum := s.band(b.priority)
		sum.weight -= b.weight
		sum.wants.Sub(b.wants)
		if sum.claims != nil {
			sum.claims.Delete(b.claim(c.slot))
		}
		s.emptied = s.emptied || sum.weight == 0
	}
	if s.all != nil {
		s.all.Delete(c.claim())
	}
}

// prune forgets the bands that lost their last client.
func (s *shares) prune() {
	if s.emptied {
		s.emptied = false
		s.bands = slices.DeleteFunc(s.bands, func(b *bandSum) bool { return b.weight == 0 })
	}
}

func (b band) claim(slot uint32) levels.Claim {
	return levels.Claim{Slot: slot, Weight: uint32(b.weight), Wants: b.wants}
}

func (c *client) claim() levels.Claim {
	return levels.Claim{Slot: c.slot, Weight: uint32(c.weight), Wants: c.wants}
}

func (s *shares) find(priority int64) (int, bool) {
	return slices.BinarySearchFunc(s.bands, priority, func(b *bandSum, p int64) int { return cmpDown(b.priority, p) })
}

// band returns the sums of a priority, new ones if there are none.
func (s *shares) band(priority int64) *bandSum {
	at, found := s.find(priority)
	if found {
		return s.bands[at]
	}
	sum := &bandSum{priority: priority}
	if s.algorithm == capacitypb.Algorithm_ALGORITHM_PRIORITY {
		sum.claims = levels.New()
	}
	s.bands = slices.Insert(s.bands, at, sum)
	return sum
}

// fair is c's max-min fair share of capacity among all.
func (s *shares) fair(c *client, capacity float64) float64 {
	s.divide(capacity)
	return s.water.of(c.wants, float64(c.weight))
}

// ranked is c's share of capacity where higher bands come first.
func (s *shares) ranked(c *client, capacity float64) float64 {
	s.divide(capacity)
	share := 0.0
	for _, b := range c.bands {
		share += s.band(b.priority).now().of(b.wants, float64(b.weight))
	}
	return min(share, c.wants)
}

// divide finds the water levels, if they are not known.
func (s *shares) divide(capacity float64) {
	if s.known && s.capacity == capacity {
		return
	}
	s.known, s.capacity = true, capacity
	if s.algorithm == capacitypb.Algorithm_ALGORITHM_PRIORITY {
		for i, got := range s.ranks(capacity) {
			s.bands[i].got, s.bands[i].pending = got, true
		}
		return
	}
	s.water.level, s.water.limited = s.all.Level(capacity)
}

// ranks divides capacity among bands: the floors first, then from the top.
func (s *shares) ranks(capacity float64) []float64 {
	got, left := make([]float64, len(s.bands)), capacity
	for i, b := range s.bands {
		got[i] = min(s.floor(b.priority), b.wants.Value(), left)
		left -= got[i]
	}
	for i, b := range s.bands {
		more := min(b.wants.Value()-got[i], left)
		got[i] += more
		left -= more
	}
	return got
}

func (s *shares) floor(priority int64) float64 {
	at, found := slices.BinarySearchFunc(s.floors, priority, func(f floor, p int64) int { return cmpDown(f.priority, p) })
	if !found {
		return 0
	}
	return s.floors[at].capacity
}

// find is the water level of a band that gets so much.
func (b *bandSum) find(got float64) water {
	var w water
	if got < b.wants.Value() {
		w.level, w.limited = b.claims.Level(got)
	}
	return w
}

// now is the level for the division as it is; it is found when first asked for.
func (b *bandSum) now() water {
	if b.pending {
		b.water, b.pending = b.find(b.got), false
	}
	return b.water
}

// looks are the water levels of a division, found without noting them.
type looks struct {
	all   water
	bands []water
}

// look finds the levels for those who only read.
func (s *shares) look(capacity float64) looks {
	l := looks{bands: make([]water, len(s.bands))}
	switch s.algorithm {
	case capacitypb.Algorithm_ALGORITHM_FAIR_SHARE:
		l.all.level, l.all.limited = s.all.Level(capacity)
	case capacitypb.Algorithm_ALGORITHM_PRIORITY:
		for i, got := range s.ranks(capacity) {
			l.bands[i] = s.bands[i].find(got)
		}
	}
	return l
}

// crowd is what proportional share looks at besides the claims in the tree.
type crowd struct {
	capacity float64
	wants    float64 // of all before this request
	weight   float64 // of all, the one who asks counted in
}

// proportional is c's equal share and, where somebody leaves capacity over, a part
// of that in proportion to what it lacks. A client that is new is not in the tree
// yet; one that is known is, with what it wants now.
func (s *shares) proportional(c *client, k crowd) float64 {
	equal := k.capacity / k.weight
	mine := float64(equal * float64(c.weight))
	if k.wants <= k.capacity || c.wants <= mine {
		return c.wants
	}
	wants, weight := s.all.Below(equal)
	extra := float64(equal*weight) - wants
	need := (s.all.Wants() - wants) - float64(equal*(s.all.Weight()-weight))
	if need <= 0 || extra <= 0 {
		return mine
	}
	return mine + float64((c.wants-mine)*extra)/need
}
