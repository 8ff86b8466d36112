package client_test

import (
	"context"
	"testing"
)

// BenchmarkPropose is a call on loopback to a server that does nothing.
func BenchmarkPropose(b *testing.B) {
	c := newCluster(b)
	h := c.add("nodehost")
	g := c.open(h.addr).Group("kv/x")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := g.Propose(context.Background(), []byte("v")); err != nil {
				b.Error(err)
			}
		}
	})
}
