//go:build e2e && e2elong

package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAThousandResourcesFollow: a thousand names come into being by use, and all follow
// an apply within two seconds.
func TestAThousandResourcesFollow(t *testing.T) {
	const many, callers = 1000, 64
	w := newWorld(t, 3, 3)
	w.create()
	first := w.applyResources(100)
	names := make([]string, many)
	for n := range names {
		names[n] = fmt.Sprintf("capacity/many-%04d", n)
	}
	start := time.Now()
	w.each(names, callers, func(name string) bool {
		_, err := w.definition(name, time.Minute)
		require.NoError(t, err)
		return true
	})
	t.Logf("first use of %d names by %d callers: %.1fs", many, callers, time.Since(start).Seconds())
	w.within(30*time.Second, "all have the configuration", func() (bool, string) { return w.haveRevision(names, first) })

	second := w.applyResources(200)
	applied := time.Now()
	// Asking a thousand groups takes longer than they do: a sample is asked at the moment,
	// and then all of them, once.
	w.within(3*time.Second, "two seconds pass", func() (bool, string) { return time.Since(applied) > 2*time.Second, "" })
	var sample []string
	for n := 0; n < many; n += 17 {
		sample = append(sample, names[n])
	}
	ok, why := w.haveRevision(sample, second)
	require.True(t, ok, "after two seconds: %s", why)
	t.Logf("a sample of %d was asked %.2fs after the apply", len(sample), time.Since(applied).Seconds())
	ok, why = w.haveRevision(names, second)
	require.True(t, ok, why)
	t.Logf("all %d were asked %.2fs after the apply", many, time.Since(applied).Seconds())
}

// haveRevision asks all resources, some at once.
func (w *world) haveRevision(names []string, revision uint64) (bool, string) {
	var have atomic.Int64
	w.each(names, 64, func(name string) bool {
		ok, _ := w.follow([]string{name}, revision)()
		if ok {
			have.Add(1)
		}
		return ok
	})
	return have.Load() == int64(len(names)), fmt.Sprintf("%d of %d asked so far", have.Load(), len(names))
}

// each calls do for every name, so many at once, until one call returns false.
func (w *world) each(names []string, atOnce int, do func(name string) bool) {
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel()
	todo := make(chan string)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for name := range todo {
				if !do(name) {
					cancel()
				}
			}
		})
	}
	for _, name := range names {
		select {
		case todo <- name:
		case <-ctx.Done():
		}
	}
	close(todo)
	workers.Wait()
}
