package sequence

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// Sequence hands out the numbers of one sequence. Its methods may be called from any
// goroutine. Close it when it is not used any more.
type Sequence struct {
	name string // for errors
	key  string
	o    options

	current atomic.Pointer[span]

	ctx  context.Context // of flights; ends with Close
	end  context.CancelFunc
	work sync.WaitGroup
	wake chan struct{} // a low-water mark was passed

	mu      sync.Mutex
	changed chan struct{} // guarded by mu: closed, and replaced, whenever a waiter should look again
	ready   []*span       // guarded by mu: in the order of handing out
	flights []*flight     // guarded by mu: in the order of their numbers
	flown   uint64        // guarded by mu: the newest flight's number
	waiting uint64        // guarded by mu: callers that need a number now
	size    uint64        // guarded by mu: of the next range
	ahead   int           // guarded by mu: ranges to have ahead; 0: only what callers wait for
	known   bool          // guarded by mu: the mode is known
	failed  uint64        // guarded by mu: how often ranges were refused
	refused uint64        // guarded by mu: the newest flight that was
	err     error         // guarded by mu: why, the last time
	final   bool          // guarded by mu: err stays
	trouble error         // guarded by mu: why the newest try failed; nil when it did not
	closed  bool          // guarded by mu

	desk desk
	pump sync.Once
	out  chan int64
}

// New makes the client of the sequence of that key in a group; the key is empty for a
// group that is one sequence. name is for errors. Nothing is sent before the first Next.
func New(group Group, name, key string, opts ...Option) *Sequence {
	q := &Sequence{
		name: name, key: key, wake: make(chan struct{}, 1), changed: make(chan struct{}),
		o: gather(opts),
	}
	if q.size = q.o.buffer; q.o.buffer > 1 {
		q.ahead, q.known = 1, true
	}
	q.out = make(chan int64, q.o.room)
	q.desk.start(group, q.o.timeout, q.note)
	q.ctx, q.end = context.WithCancel(context.Background())
	q.work.Go(q.feed)
	return q
}

// Next is the next number. While ranges are in hand it takes no lock and waits for nobody.
func (q *Sequence) Next(ctx context.Context) (int64, error) {
	if s := q.current.Load(); s != nil {
		if i := s.taken.Add(1) - 1; i < s.count {
			if i == s.low {
				q.kick()
			}
			return s.number(i), nil
		}
	}
	return q.await(ctx)
}

