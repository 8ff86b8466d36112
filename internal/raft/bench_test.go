package raft

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkPropose measures acknowledged commands of one group on three hosts on
// disk, proposed at the leader by that many callers.
func BenchmarkPropose(b *testing.B) {
	for _, callers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			c := benchCluster(b)
			l := c.launch(1000, 0, 1, 2)
			cmd := []byte("0123456789abcdef")
			run(b, callers, func() error {
				_, err := l.Propose(b.Context(), 1000, cmd)
				return err
			})
		})
	}
}

// BenchmarkRead measures linearizable reads at the leader.
func BenchmarkRead(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			c := benchCluster(b)
			l := c.launch(1000, 0, 1, 2)
			run(b, callers, func() error {
				_, err := l.Read(b.Context(), 1000, []byte("count"))
				return err
			})
		})
	}
}

// run shares b.N calls among the callers.
func run(b *testing.B, callers int, call func() error) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	var n atomic.Int64
	for range callers {
		wg.Go(func() {
			for n.Add(1) <= int64(b.N) {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}

func benchCluster(b *testing.B) *cluster {
	b.Helper()
	c := diskCluster(b, 3)
	require.Len(b, c.nodes, 3)
	return c
}
