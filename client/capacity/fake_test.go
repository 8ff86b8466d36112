package capacity

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is what a server does.
type script func(ctx context.Context, client string, asks []ask) ([]grant, error)

func serving(s script) *fakeWire { return &fakeWire{server: s} }

// become changes what the server does.
func (f *fakeWire) become(s script) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.server = s
}

// fakeWire is a wire whose server is scripted.
type fakeWire struct {
	mu       sync.Mutex
	server   script     // guarded by mu
	requests [][]ask    // guarded by mu: as sent
	released [][]string // guarded by mu
}

func (f *fakeWire) refresh(ctx context.Context, client string, asks []ask) ([]grant, error) {
	f.mu.Lock()
	f.requests = append(f.requests, asks)
	server := f.server
	f.mu.Unlock()
	return server(ctx, client, asks)
}

func (f *fakeWire) release(_ context.Context, _ string, back surrender) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.released = append(f.released, back.names)
	return nil
}

// sent is the number of requests, and the last one.
func (f *fakeWire) sent() (int, []ask) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.requests) == 0 {
		return 0, nil
	}
	return len(f.requests), f.requests[len(f.requests)-1]
}

// givenBack lists the names that were released.
func (f *fakeWire) givenBack() (all []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, names := range f.released {
		all = append(all, names...)
	}
	return all
}

// generous grants all that is wanted, for ten seconds.
func generous(ctx context.Context, client string, asks []ask) ([]grant, error) {
	return atMost(1e9)(ctx, client, asks)
}

// atMost grants up to a limit, for ten seconds, to be asked again after two.
func atMost(limit float64) script {
	safe := 3.0
	return func(_ context.Context, _ string, asks []ask) ([]grant, error) {
		var all []grant
		for _, q := range asks {
			all = append(all, grant{
				capacity: min(q.wants, limit), token: token{1, q.serial}, length: 10 * time.Second, interval: 2 * time.Second, safe: &safe,
			})
		}
		return all, nil
	}
}

// wallClock is a wall clock that can be set.
type wallClock struct {
	mu  sync.Mutex
	off time.Duration // guarded by mu
}

func (w *wallClock) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.off)
}

func (w *wallClock) jump(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off += d
}

// withWall replaces the wall clock.
func withWall(now func() time.Time) ClientOption { return func(s *settings) { s.wall = now } }
