package serve

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/drumline/drumline/config"
)

// registerMetrics adds what every server has. The registry may hold some of it
// already: in tests several servers share one process, and sometimes one registry.
func (s *Server) registerMetrics() error {
	s.calls, s.refused = newCallMetrics(), newRefused(s.opts.Kind)
	own := append(s.calls.collectors(),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		s.infoMetric(),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: s.opts.Kind + "_ready", Help: "1 when the server can serve.",
		}, func() float64 { return truth(s.ready() == nil) }),
	)
	if s.certs != nil {
		own = append(own, append(s.certMetrics(), s.refused)...)
	}
	for _, c := range own {
		var twice prometheus.AlreadyRegisteredError
		if err := s.opts.Metrics.Register(c); err != nil && !errors.As(err, &twice) {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

func (s *Server) infoMetric() prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: s.opts.Kind + "_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"name": s.opts.Name, "version": config.Version()},
	})
	g.Set(1)
	return g
}

func (s *Server) certMetrics() []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: s.opts.Kind + "_certificate_expiry_seconds", Help: "Time until this process's certificate ends.",
		}, func() float64 { return time.Until(s.certs.Expiry()).Seconds() }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: s.opts.Kind + "_certificate_reload_success", Help: "1 when the newest certificate files are in use.",
		}, func() float64 { return truth(s.certs.Problem() == nil) }),
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
