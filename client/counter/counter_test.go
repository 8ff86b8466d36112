package counter_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/client/counter"
	"github.com/drumline/drumline/statemachines"
	machine "github.com/drumline/drumline/statemachines/counter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errLost = errors.New("the answer is lost")
	errGone = errors.New("there is no such group")
)

// group is a machine whose answers may be lost.
type group struct {
	mu       sync.Mutex
	m        *machine.Machine
	lose     int  // guarded by mu: so many answers
	gone     bool // guarded by mu
	commands int  // guarded by mu
}

func newGroup() *group {
	return &group{m: machine.New(statemachines.Group{ID: 1000, Name: "counter/hits"})}
}

func (g *group) Propose(_ context.Context, cmd []byte) ([]byte, bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return nil, false, errGone
	}
	g.commands++
	out := make([]statemachines.Result, 1)
	cmd = machine.Stamped(cmd, uint64(time.Now().UnixMilli())) // as hosts do
	g.m.Apply([]statemachines.Command{{Version: 1, Data: cmd}}, out)
	if g.lose > 0 {
		g.lose--
		return nil, true, errLost
	}
	return out[0].Data, false, nil
}

func (g *group) Read(_ context.Context, query []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return nil, errGone
	}
	return g.m.Query(query)
}

func (g *group) set(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestAddCountsOnce(t *testing.T) {
	g, ctx := newGroup(), within(t)
	c := counter.New(g, "counter/hits", "")
	require.Equal(t, "counter/hits", c.Name())
	v, err := c.Value(ctx)
	require.NoError(t, err)
	require.Zero(t, v)
	g.set(func() { g.lose = 3 })
	v, err = c.Add(ctx, 5)
	require.NoError(t, err)
	require.EqualValues(t, 5, v)
	key := counter.NewKey()
	for range 3 {
		v, err = c.AddOnce(ctx, -2, key)
		require.NoError(t, err)
		require.EqualValues(t, 3, v)
	}
	_, err = c.AddOnce(ctx, 1, key)
	require.ErrorIs(t, err, counter.ErrRefused)
	v, err = c.Value(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 3, v)
	g.set(func() { g.gone = true })
	_, err = c.Add(ctx, 1)
	require.ErrorIs(t, err, errGone)
	_, err = c.Value(ctx)
	require.ErrorIs(t, err, errGone)
	require.NoError(t, c.Close(ctx))
	_, err = c.Add(ctx, 1)
	require.ErrorIs(t, err, counter.ErrClosed)
}

// TestCount: many goroutines count, answers are lost, and the sum is exact.
func TestCount(t *testing.T) {
	g, ctx := newGroup(), within(t)
	c := counter.New(g, "counter/hits", "", counter.Every(time.Millisecond))
	g.set(func() { g.lose = 5 })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if c.Count(2) != nil {
					t.Error("it does not count")
				}
			}
		})
	}
	all.Wait()
	require.NoError(t, c.Flush(ctx))
	v, err := c.Value(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 16_000, v)
	require.NoError(t, c.Count(-1))
	require.NoError(t, c.Close(ctx))
	g.set(func() { require.Less(t, g.commands, 4000, "many counts share a command") })
	require.ErrorIs(t, c.Count(1), counter.ErrClosed)
	v, err = counter.New(g, "counter/hits", "").Value(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 15_999, v)
}

// TestWhatWaitsIsBounded: while the group does not answer no more is taken than Most.
func TestWhatWaitsIsBounded(t *testing.T) {
	g, ctx := newGroup(), within(t)
	c := counter.New(g, "counter/hits", "", counter.Every(time.Hour), counter.Most(10))
	g.set(func() { g.gone = true })
	require.NoError(t, c.Count(-4))
	require.ErrorIs(t, c.Flush(ctx), errGone)
	require.NoError(t, c.Count(6))
	require.ErrorIs(t, c.Count(1), counter.ErrFull)
	g.set(func() { g.gone = false })
	require.NoError(t, c.Flush(ctx))
	require.NoError(t, c.Count(10))
	require.NoError(t, c.Close(ctx))
	v, err := counter.New(g, "counter/hits", "").Value(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 12, v)
}

// TestWhatIsForgottenIsNotKnown: a key that the group does not remember any more tells nothing.
func TestWhatIsForgottenIsNotKnown(t *testing.T) {
	g, ctx := newGroup(), within(t)
	c := counter.New(g, "counter/hits", "")
	key := counter.NewKey()
	key.MadeMs = 1
	_, err := c.AddOnce(ctx, 1, counter.NewKey()) // of now: the group knows the time
	require.NoError(t, err)
	_, err = c.AddOnce(ctx, 1, key)
	require.ErrorIs(t, err, counter.ErrUnknown)
	require.NotErrorIs(t, err, counter.ErrRefused)
	require.NoError(t, c.Close(ctx))
}

// TestHalfOfWhatMayWaitIsSent: long before the time is over, so that who counts fast is not
// told that it is too much.
func TestHalfOfWhatMayWaitIsSent(t *testing.T) {
	g, ctx := newGroup(), within(t)
	c := counter.New(g, "counter/hits", "", counter.Every(time.Hour), counter.Most(10))
	for sum := int64(6); sum <= 60; sum += 6 {
		require.NoError(t, c.Count(5))
		require.NoError(t, c.Count(1))
		require.Eventually(t, func() bool {
			v, err := c.Value(ctx)
			return err == nil && v == sum
		}, 30*time.Second, time.Millisecond)
		require.NoError(t, c.Flush(ctx)) // the answer has come, too
	}
	require.NoError(t, c.Close(ctx))
	g.set(func() { require.Equal(t, 10, g.commands) })
}

func TestARefusalIsTold(t *testing.T) {
	g, ctx := newGroup(), within(t)
	c := counter.New(g, "counter/hits", "bad\n", counter.Every(time.Hour))
	require.NoError(t, c.Count(1))
	require.ErrorIs(t, c.Flush(ctx), counter.ErrRefused)
	require.ErrorIs(t, c.Count(1), counter.ErrRefused)
	require.NoError(t, c.Count(1), "it is told once")
	require.ErrorIs(t, c.Close(ctx), counter.ErrRefused)
}
