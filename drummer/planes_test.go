package drummer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/config"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/transport/faults"
	"github.com/drumline/drumline/internal/serve"
)

func TestMetricsAndProbes(t *testing.T) {
	c := newCluster(t, 1)
	web, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c.masters[0].web = web
	c.start()
	w := newWorld()
	c.settled(w, 3, 2)
	get := func(path string) (int, string) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get("http://" + web.Addr().String() + path)
		require.NoError(t, err)
		defer func() { require.NoError(t, resp.Body.Close()) }()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	code, _ := get("/readyz")
	require.Equal(t, http.StatusOK, code)
	for _, line := range []string{
		"drummer_leading 1", "drummer_leader_known 1", "drummer_streams 3", `drummer_hosts{state="up"} 3`,
		`drummer_groups{state="ok"} 2`, "drummer_operations 0", `drummer_proposals_total{result="ok"}`, "drummer_passes_total", "drummer_pass_seconds_count",
	} {
		require.True(t, eventually(func() bool { // the last operation ends a moment after its group is whole
			_, metrics := get("/metrics")
			return strings.Contains(metrics, "\n"+line)
		}, 30*time.Second), line)
	}
}

// cut loses everything between one host and the others.
type cut struct{ host atomic.Value }

func (c *cut) Fate(from, to ids.Host, _ faults.Kind) faults.Fate {
	h, _ := c.host.Load().(ids.Host)
	return faults.Fate{Drop: h != "" && (from == h || to == h)}
}

// The leader is cut off from the others, but not from hosts and clients: it must
// give up the lead, and send its hosts to the next leader as soon as it knows one.
func TestALeaderThatIsCutOff(t *testing.T) {
	c := newCluster(t, 3)
	partition := &cut{}
	c.hook = partition
	c.start()
	w := newWorld()
	c.settled(w, 3, 3)
	old := c.leader()
	var servers *hostpb.ServersResponse
	require.NoError(t, old.ask(func() (err error) { servers, err = old.directory().Servers(t.Context(), nil); return err }))
	partition.host.Store(ids.Host(servers.GetServers()[old.index-1].GetId()))

	others := &cluster{t: t, addresses: c.addresses}
	for _, m := range c.masters {
		if m != old {
			others.masters = append(others.masters, m)
		}
	}
	next := others.leader()
	require.NotEqual(t, old, next)
	others.awaitOK(3, nil) // all hosts attend there
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := old.drummer().CreateGroups(ctx, &drummerpb.CreateGroupsRequest{Specs: kvSpecs(5)})
	require.Error(t, err, "who is cut off changes nothing")

	partition.host.Store(ids.Host(""))
	require.True(t, eventually(func() bool {
		resp, err := old.drummer().ListGroups(t.Context(), &drummerpb.ListGroupsRequest{})
		return err == nil && len(resp.GetGroups()) == 3
	}, 30*time.Second), "it follows again, and forwards")
}

func TestEveryPlaneUnderTLS(t *testing.T) {
	c := newCluster(t, 3)
	c.tls = certificate(t)
	c.start()
	pool, err := serve.NewPool(c.tls)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	for _, addr := range c.addresses { // all three answer, so they form, elect and forward
		conn, err := pool.Conn(addr)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			_, err := drummerpb.NewDrummerClient(conn).Status(t.Context(), &drummerpb.StatusRequest{})
			return err == nil
		}, 20*time.Second, 20*time.Millisecond)
	}
	_, err = c.masters[0].drummer().Status(t.Context(), &drummerpb.StatusRequest{})
	require.Equal(t, codes.Unavailable, status.Code(err), "without a certificate nobody is let in")
}

// certificate makes an authority and one certificate for 127.0.0.1.
func certificate(t *testing.T) config.TLS {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "drummer"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	write := func(name, kind string, der []byte, err error) string {
		require.NoError(t, err)
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	caFile := write("ca.pem", "CERTIFICATE", caDER, err)
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key)
	certFile := write("cert.pem", "CERTIFICATE", leafDER, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	return config.TLS{CA: caFile, Cert: certFile, Key: write("key.pem", "EC PRIVATE KEY", keyDER, err)}
}

func TestMainAnswersWithoutServing(t *testing.T) {
	args := os.Args
	t.Cleanup(func() { os.Args = args })
	os.Args = []string{"drummer", "version"}
	require.Equal(t, config.ExitOK, Main())
	os.Args = []string{"drummer", "config", "check", filepath.Join(t.TempDir(), "none.yaml")}
	require.Equal(t, config.ExitUsage, Main())
	os.Args = []string{"drummer", "--index", "x" + strings.Repeat("y", 3)}
	require.Equal(t, config.ExitUsage, Main())
}
