package transport

import (
	"bufio"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	pb "github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/freeport"
	"github.com/drumline/drumline/internal/ids"
)

func TestAPeerThatIsAwayOrUnknownIsNoError(t *testing.T) {
	a := start(t, options("nh-a"))
	c := a.connect(t, "nh-b")
	defer c.Close()
	since := time.Now()
	for n := range uint64(10 * awayFrames) {
		require.NoError(t, c.SendMessageBatch(batchOf("nh-a", n)))
	}
	require.Less(t, time.Since(since), patience, "nobody waits for a peer that is away")
	require.GreaterOrEqual(t, a.Stats().BatchesDropped, uint64(9*awayFrames))
	require.False(t, a.Stats().Peers["nh-b"].Connected)

	// It comes up, and is dialed without anybody asking again; the newest is delivered.
	b := start(t, options("nh-b"))
	require.NoError(t, a.book.Learn("nh-b", b.Addr(), 1))
	require.Equal(t, uint64(9*awayFrames), receive(t, b.batches).Requests[0].Term)
	require.True(t, a.Stats().Peers["nh-b"].Connected)
}

func TestAHostThatMovedIsFoundAgain(t *testing.T) {
	at, err := freeport.Addresses(1)
	require.NoError(t, err)
	o := options("nh-b")
	o.Listen = at[0]
	a, b := start(t, options("nh-a")), start(t, o)
	meet(a, b)
	c := a.connect(t, "nh-b")
	defer c.Close()
	sendUntil(t, a, c, b)
	require.NoError(t, b.Close())

	// Its old address belongs to another host now.
	o = options("nh-c")
	o.Listen = b.Addr()
	squatter := start(t, o)
	until(t, "the wrong host is found out", func() bool { return squatter.Stats().RefusedHandshakes[refusedHost] > 0 })

	o = options("nh-b")
	o.BootEpoch, o.Book = 2, b.book
	moved := create(t, o)
	require.NotEqual(t, b.Addr(), moved.Addr())
	since := time.Now()
	moved.Ready() // announces itself to the hosts in its book
	sendUntil(t, a, c, moved)
	t.Logf("found after %s", time.Since(since))
	addr, epoch, _ := a.book.Lookup("nh-b")
	require.Equal(t, moved.Addr(), addr)
	require.Equal(t, uint64(2), epoch)
	require.Empty(t, squatter.batches)
}

func TestNewsOfAnAddressEndAnAttemptAtTheOldOne(t *testing.T) {
	swiftly(t, dialTimeout, func() time.Duration {
		a := start(t, options("nh-a"))
		// The old address takes connections and says nothing.
		dumb, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer dumb.Close()
		require.NoError(t, a.book.Learn("nh-b", dumb.Addr().String(), 1))
		c := a.connect(t, "nh-b")
		defer c.Close()
		held, err := dumb.Accept()
		require.NoError(t, err)
		defer held.Close()

		o := options("nh-b")
		o.BootEpoch = 2
		require.NoError(t, o.Book.Learn("nh-a", a.Addr(), 1))
		b := create(t, o)
		since := time.Now()
		b.Ready()
		sendUntil(t, a, c, b)
		return time.Since(since)
	})
}

func TestNothingComesInBeforeReady(t *testing.T) {
	a, b := start(t, options("nh-a")), create(t, options("nh-b"))
	meet(a, b)
	c := a.connect(t, "nh-b")
	defer c.Close()
	until(t, "batches are dropped", func() bool {
		require.NoError(t, c.SendMessageBatch(batchOf("nh-a", 1)))
		return b.Stats().BatchesRefused > 3
	})
	require.Empty(t, b.batches)
	s := sendSnapshot(t, a, "nh-b", snapshotChunks(2, snapshotHeader))
	require.Equal(t, uint64(1), s.SnapshotsFailed)
	require.Empty(t, b.chunks)
	b.Ready()
	sendUntil(t, a, c, b)
}

func sendSnapshot(t *testing.T, from *node, to ids.Host, chunks []pb.Chunk) Stats {
	t.Helper()
	c, err := from.module.GetSnapshotConnection(t.Context(), string(to))
	require.NoError(t, err)
	for _, chunk := range chunks {
		require.NoError(t, c.SendChunk(chunk))
	}
	c.Close()
	return from.Stats()
}

