package exchange

import (
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/statemachines"
)

// tally counts what the exchange did.
type tally struct {
	bytes, entries, refused, diverged uint64
	// ears are what was heard of each sibling, by group and region.
	ears map[[2]string]ear
	// found is what groups were found to hold, by group.
	found map[string]found
}

// found is what a group holds that somebody may have to look after.
type found struct{ graves, forged uint64 }

// ear is when a sibling was last heard of, when the own group last had all that it had, and
// how many changes it was behind.
type ear struct {
	heard, even time.Time
	behind      uint64
}

func (x *Exchange) count(f func(*tally)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f(&x.tally)
}

// hear notes that a sibling was heard of, and how many of its changes are missing.
func (x *Exchange) hear(group, region string, behind uint64) {
	x.expect(group, region)
	now, of := x.o.Now(), [2]string{group, region}
	x.count(func(t *tally) {
		e := t.ears[of]
		if e.heard, e.behind = now, behind; behind == 0 {
			e.even = now
		}
		t.ears[of] = e
	})
}

// expect notes that there is a sibling: one that is not heard from the beginning on is silent,
// too.
func (x *Exchange) expect(group, region string) {
	now, of := x.o.Now(), [2]string{group, region}
	x.count(func(t *tally) {
		if t.ears == nil {
			t.ears = map[[2]string]ear{}
		}
		if _, known := t.ears[of]; !known {
			t.ears[of] = ear{heard: now, even: now}
		}
	})
}

// note keeps what a group was found to hold.
func (x *Exchange) note(group string, g *counterpb.GroupInfo) {
	x.count(func(t *tally) {
		if t.found == nil {
			t.found = map[string]found{}
		}
		t.found[group] = found{g.GetGraves(), g.GetForged()}
	})
}

// descriptions of the metrics of the exchange. A group is told by its name and its own region.
type descriptions struct {
	bytes, entries, refused, diverged, silence, lag, behind, graves, forged *prometheus.Desc
}

func descs() descriptions {
	of := []string{"group", "own", "region"}
	return descriptions{
		prometheus.NewDesc("drumline_counter_exchange_bytes_total", "Bytes that siblings of the counters led here answered.", nil, nil),
		prometheus.NewDesc("drumline_counter_exchange_entries_total", "Changes of counters that were taken from siblings.", nil, nil),
		prometheus.NewDesc("drumline_counter_exchange_refused_total", "Merges that a group refused: of a retired region, or malformed.", nil, nil),
		prometheus.NewDesc("drumline_counter_exchange_diverged_total", "Siblings of which a counter had something else than they counted, and asked for all of it again.", nil, nil),
		prometheus.NewDesc("drumline_counter_exchange_silence_seconds", "Time since a sibling of a counter led here was heard of: what it counted since is not known.", of, nil),
		prometheus.NewDesc("drumline_counter_exchange_lag_seconds", "Time since a counter led here had all that a sibling had counted.", of, nil),
		prometheus.NewDesc("drumline_counter_exchange_lag_changes", "Changes that a sibling had and a counter led here had not, when it was last heard of.", of, nil),
		prometheus.NewDesc("drumline_counter_graves", "Deleted counters that a group led here remembers, until all regions have told of the delete.", of[:2], nil),
		prometheus.NewDesc("drumline_counter_forged", "Counts of a region that others claimed to be greater than they are in the group of that region, which is led here: its data was lost, or its identity copied.", of[:2], nil),
	}
}

// Describe implements prometheus.Collector.
func (x *Exchange) Describe(out chan<- *prometheus.Desc) {
	d := descs()
	for _, desc := range []*prometheus.Desc{d.bytes, d.entries, d.refused, d.diverged, d.silence, d.lag, d.behind, d.graves, d.forged} {
		out <- desc
	}
}

// Collect implements prometheus.Collector.
func (x *Exchange) Collect(out chan<- prometheus.Metric) {
	d, now := descs(), x.o.Now()
	x.mu.Lock()
	t, led := x.tally, map[string]bool{}
	for l := range x.leads {
		led[l.name] = true
	}
	ears, groups := maps.Clone(t.ears), maps.Clone(t.found)
	maps.DeleteFunc(ears, func(of [2]string, _ ear) bool { return !led[of[0]] })
	maps.DeleteFunc(groups, func(of string, _ found) bool { return !led[of] })
	x.tally.ears, x.tally.found = maps.Clone(ears), maps.Clone(groups)
	x.mu.Unlock()
	out <- prometheus.MustNewConstMetric(d.bytes, prometheus.CounterValue, float64(t.bytes))
	out <- prometheus.MustNewConstMetric(d.entries, prometheus.CounterValue, float64(t.entries))
	out <- prometheus.MustNewConstMetric(d.refused, prometheus.CounterValue, float64(t.refused))
	out <- prometheus.MustNewConstMetric(d.diverged, prometheus.CounterValue, float64(t.diverged))
	for of, e := range ears {
		gauge := func(desc *prometheus.Desc, v float64) {
			name, own := statemachines.CutRegion(of[0])
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, name, own, of[1])
		}
		gauge(d.silence, now.Sub(e.heard).Seconds())
		gauge(d.lag, now.Sub(e.even).Seconds())
		gauge(d.behind, float64(e.behind))
	}
	for group, f := range groups {
		name, own := statemachines.CutRegion(group)
		out <- prometheus.MustNewConstMetric(d.graves, prometheus.GaugeValue, float64(f.graves), name, own)
		out <- prometheus.MustNewConstMetric(d.forged, prometheus.GaugeValue, float64(f.forged), name, own)
	}
}
