package coalesce

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/drumline/drumline/internal/raft/machine"
	"github.com/drumline/drumline/statemachines"
)

func packed(cmds ...string) (b []byte) {
	for _, c := range cmds {
		b = machine.AppendCommand(b, []byte(c))
	}
	return b
}

func answers(n int) (rs []statemachines.Result) {
	for i := range n {
		rs = append(rs, statemachines.Result{Value: uint64(i + 1)})
	}
	return rs
}

func TestBatchesGrowUntilTheyAreFull(t *testing.T) {
	q := Queue{Pool: &Pool{}}
	first, number := q.Add([]byte("a"))
	require.Zero(t, number)
	second, number := q.Add([]byte("bc"))
	require.Equal(t, first, second)
	require.Equal(t, 1, number)
	c := q.AddControl(&machine.Entry{Kind: machine.KindSeal})
	after, _ := q.Add([]byte("d"))
	require.NotEqual(t, first, after, "nothing joins what a control entry follows")
	require.Equal(t, 4, q.Len())

	var e machine.Entry
	b := q.Take()
	b.Seal(&e)
	require.Equal(t, machine.Entry{Kind: machine.KindCommands, Packed: packed("a", "bc"), Count: 2}, e)
	require.Equal(t, c, q.Take())
	c.Seal(&e)
	require.Equal(t, machine.KindSeal, e.Kind)
	require.Equal(t, after, q.Take())
	require.Nil(t, q.Take())
	require.Zero(t, q.Len())
	require.Zero(t, q.bytes)
}

func TestLimitsOfABatch(t *testing.T) {
	q := Queue{Pool: &Pool{}}
	for range MaxCommands + 1 {
		q.Add([]byte("x"))
	}
	require.Equal(t, MaxCommands, q.Take().Len())
	require.Equal(t, 1, q.Take().Len())
	q.Add([]byte("x"))
	q.Add(make([]byte, MaxBytes+1))
	q.Add([]byte("x"))
	for range 3 {
		require.Equal(t, 1, q.Take().Len(), "a huge command goes alone")
	}
	cmds := make([][]byte, MaxCommands+7)
	_, _, n := q.AddMany(cmds)
	require.Equal(t, MaxCommands, n)
	_, _, n = q.AddMany([][]byte{make([]byte, MaxBytes), []byte("x")})
	require.Equal(t, 1, n)
}

func TestWaitingIsBounded(t *testing.T) {
	q := Queue{Pool: &Pool{}}
	require.False(t, q.Full(MaxWaitingBytes))
	require.True(t, q.Full(MaxWaitingBytes+1))
	for range MaxWaiting {
		require.False(t, q.Full(1))
		q.Add([]byte("x"))
	}
	require.True(t, q.Full(1))
	require.Len(t, q.Drain(), MaxWaiting/MaxCommands)
	require.False(t, q.Full(1))
}

// Those who left are not sent; the others get their own results, also after the
// batch came back.
func TestLeaving(t *testing.T) {
	q := Queue{Pool: &Pool{}}
	b, _, _ := q.AddMany([][]byte{[]byte("a"), []byte("b"), []byte("c"), []byte("d")})
	b.Leave(1, 1)
	require.Equal(t, b, q.Take())
	var e machine.Entry
	b.Seal(&e)
	require.Equal(t, packed("a", "c", "d"), e.Packed)
	require.True(t, b.Sealed())
	b.Leave(3, 1) // too late for this entry
	q.PutBack(b)
	require.False(t, b.Sealed())
	_, number := q.Add([]byte("e"))
	require.Equal(t, 4, number)
	require.Equal(t, b, q.Take())
	b.Seal(&e)
	require.Equal(t, packed("a", "c", "e"), e.Packed)
	require.Equal(t, 3, e.Count)
	b.Deliver(answers(3))
	<-b.Done()
	require.NoError(t, b.Err())
	require.Equal(t, []uint64{1, 2, 3}, []uint64{b.Result(0).Value, b.Result(2).Value, b.Result(4).Value})
}

func TestABatchThatNobodyWantsIsNotTaken(t *testing.T) {
	q := Queue{Pool: &Pool{}}
	b, _ := q.Add([]byte("a"))
	b.Leave(0, 1)
	c := q.AddControl(&machine.Entry{Kind: machine.KindSeal})
	c.Leave(0, 1)
	require.Nil(t, q.Take())
	b, _ = q.Add([]byte("a"))
	require.Equal(t, b, q.Take())
	b.Leave(0, 1)
	q.PutBack(b)
	require.Nil(t, q.Take())
	require.Zero(t, q.Len())
}

func TestFailing(t *testing.T) {
	q := Queue{Pool: &Pool{}}
	b, _ := q.Add([]byte("a"))
	why := errors.New("why")
	q.Take().Fail(why)
	<-b.Done()
	require.Equal(t, why, b.Err())
	c := q.AddControl(&machine.Entry{Kind: machine.KindSeal})
	q.Take().Deliver(nil)
	<-c.Done()
	require.NoError(t, c.Err())
}

// A batch is used again only when nobody looks at it any more.
func TestReuse(t *testing.T) {
	q := Queue{Pool: &Pool{}}
	b, _ := q.Add([]byte("a"))
	b.Retain()
	q.Take().Deliver(answers(1))
	b.Release()
	require.Equal(t, uint64(1), b.Result(0).Value, "somebody still looks")
	b.Release()
	for range 100 {
		other, number := q.Add([]byte("b"))
		require.Zero(t, number)
		taken := q.Take()
		var e machine.Entry
		taken.Seal(&e)
		require.Equal(t, packed("b"), e.Packed)
		taken.Deliver(answers(1))
		other.Release()
	}
}

// Whatever comes and goes, the bounds count what is there.
func TestAccountsBalance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := Queue{Pool: &Pool{}}
		var flying []*Batch
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				b, i := q.Add(make([]byte, rapid.IntRange(0, 100<<10).Draw(t, "size")))
				if rapid.Bool().Draw(t, "leave") {
					b.Leave(i, 1)
				}
			},
			"control": func(*rapid.T) { q.AddControl(&machine.Entry{Load: machine.Chunk{Data: make([]byte, 10)}}) },
			"take": func(*rapid.T) {
				if b := q.Take(); b != nil {
					var e machine.Entry
					b.Seal(&e)
					flying = append(flying, b)
				}
			},
			"put back": func(*rapid.T) {
				if n := len(flying); n > 0 {
					q.PutBack(flying[n-1])
					flying = flying[:n-1]
				}
			},
			"": func(t *rapid.T) {
				commands, bytes := 0, 0
				for _, b := range q.batches {
					commands, bytes = commands+b.weight(), bytes+b.size()
				}
				if commands != q.commands || bytes != q.bytes {
					t.Fatalf("%d commands of %d bytes, counted %d and %d", commands, bytes, q.commands, q.bytes)
				}
			},
		})
	})
}

func BenchmarkAddAndDeliver(b *testing.B) {
	for _, n := range []int{1, 4, 1024} {
		b.Run(fmt.Sprint("commands=", n), func(b *testing.B) {
			b.ReportAllocs()
			q := Queue{Pool: &Pool{}}
			cmd, results := make([]byte, 16), make([]statemachines.Result, n)
			var e machine.Entry
			for range b.N {
				for range n {
					q.Add(cmd)
				}
				batch := q.Take()
				batch.Seal(&e)
				batch.Deliver(results)
				for range n {
					batch.Release()
				}
			}
		})
	}
}
