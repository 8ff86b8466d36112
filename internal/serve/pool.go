package serve

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/drumline/drumline/config"
	"github.com/drumline/drumline/internal/fault"
)

// How a connection of the pool behaves: a host that comes back is found within a
// second, one that vanished without a word is noticed within seconds.
const (
	backoffBase   = 50 * time.Millisecond
	backoffMax    = time.Second
	connectWithin = 2 * time.Second
	clientPing    = 10 * time.Second // the least that the library allows
	clientTimeout = 3 * time.Second  // also for data that nobody acknowledges
)

// ErrPoolClosed is what a closed Pool returns.
var ErrPoolClosed = errors.New("connection pool is closed")

// Pool holds one connection to each server called. Connections are made on first
// use, reconnect by themselves and are shared; the Pool closes them.
type Pool struct {
	creds credentials.TransportCredentials

	mu     sync.Mutex // guards all below
	conns  map[string]*grpc.ClientConn
	closed bool
}

// NewPool makes a Pool; with TLS its connections follow replaced certificates.
func NewPool(tls config.TLS) (*Pool, error) {
	creds := insecure.NewCredentials()
	cfg, err := tls.Client()
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	if cfg != nil {
		creds = credentials.NewTLS(cfg)
	}
	return &Pool{creds: creds, conns: map[string]*grpc.ClientConn{}}, nil
}

// Conn returns the connection to an address; it may still have to be made. Do not
// close it.
func (p *Pool) Conn(addr string) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrPoolClosed
	}
	if c, ok := p.conns[addr]; ok {
		return c, nil
	}
	// passthrough: the system resolves the name at each dial, so that a moved host
	// is found; the library's own resolver would remember it for half a minute.
	c, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(p.creds),
		grpc.WithNoProxy(),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: clientPing, Timeout: clientTimeout, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: backoffBase, Multiplier: 1.6, Jitter: 0.2, MaxDelay: backoffMax},
			MinConnectTimeout: connectWithin,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
	)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	p.conns[addr] = c
	return c, nil
}

// Dial returns the connection to an address once it stands. Its error is always
// an Unavailable fault: nothing was sent, so nothing was applied, which a call on
// a connection that is not up can't tell. A connection that can't be made at the
// first attempt is given up, not waited for.
func (p *Pool) Dial(ctx context.Context, addr string) (*grpc.ClientConn, error) {
	c, err := p.Conn(addr)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "connect to %s", addr)
	}
	for {
		state := c.GetState()
		switch state {
		case connectivity.Ready:
			return c, nil
		case connectivity.TransientFailure, connectivity.Shutdown:
			return nil, fault.New(fault.Unavailable, "no connection to %s", addr)
		case connectivity.Idle:
			c.Connect()
		case connectivity.Connecting:
		}
		if !c.WaitForStateChange(ctx, state) {
			return nil, fault.Wrap(ctx.Err(), fault.Unavailable, "connect to %s", addr)
		}
	}
}

// Forget closes the connection to an address that is of no more use.
func (p *Pool) Forget(addr string) error {
	p.mu.Lock()
	c, ok := p.conns[addr]
	delete(p.conns, addr)
	p.mu.Unlock()
	if !ok {
		return nil
	}
	return closeConn(addr, c)
}

// Close closes all connections; calls on them end.
func (p *Pool) Close() error {
	p.mu.Lock()
	conns := p.conns
	p.conns, p.closed = nil, true
	p.mu.Unlock()
	var errs []error
	for addr, c := range conns {
		errs = append(errs, closeConn(addr, c))
	}
	return errors.Join(errs...)
}

func closeConn(addr string, c *grpc.ClientConn) error {
	if err := c.Close(); err != nil {
		return fmt.Errorf("close connection to %s: %w", addr, err)
	}
	return nil
}
