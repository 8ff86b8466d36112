package exact_test

import (
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/drumline/drumline/statemachines/capacity/exact"
)

// amounts draws amounts of all sizes, with many small round ones.
func amounts() *rapid.Generator[float64] {
	return rapid.Custom(func(t *rapid.T) float64 {
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			return float64(rapid.IntRange(0, 1000).Draw(t, "round")) / 8
		case 1:
			return exact.Amount(rapid.Float64Range(0, 1000).Draw(t, "usual"))
		case 2:
			return exact.Amount(math.Ldexp(rapid.Float64Range(0.5, 1).Draw(t, "m"), rapid.IntRange(-300, 340).Draw(t, "e")))
		default:
			return rapid.SampledFrom([]float64{0, exact.Least, exact.Limit, 0.1, 1e-9, 1e9}).Draw(t, "special")
		}
	})
}

// The reference is a number of so many bits that nothing is ever rounded.
func wide() *big.Float { return new(big.Float).SetPrec(2000).SetMode(big.ToZero) }

func TestSumIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sum exact.Sum
		want := wide()
		var held []float64
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			if len(held) > 0 && rapid.Bool().Draw(t, "take") {
				i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
				sum.Sub(held[i])
				want.Sub(want, wide().SetFloat64(held[i]))
				held = append(held[:i], held[i+1:]...)
			} else {
				v := amounts().Draw(t, "amount")
				sum.Add(v)
				want.Add(want, wide().SetFloat64(v))
				held = append(held, v)
			}
			f, _ := wide().SetPrec(53).Set(want).Float64()
			same(t, f, sum.Value())
		}
		for _, v := range held {
			sum.Sub(v)
		}
		require.Equal(t, exact.Sum{}, sum, "nothing is left when all is taken away")
	})
}

func TestANegativeSumIsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := amounts().Draw(t, "a"), amounts().Draw(t, "b")
		var sum exact.Sum
		sum.Add(a)
		sum.Sub(b)
		want, _ := wide().SetPrec(53).Sub(wide().SetFloat64(a), wide().SetFloat64(b)).Float64()
		same(t, max(0, want), sum.Value())
		sum.Add(b)
		same(t, a, sum.Value(), "and comes back")
	})
}

func TestRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sum exact.Sum
		want := wide()
		capacity := amounts().Draw(t, "capacity")
		want.SetFloat64(capacity)
		for range rapid.IntRange(0, 10).Draw(t, "n") {
			v := amounts().Draw(t, "v")
			sum.Add(v)
			want.Sub(want, wide().SetFloat64(v))
		}
		before := sum
		f, _ := want.SetPrec(53).Float64()
		same(t, max(0, f), sum.Room(capacity))
		require.Equal(t, before, sum)
	})
}

func TestAmount(t *testing.T) {
	for v, want := range map[float64]float64{
		0: 0, 1: 1, 1e-80: 0, exact.Least: exact.Least, math.MaxFloat64: exact.Limit, math.SmallestNonzeroFloat64: 0,
	} {
		same(t, want, exact.Amount(v), "%g", v)
	}
}

func TestManyOfTheLargestFit(t *testing.T) {
	var sum exact.Sum
	for range 1 << 16 {
		sum.Add(exact.Limit)
	}
	same(t, math.Ldexp(exact.Limit, 16), sum.Value())
}

func BenchmarkSum(b *testing.B) {
	var sum exact.Sum
	x := 0.0
	for b.Loop() {
		sum.Add(25.454545454545457)
		x += sum.Value()
		sum.Sub(25.454545454545457)
	}
	_ = x
}

// same compares numbers to the last bit.
func same(t require.TestingT, want, got float64, msg ...any) {
	require.InDelta(t, want, got, 0, msg...)
}
