package openings

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/internal/ids"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told says whether somebody who waits has been told.
func told(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestWhoWaitsIsToldOfItsOwnGroup(t *testing.T) {
	var o Openings
	a, leaveA := o.Await(1)
	also, leaveAlso := o.Await(1)
	other, leaveOther := o.Await(2)
	o.Tell(1)
	require.True(t, told(a))
	require.True(t, told(also))
	require.False(t, told(other))
	later, leaveLater := o.Await(1)
	require.False(t, told(later), "what was told before it came is in the record")
	for _, leave := range []func(){leaveA, leaveAlso, leaveOther, leaveLater} {
		leave()
	}
	require.Empty(t, o.waiting, "nobody waits any more")
	o.Tell(3)
	require.Empty(t, o.waiting)
}

func TestWhoLeavesIsForgottenAlone(t *testing.T) {
	var o Openings
	gone, leaveGone := o.Await(1)
	stays, leave := o.Await(1)
	leaveGone()
	o.Tell(1)
	require.False(t, told(gone))
	require.True(t, told(stays))
	leave()
	require.Empty(t, o.waiting)
}

func TestManyAtOnce(t *testing.T) {
	var o Openings
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() {
			g := ids.Group(n % 7)
			opened, leave := o.Await(g)
			defer leave()
			if n%3 == 0 {
				return
			}
			o.Tell(g)
			<-opened
		})
	}
	all.Wait()
	require.Empty(t, o.waiting)
}
