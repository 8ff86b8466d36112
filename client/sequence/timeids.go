package sequence

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// ErrClockBack says that the clock shows a time that was used before; see FailOnClockBack.
var ErrClockBack = errors.New("the clock is behind time stamps that are in use")

// What a lease's holder leaves unused, for clocks that run apart.
const (
	leaseMargin     = 50 * time.Millisecond
	leaseDrift      = 50 // one part in so many, 2 %
	renewAt         = 2  // a lease is renewed when one part in so many is over
	longestRenewing = 2 * time.Second
)

// FailOnClockBack lets Next of TimeIDs fail with ErrClockBack when the clock is behind the
// newest time stamp that was used; by default it waits until the clock is there again.
func FailOnClockBack() Option { return func(o *options) { o.failBack = true } }

// TimeIDs makes the numbers of a sequence of mode time: of milliseconds, the number of a
// worker that it leases, and a counter. Its methods may be called from any goroutine.
// Close it when it is not used any more.
//
// A number costs no round trip. The lease is renewed while numbers are made; one that ran
// out, by the monotonic or the wall clock, stops them until there is another. What makes
// numbers unique is no clock: time stamps are of a window that nobody else has, and each
// is greater than the one before or has a higher counter. A paused process and a clock
// that jumps cost time, never a number that is made twice.
type TimeIDs struct {
	name, key string
	o         options
	desk      desk
	now       func() time.Time
	ctx       context.Context // ends with Close
	end       context.CancelFunc
	work      sync.WaitGroup
	wake      chan struct{} // somebody needs the lease

	mu      sync.Mutex
	changed chan struct{} // guarded by mu: closed and replaced when a waiter should look again
	held    *tenure       // guarded by mu: nil without a lease
	stamp   uint64        // guarded by mu: the newest that was used, of any tenure
	counter uint64        // guarded by mu: the next of that stamp
	failed  uint64        // guarded by mu: how often no lease was given
	err     error         // guarded by mu: why, the last time
	final   error         // guarded by mu: it stays
	closed  bool          // guarded by mu
}

// tenure is a lease of a worker.
type tenure struct {
	w           *sequencepb.Worker
	began, ends time.Time // ends counts, with the margin, from before it was asked for
}

// NewTimeIDs makes the client of the time sequence of that key in a group. name is for
// errors. Of the options only Timeout and FailOnClockBack matter. Nothing is sent before
// the first Next.
func NewTimeIDs(group Group, name, key string, opts ...Option) *TimeIDs {
	return newTimeIDs(group, name, key, time.Now, opts...)
}

func newTimeIDs(group Group, name, key string, now func() time.Time, opts ...Option) *TimeIDs {
	m := &TimeIDs{name: name, key: key, o: gather(opts), now: now, wake: make(chan struct{}, 1), changed: make(chan struct{})}
	m.desk.start(group, m.o.timeout, nil)
	m.ctx, m.end = context.WithCancel(context.Background())
	m.work.Go(m.keep)
	return m
}

// over tells whether a lease has ended by either clock: a machine that slept stops its
// monotonic clock, and a wall clock can be set.
func (t *tenure) over(now time.Time) bool {
	return !now.Before(t.ends) || !now.Round(0).Before(t.ends.Round(0))
}

// stale tells whether a lease is to be renewed.
func (t *tenure) stale(now time.Time) bool {
	return t.over(now) || now.Sub(t.began) > t.ends.Sub(t.began)/renewAt
}

// Next is the next number. It waits for a lease, for the clock, and for the next
// millisecond when the counter is used up.
func (m *TimeIDs) Next(ctx context.Context) (int64, error) {
	m.mu.Lock()
	failed := m.failed
	for {
		n, pause, err := m.make()
		if err == nil && pause > 0 {
			err = m.hopeless(failed, pause)
		}
		changed := m.changed
		m.mu.Unlock()
		switch {
		case err != nil:
			return 0, fmt.Errorf("%s: %w", m.name, err)
		case pause == 0:
			return n, nil
		}
		if !await(ctx, changed, pause) {
			return 0, fmt.Errorf("%s: wait for a number: %w", m.name, m.desk.waiting(ctx.Err()))
		}
		m.mu.Lock()
	}
}

// forLease is the pause of who waits for a lease, which is told when there is one.
const forLease = time.Hour

// make makes a number, or says for how long to wait; mu is held.
func (m *TimeIDs) make() (n int64, pause time.Duration, err error) {
	now, t := m.now(), m.held
	switch {
	case m.closed:
		return 0, 0, ErrClosed
	case m.final != nil:
		return 0, 0, m.final
	case t == nil || t.over(now):
		m.kick()
		return 0, forLease, nil
	case t.stale(now):
		m.kick()
	}
	w := t.w
	ms := uint64(max(now.UnixMilli(), 0)) //nolint:gosec // not negative
	if newest := max(m.stamp, w.GetFloorMs()); ms < newest || ms == w.GetFloorMs() {
		return m.behind(time.Duration(newest-ms)*time.Millisecond + time.Millisecond) //nolint:gosec // the clock's own distance
	}
	switch {
	case ms > w.GetCeilingMs():
		m.kick()
		return 0, forLease, nil
	case ms > m.stamp:
		m.stamp, m.counter = ms, 0
	case m.counter>>w.GetLayout().GetCounterBits() > 0:
		return 0, time.UnixMilli(int64(ms)+1).Sub(now) + time.Microsecond, nil //nolint:gosec // it was a time
	}
	m.counter++
	return compose(w, ms, m.counter-1), 0, nil
}

