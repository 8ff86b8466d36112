package measure

import (
	"cmp"
	"slices"
	"time"
)

// Sample is the outcome of one run; docs/performance.md describes its JSON.
type Sample struct {
	Subject string `json:"subject"`
	Via     string `json:"via,omitempty"`
	Op      string `json:"op"`
	Groups  int    `json:"groups"`
	Hosts   int    `json:"hosts,omitempty"`
	Callers int    `json:"callers,omitempty"`
	// Algorithm that divided a resource, Clients of each, and resources in Each request.
	Algorithm string `json:"algorithm,omitempty"`
	Clients   int    `json:"clients,omitempty"`
	Each      int    `json:"each,omitempty"`
	// Keys of the family.
	Keys   int     `json:"keys,omitempty"`
	PerSec float64 `json:"operations_per_second,omitempty"`
	// P50, P99 and Max are latencies in milliseconds: of operations, of first commands,
	// or until a group has a leader again.
	P50 float64 `json:"p50_ms,omitempty"`
	P99 float64 `json:"p99_ms,omitempty"`
	Max float64 `json:"max_ms,omitempty"`
	// CPU is microseconds of processor time for each operation; for idle, percent of a
	// core for all hosts.
	CPU float64 `json:"cpu,omitempty"`
	// Allocs are heap objects for each operation in the servers; the caller's too
	// where it is the same process, else those are CallerAllocs.
	Allocs       float64 `json:"allocs_per_operation,omitempty"`
	CallerAllocs float64 `json:"caller_allocs_per_operation,omitempty"`
	// Entries of the log for a thousand grants of capacity.
	Entries float64 `json:"entries_per_thousand,omitempty"`
	// Seconds until every group had a leader.
	Seconds float64 `json:"seconds,omitempty"`
	Memory
	// Moved groups were led by the host that died; Counted is how many times went into
	// the latencies of a run that is not of callers.
	Moved   int `json:"moved,omitempty"`
	Counted int `json:"counted,omitempty"`
	// Failed operations; they count in nothing else.
	Failed int    `json:"failed,omitempty"`
	Error  string `json:"error,omitempty"`
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Spread fills the latencies from single times.
func (s *Sample) Spread(times []time.Duration) {
	var h histogram
	for _, t := range times {
		h.record(t)
		s.Max = max(s.Max, ms(t))
	}
	s.Counted = len(times)
	s.P50, s.P99 = min(ms(h.quantile(0.50)), s.Max), min(ms(h.quantile(0.99)), s.Max)
}

// Name is the subject and the road to it.
func (s Sample) Name() string {
	if s.Via == "" {
		return s.Subject
	}
	return s.Subject + ", " + s.Via
}

// Median has the median of each number, and the failures of all.
func Median(samples []Sample) Sample {
	m := samples[0]
	for _, f := range []func(*Sample) *float64{
		func(s *Sample) *float64 { return &s.PerSec },
		func(s *Sample) *float64 { return &s.P50 },
		func(s *Sample) *float64 { return &s.P99 },
		func(s *Sample) *float64 { return &s.Max },
		func(s *Sample) *float64 { return &s.CPU },
		func(s *Sample) *float64 { return &s.Allocs },
		func(s *Sample) *float64 { return &s.CallerAllocs },
		func(s *Sample) *float64 { return &s.Entries },
		func(s *Sample) *float64 { return &s.Seconds },
		func(s *Sample) *float64 { return &s.Heap },
		func(s *Sample) *float64 { return &s.Resident },
	} {
		*f(&m) = middle(samples, f)
	}
	for _, s := range samples[1:] {
		m.Failed += s.Failed
		m.Moved += s.Moved
		m.Error = cmp.Or(m.Error, s.Error)
	}
	return m
}

func middle(samples []Sample, of func(*Sample) *float64) float64 {
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
