package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/ids"
)

// knock opens a raw connection to a node.
func knock(t *testing.T, to *node) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", to.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

// gone waits until the other side has closed the connection.
func gone(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := io.Copy(io.Discard, c)
	var timeout net.Error
	require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the connection was not closed")
}

func helloOf(from, to ids.Host) hello {
	return hello{
		version: protocol, stream: messages, deployment: deploymentText, to: to,
		from: identity{host: from, epoch: 1, nonce: 42, advertise: "127.0.0.1:9"},
	}
}

// greetAs does a handshake by hand and returns the answer.
func greetAs(t *testing.T, to *node, h hello) (net.Conn, answer) {
	t.Helper()
	c := knock(t, to)
	_, err := c.Write(h.encode())
	require.NoError(t, err)
	a, err := readAnswer(c)
	require.NoError(t, err)
	return c, a
}

// stillServes shows that a node takes batches from a well-behaved host.
func stillServes(t *testing.T, b *node) {
	t.Helper()
	good := start(t, options("nh-good"))
	meet(good, b)
	c := good.connect(t, b.o.Host)
	defer c.Close()
	sendUntil(t, good, c, b)
}

func TestStrangersAreDropped(t *testing.T) {
	b := start(t, options("nh-b"))
	for name, bytes := range map[string][]byte{
		"20 bytes":         []byte("GET / HTTP/1.1\r\n\r\n\r\n"),
		"20 bytes of 0xff": bytes.Repeat([]byte{0xff}, 20),
		"a huge letter":    append([]byte(magic), 0xff, 0xff, 0, 0, 0, 0),
		"an empty letter":  append([]byte(magic), 0, 0, 0, 0, 0, 0),
		"wrong checksum":   append([]byte(magic), 2, 0, 1, 2, 3, 4, 1, 0),
		"half a letter":    (&hello{version: protocol}).encode()[:20],
		"impossible host":  withHost(helloOf("nh a", "nh-b")),
		"no address":       withAddress(helloOf("nh-a", "nh-b"), "nowhere"),
	} {
		t.Run(name, func(t *testing.T) {
			before := b.Stats().RefusedHandshakes[refusedGarbage]
			c := knock(t, b)
			_, err := c.Write(bytes)
			require.NoError(t, err)
			tcp, ok := c.(*net.TCPConn)
			require.True(t, ok)
			if name == "half a letter" {
				require.NoError(t, tcp.CloseWrite())
			}
			gone(t, c)
			until(t, "the refusal is counted", func() bool { return b.Stats().RefusedHandshakes[refusedGarbage] > before })
		})
	}
	stillServes(t, b)
}

func withHost(h hello) []byte { return h.encode() }

func withAddress(h hello, a string) []byte {
	h.from.advertise = a
	return h.encode()
}

func TestHandshakesThatAreRefusedSayWhy(t *testing.T) {
	b := start(t, options("nh-b"))
	require.NoError(t, b.book.Learn("nh-old", "127.0.0.1:9", 5))
	for reason, h := range map[string]hello{
		refusedVersion:    {version: 9, from: identity{host: "nh-a", advertise: "h:1"}},
		refusedDeployment: {version: protocol, stream: messages, deployment: "prod", to: "nh-b", from: identity{host: "nh-a", epoch: 1, advertise: "h:1"}},
		refusedHost:       helloOf("nh-a", "nh-c"),
		refusedSelf:       helloOf("nh-b", "nh-b"),
		refusedEpoch:      helloOf("nh-old", "nh-b"),
	} {
		t.Run(reason, func(t *testing.T) {
			c, a := greetAs(t, b, h)
			require.Equal(t, reason, a.refused)
			require.NotEmpty(t, a.text)
			gone(t, c)
			require.Equal(t, uint64(1), b.Stats().RefusedHandshakes[reason])
			_, _, known := b.book.Lookup("nh-a")
			require.False(t, known, "a refused peer teaches nothing")
		})
	}
	stillServes(t, b)
}

func TestTheDialerLogsAndCountsWhatItIsTold(t *testing.T) {
	a := start(t, options("nh-a"))
	o := options("nh-b")
	o.Deployment = "another"
	b := start(t, o)
	meet(a, b)
	_, err := a.dial(t.Context(), "nh-b", messages)
	var refused *refusal
	require.ErrorAs(t, err, &refused)
	require.Equal(t, refusedDeployment, refused.reason)
	require.ErrorContains(t, err, `deployment "test" is another one`)
}

