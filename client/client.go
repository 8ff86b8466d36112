package client

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/drumline/drumline/client/capacity"
	"github.com/drumline/drumline/client/pace"
	"github.com/drumline/drumline/config"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// How the list of servers is kept fresh, and how many groups are remembered.
const (
	refreshEvery  = 30 * time.Second
	refreshAtMost = time.Second
	knownGroups   = 10000
)

// errClosed is the cause of the error of a call on a closed client.
var errClosed = errors.New("the client is closed")

// closedError is the error of a call on a closed client, or one that Close ended.
func closedError() *Error {
	e := failure(hostpb.Reason_REASON_UNAVAILABLE, codes.Unavailable, "%v", errClosed)
	e.cause = errClosed
	return e
}

// options of Open.
type options struct {
	tls    config.TLS
	dial   []grpc.DialOption
	groups int
	unary  bool
	id     string
}

// Option changes how a Client is opened.
type Option func(*options)

// WithTLS uses mutual TLS with these files; a zero TLS means plain connections.
func WithTLS(t config.TLS) Option { return func(o *options) { o.tls = t } }

// WithDialOptions adds options to every connection, an interceptor for example.
func WithDialOptions(d ...grpc.DialOption) Option {
	return func(o *options) { o.dial = append(o.dial, d...) }
}

// WithKnownGroups bounds the number of groups whose place is remembered; 10,000 by default.
func WithKnownGroups(n int) Option { return func(o *options) { o.groups = max(n, 1) } }

// WithUnary makes every proposal and read a call of its own, instead of letting
// concurrent ones to a server share a stream.
func WithUnary() Option { return func(o *options) { o.unary = true } }

// Client is a connection to a cluster. Its methods may be called from any goroutine.
type Client struct {
	Region // the doors that name none

	pool      *pool
	servers   *servers
	locations *locations
	budget    *pace.Budget
	id        string // empty for one that is made up

	refresh chan struct{}   // holds one wish for a fresh list of servers
	life    context.Context // ends with Close, and every call with it
	stop    context.CancelFunc

	mu      sync.Mutex
	closing bool             // guarded by mu: no new leases
	closed  bool             // guarded by mu: no new calls
	leases  *capacity.Client // guarded by mu: made when the first resource is asked for
	calls   sync.WaitGroup   // calls under way and the refresher; Add only under mu
}

// Open connects to the cluster that the addresses (host:port of gRPC ports, of drummers
// or nodehosts, in any mixture) belong to. It returns when one of them has answered, and
// fails when none does before ctx ends, after 10 s if ctx has no deadline.
func Open(ctx context.Context, addresses []string, opts ...Option) (*Client, error) {
	o := options{groups: knownGroups}
	for _, opt := range opts {
		opt(&o)
	}
	given, err := checkAddresses(addresses)
	if err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	conf, err := o.tls.Client()
	if err != nil {
		return nil, &Error{Reason: hostpb.Reason_REASON_INVALID, code: codes.InvalidArgument, Text: err.Error(), cause: err}
	}
	if conf != nil {
		creds = credentials.NewTLS(conf)
	}
	life, stop := context.WithCancel(context.Background())
	c := &Client{
		pool: newPool(creds, o.dial, o.unary), servers: newServers(given), locations: newLocations(o.groups),
		budget: pace.NewBudget(), id: o.id, refresh: make(chan struct{}, 1), life: life, stop: stop,
	}
	c.Region = c.In("")
	c.calls.Go(func() { c.keepFresh(life) })
	if _, err := c.Servers(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// checkAddresses refuses what can never be an address.
func checkAddresses(addresses []string) ([]string, error) {
	var given []string
	for _, a := range addresses {
		a = strings.TrimSpace(a)
		if i := strings.LastIndexByte(a, ':'); i < 0 || i == len(a)-1 {
			return nil, failure(hostpb.Reason_REASON_INVALID, codes.InvalidArgument,
				"%q is no server address: write host:port, like 127.0.0.1:7001", a)
		}
		if !slices.Contains(given, a) {
			given = append(given, a)
		}
	}
	if len(given) == 0 {
		return nil, failure(hostpb.Reason_REASON_INVALID, codes.InvalidArgument,
			"no server address: name at least one drummer or nodehost as host:port")
	}
	return given, nil
}

// Close ends the client: leases are given back as far as a server answers within two
// seconds, calls under way fail, and Close waits until they have returned. It may be
// called more than once.
func (c *Client) Close() {
	c.giveBack()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.pool.close()
	c.calls.Wait()
}

// enter counts a call under way, in calls, where the caller says that it is done.
func (c *Client) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return closedError()
	}
	c.calls.Add(1)
	return nil
}

// Servers lists the cluster's drummers and nodehosts, as the server that answers knows them.
func (c *Client) Servers(ctx context.Context) ([]*hostpb.Server, error) {
	var list []*hostpb.Server
	k := c.newCall(reads, unknownKind, nil, func(ctx context.Context, conn *grpc.ClientConn, opts ...grpc.CallOption) error {
		resp, err := hostpb.NewDirectoryClient(conn).Servers(ctx, &hostpb.ServersRequest{}, opts...)
		list = resp.GetServers()
		return err
	})
	if err := k.do(ctx); err != nil {
		return nil, err
	}
	c.servers.learn(list)
	c.pool.keep(c.servers.known)
	return list, nil
}

// Drummer returns the operators' service. Its calls go to the drummer that leads and
// fail over to others; those that change something are repeated only when they were
// surely not obeyed. Errors are *Error.
func (c *Client) Drummer() drummerpb.DrummerClient {
	return drummerpb.NewDrummerClient(&drummerConn{c: c})
}

// newCall prepares a call to servers of a kind.
func (c *Client) newCall(e effect, kind string, prefer func() []string, do send) *call {
	if prefer == nil {
		prefer = func() []string { return nil }
	}
	r := &road{servers: c.servers, kind: kind, prefer: prefer, tried: map[string]bool{}}
	return &call{c: c, effect: e, road: r, send: do}
}

// refreshSoon wishes for a fresh list of servers.
func (c *Client) refreshSoon() {
	select {
	case c.refresh <- struct{}{}:
	default:
	}
}

// keepFresh asks for the list of servers now and then, and when something failed.
func (c *Client) keepFresh(ctx context.Context) {
	timer := time.NewTimer(refreshEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-c.refresh:
		}
		// An error needs no word here: it wishes for the next try itself, and the
		// calls that need a server say what they found.
		_, _ = c.Servers(ctx)
		if !pace.Sleep(ctx, refreshAtMost) {
			return
		}
		timer.Reset(refreshEvery)
	}
}
