package sequence

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// Errors of reservations; use errors.Is.
var (
	// ErrExpired says that the reservation is over: the number is, or will be, somebody else's.
	ErrExpired = errors.New("the reservation is over")
	// ErrUnsure says that nobody knows whether the number is committed: the answer was lost,
	// and the group has forgotten the client since.
	ErrUnsure = errors.New("it is not known whether the number is committed")
)

// GapFree reserves the numbers of a gap-free sequence. Its methods may be called from any
// goroutine. Close it when it is not used any more.
//
// A number is reserved first, and final when it is committed. What was cancelled, or not
// committed in time, is the next to be reserved, by whomever: so the committed numbers are
// 1 to n without a gap as soon as nothing is reserved.
type GapFree struct {
	name, key string
	desk      desk
	ctx       context.Context // ends with Close
	end       context.CancelFunc
	work      sync.WaitGroup // Add only under mu while not closed

	mu     sync.Mutex
	closed bool                  // guarded by mu
	open   map[*Reservation]bool // guarded by mu: neither committed nor cancelled
}

// NewGapFree makes the client of the gap-free sequence of that key in a group. name is for
// errors. Of the options only Timeout matters.
func NewGapFree(group Group, name, key string, opts ...Option) *GapFree {
	g := &GapFree{name: name, key: key, open: map[*Reservation]bool{}}
	g.desk.start(group, gather(opts).timeout, nil)
	g.ctx, g.end = context.WithCancel(context.Background())
	return g
}

// Reservation is a number that nobody else gets while it is reserved. Its methods may be
// called from any goroutine.
type Reservation struct {
	g      *GapFree
	number int64
	token  uint64
	until  time.Time

	mu     sync.Mutex
	ticket ticket // guarded by mu: of the commit, once it was tried
	tried  bool   // guarded by mu: to commit
	end    error  // guarded by mu: what became of it, once that stays
}

// sweepEach is after how many more open reservations those that are over are looked for.
const sweepEach = 256

// What became of a reservation.
var (
	errCommitted = errors.New("it is committed")
	errCancelled = errors.New("it is cancelled")
)

// enter lets a call in that Close waits for, and ends its context with Close.
func (g *GapFree) enter(ctx context.Context) (context.Context, func(), error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, nil, fmt.Errorf("%s: %w", g.name, ErrClosed)
	}
	g.work.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(g.ctx, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil); g.work.Done() }, nil
}

// Reserve reserves the least number there is, for the time that the sequence's definition
// says, or that For says. It asks until there is an answer or ctx ends; a number whose
// answer was lost for good is free again when its reservation is over.
func (g *GapFree) Reserve(ctx context.Context, opts ...ReserveOption) (*Reservation, error) {
	wish := &sequencepb.Reserve{Key: g.key}
	for _, opt := range opts {
		opt(wish)
	}
	ctx, leave, err := g.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	began, t := time.Now(), ticket{}
	r, err := g.desk.do(ctx, &t, func(c *sequencepb.Command) {
		began = time.Now()
		wish.Incarnation = g.desk.of()
		c.Op = &sequencepb.Command_Reserve{Reserve: wish}
	})
	g.desk.settle(t.client, t.serial)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: reserve a number: %w", g.name, err)
	case r.GetReservation() == nil:
		return nil, fmt.Errorf("%s: reserve a number: %w", g.name, refusalOf(r))
	}
	got := r.GetReservation()
	g.desk.met(got.GetIncarnation())
	lasts := time.Duration(got.GetForMs()) * time.Millisecond //nolint:gosec // a day at most
	res := &Reservation{g: g, number: got.GetNumber(), token: got.GetToken(), until: began.Add(lasts)}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open[res] = true
	if len(g.open)%sweepEach == 0 { // those that somebody forgot, and that are over
		maps.DeleteFunc(g.open, func(r *Reservation, _ bool) bool { return began.After(r.until) })
	}
	return res, nil
}

// ReserveOption changes a reservation.
type ReserveOption func(*sequencepb.Reserve)

