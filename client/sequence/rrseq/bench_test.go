package rrseq_test

import (
	"sync/atomic"
	"testing"

	"github.com/drumline/drumline/client/sequence"
)

func BenchmarkRRSeq_BufSize0_SingleClient(b *testing.B)    { benchSingle(b, 0) }
func BenchmarkRRSeq_BufSize1_SingleClient(b *testing.B)    { benchSingle(b, 1) }
func BenchmarkRRSeq_BufSize2_SingleClient(b *testing.B)    { benchSingle(b, 2) }
func BenchmarkRRSeq_BufSize1024_SingleClient(b *testing.B) { benchSingle(b, 1024) }

// benchSingle: one goroutine reads one client's stream.
func benchSingle(b *testing.B, bufSize int) {
	s := warm(b, newRRSeq(b, newName(), bufSize)).Stream()
	b.ResetTimer()
	for range b.N {
		<-s
	}
}

// warm takes a first number, so that making the client is not part of what is measured.
func warm(b *testing.B, q *sequence.Sequence) *sequence.Sequence {
	b.Helper()
	if _, err := q.Next(b.Context()); err != nil {
		b.Fatal(err)
	}
	return q
}

func BenchmarkRRSeq_BufSize0_ConcurrentClients_Local(b *testing.B)    { benchLocal(b, 0) }
func BenchmarkRRSeq_BufSize1_ConcurrentClients_Local(b *testing.B)    { benchLocal(b, 1) }
func BenchmarkRRSeq_BufSize2_ConcurrentClients_Local(b *testing.B)    { benchLocal(b, 2) }
func BenchmarkRRSeq_BufSize1024_ConcurrentClients_Local(b *testing.B) { benchLocal(b, 1024) }

// benchLocal: goroutines share one client's stream.
func benchLocal(b *testing.B, bufSize int) {
	s := warm(b, newRRSeq(b, newName(), bufSize)).Stream()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			<-s
		}
	})
}

func BenchmarkRRSeq_BufSize0_ConcurrentClients_Distributed(b *testing.B) { benchDistributed(b, 0) }
func BenchmarkRRSeq_BufSize1_ConcurrentClients_Distributed(b *testing.B) { benchDistributed(b, 1) }
func BenchmarkRRSeq_BufSize2_ConcurrentClients_Distributed(b *testing.B) { benchDistributed(b, 2) }
func BenchmarkRRSeq_BufSize1024_ConcurrentClients_Distributed(b *testing.B) {
	benchDistributed(b, 1024)
}

// benchDistributed: goroutines take 32 clients of one name in turn.
func benchDistributed(b *testing.B, bufSize int) {
	name := newName()
	clients := make([]*sequence.Sequence, 32)
	for i := range clients {
		clients[i] = warm(b, newRRSeq(b, name, bufSize))
	}
	var turn atomic.Int64
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		s := clients[int(turn.Add(1))%len(clients)].Stream()
		for pb.Next() {
			<-s
		}
	})
}

// What this client adds to the original: Next needs no channel, and ranges fit the rate.

func BenchmarkNext_BufSize1024_SingleClient(b *testing.B) {
	q := warm(b, newRRSeq(b, newName(), 1024))
	b.ResetTimer()
	for range b.N {
		if _, err := q.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNext_Unbuffered_SingleClient(b *testing.B) {
	q := warm(b, newRRSeq(b, newName(), 0))
	b.ResetTimer()
	for range b.N {
		if _, err := q.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// simpleBufSeq is the original's sequence without persistence and without a network: a
// goroutine that counts into a channel. It is there to be compared with.
func simpleBufSeq(b *testing.B, bufSize int) <-chan int64 {
	out, end, ended := make(chan int64, bufSize), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for n := int64(1); ; n++ {
			select {
			case out <- n:
			case <-end:
				return
			}
		}
	}()
	b.Cleanup(func() {
		close(end)
		<-ended
	})
	return out
}

func BenchmarkSimpleBufSeq_BufSize0_SingleClient(b *testing.B)    { benchSimple(b, 0) }
func BenchmarkSimpleBufSeq_BufSize1_SingleClient(b *testing.B)    { benchSimple(b, 1) }
func BenchmarkSimpleBufSeq_BufSize1024_SingleClient(b *testing.B) { benchSimple(b, 1024) }

func benchSimple(b *testing.B, bufSize int) {
	s := simpleBufSeq(b, bufSize)
	for b.Loop() {
		<-s
	}
}

func BenchmarkSimpleBufSeq_BufSize0_ConcurrentClients(b *testing.B)    { benchSimpleCrowd(b, 0) }
func BenchmarkSimpleBufSeq_BufSize1_ConcurrentClients(b *testing.B)    { benchSimpleCrowd(b, 1) }
func BenchmarkSimpleBufSeq_BufSize2_ConcurrentClients(b *testing.B)    { benchSimpleCrowd(b, 2) }
func BenchmarkSimpleBufSeq_BufSize1024_ConcurrentClients(b *testing.B) { benchSimpleCrowd(b, 1024) }

func benchSimpleCrowd(b *testing.B, bufSize int) {
	s := simpleBufSeq(b, bufSize)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			<-s
		}
	})
}
