package gossip

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Collector reads the metrics of a Gossip when they are asked for.
type Collector struct {
	of      *Gossip
	members *prometheus.Desc
	refused *prometheus.Desc
	health  *prometheus.Desc
}

// NewCollector makes the collector of a process of a kind: nodehost or drummer, which its
// metrics' names begin with. A nil Gossip has none.
func NewCollector(of *Gossip, kind string) *Collector {
	return &Collector{
		of:      of,
		members: prometheus.NewDesc(kind+"_gossip_members", "Hosts and drummers known by gossip, by whether they are heard.", []string{"state"}, nil),
		refused: prometheus.NewDesc(kind+"_gossip_refused_total", "Gossip that was refused and changed nothing, by reason.", []string{"reason"}, nil),
		health:  prometheus.NewDesc(kind+"_gossip_health_score", "0 while this process gossips in time; higher when it is slow or cut off itself.", nil, nil),
	}
}

// Describe sends nothing: a process without gossip has none of them.
func (*Collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends all of them.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	g := c.of
	if g == nil {
		return
	}
	count := map[string]int{}
	for _, m := range g.roster.members(time.Now(), "") {
		count[m.State]++
	}
	for _, state := range []string{Heard, Unheard} {
		out <- prometheus.MustNewConstMetric(c.members, prometheus.GaugeValue, float64(count[state]), state)
	}
	for _, r := range reasons() {
		out <- prometheus.MustNewConstMetric(c.refused, prometheus.CounterValue, float64(g.ledger.refused(r)), string(r))
	}
	out <- prometheus.MustNewConstMetric(c.health, prometheus.GaugeValue, float64(g.list.GetHealthScore()))
}
