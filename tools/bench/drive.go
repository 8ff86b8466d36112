package main

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// operation is one call of one caller.
type operation func(ctx context.Context, caller int) error

const (
	// warmup comes before each measured run.
	warmup = 300 * time.Millisecond
	// operationPatience bounds the last operation of each caller, and so any that got lost.
	operationPatience = 10 * time.Second
)

// Phases of a run.
const (
	warming int32 = iota
	measuring
	over
)

// crowd is callers that call side by side, each in a goroutine, one operation after
// the other. What it adds to an operation is one look at the clock and one count, no
// allocation and no timer, whoever is measured.
type crowd struct {
	phase   atomic.Int32
	callers []caller
	wg      sync.WaitGroup
}

// caller is what one caller saw while the run was measured.
type caller struct {
	latencies histogram
	failed    int
	err       error
}

// measure runs callers side by side for a while and counts the operations that
// ended meanwhile.
func measure(ctx context.Context, r request, usage func() usage, op operation) sample {
	ctx, cancel := context.WithTimeout(ctx, warmup+r.Time+operationPatience)
	defer cancel()
	c := &crowd{callers: make([]caller, r.Callers)}
	for i := range c.callers {
		c.wg.Go(func() { c.call(ctx, i, op) })
	}
	pause(ctx, warmup)
	before, began := usage(), time.Now()
	c.phase.Store(measuring)
	pause(ctx, r.Time)
	c.phase.Store(over)
	took, after := time.Since(began), usage()
	c.wg.Wait()
	return c.sum(r, took, after.since(before))
}

// call is one caller. Its context is its own, so that callers share no lock of one,
// and lasts for the run: a timer for each operation would cost more than some of them.
func (c *crowd) call(ctx context.Context, i int, op operation) {
	ctx, cancel := context.WithTimeout(ctx, time.Hour) // the run's deadline, which is earlier, is kept
	defer cancel()
	me := &c.callers[i]
	for start := time.Now(); ctx.Err() == nil; {
		err := op(ctx, i)
		end := time.Now()
		switch phase := c.phase.Load(); {
		case phase == over:
			return
		case err != nil:
			pause(ctx, time.Millisecond) // a refusal costs nothing: a flood of them would
			if phase == measuring {
				me.failed, me.err = me.failed+1, err
			}
			end = time.Now()
		case phase == measuring:
			me.latencies.record(end.Sub(start))
		}
		start = end
	}
}

func (c *crowd) sum(r request, took time.Duration, used usage) sample {
	s := sample{Op: r.Op, Callers: r.Callers}
	var all histogram
	var last error
	for i := range c.callers {
		all.add(&c.callers[i].latencies)
		s.Failed += c.callers[i].failed
		last = cmp.Or(last, c.callers[i].err)
	}
	if last != nil {
		s.Error = last.Error()
	}
	if all.n == 0 {
		return s
	}
	n := float64(all.n)
	s.PerSec = n / took.Seconds()
	s.P50, s.P99 = ms(all.quantile(0.50)), ms(all.quantile(0.99))
	s.CPU = float64(used.cpu.Microseconds()) / n
	s.Allocs, s.CallerAllocs = float64(used.allocs)/n, float64(used.callerAllocs)/n
	return s
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
