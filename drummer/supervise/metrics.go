package supervise

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
)

// metrics of the loop and its streams.
type metrics struct {
	leading     prometheus.Gauge
	leaderKnown prometheus.Gauge
	streams     prometheus.Gauge
	passes      prometheus.Counter
	passSeconds prometheus.Histogram
	proposals   *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		leading:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "drummer_leading", Help: "1 while this drummer supervises."}),
		leaderKnown: prometheus.NewGauge(prometheus.GaugeOpts{Name: "drummer_leader_known", Help: "1 while this drummer knows which drummer leads."}),
		streams:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "drummer_streams", Help: "Streams of hosts that this drummer serves."}),
		passes:      prometheus.NewCounter(prometheus.CounterOpts{Name: "drummer_passes_total", Help: "Passes of the supervisor over the fleet."}),
		passSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "drummer_pass_seconds", Help: "Time that one pass took.", Buckets: prometheus.ExponentialBuckets(0.0001, 4, 8),
		}),
		proposals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "drummer_proposals_total", Help: "Changes that the supervisor proposed to the record, by result.",
		}, []string{"result"}),
	}
	if r != nil {
		r.MustRegister(m.leading, m.leaderKnown, m.streams, m.passes, m.passSeconds, m.proposals)
	}
	return m
}

// proposed counts one outcome: the record's code, or the fault's reason.
func (m *metrics) proposed(r *fleetpb.Result, err error) {
	result := strings.ToLower(strings.TrimPrefix(r.GetCode().String(), "CODE_"))
	if err != nil {
		result = "not_applied"
		if fault.MayHaveApplied(err) {
			result = "unknown"
		}
	}
	m.proposals.WithLabelValues(result).Inc()
}
