package pace_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/raft/pace"
)

func TestWorkRestsInProportion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pace.New(10)
		defer p.Stop()
		work := func() {
			begun := time.Now()
			time.Sleep(3 * time.Millisecond)
			p.Done(begun)
		}
		require.True(t, p.Now(), "the first time")
		work()
		begun := time.Now()
		require.False(t, p.Now())
		require.False(t, p.Now(), "asked again, it is put off once")
		<-p.C
		require.Equal(t, 27*time.Millisecond, time.Since(begun))
		require.True(t, p.Now())
		work()
		time.Sleep(time.Second)
		require.True(t, p.Now(), "long ago")
		select {
		case <-p.C:
			t.Fatal("nothing was put off")
		default:
		}
	})
}

func TestWorkThatIsDoneIsNotDueAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pace.New(10)
		defer p.Stop()
		begun := time.Now()
		time.Sleep(time.Millisecond)
		p.Done(begun)
		require.False(t, p.Now())
		p.Done(begun) // by another way
		time.Sleep(time.Second)
		select {
		case <-p.C:
			t.Fatal("it was done already")
		default:
		}
	})
}
