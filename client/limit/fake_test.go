package limit_test

import (
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/drumline/drumline/client/capacity"
	"github.com/drumline/drumline/client/limit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeResource is a resource whose state is scripted.
type fakeResource struct {
	mu      sync.Mutex
	state   capacity.State // guarded by mu
	changed chan struct{}  // guarded by mu
	wants   []float64      // guarded by mu: all that was asked for
	// granted, unless nil, is what comes of wants.
	granted func(wants float64) float64
}

var _ limit.Resource = (*fakeResource)(nil)

func leased(amount float64) *fakeResource {
	return &fakeResource{state: capacity.State{Basis: capacity.Leased, Capacity: amount}, changed: make(chan struct{})}
}

func (f *fakeResource) State() capacity.State {
	s, _ := f.Watch()
	return s
}

func (f *fakeResource) Watch() (capacity.State, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state, f.changed
}

func (f *fakeResource) SetWants(wants float64) error {
	f.mu.Lock()
	f.wants = append(f.wants, wants)
	f.mu.Unlock()
	if f.granted != nil {
		f.become(capacity.State{Basis: capacity.Leased, Capacity: f.granted(wants)})
	}
	return nil
}

// become changes the state.
func (f *fakeResource) become(s capacity.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = s
	close(f.changed)
	f.changed = make(chan struct{})
}

// lease changes the lease's size.
func (f *fakeResource) lease(amount float64) {
	f.become(capacity.State{Basis: capacity.Leased, Capacity: amount})
}

// quietly changes the state as a clock does: nobody is woken.
func (f *fakeResource) quietly(s capacity.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = s
}

// asked is the last wants, and how often they were set.
func (f *fakeResource) asked() (last float64, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.wants) == 0 {
		return 0, 0
	}
	return f.wants[len(f.wants)-1], len(f.wants)
}
