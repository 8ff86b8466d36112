package leap

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Leaps add up while they are remembered, and what goes on with time is none.
func TestLeap(t *testing.T) {
	var l Leap
	at := 100 * time.Second
	l.Add(at, -time.Second)
	require.Zero(t, l.Lately(at))
	l.Add(at, 3*time.Second)
	l.Add(at+time.Second, 2*time.Second)
	require.Equal(t, 5*time.Second, l.Lately(at+time.Second))
	require.Equal(t, 5*time.Second, l.Lately(at+time.Second+remembered))
	require.Zero(t, l.Lately(at+2*time.Second+remembered))
	l.Add(at+time.Minute, time.Second)
	require.Equal(t, time.Second, l.Lately(at+time.Minute))
}
