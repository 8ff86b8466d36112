package transport

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/intake"
	"github.com/drumline/drumline/internal/raft/transport/faults"
)

const (
	acceptMin = 5 * time.Millisecond
	acceptMax = time.Second
	readAhead = 32 << 10
	// snapshotIdle is how long the next chunk may take: it comes from a disk.
	snapshotIdle = time.Minute
)

// accept takes connections; nothing a peer does, and no lack of file descriptors,
// ends or holds it.
func (t *Transport) accept() {
	wait := acceptMin
	for {
		conn, err := t.listener.Accept()
		if err == nil {
			wait = acceptMin
			t.take(conn)
			continue
		}
		if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		t.logger().Warn("transport: accept failed, will go on", "error", err, "wait", wait)
		if !t.sleep(wait) {
			return
		}
		wait = min(2*wait, acceptMax)
	}
}

// take starts the handshake of a connection, or closes it when there are too many.
func (t *Transport) take(conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.inbound >= t.o.MaxInbound {
		_ = conn.Close()
		t.counters.refuse(refusedFull)
		return
	}
	if len(t.waiting) >= maxWaiting {
		_ = t.waiting[0].Close()
		t.waiting = slices.Delete(t.waiting, 0, 1)
	}
	t.waiting = append(t.waiting, conn)
	t.conns[conn] = struct{}{}
	t.inbound++
	t.work.Go(func() {
		defer t.drop(conn)
		t.serve(conn)
	})
}

// drop forgets an accepted connection.
func (t *Transport) drop(conn net.Conn) {
	t.greeted(conn)
	t.mu.Lock()
	t.inbound--
	t.mu.Unlock()
	t.untrack(conn)
}

// greeted takes a connection off the list of those that wait for their handshake.
func (t *Transport) greeted(conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, conn); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
}

// serve runs one accepted connection to its end.
func (t *Transport) serve(raw net.Conn) {
	conn := raw
	_ = raw.SetDeadline(time.Now().Add(handshakeTimeout))
	if t.o.ServerTLS != nil {
		conn = tls.Server(raw, t.o.ServerTLS)
	}
	h, err := readHello(conn)
	if err != nil {
		t.strange(raw, err)
		return
	}
	peer, leave, refused := t.examine(&h, raw)
	a := answer{version: protocol, from: t.self}
	if refused != nil {
		a.refused, a.text = refused.reason, refused.text
		t.counters.refuse(refused.reason)
		t.logger().Warn("transport: peer refused", "peer", h.from.host, "remote", raw.RemoteAddr(), "reason", refused.reason, "text", refused.text)
	} else {
		defer leave()
		t.learn(h.from)
	}
	if _, err = conn.Write(a.encode()); err != nil || refused != nil || h.stream == announcer {
		return
	}
	t.greeted(raw)
	_ = raw.SetDeadline(time.Time{})
	t.counters.inbound.Add(1)
	t.counters.accepted.Add(1)
	defer t.counters.inbound.Add(-1)
	in := &inbound{t: t, conn: conn, peer: peer}
	in.run(h.stream)
}

// strange counts and logs a connection that made no handshake. One that just went
// away (a port scan, a health check) is not worth a line.
func (t *Transport) strange(conn net.Conn, err error) {
	t.counters.refuse(refusedGarbage)
	if t.ctx.Err() == nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		t.logger().Warn("transport: not a peer", "remote", conn.RemoteAddr(), "error", err)
	}
}

// examine checks a hello and admits its sender.
func (t *Transport) examine(h *hello, conn net.Conn) (*process, func(), *refusal) {
	switch {
	case h.version != protocol:
		return nil, nil, refuse(refusedVersion, "protocol version %d is not spoken here, %d is", h.version, protocol)
	case h.deployment != t.o.Deployment:
		return nil, nil, refuse(refusedDeployment, "deployment %q is another one than this host's", h.deployment)
	case h.from.host == t.self.host:
		return nil, nil, refuse(refusedSelf, "id %s is this host's own: %s runs with a copy of its disk; wipe the copy", t.self.host, h.from.advertise)
	case h.to != t.self.host:
		return nil, nil, refuse(refusedHost, "this is host %s, not %s", t.self.host, h.to)
	}
	_, known, _ := t.o.Book.Lookup(h.from.host)
	return t.sessions.admit(h.from, known, conn)
}

