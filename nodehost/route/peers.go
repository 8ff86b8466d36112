package route

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/client/lane"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve"
)

// How long a connection may take to be made, and how long a host that did not answer
// is asked last.
const (
	dialTimeout = time.Second
	suspicion   = 5 * time.Second
)

// peers sends requests to other hosts and remembers who did not answer.
type peers struct {
	pool Pool

	mu      sync.Mutex
	suspect map[string]time.Time  // guarded by mu: address to the end of its suspicion
	lanes   map[string]*lane.Lane // guarded by mu: by address; nil once closed
	closed  bool                  // guarded by mu
}

// newPeers connects through p.
func newPeers(p Pool) *peers {
	return &peers{pool: p, suspect: map[string]time.Time{}, lanes: map[string]*lane.Lane{}}
}

// close ends the streams to other hosts, and the requests on them; idempotent.
func (p *peers) close() {
	p.mu.Lock()
	lanes := p.lanes
	p.lanes, p.closed = nil, true
	p.mu.Unlock()
	for _, l := range lanes {
		l.Close()
	}
}

// send does o through the host at addr and classes what becomes of it.
func (p *peers) send(ctx context.Context, o *op, addr string, s sent) (*hostpb.Location, error) {
	w, err := p.reach(ctx, addr)
	if err != nil {
		p.failed(addr)
		return nil, fault.Wrap(err, fault.Unavailable, "reach %s", addr)
	}
	where, err := o.remote(ctx, w, s)
	if err == nil {
		p.answered(addr)
		return where, nil
	}
	var lost *lane.Lost
	if errors.As(err, &lost) {
		err = class(lost.Err, lost.Sent, o.repeatable)
	}
	if errors.As(err, new(silence)) {
		p.failed(addr)
	} else {
		p.answered(addr)
	}
	return nil, err
}

// reach returns the way to the host at addr, once a connection stands.
func (p *peers) reach(ctx context.Context, addr string) (way, error) {
	dialling, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := p.pool.Dial(dialling, addr)
	if err != nil {
		return way{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes[addr]
	if !p.closed && (l == nil || l.Conn() != conn) {
		// The connection of an older one is closed, and so is its stream.
		l = lane.New(conn)
		p.lanes[addr] = l
	}
	return way{conn: conn, lane: l}, nil
}

// silence marks the cause of a fault that no other host has sent.
type silence struct{ error }

// Unwrap returns what gRPC said.
func (s silence) Unwrap() error { return s.error }

// class makes a fault of the error of a forwarded request.
func class(err error, left, repeatable bool) error {
	switch status.Code(err) { //nolint:exhaustive // the others are serve's to class
	case codes.Unimplemented:
		return fault.Wrap(silence{err}, fault.Unavailable, "the host does not serve groups")
	case codes.PermissionDenied, codes.Unauthenticated:
		return fault.Wrap(err, fault.Unavailable, "the host refuses this one")
	}
	f := fault.Of(serve.Fault(err))
	switch {
	case f == nil:
		return err
	case !errors.Is(f.Cause, err): // sent by the other host
		return f
	case f.Reason != fault.UnknownOutcome:
		return f
	case repeatable || !left:
		return fault.Wrap(silence{err}, fault.Unavailable, "no answer")
	default:
		return fault.Wrap(silence{err}, fault.UnknownOutcome,
			"the group's leader was sent the command and did not answer: it may or may not be applied")
	}
}

// failed asks addr last for a while.
func (p *peers) failed(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.suspect[addr] = time.Now().Add(suspicion)
}

// answered ends the suspicion of addr.
func (p *peers) answered(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.suspect, addr)
}

// suspected tells whether addr did not answer lately.
func (p *peers) suspected(addr string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	end, ok := p.suspect[addr]
	if ok && time.Now().After(end) {
		delete(p.suspect, addr)
		return false
	}
	return ok
}