func TestHostileFramesCostTheConnectionOnly(t *testing.T) {
	b := start(t, options("nh-b"))
	frameOf := func(kind byte, payload []byte) []byte {
		return seal(append(make([]byte, headerBytes), payload...), kind)
	}
	huge := frameOf(frameBatch, nil)
	binary.LittleEndian.PutUint32(huge, 1<<31)
	over := frameOf(frameBatch, nil)
	binary.LittleEndian.PutUint32(over, maxBatch+1)
	corrupt := frameOf(frameBatch, []byte("payload"))
	corrupt[len(corrupt)-1]++
	for name, frame := range map[string][]byte{
		"huge length":           huge,
		"just over the limit":   over,
		"unknown kind":          frameOf(99, nil),
		"ping with a payload":   frameOf(framePing, []byte{1}),
		"wrong checksum":        corrupt,
		"chunk among messages":  frameOf(frameChunk, nil),
		"end among messages":    frameOf(frameEnd, nil),
		"a panic of Unmarshal":  frameOf(frameBatch, panicInput(t)),
		"an error of Unmarshal": frameOf(frameBatch, []byte{0x0a, 0x7f}),
		"empty messages":        frameOf(frameBatch, bytes.Repeat([]byte{0x0a, 0}, 1<<20)),
	} {
		t.Run(name, func(t *testing.T) {
			before := b.Stats().BadFrames
			c, a := greetAs(t, b, helloOf("nh-a", "nh-b"))
			require.Empty(t, a.refused)
			_, err := c.Write(frame)
			require.NoError(t, err)
			gone(t, c)
			require.Equal(t, before+1, b.Stats().BadFrames)
		})
	}
	require.Empty(t, b.batches)
	stillServes(t, b)
}

