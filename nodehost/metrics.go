package nodehost

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/nodehost/replicas"
)

// eventCounts counts raft's events by kind.
type eventCounts struct {
	mu sync.Mutex
	n  map[raft.EventKind]uint64
}

func (c *eventCounts) count(k raft.EventKind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[raft.EventKind]uint64)
	}
	c.n[k]++
}

func (c *eventCounts) each(f func(kind string, n uint64)) {
	names := map[raft.EventKind]string{
		raft.EventReady: "ready", raft.EventLeader: "leader", raft.EventServing: "serving",
		raft.EventMembership: "membership", raft.EventLife: "life", raft.EventStopped: "stopped",
		raft.EventUnloaded: "unloaded", raft.EventLoaded: "loaded",
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, name := range names {
		f(name, c.n[k])
	}
}

// collector reads the host's metrics when they are asked for: nothing counts twice,
// and an idle host does nothing for them.
type collector struct{ h *host }

// Describe sends nothing: what there is depends on what happened.
func (collector) Describe(chan<- *prometheus.Desc) {}

// sample is one metric's name, help and labels.
type sample struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
}

// Collect sends all metrics.
func (c collector) Collect(out chan<- prometheus.Metric) {
	emit := func(s sample, v float64, values ...string) {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("nodehost_"+s.name, s.help, s.labels, nil), s.kind, v, values...)
	}
	c.replicas(emit)
	c.drummer(emit)
	c.transport(emit)
	events := sample{"raft_events_total", "Events of raft, by kind.", prometheus.CounterValue, []string{"kind"}}
	c.h.events.each(func(kind string, n uint64) { emit(events, float64(n), kind) })
}

type emitter func(s sample, v float64, labels ...string)

func (c collector) replicas(emit emitter) {
	states := map[string]int{"starting": 0, "ok": 0, "down": 0, "removing": 0}
	kept, unloaded := 0, 0
	for _, l := range c.h.keeper.Locals() {
		states[stateWord(l)]++
		if l.Record.Unloaded {
			unloaded++
		}
		if l.KeptDown {
			kept++
		}
	}
	p := c.h.keeper.Progress()
	byState := sample{"replicas", "Replicas of the manifest, by state.", prometheus.GaugeValue, []string{"state"}}
	for state, n := range states {
		emit(byState, float64(n), state)
	}
	emit(sample{"replicas_kept_down", "Replicas not started because their start killed the process.", prometheus.GaugeValue, nil}, float64(kept))
	emit(sample{"replicas_unloaded", "Replicas out of memory until their groups are used again.", prometheus.GaugeValue, nil}, float64(unloaded))
	emit(sample{"leaders", "Groups that this host leads and serves.", prometheus.GaugeValue, nil}, float64(c.h.roster.Leads()))
	emit(sample{"boot_done", "1 once every replica of the manifest was started or is kept down.", prometheus.GaugeValue, nil}, flag(p.Done))
	boot := sample{"boot_replicas", "Replicas that the boot starts: done are up or left for later, waiting are not.", prometheus.GaugeValue, []string{"state"}}
	emit(boot, float64(p.Through), "done")
	emit(boot, float64(p.Total-p.Through), "waiting")
	orders := sample{"orders_total", "Orders of Drummer, by kind and result (ok, refused, later).", prometheus.CounterValue, []string{"kind", "result"}}
	for k, n := range c.h.keeper.OrderCounts() {
		emit(orders, float64(n), k.Kind, k.Result)
	}
}

func (c collector) drummer(emit emitter) {
	s := c.h.agent.Stats()
	emit(sample{"stream_connected", "1 while a drummer has welcomed this host on an open stream.", prometheus.GaugeValue, nil}, flag(s.Drummer != ""))
	if !s.Heard.IsZero() {
		emit(sample{"last_contact_seconds", "Time since a drummer was heard last.", prometheus.GaugeValue, nil}, time.Since(s.Heard).Seconds())
	}
	revision := sample{"configuration_revision", "Revision of an app's configuration that this host follows.", prometheus.GaugeValue, []string{"app"}}
	for _, conf := range c.h.book.Configurations() {
		emit(revision, float64(conf.GetRevision()), conf.GetApp())
	}
	emit(sample{"sessions_total", "Streams on which a drummer welcomed this host.", prometheus.CounterValue, nil}, float64(s.Sessions))
	emit(sample{"session_failures_total", "Attempts to attend that ended without a welcome.", prometheus.CounterValue, nil}, float64(s.Failures))
}

func (c collector) transport(emit emitter) {
	s := c.h.transport.Stats()
	conns := sample{"transport_connections", "Raft connections established, by direction.", prometheus.GaugeValue, []string{"direction"}}
	emit(conns, float64(s.Inbound), "in")
	emit(conns, float64(s.Outbound), "out")
	bytes := sample{"transport_bytes_total", "Bytes of Raft frames, by direction.", prometheus.CounterValue, []string{"direction"}}
	emit(bytes, float64(s.BytesIn), "in")
	emit(bytes, float64(s.BytesOut), "out")
	batches := sample{"transport_batches_total", "Raft message batches, by what became of them.", prometheus.CounterValue, []string{"fate"}}
	emit(batches, float64(s.BatchesIn), "in")
	emit(batches, float64(s.BatchesOut), "out")
	emit(batches, float64(s.BatchesDropped), "dropped")
	emit(batches, float64(s.BatchesRefused), "refused")
	chunks := sample{"transport_chunks_total", "Snapshot chunks, by direction.", prometheus.CounterValue, []string{"direction"}}
	emit(chunks, float64(s.ChunksIn), "in")
	emit(chunks, float64(s.ChunksOut), "out")
	snapshots := sample{"transport_snapshots_total", "Snapshots sent, by result.", prometheus.CounterValue, []string{"result"}}
	emit(snapshots, float64(s.SnapshotsSent), "ok")
	emit(snapshots, float64(s.SnapshotsFailed), "failed")
	emit(sample{"transport_bad_frames_total", "Raft frames that could not be decoded.", prometheus.CounterValue, nil}, float64(s.BadFrames))
	refused := sample{"transport_refused_handshakes_total", "Raft handshakes refused here, by reason.", prometheus.CounterValue, []string{"reason"}}
	for reason, n := range s.RefusedHandshakes {
		emit(refused, float64(n), reason)
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// stateWord is a replica's state in lower case, as the wire's enum names it.
func stateWord(l replicas.Local) string {
	return strings.ToLower(strings.TrimPrefix(l.State.String(), "REPLICA_STATE_"))
}
