package config

import (
	"context"
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
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// authority makes certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(raw)
	require.NoError(t, err)
	return authority{cert: cert, key: key}
}

// issue writes a certificate with this serial number and these uses into dir.
func (a authority) issue(t *testing.T, dir string, serial int64, uses ...x509.ExtKeyUsage) TLS {
	t.Helper()
	if len(uses) == 0 {
		uses = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"fleet.example"}, ExtKeyUsage: uses,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	raw, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	pkcs, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	files := TLS{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for path, block := range map[string]*pem.Block{
		files.CA:   {Type: "CERTIFICATE", Bytes: a.cert.Raw},
		files.Cert: {Type: "CERTIFICATE", Bytes: raw},
		files.Key:  {Type: "PRIVATE KEY", Bytes: pkcs},
	} {
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	}
	return files
}

// shake lets a client and a server meet; it returns what each saw of the other.
func shake(t *testing.T, server, client *tls.Config) (seenByServer, seenByClient int64, err error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	type end struct {
		serial int64
		err    error
	}
	done := make(chan end, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			done <- end{err: err}
			return
		}
		done <- func() end {
			c := tls.Server(raw, server)
			defer func() { _ = c.Close() }()
			if err := c.HandshakeContext(context.Background()); err != nil {
				return end{err: err}
			}
			_, err := c.Write([]byte("x"))
			state := c.ConnectionState()
			if state.Version != tls.VersionTLS13 || len(state.VerifiedChains) == 0 {
				return end{err: errors.New("not TLS 1.3 with a verified chain")}
			}
			return end{serial: state.PeerCertificates[0].SerialNumber.Int64(), err: err}
		}()
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	c := tls.Client(raw, client)
	_, errClient := c.Read(make([]byte, 1)) // in TLS 1.3 a refusal of the client shows here
	if errClient == nil {
		seenByClient = c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	_ = c.Close()
	s := <-done
	return s.serial, seenByClient, errors.Join(s.err, errClient)
}

func configs(t *testing.T, server, client TLS) (*tls.Config, *tls.Config) {
	t.Helper()
	s, err := server.Server()
	require.NoError(t, err)
	c, err := client.Client()
	require.NoError(t, err)
	return s, c
}

func TestMutualTLS(t *testing.T) {
	ca := newAuthority(t)
	s, c := configs(t, ca.issue(t, t.TempDir(), 2), ca.issue(t, t.TempDir(), 3))
	byServer, byClient, err := shake(t, s, c)
	require.NoError(t, err)
	require.Equal(t, int64(3), byServer)
	require.Equal(t, int64(2), byClient)
}

func TestWhoIsRefused(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	good := ca.issue(t, t.TempDir(), 2)
	named := func(f TLS, name string) TLS { f.ServerName = name; return f }
	for name, p := range map[string]struct {
		server, client TLS
		ok             bool
	}{
		"client of another ca":               {server: good, client: TLS{CA: good.CA, Cert: other.issue(t, t.TempDir(), 4).Cert}},
		"server of another ca":               {server: other.issue(t, t.TempDir(), 5), client: good},
		"server with a client's certificate": {server: ca.issue(t, t.TempDir(), 6, x509.ExtKeyUsageClientAuth), client: good},
		"client with a server's certificate": {server: good, client: ca.issue(t, t.TempDir(), 7, x509.ExtKeyUsageServerAuth)},
		"wrong server name":                  {server: good, client: named(good, "elsewhere.example")},
		"right server name":                  {server: good, client: named(good, "fleet.example"), ok: true},
	} {
		t.Run(name, func(t *testing.T) {
			if p.client.Key == "" {
				p.client.Key = filepath.Join(filepath.Dir(p.client.Cert), "key.pem")
			}
			s, c := configs(t, p.server, p.client)
			_, _, err := shake(t, s, c)
			require.Equal(t, p.ok, err == nil, err)
		})
	}
	t.Run("client without a certificate", func(t *testing.T) {
		s, c := configs(t, good, good)
		c.GetClientCertificate = nil
		_, _, err := shake(t, s, c)
		require.Error(t, err)
	})
	t.Run("old version", func(t *testing.T) {
		s, c := configs(t, good, good)
		c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		_, _, err := shake(t, s, c)
		require.Error(t, err)
	})
}

func TestReplacedFilesAreUsedAndBrokenOnesAreNot(t *testing.T) {
	ca, next, dir := newAuthority(t), newAuthority(t), t.TempDir()
	files := ca.issue(t, dir, 2)
	certs, err := files.Load()
	require.NoError(t, err)
	clock := time.Now()
	certs.now = func() time.Time { return clock }
	serial := func() int64 { return certs.current().pair.Leaf.SerialNumber.Int64() }

	require.NoError(t, os.WriteFile(files.Key, []byte("half written"), 0o600))
	clock = clock.Add(2 * reloadEvery)
	require.Equal(t, int64(2), serial())
	require.ErrorContains(t, certs.Problem(), "read certificate and key")

	next.issue(t, dir, 9)
	require.Equal(t, int64(2), serial(), "looked at the files too often")
	clock = clock.Add(2 * reloadEvery)
	require.Equal(t, int64(9), serial())
	require.NoError(t, certs.Problem())
	require.WithinDuration(t, time.Now().Add(time.Hour), certs.Expiry(), time.Minute)

	// Both ends have the new pair and the new CA, in configurations made before.
	byServer, byClient, err := shake(t, certs.Server(), certs.Client())
	require.NoError(t, err)
	require.Equal(t, []int64{9, 9}, []int64{byServer, byClient})
}

func TestTLSOff(t *testing.T) {
	s, err := TLS{}.Server()
	require.NoError(t, err)
	require.Nil(t, s)
	c, err := TLS{}.Client()
	require.NoError(t, err)
	require.Nil(t, c)
}

func TestUnreadableCA(t *testing.T) {
	files := newAuthority(t).issue(t, t.TempDir(), 2)
	require.NoError(t, os.WriteFile(files.CA, []byte("nothing"), 0o600))
	_, err := files.Server()
	require.ErrorContains(t, err, "no certificate in")
}
