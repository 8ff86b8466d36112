package transport

import (
	"bytes"
	"io"
	"reflect"
	"testing"

	pb "github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/raft/transport/plausible"
)

func FuzzFrames(f *testing.F) {
	var pool buffers
	batch, err := pool.encodeBatch(batchOf("nh-a", 1))
	require.NoError(f, err)
	chunk, err := pool.encodeChunk(snapshotChunks(1, 2000)[0])
	require.NoError(f, err)
	f.Add(batch.B)
	f.Add(chunk.B)
	f.Add(append(empty(framePing), batch.B...))
	f.Add([]byte{0xff, 0xff, 0xff, 0x03, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &frameReader{r: bytes.NewReader(data), each: func() {}}
		var order chunkOrder
		for {
			kind, payload, err := r.next()
			if err != nil {
				return
			}
			if limit, known := payloadLimit(kind); !known || len(payload) > limit {
				t.Fatalf("kind %d with %d bytes got through", kind, len(payload))
			}
			if kind == frameChunk {
				if c, err := decodeChunk(payload); err == nil {
					_ = order.take(&c)
				}
			}
			if kind == frameBatch {
				_, _ = decodeBatch(payload)
			}
		}
	})
}

// The payloads are fuzzed without the checksum around them, which a fuzzer does not
// find.
func FuzzPayloads(f *testing.F) {
	batch := batchOf("nh-a", 1)
	chunk := snapshotChunks(1, 2000)[0]
	b, err := batch.Marshal()
	require.NoError(f, err)
	c, err := chunk.Marshal()
	require.NoError(f, err)
	f.Add(b)
	f.Add(c)
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = decodeBatch(data)
		plausible.Batch(data)
		if c, err := decodeChunk(data); err == nil {
			_ = (&chunkOrder{}).take(&c)
		}
	})
}

func FuzzHandshakes(f *testing.F) {
	h := helloOf("nh-a", "nh-b")
	a := answer{version: protocol, refused: refusedEpoch, text: "old", from: h.from}
	f.Add(h.encode())
	f.Add(a.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if h, err := readHello(bytes.NewReader(data)); err == nil && h.version == protocol {
			again, err := readHello(bytes.NewReader(h.encode()))
			if err != nil || again != h {
				t.Fatalf("%+v became %+v, %v", h, again, err)
			}
		}
		if a, err := readAnswer(bytes.NewReader(data)); err == nil && a.version == protocol {
			again, err := readAnswer(bytes.NewReader(a.encode()))
			if err != nil || again != a {
				t.Fatalf("%+v became %+v, %v", a, again, err)
			}
		}
	})
}

func TestFramesOfAllSizesComeThroughInPieces(t *testing.T) {
	var pool buffers
	for _, size := range []int{0, 1, 100, scanFrom, step - 1, step, step + 1, 3*step + 7, keepBuffer, 5 << 20} {
		batch := batchOf("nh-a", 1)
		batch.Requests[0].Entries[0].Cmd = bytes.Repeat([]byte{7}, size)
		f, err := pool.encodeBatch(batch)
		require.NoError(t, err)
		stream := append(append([]byte(nil), f.B...), empty(framePing)...)
		steps := 0
		r := &frameReader{r: &pieces{b: stream, n: 10_007}, each: func() { steps++ }}
		kind, payload, err := r.next()
		require.NoError(t, err)
		require.Equal(t, byte(frameBatch), kind)
		got, err := decodeBatch(payload)
		require.NoError(t, err)
		require.True(t, reflect.DeepEqual(batch.Requests[0].Entries[0].Cmd, got.Requests[0].Entries[0].Cmd) || size == 0)
		kind, _, err = r.next()
		require.NoError(t, err)
		require.Equal(t, byte(framePing), kind)
		_, _, err = r.next()
		require.ErrorIs(t, err, io.EOF)
	}
}

// pieces reads a few bytes at a time.
type pieces struct {
	b []byte
	n int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.b)
	p.b = p.b[n:]
	return n, nil
}

func BenchmarkEncodeBatch(b *testing.B) {
	for name, messages := range map[string]int{"1 heartbeat": 1, "100 heartbeats": 100} {
		b.Run(name, func(b *testing.B) {
			var pool buffers
			batch := pb.MessageBatch{SourceAddress: "nh-aaaaaaaaaaaaaaaa", DeploymentId: 7, BinVer: 210}
			for range messages {
				batch.Requests = append(batch.Requests, pb.Message{Type: pb.Heartbeat, To: 2, From: 1, ClusterId: 1000, Term: 7})
			}
			b.ReportAllocs()
			for b.Loop() {
				f, err := pool.encodeBatch(batch)
				if err != nil {
					b.Fatal(err)
				}
				pool.Put(f)
			}
		})
	}
	b.Run("64 entries of 256 bytes", func(b *testing.B) {
		var pool buffers
		batch := batchOf("nh-a", 1)
		for n := range uint64(64) {
			batch.Requests[0].Entries = append(batch.Requests[0].Entries, pb.Entry{Term: 7, Index: n, Cmd: make([]byte, 256)})
		}
		b.ReportAllocs()
		for b.Loop() {
			f, err := pool.encodeBatch(batch)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(f.B)))
			pool.Put(f)
		}
	})
}

// BenchmarkDelivery sends batches of one group from a host to another over loopback.
func BenchmarkDelivery(b *testing.B) {
	from, err := New(options("nh-a"))
	require.NoError(b, err)
	defer from.Close()
	to, err := New(options("nh-b"))
	require.NoError(b, err)
	defer to.Close()
	count, done := 0, make(chan struct{})
	to.handlers.Store(&handlers{deployment: deploymentID, batch: func(pb.MessageBatch) {
		if count++; count == b.N {
			close(done)
		}
	}})
	to.Ready()
	require.NoError(b, from.o.Book.Learn("nh-b", to.Addr(), 1))
	p, err := from.use("nh-b")
	require.NoError(b, err)
	defer p.release()
	for !p.connected() {
	}
	c := &connection{ctx: b.Context(), peer: p}
	batch := batchOf("nh-a", 1)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := c.SendMessageBatch(batch); err != nil {
			b.Fatal(err)
		}
	}
	<-done
}
