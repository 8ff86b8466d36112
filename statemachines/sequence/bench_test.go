package sequence_test

import (
	"fmt"
	"io"
	"runtime"
	"testing"

	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/sequence"
)

// One allocation, in families of many sizes, by clients that are remembered and by nobody,
// alone and in batches as they come when many wait for one entry of the log: it costs about
// the same in all. What a key takes in memory is reported, too.
func BenchmarkNext(b *testing.B) {
	for _, size := range []int{1, 1000, 100_000, 1_000_000} {
		m, bytes := family(size)
		for _, remembered := range []bool{false, true} {
			for _, batch := range []int{1, 64} {
				b.Run(fmt.Sprintf("keys=%d/remembered=%t/batch=%d", size, remembered, batch), func(b *testing.B) {
					handOut(b, m, size, batch, remembered)
					b.ReportMetric(bytes, "B/key")
				})
			}
		}
	}
}

// handOut hands out ranges of keys all over a family, in batches.
func handOut(b *testing.B, m *sequence.Machine, size, each int, remembered bool) {
	results, batch := make([]statemachines.Result, each), make([]statemachines.Command, each)
	var commands [][]byte
	b.ReportAllocs()
	n := 0
	for ; b.Loop(); n += each {
		at := n % (rounds * crowd)
		if at == 0 { // serials count up
			b.StopTimer()
			commands = spread(m, size, remembered)
			runtime.GC()
			b.StartTimer()
		}
		for k := range batch {
			batch[k].Data = commands[at+k]
		}
		m.Apply(batch, results)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/range")
	if r := unpacked(results[0]); r.GetOutcome() != okay {
		b.Fatal(r)
	}
}

func keyOf(i int) string { return fmt.Sprintf("user/%07d", i) }

// family is a group of so many keys, and what each takes.
func family(size int) (*sequence.Machine, float64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := sequence.New(statemachines.Group{ID: group})
	results := make([]statemachines.Result, 1)
	for i := range size {
		m.Apply([]statemachines.Command{{Data: encode(next(&sequencepb.Next{Key: keyOf(i)}))}}, results)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	return m, float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / float64(size)
}

// rounds is how often each of a benchmark's clients asks, and crowd how many they are.
const rounds, crowd = 4096, 64

// spread is requests all over a family. Those of clients settle what was before.
func spread(m *sequence.Machine, size int, remembered bool) (commands [][]byte) {
	results := make([]statemachines.Result, 1)
	var callers []*sequencepb.Caller
	for i := range crowd {
		m.Apply([]statemachines.Command{{Data: encode(&sequencepb.Command{Op: &sequencepb.Command_Open{Open: &sequencepb.Open{Nonce: uint64(i)}}})}}, results)
		callers = append(callers, &sequencepb.Caller{Client: unpacked(results[0]).GetClient()})
	}
	for i := range rounds * crowd {
		c := next(&sequencepb.Next{Key: keyOf(i * 7919 % size), Count: 10})
		if remembered {
			c.Caller = callers[i%crowd]
			c.Caller.Settled, c.Caller.Serial = c.GetCaller().GetSerial(), c.GetCaller().GetSerial()+1
		}
		commands = append(commands, encode(c))
	}
	return commands
}

func unpacked(r statemachines.Result) *sequencepb.Result {
	out := &sequencepb.Result{}
	if err := proto.Unmarshal(r.Data, out); err != nil {
		panic(err)
	}
	return out
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

// A snapshot of a family of a million keys: every five thousand entries of a host's log.
func BenchmarkSnapshot(b *testing.B) {
	m, _ := family(1_000_000)
	for b.Loop() {
		v := m.Snapshot()
		n, err := v.WriteTo(io.Discard)
		v.Close()
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
	}
}
