package transport

import (
	"bufio"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/transport/faults"
)

const (
	// maxQueued bounds the bytes that wait for a connected peer; senders wait then,
	// so that dragonboat's own queues and limits see that the peer is slow.
	maxQueued = 16 << 20
	// awayFrames and awayBytes bound what is kept for a peer that is away: the newest.
	awayFrames = 64
	awayBytes  = 1 << 20

	backoffMin  = 20 * time.Millisecond
	backoffMax  = 500 * time.Millisecond
	writeBuffer = 64 << 10
	logAgain    = 30 * time.Second
)

// peer sends messages to one host over one connection, which it makes again and
// again. Dragonboat's streams to the host share it.
type peer struct {
	t    *Transport
	host ids.Host
	wake chan struct{} // frames wait, or nobody needs the peer any more
	soon chan struct{} // the peer was heard of: dial now

	// pen is held by whoever writes to the connection: the goroutine, or a sender that finds
	// nobody before it. It may be tried with mu held, and mu be taken with it held.
	pen sync.Mutex
	one [1]*frame // a sender's; guarded by pen

	mu      sync.Mutex // guards what follows
	queue   []*frame
	bytes   int
	up      *line         // nil while the peer is away
	waiting bool          // somebody waits for room
	room    chan struct{} // closed when the queue was taken, or the connection ended
	users   int           // connections of dragonboat's
	dialing string        // the address of the attempt going on
	give    func()        // gives that attempt up
}

// line is a connection to a peer and the buffer before it.
type line struct {
	*link
	w *bufio.Writer
}

// use returns the sender to a host and counts one more user.
func (t *Transport) use(host ids.Host) (*peer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errClosed
	}
	if p, ok := t.peers[host]; ok {
		p.mu.Lock()
		p.users++
		p.mu.Unlock()
		return p, nil
	}
	p := &peer{t: t, host: host, users: 1, wake: make(chan struct{}, 1), soon: make(chan struct{}, 1), room: make(chan struct{})}
	t.peers[host] = p
	t.work.Go(p.run) // ends without users: it must see the first
	return p, nil
}

// release ends one use; the last lets the connection go when all is sent.
func (p *peer) release() {
	p.t.mu.Lock()
	p.mu.Lock()
	p.users--
	if p.users == 0 && p.t.peers[p.host] == p {
		delete(p.t.peers, p.host)
	}
	p.mu.Unlock()
	p.t.mu.Unlock()
	signal(p.wake)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// hurry tells the dialer that the peer was heard of at an address: a pause ends, and
// so does an attempt to reach another address.
func (p *peer) hurry(addr string) {
	p.mu.Lock()
	if p.dialing != "" && p.dialing != addr {
		p.give()
	}
	p.mu.Unlock()
	signal(p.soon)
}

// dial makes one attempt that hurry can end.
func (p *peer) dial() (*link, error) {
	addr, _, _ := p.t.o.Book.Lookup(p.host)
	ctx, cancel := context.WithCancel(p.t.ctx)
	defer cancel()
	p.setDialing(addr, cancel)
	defer p.setDialing("", nil)
	return p.t.dial(ctx, p.host, messages)
}

func (p *peer) setDialing(addr string, give func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing, p.give = addr, give
}

func (p *peer) connected() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.up != nil
}

func (p *peer) unused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.users == 0
}

// send sends a small frame at once if nothing is on its way before it, which spares waking
// the goroutine; else it queues it. It waits for a slow peer, until ctx ends or, in a write,
// the peer is taken for dead; when the peer is away it drops instead of waiting.
func (p *peer) send(ctx context.Context, f *frame) {
	p.mu.Lock()
	if l := p.up; l != nil && len(p.queue) == 0 && len(f.B) <= writeBuffer && p.pen.TryLock() {
		p.mu.Unlock()
		p.sendNow(l, f)
		return
	}
	for p.up != nil && len(p.queue) > 0 && p.bytes+len(f.B) > maxQueued {
		p.waiting = true
		room := p.room
		p.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			p.lose(f)
			return
		case <-p.t.ctx.Done():
			p.lose(f)
			return
		}
		p.mu.Lock()
	}
	p.queue = append(p.queue, f)
	p.bytes += len(f.B)
	if p.up == nil {
		p.trim()
	}
	p.mu.Unlock()
	signal(p.wake)
}

