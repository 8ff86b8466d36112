package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert: cert, key: key, pool: pool}
}

func (a *authority) issue(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ips := []net.IP{net.IPv4(127, 0, 0, 1)}
	if len(names) > 0 {
		ips = nil
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "host"}, DNSNames: names, IPAddresses: ips,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secure gives options mutual TLS under the authority.
func (a *authority) secure(t *testing.T, o Options, names ...string) Options {
	t.Helper()
	cert := a.issue(t, names...)
	o.ServerTLS = &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil },
	}
	o.ClientTLS = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: a.pool, Certificates: []tls.Certificate{cert}}
	return o
}

func TestMutualTLS(t *testing.T) {
	ca := newAuthority(t)
	a, b := start(t, ca.secure(t, options("nh-a"))), start(t, ca.secure(t, options("nh-b")))
	meet(a, b)
	c := a.connect(t, "nh-b")
	defer c.Close()
	sendUntil(t, a, c, b)
	s := sendSnapshot(t, a, "nh-b", snapshotChunks(3, 2<<20))
	require.Equal(t, uint64(1), s.SnapshotsSent)

	plain := start(t, options("nh-plain"))
	foreign := start(t, newAuthority(t).secure(t, options("nh-foreign")))
	meet(plain, foreign, b)
	for _, n := range []*node{plain, foreign} {
		_, err := n.dial(t.Context(), "nh-b", messages)
		require.Error(t, err, n.o.Host)
		_, err = b.dial(t.Context(), n.o.Host, messages)
		require.Error(t, err, n.o.Host)
	}
	require.Zero(t, b.Stats().Peers["nh-plain"].Epoch)
	require.Zero(t, b.Stats().Peers["nh-foreign"].Epoch)
}

func TestTheCertificateIsOfTheNameThatIsDialed(t *testing.T) {
	ca := newAuthority(t)
	o := ca.secure(t, options("nh-b"), "localhost")
	o.Advertise = "localhost:0"
	a, b := start(t, ca.secure(t, options("nh-a"))), start(t, o)
	require.NoError(t, a.book.Learn("nh-b", b.Addr(), 1))
	l, err := a.dial(t.Context(), "nh-b", messages)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.NoError(t, a.book.Learn("nh-b", b.listener.Addr().String(), 1))
	_, err = a.dial(t.Context(), "nh-b", messages)
	require.ErrorContains(t, err, "certificate")
}

func TestSilentTLSStrangersHoldNobodyUp(t *testing.T) {
	ca := newAuthority(t)
	swiftly(t, handshakeTimeout, func() time.Duration {
		a, b := start(t, ca.secure(t, options("nh-a"))), start(t, ca.secure(t, options("nh-b")))
		for range 2 * maxWaiting {
			knock(t, b)
		}
		meet(a, b)
		c := a.connect(t, "nh-b")
		defer c.Close()
		since := time.Now()
		sendUntil(t, a, c, b)
		return time.Since(since)
	})
}

func TestTLSOnOneSideOnlyIsAMistake(t *testing.T) {
	o := newAuthority(t).secure(t, options("nh-a"))
	o.ClientTLS = nil
	_, err := New(o)
	require.ErrorContains(t, err, "TLS for one direction only")
}
