package main

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// cell is one line of the table: an operation done in one way.
type cell struct {
	Op, System, How string
	Groups          int // 0 for etcd, which has none
	Batch           int // operations of one call
	pids            []int
	// call does Batch operations; a worker's turns count from 0.
	call    func(ctx context.Context, worker, turn int) error
	samples []sample
}

// sample is the outcome of one run, and with medians the outcome of a cell.
type sample struct {
	// Op is put, propose or read.
	Op string `json:"operation"`
	// System is etcd or drumline.
	System string `json:"system"`
	// How the client called: clientv3, unary, streamed or batched.
	How string `json:"how"`
	// Groups that drumline's keys were spread over.
	Groups int `json:"groups,omitempty"`
	// Batch is the number of operations of a call.
	Batch int `json:"batch"`
	// Callers is the number of operations under way at a time.
	Callers int     `json:"callers"`
	PerSec  float64 `json:"operations_per_second"`
	// P50 and P99 are the latencies in milliseconds; an operation of a batch takes as long as its call.
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	// ServerCPU and ClientCPU are microseconds of processor time for each operation, of all server processes and of the caller's.
	ServerCPU float64 `json:"server_cpu_us"`
	ClientCPU float64 `json:"client_cpu_us"`
	// Failed operations; they count in nothing else.
	Failed int    `json:"failed"`
	Error  string `json:"error,omitempty"`
}

const (
	// warmup comes before each measured run.
	warmup = 300 * time.Millisecond
	// callPatience bounds the calls of a run beyond its length. One deadline serves all
	// of them: a timer for each would be measured too.
	callPatience = 10 * time.Second
	// room is how many latencies of a worker fit before its list grows.
	room = 1 << 15
)

// measure runs the cell once, with so many operations under way.
func (c *cell) measure(ctx context.Context, callers int, length time.Duration) sample {
	workers := max(1, callers/c.Batch)
	_, _, _ = c.drive(ctx, workers, warmup) // the run that counts comes next
	began, servers, client := time.Now(), processesCPU(c.pids), ownCPU()
	latencies, failed, err := c.drive(ctx, workers, length)
	took := time.Since(began)
	servers, client = processesCPU(c.pids)-servers, ownCPU()-client
	s := sample{Op: c.Op, System: c.System, How: c.How, Groups: c.Groups, Batch: c.Batch, Callers: workers * c.Batch, Failed: failed * c.Batch}
	if err != nil {
		s.Error = err.Error()
	}
	if len(latencies) == 0 {
		return s
	}
	slices.Sort(latencies)
	n := float64(len(latencies) * c.Batch)
	s.PerSec = n / took.Seconds()
	s.P50, s.P99 = ms(quantile(latencies, 0.50)), ms(quantile(latencies, 0.99))
	s.ServerCPU, s.ClientCPU = us(servers)/n, us(client)/n
	return s
}

// drive returns the latencies of the calls that succeeded, the number of those that
// did not, and an error of them.
func (c *cell) drive(ctx context.Context, workers int, length time.Duration) ([]time.Duration, int, error) {
	ctx, cancel := context.WithTimeout(ctx, length+callPatience)
	defer cancel()
	end := time.Now().Add(length)
	all, errs, failed := make([][]time.Duration, workers), make([]error, workers), make([]int, workers)
	var wg sync.WaitGroup
	for w := range workers {
		all[w] = make([]time.Duration, 0, room)
		wg.Go(func() {
			start := time.Now()
			for turn := 0; start.Before(end) && ctx.Err() == nil; turn++ {
				err := c.call(ctx, w, turn)
				now := time.Now()
				if err != nil {
					errs[w], failed[w] = err, failed[w]+1
				} else {
					all[w] = append(all[w], now.Sub(start))
				}
				start = now
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

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// median is a sample of the medians of each number; failures add up.
func median(samples []sample) sample {
	m := samples[0]
	for _, number := range []func(*sample) *float64{
		func(s *sample) *float64 { return &s.PerSec },
		func(s *sample) *float64 { return &s.P50 },
		func(s *sample) *float64 { return &s.P99 },
		func(s *sample) *float64 { return &s.ServerCPU },
		func(s *sample) *float64 { return &s.ClientCPU },
	} {
		values := make([]float64, len(samples))
		for i := range samples {
			values[i] = *number(&samples[i])
		}
		*number(&m) = middle(values)
	}
	for _, s := range samples[1:] {
		m.Failed += s.Failed
		m.Error = cmp.Or(m.Error, s.Error)
	}
	return m
}

func middle(values []float64) float64 {
	slices.Sort(values)
	if n := len(values); n%2 == 0 {
		return (values[n/2-1] + values[n/2]) / 2
	}
	return values[len(values)/2]
}
