package gate

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOneAtATimePerGroup(t *testing.T) {
	g := New()
	var inside, most atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			leave, err := g.Enter(t.Context(), 7)
			if err != nil {
				t.Error(err)
				return
			}
			most.Store(max(most.Load(), inside.Add(1)))
			inside.Add(-1)
			leave()
		})
	}
	wg.Wait()
	require.Equal(t, int32(1), most.Load())
	require.Empty(t, g.held, "an open gate is not remembered")
}

func TestGroupsDoNotWaitForOneAnother(t *testing.T) {
	g := New()
	leave7, err := g.Enter(t.Context(), 7)
	require.NoError(t, err)
	leave8, err := g.Enter(t.Context(), 8)
	require.NoError(t, err)
	leave8()
	leave7()
}

func TestEnterGivesUp(t *testing.T) {
	g := New()
	leave, err := g.Enter(t.Context(), 7)
	require.NoError(t, err)
	defer leave()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = g.Enter(ctx, 7)
	require.True(t, fault.Is(err, fault.Deadline), "%v", err)
}
