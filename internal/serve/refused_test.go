package serve

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/config"
)

// showing is a connection of somebody who trusts every server and shows the certificate of
// files, or none; protocol is what the port speaks inside TLS.
func showing(t *testing.T, files *config.TLS, protocol string) func(addr string) (net.Conn, error) {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}
	if files != nil {
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		require.NoError(t, err)
		// Certificates would be shown only if the server said that it knows their authority.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return func(addr string) (net.Conn, error) { return tls.Dial("tcp", addr, cfg) }
}

// refusal sends something and returns how the server ends the connection: with nil if it
// answers.
func refusal(dial func(string) (net.Conn, error), addr, hello string) error {
	conn, err := dial(addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, hello); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1)) // TLS 1.3 tells a refused client only here
	return err
}

// A stranger gets through no handshake, on neither port, and each one is counted once, at the
// port where it came; a friend is served, before and after, and is not counted.
func TestStrangersAreRefusedInTheHandshakeAndCounted(t *testing.T) {
	files, foreign := certificate(t), certificate(t)
	r := start(t, Options{TLS: files}, fine)
	const noTLS = "that speaks no TLS"
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for _, port := range []struct{ name, other, addr, protocol, hello string }{
		{portAPI, portHTTP, r.APIAddr(), "h2", preface},
		{portHTTP, portAPI, r.HTTPAddr(), "http/1.1", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"},
	} {
		elsewhere := testutil.ToFloat64(r.refused.WithLabelValues(port.other))
		friend := showing(t, &files, port.protocol)
		require.NoError(t, refusal(friend, port.addr, port.hello))
		require.Zero(t, testutil.ToFloat64(r.refused.WithLabelValues(port.name)))
		for i, stranger := range []struct {
			who  string
			dial func(string) (net.Conn, error)
		}{
			{"without a certificate", showing(t, nil, port.protocol)},
			{"of another authority", showing(t, &foreign, port.protocol)},
			{noTLS, func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) }},
		} {
			err := refusal(stranger.dial, port.addr, port.hello)
			if port.name == portAPI || stranger.who != noTLS { // net/http tells who speaks no TLS that it should
				require.Error(t, err, "%s: one %s", port.name, stranger.who)
			}
			counted := func() bool { return testutil.ToFloat64(r.refused.WithLabelValues(port.name)) == float64(i+1) }
			require.Eventually(t, counted, patience, time.Millisecond, "%s: one %s is not counted", port.name, stranger.who)
		}
		require.NoError(t, refusal(friend, port.addr, port.hello))
		require.InDelta(t, 3, testutil.ToFloat64(r.refused.WithLabelValues(port.name)), 0)
		require.InDelta(t, elsewhere, testutil.ToFloat64(r.refused.WithLabelValues(port.other)), 0)
	}
	require.NoError(t, r.propose(), "a friend's call is answered")
	require.InDelta(t, 3, testutil.ToFloat64(r.refused.WithLabelValues(portAPI)), 0)
}

// Whoever scrapes sees the counts, under the kind of the server, from the beginning on.
func TestRefusedHandshakesAreAMetric(t *testing.T) {
	files := certificate(t)
	r := start(t, Options{TLS: files}, fine)
	require.Error(t, refusal(showing(t, nil, "h2"), r.APIAddr(), ""))
	cfg, err := files.Client()
	require.NoError(t, err)
	transport := &http.Transport{TLSClientConfig: cfg}
	defer transport.CloseIdleConnections()
	require.Eventually(t, func() bool { return testutil.ToFloat64(r.refused.WithLabelValues(portAPI)) == 1 }, patience, time.Millisecond)
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://"+r.HTTPAddr()+"/metrics", http.NoBody)
	require.NoError(t, err)
	resp, err := (&http.Client{Transport: transport}).Do(req)
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Contains(t, string(text), "nodehost_tls_refused_total{port=\"api\"} 1\n")
	require.Contains(t, string(text), "nodehost_tls_refused_total{port=\"http\"} 0\n")
}
