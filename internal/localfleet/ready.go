package localfleet

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

const readyPoll = 50 * time.Millisecond

// WaitReady waits until the processes of these names say that they can serve; no
// names means all that run.
func (f *Fleet) WaitReady(ctx context.Context, names ...string) error {
	for _, p := range f.Processes() {
		if !wanted(p, names) {
			continue
		}
		if err := f.waitReady(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func wanted(p Process, names []string) bool {
	for _, n := range names {
		if n == p.Name {
			return true
		}
	}
	return len(names) == 0 && p.PID != 0
}

func (f *Fleet) waitReady(ctx context.Context, p Process) error {
	poll := time.NewTicker(readyPoll)
	defer poll.Stop()
	for {
		last := f.notReady(ctx, p)
		if last == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %s", p.Name, ctx.Err(), last)
		case <-poll.C:
		}
	}
}

// notReady says why a process cannot serve yet; empty when it can.
func (f *Fleet) notReady(ctx context.Context, p Process) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL(p, "/readyz"), nil)
	if err != nil {
		return err.Error()
	}
	resp, err := f.web.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }() // nothing of it is read
	if resp.StatusCode != http.StatusOK {
		return "readyz answers " + resp.Status
	}
	return ""
}
