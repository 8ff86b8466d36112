package serve

import (
	"bytes"
	"io"
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"
)

// Ports, as the label of refused connections says them.
const (
	portAPI  = "api"
	portHTTP = "http"
)

// newRefused counts connections that did not get through the TLS handshake.
func newRefused(kind string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: kind + "_tls_refused_total",
		Help: "Connections that ended in the handshake, by port: no TLS, no certificate, or one of another authority.",
	}, []string{"port"})
	for _, port := range []string{portAPI, portHTTP} {
		v.WithLabelValues(port) // it is 0 before the first
	}
	return v
}

// counted is credentials that count who is refused.
type counted struct {
	credentials.TransportCredentials
	refused prometheus.Counter
}

// ServerHandshake implements credentials.TransportCredentials.
func (c counted) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		c.refused.Inc()
	}
	return conn, info, err //nolint:wrapcheck // gRPC's own
}

// Clone implements credentials.TransportCredentials.
func (c counted) Clone() credentials.TransportCredentials {
	return counted{c.TransportCredentials.Clone(), c.refused}
}

// handshakeError begins the line that net/http writes of a handshake that failed; it tells
// nobody in another way.
const handshakeError = "http: TLS handshake error"

// httpLog is what net/http's log goes through.
type httpLog struct {
	out     io.Writer
	refused prometheus.Counter
}

func newHTTPLog(log *slog.Logger, refused prometheus.Counter) *httpLog {
	return &httpLog{out: slog.NewLogLogger(log.Handler(), slog.LevelDebug).Writer(), refused: refused}
}

// Write takes one line.
func (l *httpLog) Write(line []byte) (int, error) {
	if bytes.HasPrefix(line, []byte(handshakeError)) {
		l.refused.Inc()
	}
	return l.out.Write(line) //nolint:wrapcheck // the log's own
}