// kick lets the feeder look whether ranges are needed.
func (q *Sequence) kick() {
	select {
	case q.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// feed gets ranges whenever a low-water mark was passed.
func (q *Sequence) feed() {
	for {
		select {
		case <-q.ctx.Done():
			return
		case <-q.wake:
		}
		q.mu.Lock()
		q.launch()
		q.mu.Unlock()
	}
}

// await is Next when no number is at hand.
func (q *Sequence) await(ctx context.Context) (int64, error) {
	q.mu.Lock()
	failed := q.failed
	for {
		if n, taken := q.take(); taken {
			q.mu.Unlock()
			return n, nil
		}
		if err := q.hopeless(failed); err != nil {
			q.mu.Unlock()
			return 0, err
		}
		q.waiting++
		q.launch()
		changed := q.changed
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		q.mu.Lock()
		q.waiting--
		if ctx.Err() != nil {
			err := q.late(ctx.Err())
			q.mu.Unlock()
			return 0, err
		}
	}
}

// take takes a number of the current range, or of the next one that can be begun. mu is held.
func (q *Sequence) take() (int64, bool) {
	for {
		s := q.current.Load()
		if s != nil && s.left() {
			if i := s.taken.Add(1) - 1; i < s.count {
				if i == s.low {
					q.launch()
				}
				return s.number(i), true
			}
		}
		next := q.begin()
		if next == nil {
			return 0, false
		}
		if s != nil {
			q.fit(s)
			q.desk.settle(s.client, s.serial)
		}
		q.current.Store(next)
	}
}

// begin takes the next range to hand out from those that are ready: the lowest, unless
// one that is still on its way may turn out to be lower. mu is held.
func (q *Sequence) begin() *span {
	if len(q.ready) == 0 || q.closed {
		return nil
	}
	s := q.ready[0]
	if len(q.flights) > 0 && q.flights[0].number <= s.after {
		return nil
	}
	q.ready = q.ready[1:]
	s.began = time.Now()
	return s
}

// fit fits the size of ranges, and how many are had ahead, to how long one lasted. mu is held.
func (q *Sequence) fit(s *span) {
	if q.ahead == 0 {
		return
	}
	lasted := time.Since(s.began)
	if q.ahead = 2; lasted < 100*time.Millisecond {
		q.ahead = mostAhead
	}
	switch {
	case q.o.buffer > 0: // the size is fixed
	case lasted < q.o.lasting && s.count >= q.size: // it was as large as it could be
		q.size = min(q.size*2, q.o.maxRange)
	case lasted > 4*q.o.lasting:
		q.size = max(q.size/2, 1)
	}
}

// hopeless is why a caller should not go on waiting: a range was refused since it came,
// and none is left that was sent for earlier. mu is held.
func (q *Sequence) hopeless(failed uint64) error {
	switch {
	case q.closed:
		return ErrClosed
	case q.final:
		return q.err
	case q.failed == failed || len(q.ready) > 0 || (len(q.flights) > 0 && q.flights[0].number < q.refused):
		return nil
	}
	return q.err
}

// late is the error of a caller whose context ended. mu is held.
func (q *Sequence) late(cause error) error {
	if q.trouble != nil {
		return fmt.Errorf("%s has no number at hand: %w; what it waits for: %w", q.name, cause, q.trouble)
	}
	return fmt.Errorf("%s has no number at hand: %w", q.name, cause)
}

// announce lets all who wait look again. mu is held.
func (q *Sequence) announce() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// Range is numbers that belong together: First, First+Step and so on, Count of them.
type Range struct {
	First, Step int64
	Count       uint64
	bits        uint
}

// Number is the one of an index below Count; of a scattered sequence, the only way to it.
func (r Range) Number(i uint64) int64 {
	return (&span{first: r.First, step: r.Step, bits: r.bits}).number(i)
}

// NextN is n numbers that nobody else gets, in one range and beyond all that was handed
// out by the group before; numbers that this Sequence has in hand lie below them. It
// fails with ErrExhausted when the sequence has no such range.
func (q *Sequence) NextN(ctx context.Context, n uint64) (Range, error) {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return Range{}, ErrClosed
	}
	q.work.Add(1) // under mu, so that it never meets Close's Wait
	q.mu.Unlock()
	defer q.work.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(q.ctx, cancel)
	defer stop()
	s, err := q.fetch(ctx, n, true)
	if err != nil {
		return Range{}, fmt.Errorf("%s: %w", q.name, err)
	}
	q.desk.settle(s.client, s.serial)
	return Range{First: s.first, Step: s.step, Count: s.count, bits: s.bits}, nil
}

// Stream is Next as a channel, for those who come from rr_seq: every call returns the
// same one, so its readers share the numbers. It has room for as many as Buffer says, is
// closed by Close or by an error that stays (Err), and what is in it then can be read.
func (q *Sequence) Stream() <-chan int64 {
	q.pump.Do(func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.closed {
			close(q.out)
			return
		}
		q.work.Go(q.fill)
	})
	return q.out
}

// fill fills the channel. What passes by itself is waited for.
func (q *Sequence) fill() {
	defer close(q.out)
	for {
		n, err := q.Next(q.ctx)
		if err != nil {
			if q.Err() != nil || q.ctx.Err() != nil || !wait(q.ctx, mostPause) {
				return
			}
			continue
		}
		select {
		case q.out <- n:
		case <-q.ctx.Done():
			return
		}
	}
}

// Err is the error that stays, if there is one: ErrDifferent, or ErrClosed after Close.
func (q *Sequence) Err() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.final:
		return q.err
	case q.closed:
		return ErrClosed
	}
	return nil
}

// Close gives back what was not used and ends the Sequence. It returns within a second
// whatever the network does; what could not be given back then is a gap.
func (q *Sequence) Close() error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return nil
	}
	q.closed = true
	q.announce()
	q.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	q.land(ctx)
	q.end()
	err := q.giveBack(ctx)
	q.work.Wait()
	return err
}

// giveBack gives the unused back, the last range first, and forgets the client.
func (q *Sequence) giveBack(ctx context.Context) error {
	q.mu.Lock()
	spans := q.ready
	if s := q.current.Load(); s != nil {
		spans = append([]*span{s}, spans...)
	}
	q.ready = nil
	q.mu.Unlock()
	var errs []error
	for i := len(spans) - 1; i >= 0; i-- {
		if unused := spans[i].retire(); unused > 0 {
			errs = append(errs, q.desk.giveBack(ctx, q.key, spans[i], unused))
		}
		q.desk.settle(spans[i].client, spans[i].serial)
	}
	errs = append(errs, q.desk.leave(ctx))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: give numbers back: %w", q.name, err)
	}
	return nil
}

// mode takes what the first grant tells. mu is held.
func (q *Sequence) mode(g *sequencepb.Grant) {
	if q.known || q.o.buffer > 0 {
		return
	}
	q.known = true
	if m := g.GetMode(); m == sequencepb.Mode_MODE_CACHED || m == sequencepb.Mode_MODE_SCATTER {
		q.ahead, q.size = 2, min(max(g.GetCache(), leastRange), q.o.maxRange)
	}
}
