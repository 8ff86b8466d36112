package capacity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// What a Client does without options.
const (
	defaultGap    = time.Second
	callTimeout   = 5 * time.Second
	closeTimeout  = 2 * time.Second
	longestName   = 1024
	clockWatch    = time.Second
	longestSilent = time.Hour
)

// Errors of Resource.
var (
	// ErrClosed is the error of what is asked of a client or resource that is closed.
	ErrClosed = errors.New("capacity: closed")
	// ErrTaken is the error of a second Resource of one name in one client.
	ErrTaken = errors.New("capacity: the client has this resource already: share it, or release it first")
	// ErrInvalid is the error of wants, names and options that no server would take.
	ErrInvalid = errors.New("capacity: invalid")
)

// settings of a Client.
type settings struct {
	id   string
	gap  time.Duration
	wall func() time.Time
}

// ClientOption changes a Client.
type ClientOption func(*settings)

// WithID names the client. Two clients with one id would share their leases without
// knowing, so it must be unique in the cluster; host, process and a random part by default,
// and for an empty id.
func WithID(id string) ClientOption { return func(s *settings) { s.id = id } }

// WithGap sets the shortest time between two requests for one resource, a second by
// default: wants that change faster are sent together.
func WithGap(gap time.Duration) ClientOption {
	return func(s *settings) { s.gap = max(gap, shortestPeriod) }
}

// options of a Resource.
type options struct {
	wants    float64
	priority int64
	fallback *float64
}

// Option changes a Resource.
type Option func(*options)

// WithWants sets what is asked for at first; 1 by default.
func WithWants(wants float64) Option { return func(o *options) { o.wants = wants } }

// WithPriority sets the band; higher ones are served first by resources whose algorithm
// knows bands. 0 by default.
func WithPriority(p int64) Option { return func(o *options) { o.priority = p } }

// WithFallback sets what is used without a lease while no server answers, instead of what
// the server said last: a negative number for no limit, 0 for nothing.
func WithFallback(capacity float64) Option { return func(o *options) { o.fallback = &capacity } }

// Client leases capacity. Its methods may be called from any goroutine. Close ends it.
type Client struct {
	wire wire
	settings
	life context.Context
	stop context.CancelFunc
	wake chan struct{}  // holds one wish for a pass
	work sync.WaitGroup // the loop and the calls under way

	mu        sync.Mutex
	closed    bool                 // guarded by mu
	open      map[string]*Resource // guarded by mu
	flying    map[string]bool      // guarded by mu: names in a request that is under way
	releasing map[string]bool      // guarded by mu: names whose release is under way or waits
	rounds    uint64               // guarded by mu: the last request's serial
}

// New leases through conn, which belongs to a server or a whole cluster and stays the
// caller's. Closing the Client is the caller's, too.
func New(conn grpc.ClientConnInterface, opts ...ClientOption) *Client {
	return newClient(newWire(conn, time.Now), opts...)
}

func newClient(w wire, opts ...ClientOption) *Client {
	s := settings{gap: defaultGap, wall: time.Now}
	for _, opt := range opts {
		opt(&s)
	}
	if s.id == "" {
		s.id = ownName()
	}
	life, stop := context.WithCancel(context.Background())
	c := &Client{
		wire: w, settings: s, life: life, stop: stop, wake: make(chan struct{}, 1),
		// Serials grow over the restarts of a client that keeps its id.
		rounds: uint64(max(s.wall().UnixMicro(), 1)),
		open:   map[string]*Resource{}, flying: map[string]bool{}, releasing: map[string]bool{},
	}
	c.work.Go(c.run)
	return c
}

// ownName is unique: the random part tells the clients of a process apart, and processes
// of containers that have one name.
func ownName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d:%s", host, os.Getpid(), rand.Text()[:10])
}

// ID is the name under which the client holds its leases.
func (c *Client) ID() string { return c.id }

// Resource begins to lease a share of a resource. It does not wait: see Resource.Await.
// The name is the resource's own, like "db/main", without the app in front.
func (c *Client) Resource(name string, opts ...Option) (*Resource, error) {
	o := options{wants: 1}
	for _, opt := range opts {
		opt(&o)
	}
	if err := checkResource(name, o); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if c.open[name] != nil {
		return nil, fmt.Errorf("%w: %s", ErrTaken, name)
	}
	r := &Resource{c: c, name: name, account: newAccount(name, o, c.now()), changed: make(chan struct{}), fresh: make(chan State, 1)}
	c.open[name] = r
	c.poke()
	return r, nil
}

// checkResource refuses what every server would refuse.
func checkResource(name string, o options) error {
	if name == "" || len(name) > longestName {
		return fmt.Errorf("%w: the name of a resource has 1 to %d bytes, not %d", ErrInvalid, longestName, len(name))
	}
	if o.fallback != nil && math.IsNaN(*o.fallback) {
		return fmt.Errorf("%w: the fallback of %s is not a number", ErrInvalid, name)
	}
	return checkWants(o.wants)
}

// checkWants refuses wants that are no amount.
func checkWants(wants float64) error {
	if !(wants >= 0) || math.IsInf(wants, 1) {
		return fmt.Errorf("%w: wants %v: want a finite number that is not negative", ErrInvalid, wants)
	}
	return nil
}

// Close releases all resources, as far as a server answers within two seconds, and waits
// for everything that the client has begun. It may be called more than once.
func (c *Client) Close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		c.work.Wait()
		return
	}
	c.closed = true
	var names []string
	for name, r := range c.open {
		if r.account.ever {
			names = append(names, name)
		}
		r.end()
	}
	for name := range c.releasing {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	clear(c.open)
	c.rounds++
	serial := c.rounds
	c.mu.Unlock()
	c.stop()
	c.work.Wait()
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = c.wire.release(ctx, c.id, surrender{names, serial}) // what is not given back ends with its lease
}

// now reads both clocks.
func (c *Client) now() moment { return moment{mono: time.Now(), wall: c.wall().Round(0)} }

// poke wishes for a pass of the loop.
func (c *Client) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
