package transport

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lni/dragonboat/v3/config"
	"github.com/lni/dragonboat/v3/raftio"
	pb "github.com/lni/dragonboat/v3/raftpb"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/transport/faults"
	"github.com/drumline/drumline/internal/raft/transport/hold"
)

// This file is what dragonboat sees.

var errUnfinished = errors.New("the snapshot was not finished")

// factory gives dragonboat the transport that is there already.
type factory struct{ t *Transport }

var (
	_ config.TransportFactory = factory{}
	_ raftio.ITransport       = module{}
	_ raftio.IConnection      = (*connection)(nil)
)

// Factory is for config.Expert.TransportFactory, of one NodeHost.
func (t *Transport) Factory() config.TransportFactory { return factory{t} }

// Create takes dragonboat's handlers.
func (f factory) Create(c config.NodeHostConfig, batch raftio.MessageHandler, chunk raftio.ChunkHandler) raftio.ITransport {
	f.t.handlers.Store(&handlers{batch: batch, chunk: chunk, deployment: c.GetDeploymentID()})
	return module(f)
}

// Validate tells whether a text can be a host id.
func (f factory) Validate(address string) bool { return validHost(address) }

// module is the raftio.ITransport.
type module struct{ t *Transport }

// Name is for dragonboat's log.
func (m module) Name() string { return "drumline" }

// Start does nothing: New listens, Ready lets Raft in.
func (m module) Start() error { return nil }

// Stop closes the Transport: when it returns no handler runs, or ever will.
func (m module) Stop() {
	if err := m.t.Close(); err != nil {
		m.t.o.Log.Warn("transport: close", "error", err)
	}
}

// GetConnection never fails because of the peer, away or unknown as it may be: that
// would open dragonboat's circuit breaker, which closes half a second too late.
func (m module) GetConnection(ctx context.Context, target string) (raftio.IConnection, error) {
	p, err := m.t.use(ids.Host(target))
	if err != nil {
		return nil, fmt.Errorf("connect to host %s: %w", target, err)
	}
	c := &connection{ctx: ctx, peer: p, hold: hold.New()}
	c.alarm = time.AfterFunc(time.Hour, c.ring)
	c.alarm.Stop()
	return c, nil
}

// GetSnapshotConnection connects to the host; see snapshotConn for what happens if
// it can't.
func (m module) GetSnapshotConnection(ctx context.Context, target string) (raftio.ISnapshotConnection, error) {
	return m.t.openSnapshot(ctx, ids.Host(target)), nil
}

// connection is one of dragonboat's streams to a peer.
type connection struct {
	ctx  context.Context // dragonboat's, which ends when its NodeHost stops
	peer *peer

	mu     sync.Mutex // guards what follows; not held while a frame waits for room
	closed bool
	hold   hold.Holder
	// envelope is the last batch without its messages; alarm, if armed, sends in it what
	// is held back.
	envelope pb.MessageBatch
	alarm    *time.Timer
	armed    bool
	scratch  []pb.Message
}

// keptScratch is how many messages the scratch has room for while there is nothing to send: a
// message has 270 bytes, and thousands come at once when all groups of a host begin.
const keptScratch = 1024

// Close ends the stream; what is held back is not sent.
func (c *connection) Close() {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.alarm.Stop()
	c.mu.Unlock()
	if first {
		c.peer.release()
	}
}

// SendMessageBatch queues a batch. Dropping it is no error: Raft sends again.
func (c *connection) SendMessageBatch(batch pb.MessageBatch) error {
	c.mu.Lock()
	now := time.Now()
	c.scratch = c.hold.Pass(now, batch.Requests, c.scratch[:0])
	c.envelope = batch
	c.envelope.Requests = nil
	if next := c.hold.Next(); !next.IsZero() && !c.armed {
		c.armed = true
		c.alarm.Reset(next.Sub(now))
	}
	encoded := c.encode()
	c.mu.Unlock()
	c.dispatch(encoded)
	return nil
}

// ring is the alarm.
func (c *connection) ring() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	var rest time.Duration
	c.scratch, rest = c.hold.Due(time.Now(), c.scratch[:0])
	if c.armed = rest > 0; c.armed {
		c.alarm.Reset(rest)
	}
	encoded := c.encode()
	c.mu.Unlock()
	c.dispatch(encoded)
}

// encode makes a frame of what is in scratch; nil if that is nothing; mu is held.
func (c *connection) encode() *frame {
	if len(c.scratch) == 0 {
		return nil
	}
	batch := c.envelope
	batch.Requests = c.scratch
	t := c.peer.t
	encoded, err := t.frames.encodeBatch(batch)
	if clear(c.scratch); cap(c.scratch) > keptScratch { // they hold entries
		c.scratch = nil
	}
	if err != nil {
		t.counters.batchesDropped.Add(1)
		t.o.Log.Error("transport: batch dropped", "peer", c.peer.host, "error", err)
		return nil
	}
	return encoded
}

// dispatch sends a frame, unless it is nil.
func (c *connection) dispatch(encoded *frame) {
	t := c.peer.t
	switch {
	case encoded == nil:
	case t.o.Hook == nil:
		c.peer.send(c.ctx, encoded)
	default:
		c.obey(t.o.Hook.Fate(t.self.host, c.peer.host, faults.Batch), encoded)
	}
}

// obey does with a batch what a test wants.
func (c *connection) obey(f faults.Fate, batch *frame) {
	if f.Drop {
		c.peer.lose(batch)
		return
	}
	for range f.Copies {
		c.deliver(c.peer.t.frames.clone(batch), f.Delay)
	}
	c.deliver(batch, f.Delay)
}

func (c *connection) deliver(batch *frame, after time.Duration) {
	if after <= 0 {
		c.peer.send(c.ctx, batch)
		return
	}
	t := c.peer.t
	if !t.spawn(func() {
		if t.sleep(after) {
			c.peer.send(c.ctx, batch)
		}
	}) {
		c.peer.lose(batch)
	}
}
