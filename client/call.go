package client

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"

	"github.com/drumline/drumline/client/lane"
	"github.com/drumline/drumline/client/pace"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// Limits in time.
const (
	defaultDeadline = 10 * time.Second
	// shortTry bounds one try of what may be sent again, unless the call has more time:
	// a server that is stopped in its tracks must not take the whole deadline.
	shortTry = time.Second
)

// send is one try of a call on a connection.
type send func(ctx context.Context, conn *grpc.ClientConn, opts ...grpc.CallOption) error

// share is one try of a call over a stream to the server at addr.
type share func(ctx context.Context, l *lane.Lane, addr string) error

// call is one call of the application, with all its tries.
type call struct {
	c      *Client
	effect effect
	road   *road
	send   send
	// share, unless nil, is a try over the stream that calls to a server share.
	share share
	// forget is told of an answer that makes the hints of this call worthless.
	forget func(*Error)

	pauses  pace.Pauses
	tries   int
	unknown *Error // the first try of unknown outcome, for an effect of repeats
}

// do runs the call until it has an answer, an error that no retry helps, or no time.
func (k *call) do(ctx context.Context) error {
	if err := k.c.enter(); err != nil {
		return err
	}
	defer k.c.calls.Done()
	k.c.budget.Ask()
	return k.run(ctx, nil)
}

// run goes on after a first try that came to e, or makes that too if e is nil.
func (k *call) run(ctx context.Context, e *Error) error {
	ctx, cancel := k.c.bound(ctx)
	defer cancel()
	var last *Error
	for ; e != nil || ctx.Err() == nil; e = nil {
		if e == nil {
			if e = k.try(ctx); e == nil {
				return nil
			}
		}
		// The last thing that a server said tells more than the silence after it.
		if last == nil || e.answered || !last.answered {
			last = e
		}
		if !e.retryable(k.effect) || k.tries >= pace.MaxTries || e.code == codes.Unimplemented && k.road.pick() == "" {
			return k.final(e)
		}
		if !k.prepare(ctx, e) {
			break
		}
	}
	return k.final(ended(ctx, last))
}

// try makes one attempt.
func (k *call) try(ctx context.Context) *Error {
	addr := k.road.next()
	k.tries++
	ctx, cancel := k.window(ctx)
	defer cancel()
	a := attempted{server: addr, effect: k.effect}
	err := k.reach(ctx, addr, &a)
	if err == nil {
		k.c.servers.answered(addr)
		return nil
	}
	return k.failed(err, a)
}

// failed draws from the error of a try what it tells.
func (k *call) failed(err error, a attempted) *Error {
	e := decode(err, a)
	k.learn(a.server, e)
	if e.Outcome == Unknown && k.unknown == nil {
		k.unknown = e
	}
	return e
}

// window bounds a try that may be repeated: to a third of what is left, but not below
// shortTry, so that a silent server costs a part of the deadline only.
func (k *call) window(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if k.effect == writes || !ok {
		return ctx, func() {} // the call's own bound does
	}
	return context.WithTimeout(ctx, max(shortTry, time.Until(end)/3))
}

// learn draws from an error what is good to know for the next try and for other calls.
func (k *call) learn(addr string, e *Error) {
	switch {
	case e.code == codes.Unimplemented:
		k.c.servers.isOther(addr, k.road.kind)
	case e.Reason == hostpb.Reason_REASON_UNAVAILABLE, e.Reason == hostpb.Reason_REASON_DEADLINE,
		e.Reason == hostpb.Reason_REASON_UNKNOWN_OUTCOME:
		k.c.servers.failed(addr)
		k.c.refreshSoon()
	default:
		k.c.servers.answered(addr)
	}
	if k.forget != nil {
		k.forget(e)
	}
}

// prepare gets ready for the next try: a hint or an untried server is tried at once,
// all else after a pause. It tells whether there is time for it.
func (k *call) prepare(ctx context.Context, e *Error) bool {
	paced := k.c.budget.Spend()
	hinted := k.road.follow(e.Leader)
	if paced && (hinted || e.elsewhere() && k.road.untried()) {
		return ctx.Err() == nil
	}
	pause := k.pauses.Draw()
	if !paced {
		pause = pace.Long
	}
	if !pace.Sleep(ctx, pause) {
		return false
	}
	k.road.rested()
	return true
}

// final completes the error that the application sees. If an earlier try may have
// been applied, so may the call, whatever the later ones said.
func (k *call) final(e *Error) *Error {
	if k.unknown != nil && e.Outcome == NotApplied {
		e.Outcome = Unknown
	}
	e.Attempts = k.tries
	return e
}

// reach makes one attempt at addr and notes whether the request was sent.
func (k *call) reach(ctx context.Context, addr string, a *attempted) error {
	if addr == "" {
		return failure(hostpb.Reason_REASON_UNAVAILABLE, codes.Unavailable, "no server of the wanted kind is known")
	}
	conn, err := k.c.pool.conn(addr)
	if err != nil {
		return err
	}
	if err = k.c.pool.ready(ctx, addr, conn); err != nil {
		return err
	}
	if k.share != nil {
		if l := k.c.pool.lane(addr); l != nil {
			if err = k.shared(ctx, l, a); !unsupported(err) {
				return k.c.explainUnsent(ctx, a, err)
			}
		}
	}
	// gRPC fills in the peer exactly when the request got a stream of its own: without
	// one, nothing of it has left this process.
	var p peer.Peer
	err = k.send(ctx, conn, grpc.Peer(&p))
	a.sent = p.Addr != nil
	return k.c.explainUnsent(ctx, a, err)
}

// explainUnsent gives the error of a try that was not sent the words that people need.
func (c *Client) explainUnsent(ctx context.Context, a *attempted, err error) error {
	if err == nil || a.sent {
		return err
	}
	return c.pool.explain(ctx, a.server, err)
}

// bound gives ctx the default deadline if it has none, and ends it with the client.
func (c *Client) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	cancelTimer := context.CancelFunc(func() {})
	if _, ok := ctx.Deadline(); !ok {
		ctx, cancelTimer = context.WithTimeout(ctx, defaultDeadline)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	detach := context.AfterFunc(c.life, func() { cancel(errClosed) })
	return ctx, func() {
		detach()
		cancel(nil)
		cancelTimer()
	}
}
