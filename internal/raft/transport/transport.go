package transport

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lni/dragonboat/v3/raftio"
	"golang.org/x/time/rate"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/transport/faults"
	"github.com/drumline/drumline/internal/raft/transport/spare"
)

// Transport carries Raft between hosts. It serves one NodeHost and is of no more use
// when that one has stopped.
type Transport struct {
	o        Options
	self     identity
	listener net.Listener
	frames   buffers
	sessions *sessions
	counters counters
	warnings *rate.Limiter
	snapshot *rate.Limiter // bytes; nil without a bound

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	ready    atomic.Bool
	handlers atomic.Pointer[handlers]
	guard    atomic.Pointer[func(ids.Group, ids.Replica) bool]

	beat time.Duration // between signs of life; set before Ready

	attending sync.Mutex
	attended  map[ids.Host]*peer // guarded by attending

	mu      sync.Mutex
	closed  bool
	conns   map[net.Conn]struct{} // all that are open, to close them
	inbound int                   // connections accepted and not yet gone
	waiting []net.Conn            // accepted, handshake not yet done; oldest first
	peers   map[ids.Host]*peer
}

// handlers are dragonboat's.
type handlers struct {
	batch      raftio.MessageHandler
	chunk      raftio.ChunkHandler
	deployment uint64
}

// errClosed is what callers get after Close.
var errClosed = errors.New("transport is closed")

const (
	// maxWaiting bounds the handshakes going on. One more ends the oldest, so that
	// idle strangers can't keep hosts out.
	maxWaiting       = 64
	handshakeTimeout = 5 * time.Second
)

// New listens and accepts; peers are served once dragonboat has made its side and
// Ready was called.
func New(o Options) (*Transport, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("transport: listen on %s: %w", o.Listen, err)
	}
	t, err := newOn(o, listener)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return t, nil
}

// newOn serves a listener.
func newOn(o Options, listener net.Listener) (*Transport, error) {
	var nonce [8]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, fmt.Errorf("transport: make a nonce: %w", err)
	}
	advertise, err := advertised(o.Advertise, listener.Addr().String())
	if err != nil {
		return nil, err
	}
	t := &Transport{
		o: o, listener: listener, frames: buffers{spare.NewPool()}, sessions: newSessions(o.KeepAlive), warnings: rate.NewLimiter(1, 10),
		conns: make(map[net.Conn]struct{}), peers: make(map[ids.Host]*peer), attended: make(map[ids.Host]*peer), beat: o.KeepAlive,
		self: identity{host: o.Host, epoch: o.BootEpoch, nonce: binary.LittleEndian.Uint64(nonce[:]), advertise: advertise},
	}
	if o.SnapshotRate > 0 {
		t.snapshot = rate.NewLimiter(rate.Limit(o.SnapshotRate), max(o.SnapshotRate, maxChunk+headerBytes))
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.work.Go(t.accept)
	return t, nil
}

// advertised is the address to tell peers; its port 0 stands for the listener's.
func advertised(want, listening string) (string, error) {
	host, port, err := net.SplitHostPort(listening)
	if err != nil {
		return "", fmt.Errorf("transport: listener address %s: %w", listening, err)
	}
	if want == "" {
		if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
			return "", fmt.Errorf("transport: listening on every interface (%s): say which address peers shall use (advertise)", listening)
		}
		return listening, nil
	}
	wantHost, wantPort, err := net.SplitHostPort(want)
	if err != nil || wantHost == "" || len(want) > maxText {
		return "", fmt.Errorf("transport: advertised address %q: want host:port", want)
	}
	if wantPort == "0" {
		wantPort = port
	}
	return net.JoinHostPort(wantHost, wantPort), nil
}

// Addr is the address that peers are told.
func (t *Transport) Addr() string { return t.self.advertise }

// Ready lets Raft in: NewNodeHost has returned. Before that dragonboat would fail on
// what comes in, so it is dropped. Known peers are told where this host is now.
func (t *Transport) Ready() {
	if !t.ready.Swap(true) {
		t.announce()
	}
}

// Guard names the replicas whose snapshots are taken: dragonboat ends the process
// when one comes for a replica that never ran on this host. Without a guard all are
// taken. f is called from many goroutines.
func (t *Transport) Guard(f func(g ids.Group, r ids.Replica) bool) { t.guard.Store(&f) }

// Close stops everything and waits for it. It may be called twice.
func (t *Transport) Close() error {
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	for c := range t.conns {
		_ = c.Close()
	}
	t.mu.Unlock()
	t.cancel()
	var err error
	if first {
		err = t.listener.Close()
	}
	t.work.Wait()
	return err
}

// track remembers a connection until untrack, so that Close can close it.
func (t *Transport) track(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.conns[c] = struct{}{}
	return true
}

func (t *Transport) untrack(c net.Conn) {
	t.mu.Lock()
	delete(t.conns, c)
	t.mu.Unlock()
	_ = c.Close()
}

// spawn runs f in a goroutine that Close waits for; false when it is too late.
func (t *Transport) spawn(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.work.Go(f)
	return true
}

// logger returns the log for what a stranger or a broken peer can cause: its rate is
// bounded.
func (t *Transport) logger() *slog.Logger {
	if t.warnings.Allow() {
		return t.o.Log
	}
	return slog.New(slog.DiscardHandler)
}

// fate asks the hook.
func (t *Transport) fate(to ids.Host, k faults.Kind) faults.Fate {
	if t.o.Hook == nil {
		return faults.Fate{}
	}
	return t.o.Hook.Fate(t.self.host, to, k)
}

// sleep waits and tells whether the transport still runs.
func (t *Transport) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// idle is how long a connection may be silent on the accepting side. A dialer's
// pings come many times in it.
func (t *Transport) idle() time.Duration { return 10 * t.o.KeepAlive }

// dead is how long a peer may take to answer a ping or to take a step of a frame.
func (t *Transport) dead() time.Duration { return 5 * t.o.KeepAlive }
