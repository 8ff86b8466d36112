package main

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"syscall"
	"time"
)

// request asks a subject for one run.
type request struct {
	// Op is propose, read or idle.
	Op string `json:"op"`
	// Callers is the number of operations under way at a time.
	Callers int `json:"callers"`
	// Time is the length of the run.
	Time time.Duration `json:"time"`
}

// sample is the outcome of one run.
type sample struct {
	Subject string  `json:"subject"`
	Op      string  `json:"op"`
	Groups  int     `json:"groups"`
	Callers int     `json:"callers"`
	PerSec  float64 `json:"operations_per_second"`
	// P50 and P99 are the latencies in milliseconds.
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	// CPU is microseconds of processor time for each operation; for idle, percent of a core.
	CPU float64 `json:"cpu"`
	// Failed operations; they count in nothing else.
	Failed int    `json:"failed"`
	Error  string `json:"error,omitempty"`
}

// operation is one call of one caller.
type operation func(ctx context.Context, caller int) error

// warmup comes before each measured run.
const warmup = 300 * time.Millisecond

// measure runs callers side by side for a while.
func measure(ctx context.Context, r request, cpu func() time.Duration, op operation) sample {
	_, _, _ = drive(ctx, r.Callers, warmup, op) // the run that counts comes next
	began, used := time.Now(), cpu()
	latencies, failed, err := drive(ctx, r.Callers, r.Time, op)
	took, spent := time.Since(began), cpu()-used
	s := sample{Op: r.Op, Callers: r.Callers, Failed: failed}
	if err != nil {
		s.Error = err.Error()
	}
	if len(latencies) == 0 {
		return s
	}
	slices.Sort(latencies)
	s.PerSec = float64(len(latencies)) / took.Seconds()
	s.P50, s.P99 = ms(quantile(latencies, 0.50)), ms(quantile(latencies, 0.99))
	s.CPU = float64(spent.Microseconds()) / float64(len(latencies))
	return s
}

// drive returns the latencies of the operations that succeeded, the number that
// did not, and the last error.
func drive(ctx context.Context, callers int, length time.Duration, op operation) ([]time.Duration, int, error) {
	end := time.Now().Add(length)
	all := make([][]time.Duration, callers)
	errs := make([]error, callers)
	failed := make([]int, callers)
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				start := time.Now()
				if start.After(end) {
					return
				}
				if err := op(ctx, c); err != nil {
					errs[c], failed[c] = err, failed[c]+1
					continue
				}
				all[c] = append(all[c], time.Since(start))
			}
		})
	}
	wg.Wait()
	n := 0
	for _, f := range failed {
		n += f
	}
	return slices.Concat(all...), n, cmp.Or(errs...)
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// ownCPU is the processor time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// median is the sample of the median speed, with median latencies and CPU.
func median(samples []sample) sample {
	m := samples[0]
	m.PerSec = middle(samples, func(s sample) float64 { return s.PerSec })
	m.P50 = middle(samples, func(s sample) float64 { return s.P50 })
	m.P99 = middle(samples, func(s sample) float64 { return s.P99 })
	m.CPU = middle(samples, func(s sample) float64 { return s.CPU })
	for _, s := range samples[1:] {
		m.Failed += s.Failed
		m.Error = cmp.Or(m.Error, s.Error)
	}
	return m
}

func middle(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, 0, len(samples))
	for _, s := range samples {
		values = append(values, of(s))
	}
	slices.Sort(values)
	if n := len(values); n%2 == 0 {
		return (values[n/2-1] + values[n/2]) / 2
	}
	return values[len(values)/2]
}
