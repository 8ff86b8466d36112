package pace

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBudget(t *testing.T) {
	b := NewBudget()
	for range budgetSize {
		require.True(t, b.Spend())
	}
	require.False(t, b.Spend())
	for range 10 {
		b.Ask()
	}
	require.True(t, b.Spend())
	require.True(t, b.Spend() || b.left > 0.9, "ten calls earn two retries")
	for range 10 * budgetSize {
		b.Ask()
	}
	require.LessOrEqual(t, b.left, float64(budgetSize))
}

func TestPausesGrowAndAreBounded(t *testing.T) {
	var p Pauses
	for i := range 20 {
		most := min(firstPause*time.Duration(math.Pow(2, float64(i))), Long)
		d := p.Draw()
		require.LessOrEqual(t, d, most)
		require.GreaterOrEqual(t, d, most/2)
	}
}
