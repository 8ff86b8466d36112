package serve

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// callMetrics are the grpc_server_* families, under the names and labels that go-grpc's
// own collectors have. Those look every label up at every call, four times; here a
// method's metrics are found once.
type callMetrics struct {
	started, handled, received, sent *prometheus.CounterVec
	seconds                          *prometheus.HistogramVec
	methods                          sync.Map // full method → *methodMetrics
}

// methodMetrics are one method's.
type methodMetrics struct {
	started, received, sent, ok prometheus.Counter
	seconds                     prometheus.Observer
	handled                     *prometheus.CounterVec // by code
}

// Types of calls, as the label says them.
const (
	typeUnary  = "unary"
	typeClient = "client_stream"
	typeServer = "server_stream"
	typeBoth   = "bidi_stream"
)

func newCallMetrics() *callMetrics {
	labels := []string{"grpc_type", "grpc_service", "grpc_method"}
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "grpc_server_" + name, Help: help}, append(labels, more...))
	}
	return &callMetrics{
		started:  counter("started_total", "Calls that began."),
		handled:  counter("handled_total", "Calls that ended, by their code.", "grpc_code"),
		received: counter("msg_received_total", "Messages that calls brought."),
		sent:     counter("msg_sent_total", "Messages that calls were answered with."),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "grpc_server_handling_seconds", Help: "Time from a call's beginning to its end.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, labels),
	}
}

// collectors are what is registered.
func (m *callMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.started, m.handled, m.received, m.sent, m.seconds}
}

// of returns the metrics of a method.
func (m *callMetrics) of(kind, full string) *methodMetrics {
	if found, ok := m.methods.Load(full); ok {
		mm, _ := found.(*methodMetrics) // the map holds nothing else
		return mm
	}
	service, method, _ := strings.Cut(strings.TrimPrefix(full, "/"), "/")
	labels := prometheus.Labels{"grpc_type": kind, "grpc_service": service, "grpc_method": method}
	mm := &methodMetrics{
		started: m.started.With(labels), received: m.received.With(labels), sent: m.sent.With(labels),
		seconds: m.seconds.With(labels), handled: m.handled.MustCurryWith(labels),
	}
	mm.ok = mm.handled.WithLabelValues(codes.OK.String())
	found, _ := m.methods.LoadOrStore(full, mm)
	mm, _ = found.(*methodMetrics)
	return mm
}

// ended counts the end of a call that began then.
func (mm *methodMetrics) ended(began time.Time, err error) {
	mm.seconds.Observe(time.Since(began).Seconds())
	if err == nil {
		mm.ok.Inc()
		return
	}
	mm.handled.WithLabelValues(status.Code(err).String()).Inc()
}

// began counts a call.
func (mm *methodMetrics) began() time.Time {
	mm.started.Inc()
	return time.Now()
}

// kindOf is the type of a streaming method.
func kindOf(info *grpc.StreamServerInfo) string {
	switch {
	case info.IsClientStream && info.IsServerStream:
		return typeBoth
	case info.IsClientStream:
		return typeClient
	}
	return typeServer
}

// countedStream counts what goes through.
type countedStream struct {
	grpc.ServerStream
	of *methodMetrics
}

// SendMsg sends.
func (s *countedStream) SendMsg(m any) error {
	err := s.ServerStream.SendMsg(m)
	if err == nil {
		s.of.sent.Inc()
	}
	return err
}

// RecvMsg receives.
func (s *countedStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil {
		s.of.received.Inc()
	}
	return err
}
