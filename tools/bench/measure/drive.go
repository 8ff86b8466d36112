package measure

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Operation is one call of one caller.
type Operation func(ctx context.Context, caller int) error

// Workload is what callers do.
type Workload struct {
	// Call is one caller's call, Weight the number of commands or queries in it.
	Call   Operation
	Weight int
}

const (
	// Warmup comes before each measured run.
	Warmup = 300 * time.Millisecond
	// OperationPatience bounds the last operation of each caller, and so any that got lost.
	OperationPatience = 10 * time.Second
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

// Run runs callers side by side for a while and counts the operations that
// ended meanwhile. Callers that put many operations into a call are as many fewer, so
// that the same number is under way.
func Run(ctx context.Context, r Request, usage func() Usage, w Workload) Sample {
	ctx, cancel := context.WithTimeout(ctx, Warmup+r.Time+OperationPatience)
	defer cancel()
	c := &crowd{callers: make([]caller, max(1, r.Callers/w.Weight))}
	for i := range c.callers {
		c.wg.Go(func() { c.call(ctx, i, w.Call) })
	}
	Pause(ctx, Warmup)
	before, began := usage(), time.Now()
	c.phase.Store(measuring)
	Pause(ctx, r.Time)
	c.phase.Store(over)
	took, after := time.Since(began), usage()
	c.wg.Wait()
	return c.sum(w.Weight, took, after.Since(before))
}

// call is one caller. Its context is its own, so that callers share no lock of one,
// and lasts for the run: a timer for each operation would cost more than some of them.
func (c *crowd) call(ctx context.Context, i int, op Operation) {
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
			Pause(ctx, time.Millisecond) // a refusal costs nothing: a flood of them would
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

func (c *crowd) sum(weight int, took time.Duration, used Usage) Sample {
	var s Sample
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
	n := float64(all.n) * float64(weight)
	s.PerSec = n / took.Seconds()
	s.P50, s.P99 = ms(all.quantile(0.50)), ms(all.quantile(0.99))
	s.CPU = float64(used.CPU.Microseconds()) / n
	s.Allocs, s.CallerAllocs = float64(used.Allocs)/n, float64(used.CallerAllocs)/n
	return s
}

// Pause waits, less long if ctx ends.
func Pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
