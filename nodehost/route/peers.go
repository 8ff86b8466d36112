package route

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

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
	suspect map[string]time.Time // guarded by mu: address to the end of its suspicion
}

// newPeers connects through p.
func newPeers(p Pool) *peers { return &peers{pool: p, suspect: map[string]time.Time{}} }

// send does o through the host at addr and classes what becomes of it.
func (p *peers) send(ctx context.Context, o *op, addr string, s sent) (*hostpb.Location, error) {
	dialling, cancel := context.WithTimeout(ctx, dialTimeout)
	conn, err := p.pool.Dial(dialling, addr)
	cancel()
	if err != nil {
		p.failed(addr)
		return nil, fault.Wrap(err, fault.Unavailable, "reach %s", addr)
	}
	// gRPC fills in the peer exactly when the request got a stream: without one,
	// nothing of it has left this process.
	var to peer.Peer
	where, err := o.remote(ctx, hostpb.NewGroupsClient(conn), s, grpc.Peer(&to))
	if err == nil {
		p.answered(addr)
		return where, nil
	}
	err = class(err, to.Addr != nil, o.repeatable)
	if errors.As(err, new(silence)) {
		p.failed(addr)
	} else {
		p.answered(addr)
	}
	return nil, err
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
