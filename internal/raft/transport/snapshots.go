package transport

import (
	"bufio"
	"context"
	"sync"
	"time"

	"github.com/lni/dragonboat/v3/raftio"
	pb "github.com/lni/dragonboat/v3/raftpb"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/transport/faults"
)

// takenTimeout bounds the wait for the receiver's word that it has all chunks; it
// may have to sync a large file first.
const takenTimeout = 30 * time.Second

// snapshotConn carries the chunks of one snapshot.
//
// It never returns an error to dragonboat, whose circuit breaker for the peer would
// then hold back the messages of every group to it for half a second and more:
// elections, because one snapshot was refused. Raft does not need the error. After
// a snapshot, sent or failed, the leader probes the follower and sends another one
// if the first is not there.
type snapshotConn struct {
	t     *Transport
	to    ids.Host
	ctx   context.Context // dragonboat's, which ends when its NodeHost stops
	stop  func() bool
	once  sync.Once
	link  *link // nil once it failed
	w     *bufio.Writer
	held  *frame // a chunk that a hook wants behind the next one
	whole bool   // the last chunk was sent
}

var _ raftio.ISnapshotConnection = (*snapshotConn)(nil)

// openSnapshot connects to the host, within ctx.
func (t *Transport) openSnapshot(ctx context.Context, to ids.Host) *snapshotConn {
	c := &snapshotConn{t: t, to: to, ctx: ctx, stop: func() bool { return true }}
	l, err := t.dial(ctx, to, snapshot)
	if err != nil {
		c.fail(err)
		return c
	}
	c.link, c.w = l, bufio.NewWriterSize(l, writeBuffer)
	c.stop = context.AfterFunc(ctx, func() { _ = l.Close() })
	return c
}

// fail counts and logs, once; later chunks go nowhere.
func (c *snapshotConn) fail(err error) {
	c.once.Do(func() {
		c.t.counters.snapshotsFailed.Add(1)
		if c.ctx.Err() == nil && c.t.ctx.Err() == nil {
			c.t.logger().Warn("transport: snapshot not delivered, Raft will send another", "peer", c.to, "error", err)
		}
	})
	if c.link != nil {
		_ = c.link.Close()
		c.link = nil
	}
}

// SendChunk sends a chunk; see the type for what happens to errors.
func (c *snapshotConn) SendChunk(chunk pb.Chunk) error {
	if c.link == nil {
		return nil
	}
	encoded, err := c.t.frames.encodeChunk(chunk)
	if err != nil {
		c.fail(err)
		return nil
	}
	c.whole = chunk.IsLastChunk()
	if c.t.o.Hook == nil {
		c.write(encoded)
	} else {
		c.obey(c.t.o.Hook.Fate(c.t.self.host, c.to, faults.Chunk), encoded)
	}
	return nil
}

// obey does with a chunk what a test wants.
func (c *snapshotConn) obey(f faults.Fate, chunk *frame) {
	if f.Delay > 0 && !c.t.sleep(f.Delay) {
		return
	}
	if f.Drop {
		return
	}
	if f.Swap && c.held == nil {
		c.held = chunk
		return
	}
	for range f.Copies {
		c.write(c.t.frames.clone(chunk))
	}
	c.write(chunk)
	c.flushHeld()
}

func (c *snapshotConn) flushHeld() {
	if held := c.held; held != nil {
		c.held = nil
		c.write(held)
	}
}

func (c *snapshotConn) write(chunk *frame) {
	if c.link == nil {
		return
	}
	err := c.moderate(len(chunk.B))
	if err == nil {
		err = c.link.put(c.w, chunk.B)
	}
	if err == nil {
		err = c.w.Flush()
	}
	if err != nil {
		c.fail(err)
		return
	}
	c.t.counters.bytesOut.Add(uint64(len(chunk.B)))
	c.t.counters.chunksOut.Add(1)
	c.t.frames.Put(chunk)
}

// moderate waits until so many bytes may be sent.
func (c *snapshotConn) moderate(size int) error {
	if c.t.snapshot == nil {
		return nil
	}
	return c.t.snapshot.WaitN(c.ctx, size)
}

// Close waits for the receiver to have taken all chunks, if all were sent.
func (c *snapshotConn) Close() {
	defer c.stop()
	c.flushHeld()
	if c.link == nil {
		return
	}
	if err := c.confirm(); err != nil {
		c.fail(err)
		return
	}
	if c.whole {
		c.t.counters.snapshotsSent.Add(1)
	}
	_ = c.link.Close()
}

func (c *snapshotConn) confirm() error {
	if !c.whole {
		return errUnfinished
	}
	if err := c.link.put(c.w, empty(frameEnd)); err != nil {
		return err
	}
	if err := c.w.Flush(); err != nil {
		return err
	}
	_ = c.link.SetReadDeadline(time.Now().Add(takenTimeout))
	kind, _, err := (&frameReader{r: c.link.peer.listen(c.link), each: func() {}}).next()
	if err == nil && kind != frameTaken {
		err = errBadFrame
	}
	return err
}