// panicInput looks for a payload at which dragonboat's own decoder panics.
func panicInput(t *testing.T) []byte {
	t.Helper()
	for _, in := range [][]byte{{0x0a, 0x80}, {0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, {0x0a}, {0x80}, {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0}} {
		if panics(func() { var b pb.MessageBatch; _ = b.Unmarshal(in) }) {
			return in
		}
	}
	require.FailNow(t, "dragonboat's decoder does not panic any more")
	return nil
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

func TestMemoryFollowsTheBytesThatCameIn(t *testing.T) {
	b := start(t, options("nh-b"))
	var before, after runtime.MemStats
	conns := make([]net.Conn, 20)
	for n := range conns {
		conns[n], _ = greetAs(t, b, helloOf("nh-a", "nh-b"))
	}
	runtime.ReadMemStats(&before)
	for _, c := range conns { // 20 frames of 64 MiB are announced, little of them sent
		begun := make([]byte, headerBytes+1000)
		begun[8] = frameBatch
		binary.LittleEndian.PutUint32(begun, 64<<20)
		_, err := c.Write(begun)
		require.NoError(t, err)
	}
	stillServes(t, b)
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(64<<20))
}

func TestBatchesThatAHostMayNotSendAreDropped(t *testing.T) {
	b := start(t, options("nh-b"))
	c, _ := greetAs(t, b, helloOf("nh-a", "nh-b"))
	send := func(change func(*pb.MessageBatch)) {
		batch := batchOf("nh-a", 1)
		change(&batch)
		f, err := b.frames.encodeBatch(batch)
		require.NoError(t, err)
		_, err = c.Write(f.B)
		require.NoError(t, err)
	}
	send(func(m *pb.MessageBatch) { m.SourceAddress = "nh-x" })
	send(func(m *pb.MessageBatch) { m.DeploymentId++ })
	send(func(m *pb.MessageBatch) { m.Requests[0].To = 0 })
	send(func(m *pb.MessageBatch) { m.Requests[0].Type = pb.InstallSnapshot })
	send(func(m *pb.MessageBatch) { m.Requests[0].Type = pb.Unreachable })
	send(func(m *pb.MessageBatch) { m.Requests[0].Type = 99 })
	send(func(m *pb.MessageBatch) {
		m.Requests = append(m.Requests, pb.Message{Type: pb.Election, To: 2, From: 1, ClusterId: 1000})
		m.Requests[0].Term = 5
	})
	got := receive(t, b.batches)
	require.Len(t, got.Requests, 1)
	require.Equal(t, uint64(5), got.Requests[0].Term)
	require.Equal(t, uint64(7), b.Stats().BatchesRefused)
	require.Zero(t, b.Stats().BadFrames)
}

func TestIdleStrangersKeepNobodyOut(t *testing.T) {
	swiftly(t, handshakeTimeout, func() time.Duration { // well before the strangers' time was up
		b := start(t, options("nh-b"))
		for range 3 * maxWaiting {
			knock(t, b)
		}
		since := time.Now()
		stillServes(t, b)
		return time.Since(since)
	})
}

func TestASlowHandshakeEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the handshake's deadline")
	}
	t.Parallel()
	swiftly(t, 2*handshakeTimeout, func() time.Duration {
		b := start(t, options("nh-b"))
		c := knock(t, b)
		h := helloOf("nh-a", "nh-b")
		letter := h.encode()
		since := time.Now()
		for n := 0; n < len(letter)-1; n++ { // one byte at a time, never the last
			if _, err := c.Write(letter[n : n+1]); err != nil {
				break
			}
			time.Sleep(handshakeTimeout / 50)
		}
		gone(t, c)
		return time.Since(since)
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	o := options("nh-b")
	o.MaxInbound = 3
	b := start(t, o)
	for range 3 {
		_, a := greetAs(t, b, helloOf("nh-a", "nh-b"))
		require.Empty(t, a.refused)
	}
	c := knock(t, b)
	gone(t, c)
	until(t, "the refusal is counted", func() bool { return b.Stats().RefusedHandshakes[refusedFull] == 1 })
}

func TestASilentConnectionEnds(t *testing.T) {
	o := options("nh-b")
	o.KeepAlive = 20 * time.Millisecond
	b := start(t, o)
	c, _ := greetAs(t, b, helloOf("nh-a", "nh-b"))
	gone(t, c)
	until(t, "it is gone here too", func() bool { return b.Stats().Inbound == 0 })
}

// failing is a listener whose Accept fails for a while, as without file descriptors.
type failing struct {
	net.Listener
	left atomic.Int32
}

func (f *failing) Accept() (net.Conn, error) {
	if f.left.Add(-1) >= 0 {
		return nil, errors.New("accept4: too many open files")
	}
	return f.Listener.Accept()
}

func TestAcceptErrorsAreSurvived(t *testing.T) {
	o, err := options("nh-b").withDefaults()
	require.NoError(t, err)
	l, err := net.Listen("tcp", o.Listen)
	require.NoError(t, err)
	f := &failing{Listener: l}
	f.left.Store(4)
	tr, err := newOn(o, f)
	require.NoError(t, err)
	defer func() { require.NoError(t, tr.Close()) }()
	c, err := net.Dial("tcp", tr.Addr())
	require.NoError(t, err)
	defer c.Close()
	h := helloOf("nh-a", "nh-b")
	_, err = c.Write(h.encode())
	require.NoError(t, err)
	a, err := readAnswer(c)
	require.NoError(t, err)
	require.Empty(t, a.refused)
	require.Negative(t, f.left.Load())
}

func TestChunksOutOfOrderAreRefused(t *testing.T) {
	ok := func() []pb.Chunk { return snapshotChunks(3, snapshotHeader) }
	for name, change := range map[string]func(c []pb.Chunk) []pb.Chunk{
		"begins in the middle":     func(c []pb.Chunk) []pb.Chunk { return c[1:] },
		"one is missing":           func(c []pb.Chunk) []pb.Chunk { return append(c[:1], c[2]) },
		"one comes twice":          func(c []pb.Chunk) []pb.Chunk { return []pb.Chunk{c[0], c[0]} },
		"more than announced":      func(c []pb.Chunk) []pb.Chunk { x := c[2]; x.ChunkId++; x.FileChunkId++; return append(c, x) },
		"of another snapshot":      func(c []pb.Chunk) []pb.Chunk { c[1].Index++; return c },
		"of another replica":       func(c []pb.Chunk) []pb.Chunk { c[1].NodeId++; return c },
		"of a file not begun":      func(c []pb.Chunk) []pb.Chunk { c[1].Filepath = "/other"; return c },
		"in the middle of a file":  func(c []pb.Chunk) []pb.Chunk { c[0].FileChunkId = 1; return c },
		"a file beside the others": func(c []pb.Chunk) []pb.Chunk { c[0].Filepath = "/a/.."; return c },
		"no file":                  func(c []pb.Chunk) []pb.Chunk { c[0].Filepath = ""; return c },
		"too short a header":       func(c []pb.Chunk) []pb.Chunk { c[0].Data = c[0].Data[:10]; return c },
		"of nobody":                func(c []pb.Chunk) []pb.Chunk { c[0].From = 0; return c },
		"poison":                   func(c []pb.Chunk) []pb.Chunk { c[0].ChunkCount = pb.PoisonChunkCount; return c },
	} {
		t.Run(name, func(t *testing.T) {
			var o chunkOrder
			var err error
			for _, c := range change(ok()) {
				if err = o.take(&c); err != nil {
					break
				}
			}
			require.ErrorIs(t, err, errBadFrame)
		})
	}
	var o chunkOrder
	two := ok()
	for _, c := range ok() { // a second file in the same snapshot
		c.ChunkId += 3
		c.Filepath, c.HasFileInfo = "/external-1", true
		two = append(two, c)
	}
	for n := range two {
		two[n].ChunkCount = 6
		require.NoError(t, o.take(&two[n]))
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"host's id":     func(o *Options) { o.Host = "has space" },
		"deployment":    func(o *Options) { o.Deployment = "" },
		"no address":    func(o *Options) { o.Listen = "" },
		"book":          func(o *Options) { o.Book = nil },
		"every interf":  func(o *Options) { o.Listen = ":0" },
		"host:port":     func(o *Options) { o.Advertise = "nowhere" },
		"listen on bad": func(o *Options) { o.Listen = "bad" },
	} {
		o := options("nh-a")
		change(&o)
		_, err := New(o)
		require.ErrorContains(t, err, want)
	}
	o := options("nh-a")
	o.Listen, o.Advertise = "0.0.0.0:0", "localhost:0"
	a := start(t, o)
	require.Regexp(t, `^localhost:[1-9]\d+$`, a.Addr())
	require.False(t, a.Factory().Validate(strings.Repeat("x", 1000)))
	require.True(t, a.Factory().Validate("nh-abc"))
}
