package rrseq_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client/clienttest"
	"github.com/drumline/drumline/client/sequence"
)

func TestRRSeq_New_BufSize(t *testing.T) {
	for size, want := range map[int]int{-42: 0, 0: 0, 1: 1, 1e6: 1e6} {
		require.Equal(t, want, cap(newRRSeq(t, newName(), size).Stream()))
	}
}

func TestRRSeq_FirstID(t *testing.T) {
	require.EqualValues(t, 1, <-newRRSeq(t, newName(), 2).Stream())
}

func TestRRSeq_BufSize0_SingleClient(t *testing.T)    { singleClient(t, 0) }
func TestRRSeq_BufSize1_SingleClient(t *testing.T)    { singleClient(t, 1) }
func TestRRSeq_BufSize2_SingleClient(t *testing.T)    { singleClient(t, 2) }
func TestRRSeq_BufSize1024_SingleClient(t *testing.T) { singleClient(t, 1024) }

// singleClient: one reader gets 1, 2, 3 and so on.
func singleClient(t *testing.T, bufSize int) {
	got := read(newRRSeq(t, newName(), bufSize).Stream(), lasting(500*time.Millisecond))
	requireDense(t, got)
}

func requireDense(t *testing.T, got []int64) {
	t.Helper()
	for i, id := range got {
		if id != int64(i+1) {
			require.EqualValues(t, i+1, id, "the number at place %d", i)
		}
	}
}

func TestRRSeq_BufSize0_MultiClients_Local(t *testing.T)    { multiClientsLocal(t, 0) }
func TestRRSeq_BufSize1_MultiClients_Local(t *testing.T)    { multiClientsLocal(t, 1) }
func TestRRSeq_BufSize2_MultiClients_Local(t *testing.T)    { multiClientsLocal(t, 2) }
func TestRRSeq_BufSize1024_MultiClients_Local(t *testing.T) { multiClientsLocal(t, 1024) }

// multiClientsLocal: three streams of one client that are read in turn are one.
func multiClientsLocal(t *testing.T, bufSize int) {
	q := newRRSeq(t, newName(), bufSize)
	streams := []<-chan int64{q.Stream(), q.Stream(), q.Stream()}
	var got []int64
	for began := time.Now(); time.Since(began) < lasting(500*time.Millisecond); {
		for _, s := range streams {
			got = append(got, <-s)
		}
	}
	requireDense(t, got)
}

func TestRRSeq_BufSize0_ConcurrentClients256_Local(t *testing.T)    { concurrentLocal(t, 0) }
func TestRRSeq_BufSize1_ConcurrentClients256_Local(t *testing.T)    { concurrentLocal(t, 1) }
func TestRRSeq_BufSize2_ConcurrentClients256_Local(t *testing.T)    { concurrentLocal(t, 2) }
func TestRRSeq_BufSize1024_ConcurrentClients256_Local(t *testing.T) { concurrentLocal(t, 1024) }

// concurrentLocal: each of 256 readers of one client gets ascending numbers, and all
// together get each number once.
func concurrentLocal(t *testing.T, bufSize int) {
	q := newRRSeq(t, newName(), bufSize)
	union := gather(t, 256, func(int) []int64 { return read(q.Stream(), lasting(500*time.Millisecond)) })
	requireDense(t, union)
}

// gather lets readers read side by side, and sorts what they got.
func gather(t *testing.T, readers int, read func(i int) []int64) []int64 {
	t.Helper()
	var mu sync.Mutex
	var union []int64
	var work sync.WaitGroup
	for i := range readers {
		work.Go(func() {
			got := read(i)
			mu.Lock()
			defer mu.Unlock()
			require.True(t, slices.IsSorted(got), "reader %d", i)
			union = append(union, got...)
		})
	}
	work.Wait()
	slices.Sort(union)
	return union
}

func TestRRSeq_BufSize0_ConcurrentClients32_Distributed(t *testing.T)    { distributed(t, 0) }
func TestRRSeq_BufSize1_ConcurrentClients32_Distributed(t *testing.T)    { distributed(t, 1) }
func TestRRSeq_BufSize2_ConcurrentClients32_Distributed(t *testing.T)    { distributed(t, 2) }
func TestRRSeq_BufSize1024_ConcurrentClients32_Distributed(t *testing.T) { distributed(t, 1024) }

// The original's clients must all have one size; these need not.
func TestRRSeq_MixedBufSizes_ConcurrentClients32_Distributed(t *testing.T) {
	distributed(t, 0, 1, 2, 1000, 1250)
}

// distributed: of 32 clients of one name no two get the same number.
func distributed(t *testing.T, sizes ...int) {
	name := newName()
	clients := make([]*sequence.Sequence, 32)
	for i := range clients {
		clients[i] = newRRSeq(t, name, sizes[i%len(sizes)])
	}
	union := gather(t, len(clients), func(i int) []int64 { return read(clients[i].Stream(), lasting(1500*time.Millisecond)) })
	require.Len(t, slices.Compact(slices.Clone(union)), len(union), "numbers that two got")
}

// TestLockedIDMap_DumpAndLoad: what the servers have written is what they load. The first
// range of a name is part of it, which the original forgets.
func TestLockedIDMap_DumpAndLoad(t *testing.T) {
	c := clienttest.Start(t, clienttest.OnDisk())
	names := []string{"sequence/one", "sequence/two", "sequence/rr#a", "sequence/rr#b"}
	next := func(want int64) {
		for _, name := range names {
			q := c.Client().Sequence(name)
			id, err := q.Next(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, id, name)
			require.NoError(t, q.Close())
		}
	}
	next(1)
	c.StopHost(0)
	c.StartHost(0)
	next(2)
}

func ExampleSequence_Stream() {
	q := all.started().Client().Sequence(newName(), sequence.Buffer(2))
	stream := q.Stream()
	for range 10 {
		fmt.Print(<-stream, " ")
	}
	fmt.Println(q.Close())
	// Output: 1 2 3 4 5 6 7 8 9 10 <nil>
}
