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
)

// How connections are made. A host that died and came back must be found within a
// second, which gRPC's own back-off (up to two minutes) would not do.
const (
	connectTimeout  = 2 * time.Second
	reconnectFirst  = 50 * time.Millisecond
	reconnectLatest = time.Second
	pingEvery       = 10 * time.Second // the least that gRPC allows
	pingTimeout     = 3 * time.Second  // then a machine that vanished without a word is known to be gone
)

// pool keeps one connection for each address used.
type pool struct {
	creds credentials.TransportCredentials
	extra []grpc.DialOption

	mu       sync.Mutex
	conns    map[string]*grpc.ClientConn // guarded by mu; nil once closed
	findings map[string]finding          // guarded by mu; nil once closed
	closed   bool                        // guarded by mu
}

// newPool is empty.
func newPool(creds credentials.TransportCredentials, extra []grpc.DialOption) *pool {
	return &pool{creds: creds, extra: extra, conns: map[string]*grpc.ClientConn{}, findings: map[string]finding{}}
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
	}
	return append(opts, p.extra...)
}

// keep closes the connections to addresses that are no server's any more.
func (p *pool) keep(wanted func(addr string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for addr, c := range p.conns {
		if !wanted(addr) && c.GetState() == connectivity.TransientFailure {
			delete(p.conns, addr)
			delete(p.findings, addr)
			_ = c.Close() // a connection that is not established has nothing to lose
		}
	}
}

// close closes all connections; calls under way fail.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.conns {
		_ = c.Close() // only ever reports that it was closed before
	}
	p.conns, p.findings = nil, nil
}