func TestSnapshotsThatFailAreCountedAndNoErrors(t *testing.T) {
	a, b := start(t, options("nh-a")), start(t, options("nh-b"))
	chunks := snapshotChunks(3, snapshotHeader)
	require.Equal(t, uint64(1), sendSnapshot(t, a, "nh-b", chunks).SnapshotsFailed, "unknown address")
	meet(a, b)
	b.refuse.Store(true)
	require.Equal(t, uint64(2), sendSnapshot(t, a, "nh-b", chunks).SnapshotsFailed, "dragonboat refuses it")
	b.refuse.Store(false)
	require.Equal(t, uint64(3), sendSnapshot(t, a, "nh-b", chunks[:2]).SnapshotsFailed, "the end is missing")
	b.Guard(func(g ids.Group, r ids.Replica) bool { return g != 1000 || r != 2 })
	received := b.Stats().ChunksIn
	require.Equal(t, uint64(4), sendSnapshot(t, a, "nh-b", chunks).SnapshotsFailed, "no such replica")
	require.Equal(t, received, b.Stats().ChunksIn)
	b.Guard(func(g ids.Group, r ids.Replica) bool { return g == 1000 && r == 2 })
	s := sendSnapshot(t, a, "nh-b", chunks)
	require.Equal(t, uint64(4), s.SnapshotsFailed)
	require.Equal(t, uint64(1), s.SnapshotsSent)
	require.NoError(t, b.Close())
	require.Equal(t, uint64(5), sendSnapshot(t, a, "nh-b", chunks).SnapshotsFailed, "away")
}

func TestSnapshotsAreModerate(t *testing.T) {
	o := options("nh-a")
	o.SnapshotRate = maxChunk + headerBytes // which is also what may come at once
	a, b := start(t, o), start(t, options("nh-b"))
	meet(a, b)
	since := time.Now()
	require.Equal(t, uint64(1), sendSnapshot(t, a, "nh-b", snapshotChunks(4, 2<<20)).SnapshotsSent)
	require.Greater(t, time.Since(since), 250*time.Millisecond, "8 MiB at 6 MiB/s, 6 of them at once")
}

func TestASnapshotEndsWithItsNodeHost(t *testing.T) {
	a, b := start(t, options("nh-a")), start(t, options("nh-b"))
	meet(a, b)
	block := make(chan struct{})
	b.Guard(func(ids.Group, ids.Replica) bool { <-block; return true })
	ctx, cancel := context.WithCancel(t.Context())
	c, err := a.module.GetSnapshotConnection(ctx, "nh-b")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, chunk := range snapshotChunks(20, 2<<20) {
			_ = c.SendChunk(chunk)
		}
		c.Close()
	}()
	cancel() // dragonboat stops
	receive(t, done)
	close(block)
}

// relay passes connections on, until it is told to swallow everything: a network
// that fails without a word.
type relay struct {
	net.Listener
	mu    sync.Mutex
	to    string
	mute  bool
	conns []net.Conn
	work  sync.WaitGroup
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{Listener: l}
	r.work.Go(r.run)
	t.Cleanup(func() {
		_ = l.Close()
		r.mu.Lock()
		for _, c := range r.conns {
			_ = c.Close()
		}
		r.mu.Unlock()
		r.work.Wait()
	})
	return r
}

func (r *relay) run() {
	for {
		in, err := r.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		to := r.to
		r.mu.Unlock()
		out, err := net.Dial("tcp", to)
		if err != nil {
			_ = in.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, in, out)
		r.mu.Unlock()
		r.work.Go(func() { r.pass(in, out) })
		r.work.Go(func() { r.pass(out, in) })
	}
}

func (r *relay) pass(from, to net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			_ = to.Close()
			return
		}
		r.mu.Lock()
		mute := r.mute
		r.mu.Unlock()
		if !mute {
			_, _ = to.Write(buf[:n])
		}
	}
}

func (r *relay) lead(to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = to
}

func (r *relay) setMute(mute bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mute = mute
}

func TestAHalfOpenConnectionIsNoticedAndMadeAgain(t *testing.T) {
	r := newRelay(t)
	o := options("nh-b")
	o.Advertise = r.Addr().String() // there is no way around the relay
	b := start(t, o)
	r.lead(b.listener.Addr().String())
	o = options("nh-a")
	o.KeepAlive = 20 * time.Millisecond
	a := start(t, o)
	meet(a, b)
	c := a.connect(t, "nh-b")
	defer c.Close()
	sendUntil(t, a, c, b)
	heard := a.Stats().Peers["nh-b"].Heard
	until(t, "pongs tell that the peer lives", func() bool { return a.Stats().Peers["nh-b"].Heard.After(heard) })

	r.setMute(true)
	until(t, "the silence is noticed", func() bool { return !a.Stats().Peers["nh-b"].Connected })
	r.setMute(false)
	sendUntil(t, a, c, b)
}

