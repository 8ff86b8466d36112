package localfleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/drumline/drumline/config"
)

// certified is for how long certificates hold: longer than a directory of a local fleet.
const certified = 10 * 365 * 24 * time.Hour

// Names of an authority's own files.
const (
	caCert = "ca.pem"
	caKey  = "ca.key"
)

// Authority issues certificates for processes of one machine. Its key lies in a file beside
// them, so it is for trying and testing.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// OpenAuthority reads the authority of a directory, which exists, or makes one.
func OpenAuthority(dir string) (*Authority, error) {
	a := &Authority{dir: dir}
	if err := a.read(); !errors.Is(err, fs.ErrNotExist) {
		return a, err
	}
	a.cert = &x509.Certificate{
		Subject: pkix.Name{CommonName: "drumline " + Deployment}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	cert, key, err := a.sign(a.cert)
	if err != nil {
		return nil, err
	}
	if err := writePair(filepath.Join(dir, caCert), filepath.Join(dir, caKey), cert, key); err != nil {
		return nil, err
	}
	return a, a.read()
}

func (a *Authority) read() error {
	cert, err := readPEM(filepath.Join(a.dir, caCert))
	if err != nil {
		return err
	}
	key, err := readPEM(filepath.Join(a.dir, caKey))
	if err != nil {
		return err
	}
	if a.cert, err = x509.ParseCertificate(cert); err != nil {
		return fmt.Errorf("read %s: %w", filepath.Join(a.dir, caCert), err)
	}
	if a.key, err = x509.ParseECPrivateKey(key); err != nil {
		return fmt.Errorf("read %s: %w", filepath.Join(a.dir, caKey), err)
	}
	return nil
}

// Issue returns the files of a certificate of that name, which is made unless it is there.
// With server, who has it may serve and call; without, only call.
func (a *Authority) Issue(name string, server bool) (config.TLS, error) {
	base := filepath.Join(a.dir, name)
	t := config.TLS{CA: filepath.Join(a.dir, caCert), Cert: base + ".pem", Key: base + ".key"}
	if _, err := os.Stat(t.Key); err == nil {
		return t, nil
	}
	what := &x509.Certificate{Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if server {
		what.ExtKeyUsage = append(what.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	cert, key, err := a.sign(what)
	if err != nil {
		return config.TLS{}, err
	}
	return t, writePair(t.Cert, t.Key, cert, key)
}

// sign makes a key and a certificate for it; an authority without a key signs itself.
func (a *Authority) sign(what *x509.Certificate) (cert []byte, key *ecdsa.PrivateKey, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	if what.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, fmt.Errorf("make a serial number: %w", err)
	}
	now := time.Now()
	what.NotBefore, what.NotAfter = now.Add(-time.Hour), now.Add(certified)
	by := a.key
	if by == nil {
		by = key
	}
	if cert, err = x509.CreateCertificate(rand.Reader, what, a.cert, &key.PublicKey, by); err != nil {
		return nil, nil, fmt.Errorf("sign the certificate of %s: %w", what.Subject.CommonName, err)
	}
	return cert, key, nil
}

// writePair writes a certificate and then its key, which tells that both are there.
func writePair(certFile, keyFile string, cert []byte, key *ecdsa.PrivateKey) error {
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("write %s: %w", keyFile, err)
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644); err != nil {
		return fmt.Errorf("write a certificate: %w", err)
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}), 0o600); err != nil {
		return fmt.Errorf("write a key: %w", err)
	}
	return nil
}

func readPEM(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("read %s: it has no PEM block; remove it with the certificates beside it", path)
	}
	return block.Bytes, nil
}
