package api

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/drumline/drumline/drummer/status"
)

// scrapeTimeout bounds the wait for the supervisor's loop in a scrape.
const scrapeTimeout = time.Second

// fleetMetrics counts the fleet at each scrape, on the drummer that leads: the
// others don't know how hosts are, and silence is better than old numbers.
type fleetMetrics struct {
	s                         *Service
	hosts, groups, operations *prometheus.Desc
	revisions, brake          *prometheus.Desc
}

// Collector exports hosts and groups by state, and operations under way.
func (s *Service) Collector() prometheus.Collector {
	return &fleetMetrics{
		s:          s,
		hosts:      prometheus.NewDesc("drummer_hosts", "Hosts by state; only on the drummer that leads.", []string{"state"}, nil),
		groups:     prometheus.NewDesc("drummer_groups", "Groups by state; only on the drummer that leads.", []string{"state"}, nil),
		revisions:  prometheus.NewDesc("drummer_configuration_revision", "Revision in force of an app's configuration; only on the drummer that leads.", []string{"app"}, nil),
		brake:      prometheus.NewDesc("drummer_brake_engaged", "Whether the brake keeps everything where it is; only on the drummer that leads.", nil, nil),
		operations: prometheus.NewDesc("drummer_operations", "Operations under way; only on the drummer that leads.", nil, nil),
	}
}

// Describe is part of prometheus.Collector.
func (m *fleetMetrics) Describe(to chan<- *prometheus.Desc) {
	to <- m.hosts
	to <- m.groups
	to <- m.operations
	to <- m.revisions
	to <- m.brake
}

// Collect is part of prometheus.Collector.
func (m *fleetMetrics) Collect(to chan<- prometheus.Metric) {
	c := m.s.cluster.Load()
	if c == nil {
		return
	}
	if _, leading := c.Supervisor.Leading(); !leading {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	o, err := c.Supervisor.Observed(ctx)
	if err != nil || o.Settling {
		return // before the hosts have connected every group looks unavailable
	}
	v, err := c.Record.LocalView()
	if err != nil {
		return
	}
	sum := status.Summary(v, o)
	for state, n := range sum.GetHosts() {
		to <- prometheus.MustNewConstMetric(m.hosts, prometheus.GaugeValue, float64(n), state)
	}
	for state, n := range sum.GetGroups() {
		to <- prometheus.MustNewConstMetric(m.groups, prometheus.GaugeValue, float64(n), state)
	}
	for conf := range v.Configurations() {
		to <- prometheus.MustNewConstMetric(m.revisions, prometheus.GaugeValue, float64(conf.GetRevision()), conf.GetApp())
	}
	engaged := 0.0
	if v.Brake().GetEngaged() {
		engaged = 1
	}
	to <- prometheus.MustNewConstMetric(m.brake, prometheus.GaugeValue, engaged)
	to <- prometheus.MustNewConstMetric(m.operations, prometheus.GaugeValue, float64(sum.GetOperations()))
}
