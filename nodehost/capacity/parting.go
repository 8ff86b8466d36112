package capacity

import (
	"context"
	"sync"
	"sync/atomic"
)

// partings are the releases that came to this host and are not over. A release has no number
// on the original's wire: one that waits for its group while its client asks again would take
// the newer lease. So whoever asks waits for its own releases that came here before it.
type partings struct {
	n atomic.Int64 // under way; most of the time none

	mu    sync.Mutex
	under map[parting][]chan struct{} // guarded by mu: each is closed at a release's end
}

// parting is who gives back what.
type parting struct{ client, resource string }

// begin notes a release; the caller calls what it returns when that is over.
func (p *partings) begin(client string, resources []string) (end func()) {
	over := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.under == nil {
		p.under = map[parting][]chan struct{}{}
	}
	for _, r := range resources {
		k := parting{client, r}
		p.under[k] = append(p.under[k], over)
	}
	p.n.Add(1)
	return func() { p.end(client, resources, over) }
}

func (p *partings) end(client string, resources []string, over chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n.Add(-1)
	close(over)
	for _, r := range resources {
		k := parting{client, r}
		left := p.under[k][:0]
		for _, c := range p.under[k] {
			if c != over {
				left = append(left, c)
			}
		}
		if p.under[k] = left; len(left) == 0 {
			delete(p.under, k)
		}
	}
}

// await waits until the releases of what is asked for, that came before, are over.
func (p *partings) await(ctx context.Context, client string, asks []ask) {
	if p.n.Load() == 0 {
		return
	}
	var over []chan struct{}
	p.mu.Lock()
	for _, a := range asks {
		over = append(over, p.under[parting{client, a.resource}]...)
	}
	p.mu.Unlock()
	for _, c := range over {
		select {
		case <-c:
		case <-ctx.Done():
		}
	}
}
