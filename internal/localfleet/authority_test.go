package localfleet_test

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/config"
	"github.com/drumline/drumline/internal/localfleet"
)

// patience is far above what a handshake takes.
const patience = 20 * time.Second

// shake connects two who have these certificates, and returns what each makes of it.
func shake(t *testing.T, server, client config.TLS) (serves, calls error) {
	t.Helper()
	s, err := server.Server()
	require.NoError(t, err)
	c, err := client.Client()
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	done := make(chan error, 1)
	go func() {
		raw, err := l.Accept()
		if err == nil {
			defer func() { _ = raw.Close() }()
			conn := tls.Server(raw, s)
			if err = conn.Handshake(); err == nil {
				_, err = conn.Write([]byte("x"))
			}
		}
		done <- err
	}()
	raw, err := net.DialTimeout("tcp", l.Addr().String(), patience)
	require.NoError(t, err)
	require.NoError(t, raw.SetDeadline(time.Now().Add(patience)))
	conn := tls.Client(raw, c)
	if calls = conn.Handshake(); calls == nil {
		_, calls = conn.Read(make([]byte, 1))
	}
	_ = raw.Close()
	return <-done, calls
}

// TestAuthority: who has a certificate of the authority is trusted in the role that it was
// made for, others are not; a second look at the directory is the same authority.
func TestAuthority(t *testing.T) {
	dir := t.TempDir()
	a, err := localfleet.OpenAuthority(dir)
	require.NoError(t, err)
	host, err := a.Issue("host-1", true)
	require.NoError(t, err)
	again, err := localfleet.OpenAuthority(dir)
	require.NoError(t, err)
	before, err := os.ReadFile(host.Cert)
	require.NoError(t, err)
	same, err := again.Issue("host-1", true)
	require.NoError(t, err)
	require.Equal(t, host, same)
	after, err := os.ReadFile(host.Cert)
	require.NoError(t, err)
	require.Equal(t, before, after, "it was issued anew")
	operator, err := again.Issue("operator", false)
	require.NoError(t, err)
	other, err := localfleet.OpenAuthority(t.TempDir())
	require.NoError(t, err)
	foreign, err := other.Issue("host-1", true)
	require.NoError(t, err)

	serves, calls := shake(t, host, operator)
	require.NoError(t, serves)
	require.NoError(t, calls)
	_, calls = shake(t, operator, host)
	require.Error(t, calls, "an operator serves nothing")
	serves, _ = shake(t, host, foreign)
	require.Error(t, serves)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.key"), []byte("no key"), 0o600))
	_, err = localfleet.OpenAuthority(dir)
	require.ErrorContains(t, err, "has no PEM block")
}