func TestTheLargestBatchArrives(t *testing.T) {
	a, b := start(t, options("nh-a")), start(t, options("nh-b"))
	meet(a, b)
	c := a.connect(t, "nh-b")
	defer c.Close()
	until(t, "it is connected", func() bool { return a.Stats().Peers["nh-b"].Connected })
	batch := batchOf("nh-a", 1)
	batch.Requests[0].Entries[0].Cmd = make([]byte, 64<<20)
	require.NoError(t, c.SendMessageBatch(batch))
	require.Len(t, receive(t, b.batches).Requests[0].Entries[0].Cmd, 64<<20)

	batch.Requests[0].Entries[0].Cmd = make([]byte, maxBatch)
	require.NoError(t, c.SendMessageBatch(batch))
	require.Equal(t, uint64(1), a.Stats().BatchesDropped, "no receiver would take it")
}

// deadlines is a connection that notes its deadlines.
type deadlines struct {
	net.Conn
	read, write int
}

func (d *deadlines) Write(b []byte) (int, error)      { return len(b), nil }
func (d *deadlines) SetReadDeadline(time.Time) error  { d.read++; return nil }
func (d *deadlines) SetWriteDeadline(time.Time) error { d.write++; return nil }

func TestTheProgressOfALargeFrameCountsAsAnAnswer(t *testing.T) {
	a := start(t, options("nh-a"))
	d := &deadlines{}
	l := &link{Conn: d, t: a.Transport, peer: &process{began: time.Now()}}
	require.NoError(t, l.put(bufio.NewWriter(l), make([]byte, step)))
	require.Equal(t, 1, d.write)
	require.Zero(t, d.read, "small frames go into a buffer: that proves nothing")
	require.Zero(t, l.peer.heard.Load())
	require.NoError(t, l.put(bufio.NewWriter(l), make([]byte, 10*step)))
	require.Equal(t, 11, d.write)
	require.Equal(t, 10, d.read)
	require.NotZero(t, l.peer.heard.Load())
}

func TestASlowPeerMakesSendersWaitNotForEver(t *testing.T) {
	a := start(t, options("nh-a"))
	b := create(t, options("nh-b"))
	block := make(chan struct{})
	b.handlers.Store(&handlers{deployment: deploymentID, batch: func(pb.MessageBatch) { <-block }, chunk: func(pb.Chunk) bool { return true }})
	b.Ready()
	meet(a, b)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := a.module.GetConnection(ctx, "nh-b")
	require.NoError(t, err)
	until(t, "it is connected", func() bool { return a.Stats().Peers["nh-b"].Connected })
	sent := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		batch := batchOf("nh-a", 1)
		batch.Requests[0].Entries[0].Cmd = make([]byte, 1<<20)
		for ctx.Err() == nil {
			_ = c.SendMessageBatch(batch)
			select {
			case sent <- struct{}{}:
			default:
			}
		}
	}()
	until(t, "the sender waits", func() bool {
		select {
		case <-sent:
		default:
		}
		select {
		case <-sent:
			return false
		case <-time.After(200 * time.Millisecond):
			return true
		}
	})
	a.mu.Lock()
	p := a.peers["nh-b"]
	a.mu.Unlock()
	p.mu.Lock()
	require.LessOrEqual(t, p.bytes, maxQueued)
	p.mu.Unlock()
	cancel() // dragonboat stops
	receive(t, done)
	close(block)
	c.Close()
}

func TestTheLastUserLetsTheConnectionGo(t *testing.T) {
	a, b := start(t, options("nh-a")), start(t, options("nh-b"))
	meet(a, b)
	one, two := a.connect(t, "nh-b"), a.connect(t, "nh-b")
	sendUntil(t, a, one, b)
	sendUntil(t, a, two, b)
	require.Equal(t, 1, a.Stats().Outbound, "streams share a connection")
	require.Equal(t, 1, b.Stats().Inbound)
	one.Close()
	one.Close()
	sendUntil(t, a, two, b)
	two.Close()
	until(t, "it is gone", func() bool { return a.Stats().Outbound == 0 && b.Stats().Inbound == 0 })
	three := a.connect(t, "nh-b")
	defer three.Close()
	sendUntil(t, a, three, b)
}

func TestCloseStopsEverythingAtOnce(t *testing.T) {
	a, b := start(t, options("nh-a")), start(t, options("nh-b"))
	meet(a, b)
	c := a.connect(t, "nh-b")
	a.connect(t, "nh-unknown")
	sendUntil(t, a, c, b)
	stranger := knock(t, a)
	since := time.Now()
	a.module.Stop()
	require.NoError(t, a.Close())
	require.Less(t, time.Since(since), patience)
	_, err := io.Copy(io.Discard, stranger)
	_ = err // closed, one way or the other
	require.NoError(t, c.SendMessageBatch(batchOf("nh-a", 1)))
	c.Close()
	_, err = a.module.GetConnection(t.Context(), "nh-b")
	require.ErrorIs(t, err, errClosed)
	until(t, "the peer sees it", func() bool { return b.Stats().Inbound == 0 })
}
