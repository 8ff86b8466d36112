// Package wait pauses a goroutine that may be told to stop meanwhile.
package wait

import (
	"context"
	"time"
)

// For waits for d; false means that ctx ended first.
func For(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
