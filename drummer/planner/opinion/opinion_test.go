package opinion_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/drummer/planner/opinion"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMoreThanHalfMustHearIt(t *testing.T) {
	const after = time.Minute
	for _, c := range []struct {
		heardBy, of int
		silent      time.Duration
		want        bool
	}{
		{0, 0, 0, false},
		{0, 1, 0, false},
		{1, 1, 0, true},
		{1, 2, 0, false},
		{2, 2, 0, true},
		{2, 3, 0, true},
		{2, 4, 0, false},
		{4, 4, after, true},
		{4, 4, after + 1, false},
	} {
		o := opinion.New(c.heardBy, c.of, c.silent, after)
		require.Equal(t, c.want, o.Unreachable, "%+v", c)
		require.Equal(t, c.want, o.Mark(1) != 1)
		require.NotEqual(t, o.Mark(0), o.Mark(1))
	}
	require.Contains(t, opinion.New(2, 3, 0, after).String(), "2 of 3 hosts that gossip do; it is replaced when it is silent for 1m0s")
}
