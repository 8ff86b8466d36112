package sequence_test

import (
	"fmt"
	"testing"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/sequence"
)

// One allocation, in families of many sizes: it costs the same in all.
func BenchmarkNext(b *testing.B) {
	for _, size := range []int{1, 1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", size), func(b *testing.B) {
			m := sequence.New(statemachines.Group{ID: group})
			results := make([]statemachines.Result, 1)
			key := func(i int) string { return fmt.Sprintf("user/%07d", i) }
			for i := range size {
				m.Apply([]statemachines.Command{{Data: encode(next(&sequencepb.Next{Key: key(i)}))}}, results)
			}
			commands := make([][]byte, 8192) // spread over the family
			for i := range commands {
				commands[i] = encode(next(&sequencepb.Next{Key: key(i * 7919 % size), Count: 10}))
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				m.Apply([]statemachines.Command{{Data: commands[i%len(commands)]}}, results)
				i++
			}
		})
	}
}

// One allocation of a client that is remembered, with many clients.
func BenchmarkNextOfClients(b *testing.B) {
	for _, size := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("clients=%d", size), func(b *testing.B) {
			w := newWorld(b)
			users := make([]*user, size)
			for i := range users {
				users[i] = w.open()
			}
			results := make([]statemachines.Result, 1)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				u := users[i%size]
				c := next(&sequencepb.Next{Count: 10})
				c.Caller = u.caller()
				c.Caller.Settled = c.GetCaller().GetSerial() - 1
				w.m.Apply([]statemachines.Command{{Data: encode(c)}}, results)
				i++
			}
		})
	}
}
