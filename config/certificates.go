package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// reloadEvery bounds how often a handshake looks at the files.
const reloadEvery = time.Second

// Certificates are the files of a TLS, read again when they change.
type Certificates struct {
	files TLS

	mu      sync.Mutex // guards all below
	now     func() time.Time
	checked time.Time
	stamp   string
	pair    *tls.Certificate
	pool    *x509.CertPool
	server  *tls.Config // made anew with each reload
	problem error
}

// Load reads the files; nil when TLS is off.
func (t TLS) Load() (*Certificates, error) {
	if !t.Enabled() {
		return nil, nil //nolint:nilnil // no certificates is an ordinary answer: TLS is off
	}
	c := &Certificates{files: t, now: time.Now}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.read(t.stamp()); err != nil {
		return nil, err
	}
	c.checked = c.now()
	return c, nil
}

// Server returns what a listener needs: TLS 1.3, a certificate demanded from the
// other side and checked.
func (c *Certificates) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAndVerifyClientCert,
		// Consulted only by those who look whether a certificate is there at all
		// (net/http does): GetConfigForClient decides for every handshake.
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current().pair, nil },
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return c.current().server, nil
		},
	}
}

// Client returns what a dialler needs. The verification is our own because the
// name is not that of the dialled address, and because the CA may be replaced.
func (c *Certificates) Client() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         c.files.ServerName,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection checks the chain, also of resumed sessions
		VerifyConnection: func(cs tls.ConnectionState) error {
			return verifyServer(c.current().pool, c.files.ServerName, cs)
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.current().pair, nil },
	}
}

// Expiry is when this process's certificate ends.
func (c *Certificates) Expiry() time.Time { return c.current().pair.Leaf.NotAfter }

// Problem is why the newest files are not in use; nil when they are.
func (c *Certificates) Problem() error { return c.current().problem }

// material is what a handshake needs, at one moment.
type material struct {
	pair    *tls.Certificate
	pool    *x509.CertPool
	server  *tls.Config
	problem error
}

// current reads the files again if they changed, and keeps the old ones if they
// are broken: half a renewal must not cut a host off.
func (c *Certificates) current() material {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.checked) >= reloadEvery || now.Before(c.checked) {
		c.checked = now
		if stamp := c.files.stamp(); stamp != c.stamp {
			c.problem = c.read(stamp)
		} else {
			c.problem = nil
		}
	}
	return material{pair: c.pair, pool: c.pool, server: c.server, problem: c.problem}
}

// read replaces the material, whole or not at all.
func (c *Certificates) read(stamp string) error {
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return fmt.Errorf("read certificate and key: %w", err)
	}
	pem, err := os.ReadFile(c.files.CA)
	if err != nil {
		return fmt.Errorf("read ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("read ca: no certificate in %s", c.files.CA)
	}
	c.pair, c.pool, c.stamp = &pair, pool, stamp
	c.server = &tls.Config{
		MinVersion:   tls.VersionTLS13,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
		Certificates: []tls.Certificate{pair},
	}
	return nil
}

// stamp changes when a file does; a file that can't be looked at has its own.
func (t TLS) stamp() string {
	var s strings.Builder
	for _, f := range []string{t.CA, t.Cert, t.Key} {
		info, err := os.Stat(f)
		if err != nil {
			s.WriteString(err.Error() + ";")
			continue
		}
		fmt.Fprintf(&s, "%d %d;", info.Size(), info.ModTime().UnixNano())
	}
	return s.String()
}
