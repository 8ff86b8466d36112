package client

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/drumline/drumline/client/lane"
)

// How connections are made. A host that died and came back must be found within a
// second, which gRPC's own back-off (up to two minutes) would not do.
const (
	connectTimeout  = 2 * time.Second
	reconnectFirst  = 50 * time.Millisecond
	reconnectLatest = time.Second
	pingEvery       = 10 * time.Second // the least that gRPC allows
	streamAgain     = time.Minute      // until a server that has no streams is asked for one again
	pingTimeout     = 3 * time.Second  // then a machine that vanished without a word is known to be gone

	streamWindow     = 4 << 20  // what a server may send of one answer before this process takes it
	connectionWindow = 16 << 20 // and of all of them
)

// pool keeps one connection for each address used.
type pool struct {
	creds credentials.TransportCredentials
	extra []grpc.DialOption
	unary bool // no streams

	mu       sync.Mutex
	conns    map[string]*grpc.ClientConn // guarded by mu; nil once closed
	lanes    map[string]*lane.Lane       // guarded by mu; nil once closed
	without  map[string]time.Time        // guarded by mu: address of a server without streams to when it is asked again
	findings map[string]finding          // guarded by mu; nil once closed
	closed   bool                        // guarded by mu
}

// newPool is empty.
func newPool(creds credentials.TransportCredentials, extra []grpc.DialOption, unary bool) *pool {
	return &pool{
		creds: creds, extra: extra, unary: unary, conns: map[string]*grpc.ClientConn{}, lanes: map[string]*lane.Lane{},
		without: map[string]time.Time{}, findings: map[string]finding{},
	}
}

// conn returns the connection to addr; it may not be established yet.
func (p *pool) conn(addr string) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	if c, ok := p.conns[addr]; ok {
		return c, nil
	}
	c, err := grpc.NewClient(scheme+addr, p.dialOptions()...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %s", addr, strings.ReplaceAll(err.Error(), scheme, ""))
	}
	p.conns[addr] = c
	return c, nil
}

// up returns the connection to addr if it is established, else nil.
func (p *pool) up(addr string) *grpc.ClientConn {
	p.mu.Lock()
	c := p.conns[addr]
	p.mu.Unlock()
	if c == nil || c.GetState() != connectivity.Ready {
		return nil
	}
	return c
}

// lane returns the stream that calls to the server at addr share, over its connection;
// nil if they are to travel alone.
func (p *pool) lane(addr string) *lane.Lane {
	if p.unary {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.lanes[addr]; l != nil {
		return l
	}
	conn := p.conns[addr]
	if p.closed || conn == nil {
		return nil
	}
	if again, ok := p.without[addr]; ok && time.Now().Before(again) {
		return nil
	}
	l := lane.New(conn)
	p.lanes[addr] = l
	return l
}

// noLane notes that the server at addr has no streams, for a while.
func (p *pool) noLane(addr string, l *lane.Lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lanes[addr] == l {
		delete(p.lanes, addr)
		p.without[addr] = time.Now().Add(streamAgain)
	}
}

// dialOptions of every connection.
func (p *pool) dialOptions() []grpc.DialOption {
	retry := backoff.Config{BaseDelay: reconnectFirst, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectLatest}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(p.creds),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: connectTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
		// Retries are decided here, where the outcome of a command is known.
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		// Fixed windows: gRPC's estimate of a connection costs a ping and its answer for
		// every round trip, as much as a small call's own frames.
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connectionWindow),
	}
	return append(opts, p.extra...)
}

// keep closes the connections to addresses that are no server's any more.
func (p *pool) keep(wanted func(addr string) bool) {
	var gone []*lane.Lane
	defer func() {
		for _, l := range gone {
			l.Close()
		}
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	for addr, c := range p.conns {
		if !wanted(addr) && c.GetState() == connectivity.TransientFailure {
			delete(p.conns, addr)
			delete(p.findings, addr)
			if l := p.lanes[addr]; l != nil {
				delete(p.lanes, addr)
				gone = append(gone, l)
			}
			delete(p.without, addr)
			_ = c.Close() // a connection that is not established has nothing to lose
		}
	}
}

// close closes all connections; calls under way fail.
func (p *pool) close() {
	p.mu.Lock()
	conns, lanes := p.conns, p.lanes
	p.closed = true
	p.conns, p.lanes, p.findings = nil, nil, nil
	p.mu.Unlock()
	for _, l := range lanes {
		l.Close()
	}
	for _, c := range conns {
		_ = c.Close() // only ever reports that it was closed before
	}
}
