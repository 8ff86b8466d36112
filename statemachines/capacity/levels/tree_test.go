package levels_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/drumline/drumline/statemachines/capacity/levels"
)

// crowd draws claims that collide often: few ratios, weights and slots, and sometimes enough of
// them for a tree of three levels.
func crowd(t *rapid.T) []levels.Claim {
	var out []levels.Claim
	most := rapid.SampledFrom([]int{4, 40, 40, 400}).Draw(t, "most")
	for slot := range rapid.IntRange(0, most).Draw(t, "n") {
		out = append(out, levels.Claim{
			Slot:   uint32(slot),
			Weight: rapid.SampledFrom([]uint32{1, 1, 1, 2, 3, 17, 1e9}).Draw(t, "weight"),
			Wants:  rapid.OneOf(rapid.SampledFrom([]float64{0, 1, 10, 10, 10.5, 1e6}), rapid.Float64Range(0, 100)).Draw(t, "wants"),
		})
	}
	return out
}

func build(claims []levels.Claim) *levels.Tree {
	tree := levels.New()
	for _, c := range claims {
		tree.Insert(c)
	}
	return tree
}

// slowLevel fills like water: round by round everybody who wants less than an
// equal share of what is left is met, until nobody is.
func slowLevel(claims []levels.Claim, capacity float64) (float64, bool) {
	left := slices.Clone(claims)
	for len(left) > 0 {
		weight := 0.0
		for _, c := range left {
			weight += float64(c.Weight)
		}
		level, met := capacity/weight, 0.0
		rest := left[:0:0]
		for _, c := range left {
			if c.Wants <= level*float64(c.Weight) {
				met += c.Wants
			} else {
				rest = append(rest, c)
			}
		}
		if len(rest) == len(left) {
			return level, true
		}
		left, capacity = rest, capacity-met
	}
	return 0, false
}

func TestLevelIsThatOfWater(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		claims := crowd(t)
		capacity := rapid.Float64Range(0, 3000).Draw(t, "capacity")
		level, limited := build(claims).Level(capacity)
		want, wantLimited := slowLevel(claims, capacity)
		sum := 0.0
		for _, c := range claims {
			got, expected := c.Wants, c.Wants
			if limited {
				got = min(got, level*float64(c.Weight))
			}
			if wantLimited {
				expected = min(expected, want*float64(c.Weight))
			}
			require.InDelta(t, expected, got, 1e-9*(1+expected), "claim %+v: level %g, want %g", c, level, want)
			sum += got
		}
		require.LessOrEqual(t, sum, capacity*(1+1e-12)+1e-12)
	})
}

func TestSumsBelowARatio(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		claims := crowd(t)
		tree := build(claims)
		ratio := rapid.SampledFrom([]float64{0, 1, 5, 10, 10.5, 1e9}).Draw(t, "ratio")
		wants, weight := tree.Below(ratio)
		var slowWants, slowWeight float64
		for _, c := range claims {
			if c.Wants/float64(c.Weight) < ratio {
				slowWants += c.Wants
				slowWeight += float64(c.Weight)
			}
		}
		require.InDelta(t, slowWants, wants, 1e-9*(1+slowWants))
		same(t, slowWeight, weight, "weights are whole numbers")
	})
}

// The same claims give the same bits, whatever came and went before.
func TestHistoryLeavesNoTrace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		claims := crowd(t)
		straight := build(claims)
		crooked := levels.New()
		for _, c := range rapid.Permutation(claims).Draw(t, "order") {
			passing := levels.Claim{Slot: c.Slot, Weight: 7, Wants: rapid.Float64Range(0, 100).Draw(t, "before")}
			crooked.Insert(passing)
			crooked.Insert(levels.Claim{Slot: c.Slot + 10_000, Weight: 3, Wants: 0.1})
			crooked.Delete(passing)
			crooked.Insert(c)
		}
		for _, c := range claims {
			crooked.Delete(levels.Claim{Slot: c.Slot + 10_000, Weight: 3, Wants: 0.1})
		}
		require.Equal(t, math.Float64bits(straight.Wants()), math.Float64bits(crooked.Wants()))
		same(t, straight.Weight(), crooked.Weight())
		for _, capacity := range []float64{0, 0.1, 7, 100, 1e4} {
			a, la := straight.Level(capacity)
			b, lb := crooked.Level(capacity)
			require.Equal(t, math.Float64bits(a), math.Float64bits(b), "capacity %g", capacity)
			require.Equal(t, la, lb)
		}
	})
}

func TestDeletingWhatIsNotThereChangesNothing(t *testing.T) {
	tree := build([]levels.Claim{{Slot: 1, Weight: 1, Wants: 5}})
	tree.Delete(levels.Claim{Slot: 2, Weight: 1, Wants: 5})
	same(t, 5.0, tree.Wants())
	tree.Delete(levels.Claim{Slot: 1, Weight: 1, Wants: 5})
	same(t, 0.0, tree.Wants())
}

func BenchmarkReplace(b *testing.B) {
	for _, n := range []int{100, 1000, 5000, 50000} {
		b.Run(names[n], func(b *testing.B) {
			replace := replacing(n)
			for b.Loop() {
				replace()
			}
		})
	}
}

// As a host does it: a few at a time, and between them what drives the claims out of the
// processor's caches.
func BenchmarkReplaceCold(b *testing.B) {
	for _, n := range []int{100, 1000, 5000, 50000} {
		b.Run(names[n], func(b *testing.B) {
			replace, other := replacing(n), make([]byte, 16<<20)
			var spent time.Duration
			for b.Loop() {
				for i := 0; i < len(other); i += 64 {
					other[i]++
				}
				began := time.Now()
				for range 32 {
					replace()
				}
				spent += time.Since(began)
			}
			b.ReportMetric(float64(spent)/float64(b.N)/32, "cpu-ns/replace")
		})
	}
}

// replacing makes a tree of n claims and returns what changes the next of them.
func replacing(n int) func() {
	r := rand.New(rand.NewPCG(1, 2))
	claims := make([]levels.Claim, n)
	for i := range claims {
		claims[i] = levels.Claim{Slot: uint32(i), Weight: 1, Wants: 100 * r.Float64()}
	}
	tree, i := build(claims), 0
	return func() {
		tree.Delete(claims[i])
		claims[i].Wants = 100 * r.Float64()
		tree.Insert(claims[i])
		tree.Level(float64(n) * 30)
		i = (i + 7919) % n
	}
}

var names = map[int]string{100: "100", 1000: "1000", 5000: "5000", 50000: "50000"}

// same compares numbers to the last bit.
func same(t require.TestingT, want, got float64, msg ...any) {
	require.InDelta(t, want, got, 0, msg...)
}
