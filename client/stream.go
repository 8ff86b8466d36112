package client

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/client/lane"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// item is one command or query on its way: over the stream that all calls to a server
// share, or in a call of its own.
type item struct {
	g      *Group
	effect effect
	data   []byte
	alone  func(*item) send

	result Result
	where  *hostpb.Location
}

// do runs the item until it has an answer, an error that no retry helps, or no time.
func (t *item) do(ctx context.Context) error {
	c := t.g.c
	if err := c.enter(); err != nil {
		return err
	}
	defer c.calls.Done()
	c.budget.Ask()
	a := t.straight()
	if a.server == "" {
		return t.finish(t.call().run(ctx, nil))
	}
	if l := c.pool.lane(a.server); l != nil {
		if err := t.share(ctx, l, a.server, t.window(ctx)); err != nil {
			return t.recover(ctx, a, l, err)
		}
		t.learn()
		return nil
	}
	if conn := c.pool.up(a.server); conn != nil && ctx.Err() == nil {
		if err := t.single(ctx, conn, &a); err != nil {
			return t.goOn(ctx, t.call(), a, err)
		}
		t.learn()
		return nil
	}
	return t.finish(t.call().run(ctx, nil))
}

// straight returns the address of the group's leader, if that is known and in order: it is
// tried first by nearly every call, which costs it no more than the try. Else it is empty.
func (t *item) straight() attempted {
	c := t.g.c
	addr := c.locations.get(t.g.key).GetLeaderApi()
	if addr == "" || len(t.data) > lane.MaxItem || c.servers.suspected(addr) {
		return attempted{}
	}
	return attempted{server: addr, effect: t.effect}
}

// single makes one try in a call of its own, and notes whether it was sent.
func (t *item) single(ctx context.Context, conn *grpc.ClientConn, a *attempted) error {
	if within := t.window(ctx); within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, within)
		defer cancel()
	}
	var p peer.Peer
	err := t.alone(t)(ctx, conn, grpc.Peer(&p))
	a.sent = p.Addr != nil // see reach
	return err
}

// window is how long a try may take; 0 is as long as ctx.
func (t *item) window(ctx context.Context) time.Duration {
	end, ok := ctx.Deadline()
	left := defaultDeadline
	if ok {
		left = time.Until(end)
	}
	switch {
	case t.effect != writes:
		return max(shortTry, left/3)
	case ok:
		return 0
	}
	return left
}

// recover goes the long way after a first try that failed.
func (t *item) recover(ctx context.Context, a attempted, l *lane.Lane, err error) error {
	k := t.call()
	if unsupported(err) {
		t.g.c.pool.noLane(a.server, l)
		return t.finish(k.run(ctx, nil))
	}
	err = k.lost(err, &a)
	return t.goOn(ctx, k, a, err)
}

// goOn makes the other tries of a call whose first came to an error.
func (t *item) goOn(ctx context.Context, k *call, a attempted, err error) error {
	k.road.tried[a.server] = true
	k.tries++
	return t.finish(k.run(ctx, k.failed(t.g.c.explainUnsent(ctx, &a, err), a)))
}

// call prepares a call for the item.
func (t *item) call() *call {
	k := t.g.call(t.effect, t.alone(t))
	if len(t.data) <= lane.MaxItem {
		k.share = func(ctx context.Context, l *lane.Lane, addr string) error { return t.share(ctx, l, addr, 0) }
	}
	return k
}

// share makes one try over the stream to the server at addr.
func (t *item) share(ctx context.Context, l *lane.Lane, addr string, within time.Duration) error {
	h := lane.Head{Group: t.g.ref, Read: t.effect == reads, Repeatable: t.effect == repeats, Within: within}
	h.Locate = t.g.c.locations.get(t.g.key).GetLeaderApi() != addr
	a, where, err := l.One(ctx, h, t.data)
	if err != nil {
		return err
	}
	if a.Fault != nil {
		return faultError(a.Fault, attempted{server: addr, effect: t.effect})
	}
	t.result, t.where = Result{Value: a.Value, Data: a.Data}, where
	return nil
}

// finish completes a call that was made.
func (t *item) finish(err error) error {
	if err == nil {
		t.learn()
	}
	return err
}

// learn takes over where the group was led.
func (t *item) learn() {
	if t.where != nil {
		t.g.c.locations.learn(t.g.key, t.where)
	}
}

// shared makes one try over a stream.
func (k *call) shared(ctx context.Context, l *lane.Lane, a *attempted) error {
	err := k.share(ctx, l, a.server)
	if unsupported(err) {
		k.c.pool.noLane(a.server, l)
		return err
	}
	return k.lost(err, a)
}

// lost notes of a try over a stream whether it was sent, and gives its error the form
// that a call of its own would have.
func (k *call) lost(err error, a *attempted) error {
	var lost *lane.Lost
	if !errors.As(err, &lost) {
		a.sent = true
		return err
	}
	a.sent = lost.Sent
	switch {
	case errors.Is(lost.Err, context.DeadlineExceeded), errors.Is(lost.Err, context.Canceled):
		return status.FromContextError(lost.Err).Err()
	case errors.Is(lost.Err, lane.ErrClosed):
		return status.Error(codes.Canceled, lost.Err.Error())
	}
	return lost.Err
}

// unsupported tells whether the server has no streams.
func unsupported(err error) bool {
	var lost *lane.Lost
	return errors.As(err, &lost) && lost.Unsupported
}

// faultError makes an Error of what a server said of an item.
func faultError(f *hostpb.Fault, a attempted) *Error {
	e := &Error{
		Reason: f.GetReason(), Text: f.GetText(), Group: f.GetGroup(), Leader: f.GetLeader(), Server: a.server,
		code: codes.Code(f.GetCode()), answered: true,
	}
	if _, known := hostpb.Reason_name[int32(f.GetReason())]; !known || f.GetReason() == hostpb.Reason_REASON_UNSPECIFIED {
		e.Reason = hostpb.Reason_REASON_INTERNAL
	}
	if f.GetUnknown() && a.effect != reads {
		e.Outcome = Unknown
	}
	return e
}
