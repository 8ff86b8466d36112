package client_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/config"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// certificate makes one that is its own CA.
func certificate(t *testing.T) config.TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	pkcs, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	files := config.TLS{CA: filepath.Join(dir, "cert.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	require.NoError(t, os.WriteFile(files.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600))
	require.NoError(t, os.WriteFile(files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs}), 0o600))
	return files
}

// addTLS starts a server that demands certificates, as Drumline's do.
func (c *cluster) addTLS(t *testing.T, files config.TLS) *server {
	t.Helper()
	conf, err := files.Server()
	require.NoError(t, err)
	require.Equal(t, tls.RequireAndVerifyClientCert, conf.ClientAuth)
	return c.add("nodehost", grpc.Creds(credentials.NewTLS(conf)))
}

func TestErrorsOfConnectingSayWhatIsWrong(t *testing.T) {
	c, files := newCluster(t), certificate(t)
	plain, secure := c.add("nodehost"), c.addTLS(t, files)
	silent := silentAddress(t)
	for name, x := range map[string]struct {
		addr string
		opts []client.Option
		want string
	}{
		"nobody listens":         {addr: deadAddress(t), want: "cannot connect: dial tcp 127.0.0.1:"},
		"no such name":           {addr: "no.such.name.invalid:1", want: "cannot connect: "},
		"an odd address":         {addr: "%zz:1", want: "connect"},
		"nobody answers":         {addr: silent, want: "cannot connect: context deadline exceeded"},
		"plain client":           {addr: secure.addr, want: "cannot connect: the server speaks TLS: set CA, certificate and key"},
		"plain server":           {addr: plain.addr, opts: []client.Option{client.WithTLS(files)}, want: "cannot connect: the server does not speak TLS: leave CA, certificate and key out"},
		"certificate of nowhere": {addr: secure.addr, opts: []client.Option{client.WithTLS(certificate(t))}, want: "x509: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var err error
			for d := time.Second; d < ample; d *= 2 { // a busy machine may need longer to come so far
				_, err = client.Open(within(t, d), []string{x.addr}, x.opts...)
				if err == nil || strings.Contains(err.Error(), x.want) {
					break
				}
			}
			e := requireError(t, err, hostpb.Reason_REASON_UNAVAILABLE, client.NotApplied)
			require.ErrorContains(t, err, x.want)
			require.NotContains(t, err.Error(), "passthrough")
			require.NotContains(t, err.Error(), "desc =")
			require.Equal(t, x.addr, e.Server)
			t.Log(err)
		})
	}
}

func TestTLSOnBothSides(t *testing.T) {
	c, files := newCluster(t), certificate(t)
	h := c.addTLS(t, files)
	cl, err := client.Open(within(t, ample), []string{h.addr}, client.WithTLS(files))
	require.NoError(t, err)
	defer cl.Close()
	_, err = cl.Group("kv/x").Propose(within(t, ample), []byte("v"))
	require.NoError(t, err)
}

// TestHangingUpIsNotTLS: a server that ends connections without a word need not speak TLS.
func TestHangingUpIsNotTLS(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	_, err = client.Open(within(t, time.Second), []string{ln.Addr().String()})
	require.NoError(t, ln.Close())
	<-done
	requireError(t, err, hostpb.Reason_REASON_UNAVAILABLE, client.NotApplied)
	require.NotContains(t, err.Error(), "TLS")
}

// silentAddress is one that takes connections and says nothing.
func silentAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			require.NoError(t, err)
		}
	})
	return ln.Addr().String()
}
