package capacity

import (
	"context"
	"errors"
	"fmt"
)

// Resource is a share of one resource, kept by its client: leased, asked for again in
// time, and replaced by the safe capacity when the lease ends. Its methods may be called
// from any goroutine.
type Resource struct {
	c    *Client
	name string

	account *account      // guarded by c.mu
	last    State         // guarded by c.mu: as last announced
	changed chan struct{} // guarded by c.mu: closed at the next change
	fresh   chan State    // holds the newest state; sent to and closed under c.mu
	over    bool          // guarded by c.mu
}

// Name returns the resource's name.
func (r *Resource) Name() string { return r.name }

// State is what may be used now. Both clocks are read for it, so that it is right even
// when the machine has just woken up or its clock was set.
func (r *Resource) State() State {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return r.look()
}

// Watch returns what may be used now, and a channel that is closed when that changes.
func (r *Resource) Watch() (State, <-chan struct{}) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return r.look(), r.changed
}

// Changes carries every change of the capacity to one reader, the first grant being the
// first. A reader that is slow finds the newest state only. It is closed by Release and Close.
func (r *Resource) Changes() <-chan State { return r.fresh }

// Wants is what is asked for.
func (r *Resource) Wants() float64 {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return r.account.wants
}

// SetWants changes what is asked for. From this call on no more than wants is used; it is
// sent soon after.
func (r *Resource) SetWants(wants float64) error {
	if err := checkWants(wants); err != nil {
		return err
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if r.over {
		return ErrClosed
	}
	r.account.want(r.c.now(), wants, r.c.gap)
	r.look()
	r.c.poke()
	return nil
}

// Err is why the last request got no lease; nil if it got one.
func (r *Resource) Err() error {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if r.account.err == nil {
		return nil
	}
	return fmt.Errorf("lease %s: %w", r.name, r.account.err)
}

// Await waits for a lease. It returns early when the resource is refused, because it does
// not exist for example; the client goes on asking all the same, more and more seldom.
func (r *Resource) Await(ctx context.Context) error {
	for {
		s, changed := r.Watch()
		err := r.Err()
		switch {
		case s.Basis == Leased:
			return nil
		case s.Basis == Released:
			return ErrClosed
		case refused(err):
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("lease %s: %w", r.name, context.Cause(ctx)), err)
		}
	}
}

// Release gives the share back: nothing is used from this call on, and the server is told
// in the background. It may be called more than once.
func (r *Resource) Release() {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if r.over {
		return
	}
	if r.account.ever {
		r.c.releasing[r.name] = true
	}
	delete(r.c.open, r.name)
	r.end()
	r.c.poke()
}

// end announces that it is over; with the client's lock held.
func (r *Resource) end() {
	if r.over {
		return
	}
	r.over = true
	r.look()
	close(r.fresh)
}

// look finds the state and announces it if it changed; with the client's lock held.
func (r *Resource) look() State {
	s := State{Basis: Released}
	if !r.over {
		s = r.account.state(r.c.now())
	}
	if s.same(r.last) {
		return s
	}
	r.last = s
	r.stir()
	select { // the newest replaces what nobody has read
	case <-r.fresh:
	default:
	}
	r.fresh <- s
	return s
}

// stir wakes those that watch; with the client's lock held.
func (r *Resource) stir() {
	close(r.changed)
	r.changed = make(chan struct{})
}
