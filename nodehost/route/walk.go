package route

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/internal/wait"
	"github.com/drumline/drumline/nodehost/route/refs"
	"github.com/drumline/drumline/statemachines"
)

// Pace of the tries for one request.
const (
	firstPause = 10 * time.Millisecond
	longPause  = 250 * time.Millisecond
	// shortTry bounds one try of what may be repeated, unless a third of the time
	// left is more: a host that hangs must not take the whole deadline.
	shortTry = 500 * time.Millisecond
	// maxHints bounds how many hints are followed without a pause.
	maxHints = 3
)

// route does o and returns where the group was led then.
func (r *Router) route(ctx context.Context, o *op) (*hostpb.Location, error) {
	if err := refs.Check(o.ref); err != nil {
		return nil, err
	}
	if o.hops > maxHops {
		return nil, fault.New(fault.Invalid, "the request was forwarded %d times, at most %d are allowed", o.hops, maxHops)
	}
	var before error
	if o.hops == 0 {
		where, done, err := r.straight(ctx, o)
		if done {
			return where, err
		}
		before = err
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	if o.hops > 0 {
		return r.pass(ctx, o)
	}
	w := &walk{r: r, o: o, begun: time.Now()}
	w.doubt(before)
	return w.run(ctx)
}

// straight does o on the replica of this host if that leads the group: what most
// requests come to, at no further cost. Whatever another try may mend is left to a walk.
func (r *Router) straight(ctx context.Context, o *op) (where *hostpb.Location, done bool, err error) {
	where = r.known(o.ref)
	if where == nil || refs.Agree(o.ref, where) != nil {
		return nil, false, nil
	}
	s, ok := r.o.Raft.Status(ids.Group(where.GetId()))
	if !ok || !s.Leading {
		return nil, false, nil
	}
	try, cancel := window(ctx, o.repeatable)
	defer cancel()
	if err = r.here(try, o, where); err == nil {
		return r.ledBy(where, s), true, nil
	}
	return nil, !mends(err) && !(o.repeatable && late(err)), err
}

// walk is one request that looks for the replica that can do it, within its deadline.
type walk struct {
	r *Router
	o *op

	begun time.Time
	where *hostpb.Location // nil while unknown
	// moved: the name was found to lead to a group that is sealed or gone, and a
	// drummer was asked once more.
	moved bool
	asked time.Time // when a drummer was last asked on behalf of this request

	round round
	said  []answer // of the last whole round
	pause time.Duration
	took  time.Duration // by the longest try so far that got an answer
	// unsure: a command that may be repeated was sent, and nobody said what became of it.
	unsure bool
}

// doubt notes what the error of a try leaves open.
func (w *walk) doubt(err error) {
	if err != nil && w.o.repeatable && !w.o.anywhere && (late(err) || errors.As(err, new(silence))) {
		w.unsure = true
	}
}

// answer is what one try came to.
type answer struct {
	at  string
	err *fault.Error
}

// run tries until it is done, cannot be done, or may not go on.
func (w *walk) run(ctx context.Context) (*hostpb.Location, error) {
	for {
		if w.where == nil {
			if err := w.find(ctx); err != nil {
				return nil, err
			}
		}
		t := w.round.next(w)
		tried := time.Now()
		where, err := w.try(ctx, t)
		if err == nil {
			return w.learn(t, where), nil
		}
		w.doubt(err)
		f := fault.Of(err)
		if f == nil {
			return nil, err
		}
		if took := time.Since(tried); ctx.Err() == nil && (!w.o.repeatable || took < shortTry*9/10) {
			w.took = max(w.took, took) // one that was cut off says nothing of how long the next takes
		}
		if ctx.Err() == nil || len(w.said) == 0 {
			// What failed for want of time says nothing about the place.
			w.round.note(t, f)
		}
		if on, err := w.consider(ctx, f); !on {
			return nil, err
		}
	}
}

// find resolves the group, with patience when no drummer answers.
func (w *walk) find(ctx context.Context) error {
	for {
		where, err := w.r.resolve(ctx, w.o)
		if err == nil {
			w.where = where
			return nil
		}
		if !passes(err) {
			return err
		}
		if !w.rest(ctx) {
			if fault.Is(err, fault.NotOpen) {
				return err
			}
			return fault.Wrap(err, fault.Unavailable,
				"this host does not know where group %s is, and no drummer tells it: try again, or through another host", w.o.title()).InGroup(w.o.title())
		}
	}
}

// passes tells whether a drummer may give a better answer in a moment.
func passes(err error) bool {
	switch fault.ReasonOf(err) { //nolint:exhaustive // the others are final
	case fault.Unavailable, fault.NotSupervisor, fault.NotOpen, fault.NoQuorum, fault.NotLeader, fault.Busy:
		return true
	}
	return false
}

// consider decides after a failed try whether to go on, and prepares the next one.
func (w *walk) consider(ctx context.Context, f *fault.Error) (bool, error) {
	switch {
	case w.stale(f):
		return w.move(ctx, f)
	case !w.retryable(f):
		return false, f
	case w.round.again(w, f):
		return w.inTime(ctx)
	}
	if len(w.round.answers) > 0 {
		w.said = w.round.answers
	}
	w.round.reset()
	if !w.rest(ctx) {
		return false, w.giveUp(ctx)
	}
	return w.refresh(ctx)
}

// inTime tells whether there is time for another try.
func (w *walk) inTime(ctx context.Context) (bool, error) {
	if ctx.Err() == nil {
		return true, nil
	}
	return false, w.giveUp(ctx)
}

// retryable tells whether the same request may be tried again after f.
func (w *walk) retryable(f *fault.Error) bool {
	switch f.Reason {
	case fault.NotLeader, fault.NoQuorum, fault.NotOpen, fault.Unavailable, fault.GroupNotFound:
		return true
	case fault.Deadline, fault.UnknownOutcome: // late
		return w.o.repeatable
	default:
		return false
	}
}

// stale tells whether f may only mean that the name has another group now.
func (w *walk) stale(f *fault.Error) bool {
	return w.o.byName() && !w.moved && f.Reason == fault.Sealed
}

// move asks a drummer once more where the name leads, after it led to a group that
// is sealed. The same group again means that it is being deleted.
func (w *walk) move(ctx context.Context, f *fault.Error) (bool, error) {
	w.moved = true
	old := w.where.GetId()
	w.r.directory.drop(statemachines.NameOf(w.where), ids.Group(old))
	// What a drummer was asked after this request had come is news enough.
	where, err := w.r.ask(ctx, w.o.ref, using, time.Since(w.begun))
	switch {
	case fault.Is(err, fault.GroupNotFound):
		return false, err
	case fault.Is(err, fault.NotOpen):
		w.where = nil // the name has a new group, which is being launched
	case err != nil || where.GetId() <= old:
		return false, f
	default:
		w.where = where
	}
	w.round.reset()
	return true, nil
}

// refresh asks a drummer where the group is now: at most once a second, and with no
// harm done if none answers, for the hint may still be good.
func (w *walk) refresh(ctx context.Context) (bool, error) {
	if time.Since(w.asked) < answerFresh {
		return true, nil
	}
	w.asked = time.Now()
	short, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	where, err := w.r.ask(short, w.o.ref, using, answerFresh)
	switch {
	case err == nil:
		w.where = where
	case fault.Is(err, fault.GroupNotFound), fault.Is(err, fault.Sealed):
		w.r.directory.drop(statemachines.NameOf(w.where), ids.Group(w.where.GetId()))
		return false, err
	}
	return true, nil
}

// rest pauses, longer each time, and tells whether there is time left. A pause is
// not begun if no try fits behind it: a command that is sent just before the
// deadline is one of unknown outcome, where "not applied" was known.
func (w *walk) rest(ctx context.Context) bool {
	w.pause = min(max(2*w.pause, firstPause), longPause)
	d := w.pause/2 + rand.N(w.pause/2)
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d+2*w.took {
		return false
	}
	return wait.For(ctx, d)
}

// try does the request at t, in a window of the time left if it may be repeated.
func (w *walk) try(ctx context.Context, t target) (*hostpb.Location, error) {
	if w.o.repeatable {
		end, _ := ctx.Deadline()
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(shortTry, time.Until(end)/3))
		defer cancel()
	}
	if t.here {
		return nil, w.r.here(ctx, w.o, w.where)
	}
	if t.addr == "" {
		return nil, fault.New(fault.Unavailable, "no address of a host of the group is known")
	}
	return w.r.peers.send(ctx, w.o, t.addr, sent{
		group: refs.To(w.where), hops: w.o.hops + 1,
		locate: w.where.GetLeaderApi() != t.addr,
	})
}

