package counter

import (
	"context"
	"time"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
)

// Count counts in memory; it is sent later, exactly once. The error is ErrClosed, ErrFull,
// or that of the last sending if the group refused it (what it refused is not counted) or
// does not know any more whether it counted it.
func (c *Counter) Count(amount int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	weight := uint64(amount)
	if amount < 0 {
		weight = -weight
	}
	switch {
	case c.closed:
		return ErrClosed
	case decided(c.err):
		err := c.err
		c.err = nil
		return err
	case weight > c.o.most-min(c.weight, c.o.most):
		return ErrFull
	}
	c.waiting += amount
	c.weight += weight
	if c.timer == nil && c.weight > 0 {
		c.schedule()
	}
	if c.weight > c.o.most/2 && c.err == nil { // after an error Every is soon enough
		c.hurry()
	}
	return nil
}

// hurry sends at once what would wait for the timer. mu is held.
func (c *Counter) hurry() {
	if !c.hurried && c.timer.Stop() {
		c.timer.Reset(0)
	}
	c.hurried = true
}

// schedule sends after a while. mu is held.
func (c *Counter) schedule() {
	c.flights.Add(1)
	c.hurried = false
	c.timer = time.AfterFunc(c.o.every, func() {
		defer c.flights.Done()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = c.Flush(ctx) // Count and Close tell of it
	})
}

// Flush sends what Count counted, and returns when the group has it. After an error other
// than ErrRefused and ErrUnknown it still waits, and is sent again later.
func (c *Counter) Flush(ctx context.Context) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.stuck == nil {
		c.take()
	} else if err := c.ship(ctx); err != nil {
		return err
	} else {
		c.take()
	}
	return c.ship(ctx)
}

// take makes a command of what waits. sending is held.
func (c *Counter) take() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil && c.timer.Stop() {
		c.flights.Done()
	}
	c.timer = nil
	if c.weight > 0 {
		c.stuck, c.heavy = &counterpb.Add{Key: c.key, Amount: c.waiting, Once: NewKey()}, c.weight
		c.waiting = 0
	}
}

// ship sends the command that was made, if there is one. sending is held.
func (c *Counter) ship(ctx context.Context) error {
	if c.stuck == nil {
		return nil
	}
	_, err := c.send(ctx, c.stuck)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	if err == nil || decided(err) {
		c.weight -= c.heavy
		c.stuck, c.heavy = nil, 0
	}
	if c.weight > 0 && c.timer == nil && !c.closed {
		c.schedule()
	}
	return err
}

// Close sends what waits and ends the client. An error says that some of it may not have
// been counted; what was sent with a known outcome was.
func (c *Counter) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	err := c.Flush(ctx)
	c.flights.Wait()
	return err
}