// For is how long the number stays reserved, at most a day.
func For(d time.Duration) ReserveOption {
	return func(r *sequencepb.Reserve) { r.ForMs = uint64(max(d.Milliseconds(), 1)) } //nolint:gosec // positive
}

// Number is the number reserved.
func (r *Reservation) Number() int64 { return r.number }

// Until is when the reservation may be over at the earliest, by this machine's clock.
// Commit later than that may still succeed, or be ErrExpired.
func (r *Reservation) Until() time.Time { return r.until }

// Commit makes the number final. After an error other than ErrExpired, ErrUnsure and
// ErrClosed it may be or not; Commit again then finds out, however often. Once it is
// committed, Commit is nil.
func (r *Reservation) Commit(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case errors.Is(r.end, errCommitted):
		return nil
	case r.end != nil:
		return r.failed("commit", r.end)
	}
	ctx, leave, err := r.g.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	r.tried = true
	d := &r.g.desk
	res, err := d.do(ctx, &r.ticket, func(c *sequencepb.Command) {
		c.Op = &sequencepb.Command_Commit{Commit: &sequencepb.Commit{Key: r.g.key, Number: r.number, Token: r.token}}
	})
	if err != nil {
		return r.failed("commit", err)
	}
	d.settle(r.ticket.client, r.ticket.serial)
	r.end = errCommitted
	if res.GetOutcome() != sequencepb.Outcome_OUTCOME_OK {
		r.end = r.lost(res)
	}
	r.g.finished(r)
	if errors.Is(r.end, errCommitted) {
		return nil
	}
	return r.failed("commit", r.end)
}

// lost is why a number could not be committed.
func (r *Reservation) lost(res *sequencepb.Result) error {
	switch {
	case res.GetOutcome() == sequencepb.Outcome_OUTCOME_NOT_HELD && r.ticket.unsure:
		return ErrUnsure
	case res.GetOutcome() == sequencepb.Outcome_OUTCOME_NOT_HELD:
		return ErrExpired
	}
	return refusalOf(res)
}

// Cancel gives the number up: it is the next to be reserved. A reservation that is over is
// no error. A number whose commit was tried cannot be cancelled: it may be committed.
func (r *Reservation) Cancel(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case errors.Is(r.end, errCancelled) || errors.Is(r.end, ErrExpired):
		return nil
	case r.end != nil:
		return r.failed("cancel", r.end)
	case r.tried:
		return r.failed("cancel", ErrUnsure)
	}
	ctx, leave, err := r.g.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return r.cancel(ctx)
}

// cancel is Cancel; mu is held.
func (r *Reservation) cancel(ctx context.Context) error {
	t := ticket{}
	_, err := r.g.desk.do(ctx, &t, func(c *sequencepb.Command) {
		c.Op = &sequencepb.Command_Cancel{Cancel: &sequencepb.Cancel{Key: r.g.key, Number: r.number, Token: r.token}}
	})
	r.g.desk.settle(t.client, t.serial)
	if err != nil {
		return r.failed("cancel", err) // it ends by itself
	}
	r.end = errCancelled
	r.g.finished(r)
	return nil
}

func (r *Reservation) failed(what string, err error) error {
	return fmt.Errorf("%s: %s number %d: %w", r.g.name, what, r.number, err)
}

// finished notes that nothing is left to do for a reservation.
func (g *GapFree) finished(r *Reservation) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, r)
}

// Close cancels what was reserved and neither committed nor tried to be, so that others
// need not wait until it is over. It returns within a second whatever the network does.
func (g *GapFree) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil
	}
	g.closed = true
	var open []*Reservation
	for r := range g.open {
		open = append(open, r)
	}
	g.mu.Unlock()
	g.end()
	g.work.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	var errs []error
	for _, r := range open {
		r.mu.Lock()
		if r.end == nil && !r.tried && ctx.Err() == nil {
			errs = append(errs, r.cancel(ctx))
		}
		r.mu.Unlock()
	}
	if err := g.desk.leave(ctx); err != nil {
		errs = append(errs, fmt.Errorf("%s: close: %w", g.name, err))
	}
	return errors.Join(errs...)
}
