package lease_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/raft/lease"
)

func TestClockGoesOnFromTheMachinesTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lease.Start(100)
		require.EqualValues(t, 100, c.Now())
		time.Sleep(3 * time.Second)
		require.EqualValues(t, 100+3*time.Second, c.Now())
	})
}
