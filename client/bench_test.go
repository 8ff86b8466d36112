package client_test

import (
	"context"
	"testing"

	"github.com/drumline/drumline/client"
)

// BenchmarkPropose is a call on loopback to a server that does nothing, over a shared stream
// and alone.
func BenchmarkPropose(b *testing.B) {
	for name, opts := range map[string][]client.Option{"stream": nil, "unary": {client.WithUnary()}} {
		b.Run(name, func(b *testing.B) {
			c := newCluster(b)
			h := c.add("nodehost")
			cl, err := client.Open(within(b, ample), []string{h.addr}, opts...)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(cl.Close)
			g := cl.Group("kv/x")
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := g.Propose(context.Background(), []byte("v")); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
