// Package guard stands between the network and memberlist: it bounds what a stranger can
// make a process read and keep, counts what it refuses, and ends what is under way when
// the process stops.
//
// memberlist decrypts and checks what comes in. Before it can, a stream's sender decides
// how much is read, and a stop waits for dials and streams until they time out. Both are
// bounded here, and nothing else: a Guard never looks into a message.
package guard

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// Bounds of what comes in. A packet of ours holds 1,400 bytes and its seal; a stream the
// list of all members, some 400 bytes each.
const (
	// MaxPacket is the largest packet taken, in bytes.
	MaxPacket = 4 << 10
	// MaxStream is the most that is read of a stream, in bytes.
	MaxStream = 8 << 20
	// MaxStreams is how many streams of others are open at a time.
	MaxStreams = 64
)

// Refusal says why something was not taken.
type Refusal int

// Refusals.
const (
	// Oversized: more bytes than any message of ours has.
	Oversized Refusal = iota
	// Crowded: too many streams are open.
	Crowded
)

var (
	errOversized = errors.New("gossip: the stream is longer than any message")
	errStopped   = errors.New("gossip: the process is stopping")
)

// Network carries packets and streams; *memberlist.NetTransport does.
type Network interface {
	// FinalAdvertiseAddr is what others are told, of what the configuration says.
	FinalAdvertiseAddr(ip string, port int) (net.IP, int, error)
	// WriteToAddress sends a packet, which may get lost.
	WriteToAddress(b []byte, to memberlist.Address) (time.Time, error)
	// PacketCh and StreamCh deliver what comes in.
	PacketCh() <-chan *memberlist.Packet
	StreamCh() <-chan net.Conn
	// Shutdown ends the deliveries; the channels must be read until it returns.
	Shutdown() error
}

// Options of a Guard.
type Options struct {
	// Network below; the Guard shuts it down.
	Network Network
	// Dial opens a stream; it must end with ctx.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Refused is told of what is not taken. It must not block.
	Refused func(Refusal)
}

// Guard is a transport for memberlist.
type Guard struct {
	o       Options
	packets chan *memberlist.Packet
	streams chan net.Conn
	// dials end with this context.
	dials    context.Context
	endDials context.CancelFunc
	quit     chan struct{} // closed first: nothing is handed on any more
	drained  chan struct{} // closed last: the network delivers nothing any more
	stop     sync.Once
	wg       sync.WaitGroup

	mu    sync.Mutex // guards the rest
	conns map[*conn]bool
	in    int // those of others
	ended bool
}

var _ memberlist.NodeAwareTransport = (*Guard)(nil)

// New makes a Guard; Shutdown closes it and the network below.
func New(o Options) *Guard {
	g := &Guard{
		o: o, packets: make(chan *memberlist.Packet), streams: make(chan net.Conn),
		quit: make(chan struct{}), drained: make(chan struct{}), conns: make(map[*conn]bool),
	}
	g.dials, g.endDials = context.WithCancel(context.Background())
	g.wg.Go(g.passPackets)
	g.wg.Go(g.passStreams)
	return g
}

func (g *Guard) passPackets() {
	for {
		select {
		case p := <-g.o.Network.PacketCh():
			if len(p.Buf) > MaxPacket {
				g.o.Refused(Oversized)
				continue
			}
			select {
			case g.packets <- p:
			case <-g.quit:
			}
		case <-g.drained:
			return
		}
	}
}

func (g *Guard) passStreams() {
	for {
		select {
		case raw := <-g.o.Network.StreamCh():
			c := g.hold(raw, true)
			if c == nil {
				continue
			}
			select {
			case g.streams <- c:
			case <-g.quit:
				_ = c.Close() // the stop ends it anyway
			}
		case <-g.drained:
			return
		}
	}
}

// hold keeps a stream, so that the stop can end it; nil when it may not be kept.
func (g *Guard) hold(raw net.Conn, incoming bool) *conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended || incoming && g.in >= MaxStreams {
		if !g.ended {
			g.o.Refused(Crowded)
		}
		_ = raw.Close() // last: whoever sees it knows that it was counted
		return nil
	}
	c := &conn{Conn: raw, g: g, incoming: incoming}
	c.left.Store(MaxStream)
	g.conns[c] = true
	if incoming {
		g.in++
	}
	return c
}

func (g *Guard) release(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.conns[c] {
		return
	}
	delete(g.conns, c)
	if c.incoming {
		g.in--
	}
}

// FinalAdvertiseAddr is the network's.
func (g *Guard) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	return g.o.Network.FinalAdvertiseAddr(ip, port)
}

// WriteTo sends a packet.
func (g *Guard) WriteTo(b []byte, addr string) (time.Time, error) {
	return g.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress sends a packet.
func (g *Guard) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	return g.o.Network.WriteToAddress(b, to)
}

// PacketCh delivers packets that are not too long.
func (g *Guard) PacketCh() <-chan *memberlist.Packet { return g.packets }

// StreamCh delivers streams of others, so many at a time.
func (g *Guard) StreamCh() <-chan net.Conn { return g.streams }

// DialTimeout opens a stream.
func (g *Guard) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return g.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout opens a stream; a stop of the Guard ends the attempt.
func (g *Guard) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(g.dials, timeout)
	defer cancel()
	raw, err := g.o.Dial(ctx, to.Addr)
	if err != nil {
		return nil, err
	}
	if c := g.hold(raw, false); c != nil {
		return c, nil
	}
	return nil, errStopped
}

// Shutdown ends dials, streams and the network below, and waits for what the Guard has
// started.
func (g *Guard) Shutdown() (err error) {
	g.stop.Do(func() {
		close(g.quit)
		g.endDials()
		g.mu.Lock()
		g.ended = true
		open := make([]*conn, 0, len(g.conns))
		for c := range g.conns {
			open = append(open, c)
		}
		g.mu.Unlock()
		for _, c := range open {
			_ = c.Close() // whoever reads it learns that it is over
		}
		err = g.o.Network.Shutdown()
		close(g.drained)
		g.wg.Wait()
	})
	return err
}

// conn is a stream of which only so much is read.
type conn struct {
	net.Conn
	g        *Guard
	incoming bool
	left     atomic.Int64 // bytes that may still be read
}

// Read reads, and fails for good when the stream is too long.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if before := c.left.Add(-int64(n)) + int64(n); before < int64(n) {
		if before >= 0 { // the first read beyond it
			c.g.o.Refused(Oversized)
		}
		return 0, errOversized
	}
	return n, err
}

// Close closes the stream and gives its place to another.
func (c *conn) Close() error {
	c.g.release(c)
	return c.Conn.Close()
}
