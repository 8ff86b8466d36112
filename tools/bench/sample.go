package main

import (
	"cmp"
	"slices"
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
	// Allocs are heap objects for each operation in the servers; the caller's too
	// where it is the same process, else those are CallerAllocs.
	Allocs       float64 `json:"allocs_per_operation"`
	CallerAllocs float64 `json:"caller_allocs_per_operation,omitempty"`
	// Failed operations; they count in nothing else.
	Failed int    `json:"failed"`
	Error  string `json:"error,omitempty"`
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// median is the sample of the median speed, with medians of the rest.
func median(samples []sample) sample {
	m := samples[0]
	for _, f := range []func(*sample) *float64{
		func(s *sample) *float64 { return &s.PerSec },
		func(s *sample) *float64 { return &s.P50 },
		func(s *sample) *float64 { return &s.P99 },
		func(s *sample) *float64 { return &s.CPU },
		func(s *sample) *float64 { return &s.Allocs },
		func(s *sample) *float64 { return &s.CallerAllocs },
	} {
		*f(&m) = middle(samples, f)
	}
	for _, s := range samples[1:] {
		m.Failed += s.Failed
		m.Error = cmp.Or(m.Error, s.Error)
	}
	return m
}

func middle(samples []sample, of func(*sample) *float64) float64 {
	values := make([]float64, 0, len(samples))
	for i := range samples {
		values = append(values, *of(&samples[i]))
	}
	slices.Sort(values)
	if n := len(values); n%2 == 0 {
		return (values[n/2-1] + values[n/2]) / 2
	}
	return values[len(values)/2]
}
