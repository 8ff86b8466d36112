package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/replicas"
)

// Agent attends on the drummers.
type Agent struct {
	o   Options
	dir *directory
	// welcomed is closed with the first welcome.
	welcomed chan struct{}
	// leaving is closed by Goodbye, done when Run has returned.
	leaving, done chan struct{}
	leave         sync.Once
	welcomeOnce   sync.Once

	mu sync.Mutex
	// session is the open one, or nil.
	session *session
	stats   Stats
	// dirty is what may have changed since it was last compared; the value tells
	// that the replica is gone.
	dirty map[replicas.Key]bool
	// refusedFirst began the refusals that refusedLast is the latest of.
	refusedFirst, refusedLast time.Time
	// said is the last failure of each drummer, by address.
	said map[string]string
}

// Stats is how the line to Drummer is.
type Stats struct {
	// Drummer that the stream is open to; empty when there is none.
	Drummer string
	// Incarnation and Term of the supervisor last obeyed in a welcome.
	Incarnation, Term uint64
	// Heard is when a drummer was heard last; zero for never.
	Heard time.Time
	// Sessions counts welcomes, Failures attempts that ended without one.
	Sessions, Failures uint64
}

// New makes an Agent and reads the directory; Run begins.
func New(o Options) (*Agent, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	dir, err := openDirectory(o.DB)
	if err != nil {
		return nil, err
	}
	return &Agent{
		o: o, dir: dir, dirty: make(map[replicas.Key]bool), said: make(map[string]string),
		welcomed: make(chan struct{}), leaving: make(chan struct{}), done: make(chan struct{}),
	}, nil
}

// Welcomed is closed when a drummer first took this host in.
func (a *Agent) Welcomed() <-chan struct{} { return a.welcomed }

// Stats returns how the line to Drummer is.
func (a *Agent) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stats
	if a.session != nil {
		s.Heard = a.session.lastHeard()
	}
	return s
}

// Changed tells that a replica's report may have changed, or that it is gone. It
// does not block.
func (a *Agent) Changed(k replicas.Key, gone bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.session == nil {
		return // the next hello tells
	}
	a.dirty[k] = gone
	a.session.poke()
}

// Goodbye tells the supervisor that the host stops on purpose, closes the stream
// and ends Run. It returns when Run has, or with ctx.
func (a *Agent) Goodbye(ctx context.Context) error {
	a.leave.Do(func() { close(a.leaving) })
	select {
	case <-a.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("goodbye: %w", ctx.Err())
	}
}

// Run attends until ctx ends or Goodbye is called, and returns nil then. It returns
// a *Refusal when a drummer refuses the host for longer than Patience. It is called
// once.
func (a *Agent) Run(ctx context.Context) error {
	defer close(a.done)
	c := course{least: a.o.PauseLeast, most: a.o.PauseMost, configured: a.o.Drummers}
	for {
		c.learnt = a.dir.learnt()
		addr := c.pick()
		end := a.attend(ctx, addr)
		if refusal := a.judge(addr, end); refusal != nil {
			return refusal
		}
		if end.welcomed && !errors.Is(end.err, errSilent) {
			c.welcomed(addr)
		}
		if end.redirect != nil && c.redirected(*end.redirect) && !a.left(ctx) {
			continue
		}
		if !a.rest(ctx, c.wait(rand.Float64())) { //nolint:gosec // jitter, no secret
			return nil
		}
	}
}

// judge counts how an attempt ended, and tells when a refusal is to be believed.
func (a *Agent) judge(addr string, e end) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e.welcomed || e.redirect != nil {
		return nil
	}
	a.stats.Failures++
	if !e.refused {
		a.failed(addr, e.err)
		return nil
	}
	if fault.Is(e.err, fault.HostRefused) {
		return &Refusal{Drummer: addr, Cause: e.err}
	}
	if fault.Is(e.err, fault.Invalid) && a.dir.attended() != "" {
		// A host that was welcomed once does not stop for a mistake in a configuration.
		a.o.Log.Warn("drummer does not understand this host, or is of another deployment", "drummer", addr, "err", e.err)
		return nil
	}
	now := time.Now()
	if now.Sub(a.refusedLast) > a.o.Patience {
		a.refusedFirst = now
		a.o.Log.Warn("drummer refuses this host", "drummer", addr, "err", e.err, "patience", a.o.Patience)
	}
	a.refusedLast = now
	if now.Sub(a.refusedFirst) < a.o.Patience {
		return nil
	}
	return &Refusal{Drummer: addr, Cause: e.err}
}

// failed logs why a drummer was left, loudly when it is news: a host that drummers
// turn away for good (of another fleet, say) must not be silent about it. mu is held.
func (a *Agent) failed(addr string, err error) {
	level, text := slog.LevelDebug, fmt.Sprint(err)
	if a.said[addr] != text {
		a.said[addr] = text
		level = slog.LevelWarn
	}
	a.o.Log.Log(context.Background(), level, "drummer does not attend this host", "drummer", addr, "err", err)
}

// Refused tells whether a drummer refused this host lately and none has welcomed it
// since: it must not start anything then, even alone.
func (a *Agent) Refused() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Since(a.refusedLast) <= a.o.Patience
}

func (a *Agent) left(ctx context.Context) bool {
	select {
	case <-a.leaving:
		return true
	default:
		return ctx.Err() != nil
	}
}

// rest waits; false when it is time to leave.
func (a *Agent) rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return !a.left(ctx)
	case <-ctx.Done():
		return false
	case <-a.leaving:
		return false
	}
}

// opened makes a session the current one, before its hello is built, so that no
// change between the two is missed.
func (a *Agent) opened(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.session = s
	clear(a.dirty)
}

func (a *Agent) closed(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stats.Drummer = ""
	a.stats.Heard = s.lastHeard()
	a.session = nil
}

func (a *Agent) takeDirty() map[replicas.Key]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.dirty
	a.dirty = make(map[replicas.Key]bool)
	return d
}

// refuses tells whether a handshake ended because the drummer will not have this
// host: they say HostRefused of an identity that is spent, Conflict of one that may
// be in use, Invalid of a hello that no drummer of this deployment would refuse.
// Drummers of another deployment or fleet are no reason to stop: they say Unavailable.
func refuses(err error) bool {
	return fault.Is(err, fault.Conflict) || fault.Is(err, fault.Invalid) || fault.Is(err, fault.HostRefused)
}