// sendNow writes a frame; the caller has the pen, which is put down. What came to the queue
// meanwhile is the goroutine's. If the connection breaks, the goroutine hears of it by
// reading.
func (p *peer) sendNow(l *line, f *frame) {
	p.one[0] = f
	if err := p.write(l, p.one[:]); err != nil {
		_ = l.Close() // it is broken: a part of the frame may be out
	}
	p.one[0] = nil
	p.pen.Unlock()
	p.mu.Lock()
	more := len(p.queue) > 0
	p.mu.Unlock()
	if more {
		signal(p.wake)
	}
}

// trim keeps the newest of the queue for a peer that is away. The caller has mu.
func (p *peer) trim() {
	lost := 0
	for lost < len(p.queue) && (len(p.queue)-lost > awayFrames || p.bytes > awayBytes) {
		p.bytes -= len(p.queue[lost].B)
		p.lose(p.queue[lost])
		lost++
	}
	p.queue = slices.Delete(p.queue, 0, lost)
}

func (p *peer) lose(f *frame) {
	p.t.counters.batchesDropped.Add(1)
	p.t.frames.Put(f)
}

// take returns all that waits and makes room; the queue goes on in the spare slice.
func (p *peer) take(spare []*frame) []*frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	frames := p.queue
	p.queue, p.bytes = spare[:0], 0
	p.makeRoom()
	return frames
}

// makeRoom wakes who waits for it. The caller has mu.
func (p *peer) makeRoom() {
	if p.waiting {
		p.waiting = false
		close(p.room)
		p.room = make(chan struct{})
	}
}

// setUp says whether the peer is connected; when it is not, nobody waits for it.
func (p *peer) setUp(l *line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up = l
	if l == nil {
		p.trim()
		p.makeRoom()
	}
}

// run keeps the peer connected until nobody needs it.
func (p *peer) run() {
	defer func() {
		for _, f := range p.take(nil) {
			p.lose(f)
		}
	}()
	wait := backoffMin
	var told complaint
	for p.t.ctx.Err() == nil && !p.unused() {
		l, err := p.dial()
		if err == nil {
			p.t.o.Log.Debug("transport: connected", "peer", p.host, "remote", l.RemoteAddr())
			since := time.Now()
			err = p.talk(l)
			if time.Since(since) > backoffMax { // not one that drops every connection
				wait, told = backoffMin, complaint{}
			}
		}
		if err == nil || p.t.ctx.Err() != nil {
			continue
		}
		p.t.sessions.refused(p.host, err)
		told.log(p, err)
		if p.pause(wait) {
			wait = backoffMin
		} else {
			wait = min(2*wait, backoffMax)
		}
	}
}

// complaint keeps a peer that is away from filling the log.
type complaint struct {
	reason string
	at     time.Time
}

func (c *complaint) log(p *peer, err error) {
	var refused *refusal
	reason := "away"
	if errors.As(err, &refused) {
		reason = refused.reason
	}
	if reason == c.reason && time.Since(c.at) < logAgain {
		return
	}
	c.reason, c.at = reason, time.Now()
	if refused != nil {
		p.t.o.Log.Warn("transport: peer refuses or is refused", "peer", p.host, "reason", refused.reason, "error", err)
		return
	}
	p.t.o.Log.Info("transport: peer is away, messages to it are dropped", "peer", p.host, "error", err)
}

// pause waits around d, so that not all peers dial at once, and tells whether there
// was news of the peer.
func (p *peer) pause(d time.Duration) bool {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return false
		case <-p.soon:
			return true
		case <-p.t.ctx.Done():
			return false
		case <-p.wake:
			if p.unused() {
				return false
			}
		}
	}
}

