package share

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// All who come while a question is under way share the next one.
func TestCallersShare(t *testing.T) {
	begun, answers := make(chan struct{}), make(chan int)
	s := &Share[int]{Ask: func() int { begun <- struct{}{}; return <-answers }}
	first := s.Join()
	<-begun
	second := s.Join()
	require.NotEqual(t, first, second, "that question was asked before the call")
	for range 10 {
		require.Equal(t, second, s.Join())
	}
	answers <- 1
	<-first.Done()
	require.Equal(t, 1, first.Answer())
	<-begun
	answers <- 2
	<-second.Done()
	require.Equal(t, 2, second.Answer())
	s.Close()
}

// An answer that takes long, or never comes, does not keep the others waiting.
func TestASlowAnswerHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		var asked atomic.Int32
		s := &Share[int32]{Ask: func() int32 {
			n := asked.Add(1)
			if n == 1 {
				<-never
			}
			return n
		}}
		lost := s.Join()
		synctest.Wait()
		time.Sleep(patience)
		next := s.Join()
		<-next.Done()
		require.Equal(t, int32(2), next.Answer())
		close(never)
		<-lost.Done()
		s.Close()
	})
}

func TestClose(t *testing.T) {
	stop, begun := make(chan struct{}), make(chan struct{})
	s := &Share[string]{Ask: func() string { close(begun); <-stop; return "stopped" }, Closed: func() string { return "closed" }}
	r := s.Join()
	<-begun
	close(stop)
	s.Close()
	s.Close()
	require.Equal(t, "stopped", r.Answer())
	r = s.Join()
	<-r.Done()
	require.Equal(t, "closed", r.Answer())
}

// Every answer is to a question asked after the caller came.
func TestAnswersAreFresh(t *testing.T) {
	var now, asked atomic.Int64
	s := &Share[int64]{Ask: func() int64 { asked.Add(1); return now.Load() }}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 500 {
				came := now.Add(1)
				r := s.Join()
				<-r.Done()
				if r.Answer() < came {
					t.Errorf("came at %d, the answer is of %d", came, r.Answer())
				}
			}
		})
	}
	wg.Wait()
	s.Close()
	require.LessOrEqual(t, asked.Load(), int64(16*500))
}