// learn tells the book where a peer is and wakes who wants to reach it.
func (t *Transport) learn(peer identity) {
	if err := t.o.Book.Learn(peer.host, peer.advertise, peer.epoch); err != nil {
		t.o.Log.Error("transport: a peer's address could not be kept", "peer", peer.host, "error", err)
	}
	t.mu.Lock()
	p := t.peers[peer.host]
	t.mu.Unlock()
	if p != nil {
		p.hurry(peer.advertise)
	}
}

// inbound is one accepted connection after its handshake.
type inbound struct {
	t     *Transport
	conn  net.Conn
	peer  *process
	order chunkOrder
}

// run serves frames until the connection breaks or the peer misbehaves.
func (in *inbound) run(s stream) {
	idle := in.t.idle()
	if s == snapshot {
		idle = max(idle, snapshotIdle)
	}
	var set time.Time
	r := &frameReader{r: bufio.NewReaderSize(in.peer.listen(in.conn), readAhead), each: func() {
		// Moving a deadline costs more than a small frame: not at each.
		if now := time.Now(); now.Sub(set) >= idle/10 {
			set = now
			_ = in.conn.SetReadDeadline(now.Add(idle))
		}
	}}
	for {
		kind, payload, err := r.next()
		if err == nil {
			in.t.counters.bytesIn.Add(uint64(headerBytes + len(payload)))
			err = in.handle(s, kind, payload)
		}
		if err == nil {
			continue
		}
		if errors.Is(err, errBadFrame) {
			in.t.counters.badFrames.Add(1)
			in.t.logger().Warn("transport: bad frame, connection dropped", "peer", in.peer.host, "error", err)
		}
		return
	}
}

// errRefusedChunk ends a snapshot stream that is not wanted, or not whole.
var errRefusedChunk = errors.New("snapshot refused")

func (in *inbound) handle(s stream, kind byte, payload []byte) error {
	switch {
	case kind == framePing && s == messages:
		return in.reply(framePong)
	case kind == frameBatch && s == messages:
		return in.batch(payload)
	case kind == frameChunk && s == snapshot:
		return in.chunk(payload)
	case kind == frameEnd && s == snapshot:
		if !in.order.done {
			return errRefusedChunk
		}
		return in.reply(frameTaken)
	default:
		return errBadFrame
	}
}

func (in *inbound) reply(kind byte) error {
	if kind == framePong && in.t.fate(in.peer.host, faults.Ping).Drop {
		return nil
	}
	_ = in.conn.SetWriteDeadline(time.Now().Add(in.t.dead()))
	_, err := in.conn.Write(empty(kind))
	return err
}

// batch hands a batch to Raft, cleaned of what must not come from outside.
func (in *inbound) batch(payload []byte) error {
	batch, err := decodeBatch(payload)
	if err != nil {
		return err
	}
	h := in.t.handlers.Load()
	if h == nil || !in.t.ready.Load() || batch.DeploymentId != h.deployment || ids.Host(batch.SourceAddress) != in.peer.host {
		in.t.counters.batchesRefused.Add(1)
		return nil
	}
	sent := len(batch.Requests)
	batch.Requests = intake.Keep(batch.Requests, travels)
	if len(batch.Requests) < sent {
		in.t.counters.batchesRefused.Add(1)
		in.t.logger().Warn("transport: messages dropped that no host may send", "peer", in.peer.host, "messages", sent-len(batch.Requests))
	}
	if len(batch.Requests) == 0 {
		return nil
	}
	in.t.counters.batchesIn.Add(1)
	h.batch(batch)
	return nil
}

// chunk hands a chunk to Raft; an error tells the sender that the snapshot failed.
func (in *inbound) chunk(payload []byte) error {
	chunk, err := decodeChunk(payload)
	if err != nil {
		return err
	}
	h := in.t.handlers.Load()
	if h == nil || !in.t.ready.Load() || chunk.DeploymentId != h.deployment {
		return errRefusedChunk
	}
	if err = in.order.take(&chunk); err != nil {
		return err
	}
	if guard := in.t.guard.Load(); guard != nil && !(*guard)(ids.Group(chunk.ClusterId), ids.Replica(chunk.NodeId)) {
		return errRefusedChunk
	}
	in.t.counters.chunksIn.Add(1)
	if !h.chunk(chunk) {
		return errRefusedChunk
	}
	return nil
}