// errSilent ends a connection whose peer does not answer pings.
var errSilent = errors.New("the peer does not answer")

// talk sends over a connection until it breaks (an error) or nobody needs it (nil).
func (p *peer) talk(conn *link) error {
	l := &line{link: conn, w: bufio.NewWriterSize(conn, writeBuffer)}
	p.setUp(l)
	defer p.setUp(nil)
	var reading sync.WaitGroup
	broken := make(chan error, 1)
	_ = l.SetReadDeadline(time.Now().Add(p.t.dead()))
	reading.Go(func() { broken <- p.listen(conn) })
	defer reading.Wait()
	defer func() { _ = l.Close() }()

	ping := time.NewTicker(p.t.beat)
	defer ping.Stop()
	var spare []*frame
	pinged := time.Now()
	for {
		var err error
		if spare, err = p.sendQueue(l, spare); err != nil {
			return err
		}
		select {
		case <-p.wake:
			if p.unused() {
				_, err = p.sendQueue(l, spare)
				return err
			}
		case now := <-ping.C:
			if now.Sub(pinged) < p.t.o.KeepAlive-p.t.beat/2 && now.Sub(l.peer.lastHeard()) < p.t.beat/2 {
				continue // the peer asks so often that it hears the answers
			}
			pinged = now
			if err = p.ping(l); err != nil {
				return err
			}
		case err = <-broken:
			return err
		case <-p.t.ctx.Done():
			return nil
		}
	}
}

// sendQueue sends all that waits and returns the slice that it waited in. The pen comes
// first: frames that were taken but not written could be overtaken.
func (p *peer) sendQueue(l *line, spare []*frame) ([]*frame, error) {
	p.pen.Lock()
	defer p.pen.Unlock()
	frames := p.take(spare)
	err := p.write(l, frames)
	clear(frames) // a list that is used again would hold the frames of its longest use
	return frames, err
}

func (p *peer) ping(l *line) error {
	if p.t.fate(p.host, faults.Ping).Drop {
		return nil
	}
	p.pen.Lock()
	defer p.pen.Unlock()
	_ = l.SetWriteDeadline(time.Now().Add(p.t.dead()))
	_, _ = l.w.Write(empty(framePing))
	return l.w.Flush()
}

// write sends frames; several small ones share a packet. The caller has the pen.
func (p *peer) write(l *line, frames []*frame) error {
	if len(frames) == 0 {
		return nil
	}
	since := step // bytes that the deadline has been good for
	for n, f := range frames {
		var err error
		if since += len(f.B); since < step {
			_, err = l.w.Write(f.B) // a deadline costs more than a small frame
		} else {
			since = 0
			err = l.put(l.w, f.B)
		}
		if err != nil {
			for _, lost := range frames[n:] {
				p.lose(lost)
			}
			return err
		}
		p.t.counters.bytesOut.Add(uint64(len(f.B)))
		p.t.counters.batchesOut.Add(1)
		p.t.frames.Put(f)
	}
	return l.w.Flush()
}

// put writes one frame in steps, each of which must come to an end. While a large
// frame goes out the pongs wait behind it, so its progress counts as an answer.
func (l *link) put(w *bufio.Writer, b []byte) error {
	large := len(b) > step
	for len(b) > 0 {
		n := min(len(b), step)
		until := time.Now().Add(l.t.dead())
		_ = l.SetWriteDeadline(until)
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		if large {
			_ = l.SetReadDeadline(until)
			l.peer.hear()
		}
		b = b[n:]
	}
	return nil
}

// listen reads pongs until the connection breaks. Each gives the peer more time.
func (p *peer) listen(l *link) error {
	r := &frameReader{r: l.peer.listen(l), each: func() {}}
	for {
		kind, _, err := r.next()
		switch {
		case isTimeout(err):
			return errSilent
		case err != nil:
			return err
		case kind != framePong:
			return errBadFrame
		}
		p.t.counters.bytesIn.Add(headerBytes)
		_ = l.SetReadDeadline(time.Now().Add(p.t.dead()))
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