// here does o on the replica of this host. That this host has none says nothing of
// the group.
func (r *Router) here(ctx context.Context, o *op, where *hostpb.Location) error {
	err := o.local(ctx, ids.Group(where.GetId()))
	if err == nil {
		return nil
	}
	f := fault.Of(err)
	switch {
	case f == nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)):
		return fault.Wrap(err, fault.UnknownOutcome, "group %s did not answer in time", o.title())
	case f == nil:
		return fault.Wrap(err, fault.Internal, "group %s", o.title())
	case f.Reason == fault.GroupNotFound:
		return fault.New(fault.NotLeader, "this host has no replica of it")
	}
	if f.Leader == "" && f.LeaderHost != "" {
		// A copy: the fault may be shared by the callers of one batch.
		g := *f
		g.Leader = r.api(ids.Host(f.LeaderHost), where)
		return &g
	}
	return f
}

// learn remembers where the request was done and returns it for the answer.
func (w *walk) learn(t target, where *hostpb.Location) *hostpb.Location {
	if t.here {
		return w.r.led(w.where)
	}
	switch where.GetId() {
	case 0: // nothing new
		return w.where
	case w.where.GetId():
		return w.r.directory.learn(where)
	}
	return where
}

// led returns where a group with a replica on this host is led, and remembers it.
func (r *Router) led(where *hostpb.Location) *hostpb.Location {
	s, ok := r.o.Raft.Status(ids.Group(where.GetId()))
	if !ok {
		return where
	}
	return r.ledBy(where, s)
}

// ledBy is led with what the replica of this host knows.
func (r *Router) ledBy(where *hostpb.Location, s raft.Status) *hostpb.Location {
	leader := s.LeaderHost
	if s.Leading {
		leader = r.o.Self
	}
	api := r.api(leader, where)
	if string(leader) == where.GetLeaderHost() && api == where.GetLeaderApi() {
		return where
	}
	return r.directory.learn(&hostpb.Location{
		Name: where.GetName(), Region: where.GetRegion(), Id: where.GetId(), Members: where.GetMembers(), Version: where.GetVersion(),
		LeaderHost: string(leader), LeaderApi: api,
	})
}
