package serve

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/config"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/freeport"
)

// certificate writes a self-signed certificate that is its own CA.
func certificate(t *testing.T) config.TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	pkcs, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	c := config.TLS{CA: filepath.Join(dir, "ca"), Cert: filepath.Join(dir, "ca"), Key: filepath.Join(dir, "key")}
	require.NoError(t, os.WriteFile(c.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600))
	require.NoError(t, os.WriteFile(c.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs}), 0o600))
	return c
}

func TestMutualTLSOnBothPorts(t *testing.T) {
	files := certificate(t)
	r := start(t, Options{TLS: files}, fine)
	require.NoError(t, r.propose())

	plain, err := NewPool(config.TLS{})
	require.NoError(t, err)
	stranger, err := NewPool(certificate(t))
	require.NoError(t, err)
	for name, p := range map[string]*Pool{"plain": plain, "of another ca": stranger} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err = p.Dial(ctx, r.APIAddr())
		cancel()
		if err == nil { // TLS 1.3 tells a refused client only when it reads
			c, errConn := p.Conn(r.APIAddr())
			require.NoError(t, errConn)
			err = (&running{Server: r.Server, t: t, pool: p}).proposeOnce(c)
		}
		require.Error(t, err, name)
		require.NoError(t, p.Close())
	}

	cfg, err := files.Client()
	require.NoError(t, err)
	transport := &http.Transport{TLSClientConfig: cfg}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://" + r.HTTPAddr() + "/readyz?verbose")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 200, resp.StatusCode)
	_, err = (&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}).Get("https://" + r.HTTPAddr() + "/livez")
	require.Error(t, err, "no certificate shown")
}

func TestPoolSharesConnections(t *testing.T) {
	p, err := NewPool(config.TLS{})
	require.NoError(t, err)
	a, err := p.Conn("127.0.0.1:1")
	require.NoError(t, err)
	b, err := p.Conn("127.0.0.1:1")
	require.NoError(t, err)
	require.Same(t, a, b)
	require.NoError(t, p.Forget("127.0.0.1:1"))
	require.NoError(t, p.Forget("127.0.0.1:1"))
	c, err := p.Conn("127.0.0.1:1")
	require.NoError(t, err)
	require.NotSame(t, a, c)
	require.NoError(t, p.Close())
	_, err = p.Conn("127.0.0.1:1")
	require.ErrorIs(t, err, ErrPoolClosed)
	require.NoError(t, p.Close())
}

func TestPoolNeedsReadableFiles(t *testing.T) {
	_, err := NewPool(config.TLS{CA: "/no", Cert: "/no", Key: "/no"})
	require.ErrorContains(t, err, "tls:")
}

// Dial tells "nothing was sent" apart from "something may have been".
func TestDialOfNobodyIsNotApplied(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	p, err := NewPool(config.TLS{})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	short, end := context.WithTimeout(ctx, 50*time.Millisecond) // it accepts and says nothing
	_, err = p.Dial(short, addr)
	end()
	require.Equal(t, fault.Unavailable, fault.ReasonOf(err))
	require.NoError(t, l.Close())

	require.NoError(t, p.Forget(addr))
	_, err = p.Dial(ctx, addr)
	require.Equal(t, fault.Unavailable, fault.ReasonOf(err))
	require.NoError(t, p.Close())
	_, err = p.Dial(ctx, addr)
	require.Equal(t, fault.Unavailable, fault.ReasonOf(err))
}

func TestDialOfAServerThatComesBack(t *testing.T) {
	l, err := freeport.Listen()
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	p, err := NewPool(config.TLS{})
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Close()) }()
	_, err = p.Dial(t.Context(), addr)
	require.Error(t, err)

	l, err = net.Listen("tcp", addr)
	require.NoError(t, err)
	s, err := NewServer(Options{Kind: "nodehost", APIListener: l})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	// The pool looks again by itself, within a second.
	require.Eventually(t, func() bool { _, err := p.Dial(t.Context(), addr); return err == nil }, patience, 10*time.Millisecond)
	require.NoError(t, p.Forget(addr))
	cancel()
	require.NoError(t, <-served)
}

func TestCallOnACutConnectionIsUnknownForAWrite(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	p, err := NewPool(config.TLS{})
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Close()) }()
	c, err := p.Conn(l.Addr().String())
	require.NoError(t, err)
	go func() {
		if conn, err := l.Accept(); err == nil {
			_ = conn.Close()
		}
	}()
	err = (&running{t: t, pool: p}).proposeOnce(c)
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.True(t, fault.MayHaveApplied(Fault(err)))
}
