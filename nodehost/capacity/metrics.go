package capacity

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// calls counts requests under the original's names.
type calls struct {
	requests, errors *prometheus.CounterVec
	durations        *prometheus.HistogramVec
}

func newCalls() *calls {
	labels := []string{"method"}
	return &calls{
		requests:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "doorman_server_requests", Help: "Requests for capacity, by method."}, labels),
		errors:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "doorman_server_request_errors", Help: "Requests for capacity that failed, by method."}, labels),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "doorman_server_request_durations", Help: "How long requests for capacity took, in seconds.", Buckets: prometheus.DefBuckets}, labels),
	}
}

// count counts one request.
func (c *calls) count(method string, arrived time.Time, err error) {
	c.requests.WithLabelValues(method).Inc()
	if err != nil {
		c.errors.WithLabelValues(method).Inc()
	}
	c.durations.WithLabelValues(method).Observe(time.Since(arrived).Seconds())
}

// maxSeries bounds the resources that one host has gauges for: names are the clients' to
// choose, and a monitor must not be drowned in them.
const maxSeries = 1000

// Describe sends nothing: what there is depends on what the host leads.
func (s *Service) Describe(chan<- *prometheus.Desc) {}

// Collect sends the counters of requests, and gauges of the resources that this host leads.
func (s *Service) Collect(out chan<- prometheus.Metric) {
	s.calls.requests.Collect(out)
	s.calls.errors.Collect(out)
	s.calls.durations.Collect(out)
	labels := []string{"resource"}
	has := prometheus.NewDesc("doorman_server_has", "Capacity leased of a resource that this host leads.", labels, nil)
	wants := prometheus.NewDesc("doorman_server_wants", "Capacity that the clients of a resource want.", labels, nil)
	clients := prometheus.NewDesc("doorman_server_subclients", "Clients of a resource, those of servers counted in.", labels, nil)
	left, hidden := maxSeries, 0
	for _, g := range s.o.Led() {
		st, here := s.o.Raft.Status(g)
		if !here || !st.Serving || st.Unloaded {
			continue
		}
		v, ok := viewOf(s.o.Raft, st)
		if !ok {
			continue
		}
		if left--; left < 0 {
			hidden++
			continue
		}
		name := strings.TrimPrefix(st.Name, groupOf(""))
		out <- prometheus.MustNewConstMetric(has, prometheus.GaugeValue, v.Granted, name)
		out <- prometheus.MustNewConstMetric(wants, prometheus.GaugeValue, v.Wants, name)
		out <- prometheus.MustNewConstMetric(clients, prometheus.GaugeValue, float64(v.Clients), name)
	}
	more := prometheus.NewDesc("doorman_server_resources_unlisted", "Resources that this host leads beyond those that have gauges.", nil, nil)
	out <- prometheus.MustNewConstMetric(more, prometheus.GaugeValue, float64(hidden))
}
