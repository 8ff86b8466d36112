package chaos

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errLost = errors.New("the answer was lost")

// memory is a store with planted defects.
type memory struct {
	mu     sync.Mutex
	values map[string]string
	writes int
	// stale makes each read return the value before the last.
	stale bool
	// forget drops each n-th acknowledged write; 0 drops none.
	forget int
	// lose loses each n-th answer of a write that was made; 0 loses none.
	lose int
	old  map[string]string
}

func newMemory() *memory { return &memory{values: map[string]string{}, old: map[string]string{}} }

func (m *memory) Put(_ context.Context, group, key, value string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	if m.forget != 0 && m.writes%m.forget == 0 {
		return nil
	}
	m.old[group+key], m.values[group+key] = m.values[group+key], value
	if m.lose != 0 && m.writes%m.lose == 0 {
		return errLost
	}
	return nil
}

func (m *memory) Get(_ context.Context, group, key string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stale {
		return m.old[group+key], nil
	}
	return m.values[group+key], nil
}

func (m *memory) Unknown(err error) bool { return errors.Is(err, errLost) }

// run lets the clients work until the store has seen enough writes.
func run(t *testing.T, m *memory) (Report, error) {
	t.Helper()
	w := Begin(t.Context(), m, Load{Groups: []string{"kv/a", "kv/b"}, Pace: time.Millisecond, Run: "test"})
	require.Eventually(t, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.writes > 100
	}, 20*time.Second, time.Millisecond)
	return w.Finish(t.Context())
}

func TestAnHonestStorePasses(t *testing.T) {
	m := newMemory()
	m.lose = 20
	r, err := run(t, m)
	require.NoError(t, err)
	require.Positive(t, r.Acknowledged)
	require.Positive(t, r.Unknown)
	require.Len(t, r.Gaps, 2)
	require.GreaterOrEqual(t, r.Histories, 2)
}

func TestLostWritesAreFound(t *testing.T) {
	m := newMemory()
	m.forget = 10
	_, err := run(t, m)
	require.ErrorContains(t, err, "is not linearizable")
}

func TestStaleReadsAreFound(t *testing.T) {
	m := newMemory()
	m.stale = true
	_, err := run(t, m)
	require.ErrorContains(t, err, "is not linearizable")
}

func TestSilenceProvesNothing(t *testing.T) {
	w := Begin(t.Context(), newMemory(), Load{Groups: []string{"kv/a"}, Pace: time.Hour})
	_, err := w.Finish(t.Context())
	require.ErrorIs(t, err, ErrIdle)
}

func TestASeedGivesItsSchedule(t *testing.T) {
	hosts, drummers := []string{"host-1", "host-2"}, []string{"drummer-1"}
	a := Schedule(7, 200, hosts, drummers)
	require.Equal(t, a, Schedule(7, 200, hosts, drummers))
	require.NotEqual(t, a, Schedule(8, 200, hosts, drummers))
	for _, want := range []Action{ActionKill, ActionStop, ActionPause, ActionWipe} {
		require.True(t, slices.ContainsFunc(a, func(b Blow) bool { return b.Action == want }), want)
	}
	require.False(t, slices.ContainsFunc(a, func(b Blow) bool { return b.Action == ActionWipe && b.Name == "drummer-1" }))
}

// ledger records what a nemesis did.
type ledger struct{ lines []string }

func (l *ledger) note(what string) func(string) error {
	return func(name string) error { l.lines = append(l.lines, what+" "+name); return nil }
}
func (l *ledger) Kill(n string) error   { return l.note("kill")(n) }
func (l *ledger) Stop(n string) error   { return l.note("stop")(n) }
func (l *ledger) Pause(n string) error  { return l.note("pause")(n) }
func (l *ledger) Resume(n string) error { return l.note("resume")(n) }
func (l *ledger) Wipe(n string) error   { return l.note("wipe")(n) }
func (l *ledger) Start(n string) error  { return l.note("start")(n) }

func TestEachBlowIsUndone(t *testing.T) {
	l := &ledger{}
	for _, a := range []Action{ActionKill, ActionStop, ActionPause, ActionWipe} {
		require.NoError(t, Strike(t.Context(), l, Blow{Action: a, Name: "h", For: time.Millisecond}))
	}
	require.Equal(t, []string{"kill h", "start h", "stop h", "start h", "pause h", "resume h", "wipe h", "start h"}, l.lines)
	require.ErrorContains(t, Strike(t.Context(), l, Blow{Action: "tickle"}), "unknown action")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.lines = nil
	require.ErrorIs(t, Strike(ctx, l, Blow{Action: ActionPause, Name: "h", For: time.Hour}), context.Canceled)
	require.Equal(t, []string{"pause h", "resume h"}, l.lines)
}
