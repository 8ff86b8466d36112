package limit

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/drumline/drumline/client/capacity"
)

// Resource is a source whose wants can be set; a capacity.Resource is one.
type Resource interface {
	Source
	SetWants(wants float64) error
}

var _ Resource = (*capacity.Resource)(nil)

// How the wants follow the demand. A small change is not worth a request, and wants that were
// raised are not lowered before some seconds have shown what the callers do when nothing holds
// them up; while the capacity is near that, it asks for some more, so that chance lets nobody wait.
//
// A client whose callers wait all the time cannot know how many calls they would make. As long as it is
// granted all that it asks for, it asks for more, by a factor that grows: 2, 4, 8, 16, 16 …,
// each after an answer, so a thousand calls a second are four requests away. Once
// it is granted less it asks for half as much again as it has: it grows as soon as there is
// something to be had, and asks for little more than its share if not.
const (
	raiseFrom  = 1.05
	lowerFrom  = 0.8
	probe      = 1.5
	firstStep  = 2
	lastStep   = 16
	calm       = 3     // whole seconds that nothing held up, before wants are lowered
	patience   = 3     // decisions, a second each, that an answer to raised wants may take
	almostFull = 0.999 // what is granted may be rounded
)

// adaptiveOptions of NewAdaptive.
type adaptiveOptions struct {
	window   int
	min, max float64
	rate     []RateOption
}

// AdaptiveOption changes an Adaptive.
type AdaptiveOption func(*adaptiveOptions)

// WithWindow sets the time whose calls count, ten seconds by default; whole seconds.
func WithWindow(d time.Duration) AdaptiveOption {
	return func(o *adaptiveOptions) { o.window = max(1, int(d/time.Second)) }
}

// WithBounds keeps the wants between two amounts; from 1 up without an end by default. An
// idle client that asks for the lower one has it at hand for its next call.
func WithBounds(from, to float64) AdaptiveOption {
	return func(o *adaptiveOptions) { o.min, o.max = from, to }
}

// WithRate passes options on to the Rate.
func WithRate(opts ...RateOption) AdaptiveOption {
	return func(o *adaptiveOptions) { o.rate = append(o.rate, opts...) }
}

// Adaptive is a Rate that asks for what is needed: it sees how often calls are asked for,
// and sets the resource's wants to that. Close ends it; the resource stays the caller's.
type Adaptive struct {
	resource Resource
	rate     *Rate
	options  adaptiveOptions
	stop     chan struct{}
	once     sync.Once
	done     sync.WaitGroup

	mu     sync.Mutex
	demand *demand // guarded by mu
	wants  float64 // guarded by mu: as last set
	step   float64 // guarded by mu: by which the wants were raised last; 0 when they were not
	waits  int     // guarded by mu: decisions that the answer to raised wants may still take
}

var _ Limiter = (*Adaptive)(nil)

// NewAdaptive limits to the capacity of a resource, in calls a second.
func NewAdaptive(r Resource, opts ...AdaptiveOption) *Adaptive {
	o := adaptiveOptions{window: 10, min: 1, max: math.MaxFloat64}
	for _, opt := range opts {
		opt(&o)
	}
	a := &Adaptive{
		resource: r, rate: NewRate(r, o.rate...), options: o, stop: make(chan struct{}), demand: newDemand(o.window, time.Now()),
	}
	a.done.Go(a.run)
	return a
}

// Close stops following the demand, and waits for that. Calls go on at the last capacity.
func (a *Adaptive) Close() {
	a.once.Do(func() { close(a.stop) })
	a.done.Wait()
}

// Acquire waits for the call's time; done has nothing to do.
func (a *Adaptive) Acquire(ctx context.Context) (done func(), err error) {
	return nothing, a.Wait(ctx)
}

// TryAcquire is Allow.
func (a *Adaptive) TryAcquire() (done func(), ok bool) { return nothing, a.Allow() }

// Wait waits for the time of one call.
func (a *Adaptive) Wait(ctx context.Context) error {
	a.count((*demand).arrive)
	defer a.count((*demand).leave)
	return a.rate.Wait(ctx)
}

// Allow tells whether a call may be made now; those that may not count as asked for, too.
func (a *Adaptive) Allow() bool {
	a.count((*demand).arrive)
	defer a.count((*demand).leave)
	return a.rate.Allow()
}

func (a *Adaptive) count(what func(*demand, time.Time)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	what(a.demand, time.Now())
}

// run sets the wants once a second.
func (a *Adaptive) run() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-a.stop:
			return
		case <-tick.C:
		}
		if wants, changed := a.decide(); changed {
			_ = a.resource.SetWants(wants) // fails only when the resource is released: nothing is wanted then
		}
	}
}

// decide finds what to ask for, and whether that is worth a request.
func (a *Adaptive) decide() (wants float64, changed bool) {
	s := a.resource.State()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.demand.roll(time.Now())
	wants = a.demand.rate()
	switch {
	case s.Unlimited():
	case a.demand.crowd():
		wants = max(wants, a.grow(s.Capacity))
	default:
		a.step = 0
		wants *= a.demand.strain()
		if len(a.demand.run()) < min(calm, a.options.window) {
			wants = max(wants, a.wants)
		}
	}
	wants = min(max(wants, a.options.min), a.options.max)
	bound := wants == a.options.min || wants == a.options.max
	if a.wants > 0 && !bound && wants < a.wants*raiseFrom && wants > a.wants*lowerFrom {
		return a.wants, false
	}
	changed = wants != a.wants
	a.wants = wants
	return wants, changed
}

// grow is what to ask for while callers wait all the time and have that capacity; mu is held.
func (a *Adaptive) grow(granted float64) float64 {
	switch {
	case granted >= a.wants*almostFull:
		a.step, a.waits = min(max(2*a.step, firstStep), lastStep), patience
		return granted * a.step
	case a.waits > 0: // the answer may be on its way
		a.waits--
		return a.wants
	}
	a.step = 0
	return granted * probe
}
