package exchange

import (
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// tally counts what the exchange did.
type tally struct {
	bytes, entries, refused uint64
	// heard is when each sibling was last heard of, by group and region.
	heard map[[2]string]time.Time
}

func (x *Exchange) count(f func(*tally)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f(&x.tally)
}

func (x *Exchange) hear(group, region string, at time.Time) {
	x.count(func(t *tally) {
		if t.heard == nil {
			t.heard = map[[2]string]time.Time{}
		}
		t.heard[[2]string{group, region}] = at
	})
}

// The metrics of the exchange.
func descs() (bytes, entries, refused, silence *prometheus.Desc) {
	return prometheus.NewDesc("drumline_counter_exchange_bytes_total", "Bytes that siblings of the counters led here answered.", nil, nil),
		prometheus.NewDesc("drumline_counter_exchange_entries_total", "Changes of counters that were taken from siblings.", nil, nil),
		prometheus.NewDesc("drumline_counter_exchange_refused_total", "Merges that a group refused: of a retired region, or malformed.", nil, nil),
		prometheus.NewDesc("drumline_counter_exchange_silence_seconds", "Time since a sibling of a counter led here was heard of: what it counted since is not known.", []string{"group", "region"}, nil)
}

// Describe implements prometheus.Collector.
func (x *Exchange) Describe(out chan<- *prometheus.Desc) {
	bytes, entries, refused, silence := descs()
	for _, d := range []*prometheus.Desc{bytes, entries, refused, silence} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (x *Exchange) Collect(out chan<- prometheus.Metric) {
	bytes, entries, refused, silence := descs()
	now := x.o.Now()
	x.mu.Lock()
	t, led := x.tally, map[string]bool{}
	for _, l := range x.leads {
		led[l.name] = true
	}
	heard := map[[2]string]time.Time{}
	for k, at := range t.heard {
		if led[k[0]] {
			heard[k] = at
		}
	}
	x.tally.heard = maps.Clone(heard)
	x.mu.Unlock()
	out <- prometheus.MustNewConstMetric(bytes, prometheus.CounterValue, float64(t.bytes))
	out <- prometheus.MustNewConstMetric(entries, prometheus.CounterValue, float64(t.entries))
	out <- prometheus.MustNewConstMetric(refused, prometheus.CounterValue, float64(t.refused))
	for k, at := range heard {
		out <- prometheus.MustNewConstMetric(silence, prometheus.GaugeValue, now.Sub(at).Seconds(), k[0], k[1])
	}
}