// behind is what becomes of a caller while the clock is behind.
func (m *TimeIDs) behind(by time.Duration) (int64, time.Duration, error) {
	if m.o.failBack {
		return 0, 0, fmt.Errorf("%w by %v", ErrClockBack, by)
	}
	return 0, by, nil
}

// compose puts a number together.
func compose(w *sequencepb.Worker, ms, counter uint64) int64 {
	l := w.GetLayout()
	n := ms - l.GetEpochMs()
	n = n<<l.GetWorkerBits() | uint64(w.GetWorker())
	return int64(n<<l.GetCounterBits() | counter) //nolint:gosec // 63 bits at most
}

// hopeless is why a caller should not go on waiting for a lease; mu is held.
func (m *TimeIDs) hopeless(failed uint64, pause time.Duration) error {
	if pause == forLease && m.failed != failed {
		return m.err
	}
	return nil
}

// kick lets the keeper look at the lease.
func (m *TimeIDs) kick() {
	select {
	case m.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// await waits; false when ctx ended first.
func await(ctx context.Context, changed <-chan struct{}, pause time.Duration) bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-ctx.Done():
		return false
	}
	return true
}

// keep leases when somebody needs it, and not at once again after a refusal.
func (m *TimeIDs) keep() {
	for pause := (backoff{}); ; {
		select {
		case <-m.ctx.Done():
			return
		case <-m.wake:
		}
		m.mu.Lock()
		needed := m.final == nil && (m.held == nil || m.held.stale(m.now()) || uint64(max(m.now().UnixMilli(), 0)) > m.held.w.GetCeilingMs()) //nolint:gosec // not negative
		held := m.held
		m.mu.Unlock()
		switch {
		case !needed:
		case m.lease(held):
			pause = backoff{}
		case !pause.wait(m.ctx):
			return
		}
	}
}

// lease renews a lease, or begins one, and tells whether there is one. One that cannot be
// renewed is somebody else's, and another is begun the next time.
func (m *TimeIDs) lease(held *tenure) bool {
	ctx := m.ctx
	if held != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, longestRenewing)
		defer cancel()
	}
	t, began := ticket{}, time.Time{}
	r, err := m.desk.do(ctx, &t, func(c *sequencepb.Command) {
		began = m.now()
		l := &sequencepb.LeaseWorker{Key: m.key, NowMs: uint64(max(began.UnixMilli(), 0)), Incarnation: m.desk.of()} //nolint:gosec // not negative
		if held != nil {
			l.Worker, l.Token = proto.Uint32(held.w.GetWorker()), held.w.GetToken()
		}
		c.Op = &sequencepb.Command_LeaseWorker{LeaseWorker: l}
	})
	m.desk.settle(t.client, t.serial)
	if err == nil && r.GetWorker() == nil {
		err = refusalOf(r)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.announce()
	switch {
	case err == nil:
		m.desk.met(r.GetWorker().GetIncarnation())
		lasts := time.Duration(r.GetWorker().GetLeaseMs()) * time.Millisecond //nolint:gosec // a day at most
		m.held = &tenure{w: r.GetWorker(), began: began, ends: began.Add(lasts - lasts/leaseDrift - leaseMargin)}
	case r.GetOutcome() == sequencepb.Outcome_OUTCOME_NOT_HELD:
		m.held = nil
		m.kick()
	case held != nil && ctx.Err() != nil: // the group is away: callers wait for it until they give up
		if held.over(m.now()) {
			m.held = nil
		}
		m.kick()
	case held == nil || held.over(m.now()):
		m.failed++
		m.err = err
	}
	if err != nil && final(err) {
		m.final = err
	}
	return err == nil
}

// announce lets all who wait look again. mu is held.
func (m *TimeIDs) announce() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// Close gives the worker free and ends the TimeIDs, within a second.
func (m *TimeIDs) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	m.announce()
	m.mu.Unlock()
	m.end()
	m.work.Wait()
	if m.held == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	t := ticket{}
	_, err := m.desk.do(ctx, &t, func(c *sequencepb.Command) {
		free := &sequencepb.ReleaseWorker{Key: m.key, Worker: m.held.w.GetWorker(), Token: m.held.w.GetToken()}
		c.Op = &sequencepb.Command_ReleaseWorker{ReleaseWorker: free}
	})
	if err = errors.Join(err, m.desk.leave(ctx)); err != nil {
		return fmt.Errorf("%s: give worker %d free: %w", m.name, m.held.w.GetWorker(), err)
	}
	return nil
}
