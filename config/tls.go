package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// TLS is the one switch for mutual TLS on every port: all of CA, Cert and Key, or
// none for plain connections.
//
// A server demands a certificate of the CA from whoever connects. A client checks
// that the server's certificate is of the CA and allowed for servers; it does not
// compare host names with the dialled address unless ServerName is set, because
// hosts of a fleet move between addresses and a certificate stays. So the CA must
// be the cluster's own, and certificates for clients alone should carry only the
// client-authentication usage. With ServerName every server certificate must
// carry that name (a SAN common to the fleet).
//
// Changed files are read again within a second of the next handshake; a broken
// file keeps the old pair.
type TLS struct {
	// CA is a PEM file with the certificates that peers are checked against.
	CA string `yaml:"ca" doc:"PEM file of the CA that peers must have a certificate of"`
	// Cert is a PEM file with this process's certificate and its chain.
	Cert string `yaml:"cert" doc:"PEM file of this process's certificate, with its chain"`
	// Key is a PEM file with its private key.
	Key string `yaml:"key" doc:"PEM file of its private key"`
	// ServerName is the name that every server's certificate must carry; empty checks no name.
	ServerName string `yaml:"server_name" doc:"name that every server's certificate must carry; empty: the CA is enough"`
}

// Enabled tells whether any of it is set.
func (t TLS) Enabled() bool { return t.CA != "" || t.Cert != "" || t.Key != "" }

// Server returns what a listener needs, or nil when TLS is off.
func (t TLS) Server() (*tls.Config, error) {
	c, err := t.Load()
	if c == nil || err != nil {
		return nil, err
	}
	return c.Server(), nil
}

// Client returns what a dialler needs, or nil when TLS is off.
func (t TLS) Client() (*tls.Config, error) {
	c, err := t.Load()
	if c == nil || err != nil {
		return nil, err
	}
	return c.Client(), nil
}

// verifyServer checks a server's certificate against the CA of this moment.
func verifyServer(pool *x509.CertPool, serverName string, cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("server sent no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: pool, Intermediates: between, DNSName: serverName,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("server certificate: %w", err)
	}
	return nil
}

// Both returns what a port that also dials needs: Server and Client.
func (t TLS) Both() (server, client *tls.Config, err error) {
	if server, err = t.Server(); err != nil {
		return nil, nil, fmt.Errorf("tls: %w", err)
	}
	if client, err = t.Client(); err != nil {
		return nil, nil, fmt.Errorf("tls: %w", err)
	}
	return server, client, nil
}
