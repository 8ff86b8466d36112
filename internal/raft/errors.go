package raft

import (
	"context"
	"time"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/raft/refusal"
)

// requestFault makes a fault of an error with which dragonboat refused a request,
// before anything of it could happen.
func (r *replica) requestFault(err error) error {
	return fault.Wrap(err, refusal.Reason(err), "group %s", r.spec.Name).InGroup(r.spec.Name)
}

// wait waits; false means that the context ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
