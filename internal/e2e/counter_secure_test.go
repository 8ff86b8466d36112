//go:build e2e || e2elong

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/config"
	counterpb "github.com/drumline/drumline/drummerpb/counter"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/localfleet"
)

// A counter of four regions whose hosts demand certificates of each other.
//
//	regions exchange what they counted                     TestCountersOverTLS/exchange
//	who has no certificate of the fleet's authority is
//	refused at every port and counted                      TestCountersOverTLS/strangers
//	who has one forges no region's count                   TestCountersOverTLS/forged
//	a host with another authority's certificate and
//	another key neither exchanges nor gossips; with its
//	own again it tells what it counted                     TestCountersOverTLS/a foreign host

// secured is the fleet, and whom it does not trust.
type secured struct {
	*world
	// foreign is a certificate that another authority issued to a host.
	foreign config.TLS
	// key is the file of a key that only others gossip with.
	key string
}

func newSecured(t *testing.T) *secured {
	t.Helper()
	dir := t.TempDir()
	s := &secured{key: filepath.Join(dir, "gossip.key")}
	require.NoError(t, os.WriteFile(s.key, []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600))
	other, err := localfleet.OpenAuthority(dir)
	require.NoError(t, err)
	s.foreign, err = other.Issue("host-4", true)
	require.NoError(t, err)
	s.world = newWorldOf(t, localfleet.Options{Drummers: 1, Hosts: 4, Regions: []string{"ord", "hkg", "ams", "syd"}, Gossip: true, Secure: true})
	for _, region := range []string{"ord", "hkg", "ams", "syd"} {
		s.create(&fleetpb.Spec{
			Name: "counter/default", Region: region, App: "counter", Replicas: 1,
		})
	}
	s.within(30*time.Second, "groups are whole", s.whole(nil))
	return s
}

func (s *secured) in(t *testing.T) *secured {
	c := *s
	c.world = &world{T: t, fleet: s.fleet, client: s.client, dir: s.dir}
	return &c
}

// trusting makes a configuration that takes the fleet's servers for genuine, with somebody's
// certificate or without one.
func (s *secured) trusting(with config.TLS) *tls.Config {
	conf, err := s.fleet.TLS().Client()
	s.must(err)
	conf = conf.Clone()
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
	if with.Enabled() {
		pair, err := tls.LoadX509KeyPair(with.Cert, with.Key)
		s.must(err)
		// Whatever authorities the server asks for: a stranger does not care.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return conf
}

// webOf is a client of HTTP that keeps no connection.
func webOf(conf *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
}

// grows waits until a number is greater than it was.
func (s *secured) grows(what string, than float64, now func() float64) {
	s.Helper()
	s.within(30*time.Second, what, func() (bool, string) {
		n := now()
		return n > than, fmt.Sprint(n)
	})
}

// call tries to count over gRPC.
func (s *secured) call(address string, creds credentials.TransportCredentials) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	s.must(err)
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	_, err = counterpb.NewCounterClient(conn).Add(ctx, &counterpb.AddRequest{Group: "counter/default", Add: &counterpb.Add{Amount: 1_000_000}})
	return err
}

// knock tries to count at every port of a host, as somebody.
func (s *secured) knock(host string, who *tls.Config) {
	s.Helper()
	code, body := s.talkAs(webOf(who), host, "/inc?amount=1000000")
	require.Zero(s, code, body)
	p, err := s.fleet.Process(host)
	s.must(err)
	err = s.call(p.API, credentials.NewTLS(who))
	require.Equal(s, codes.Unavailable, status.Code(err), "%v", err)
	raw, err := net.DialTimeout("tcp", p.Raft, 10*time.Second)
	s.must(err)
	defer func() { _ = raw.Close() }()
	s.must(raw.SetDeadline(time.Now().Add(20 * time.Second)))
	conn := tls.Client(raw, who)
	_, _ = conn.Write([]byte("let me in, I am host-2\n")) // it may have been hung up on
	n, err := conn.Read(make([]byte, 1))
	require.Error(s, err, "the Raft port answered %d bytes", n)
}

// strangers knock at a host's ports: without TLS, without a certificate, with one of another
// authority. Nothing is counted but that they came.
func (s *secured) strangers(host string, sum int) {
	s.Helper()
	counted := map[string]func() float64{
		"at the gRPC port": func() float64 { return s.metricAt(host, "nodehost_tls_refused_total", `port="api"`) },
		"at the HTTP port": func() float64 { return s.metricAt(host, "nodehost_tls_refused_total", `port="http"`) },
		"at the Raft port": func() float64 { return s.metricAt(host, "nodehost_transport_refused_handshakes_total") },
	}
	for who, conf := range map[string]*tls.Config{"no certificate": s.trusting(config.TLS{}), "a foreign one": s.trusting(s.foreign)} {
		before := map[string]float64{}
		for where, now := range counted {
			before[where] = now()
		}
		s.knock(host, conf)
		for where, now := range counted {
			s.grows(who+" is counted "+where, before[where], now)
		}
	}
	p, err := s.fleet.Process(host)
	s.must(err)
	resp, err := http.Get("http://" + p.HTTP + "/inc?amount=1000000")
	s.must(err)
	s.must(resp.Body.Close())
	require.Equal(s, http.StatusBadRequest, resp.StatusCode, "without TLS")
	err = s.call(p.API, insecure.NewCredentials())
	require.Equal(s, codes.Unavailable, status.Code(err), "%v", err)
	s.agree(20*time.Second, sum, s.hostNames()...)
}

// heard are the names of those that a host hears by gossip.
func (s *secured) heard(host string) []string {
	s.Helper()
	code, body := s.talk(host, "/cluster")
	require.Equal(s, http.StatusOK, code, body)
	var members []struct{ Name, State string }
	s.must(json.Unmarshal([]byte(body), &members))
	names := []string{}
	for _, m := range members {
		if m.State == "heard" {
			names = append(names, m.Name)
		}
	}
	return names
}

// estrange starts a host anew with certificates and a gossip key that the others do not
// trust; the function that it returns undoes that.
func (s *secured) estrange(host string) (undo func()) {
	s.Helper()
	p, err := s.fleet.Process(host)
	s.must(err)
	file := filepath.Join(s.dir, host, "config.yaml")
	was, err := os.ReadFile(file)
	s.must(err)
	s.must(s.fleet.Stop(host))
	s.set(host, "boot_grace", "200ms") // nobody tells it who it is
	s.set(host, "tls", map[string]any{"ca": s.foreign.CA, "cert": s.foreign.Cert, "key": s.foreign.Key})
	s.set(host, "gossip", map[string]any{"listen": p.Gossip, "key_file": s.key})
	s.must(s.fleet.Start(host))
	return func() {
		s.Helper()
		s.must(s.fleet.Stop(host))
		s.must(os.WriteFile(file, was, 0o600))
		s.must(s.fleet.Start(host))
	}
}

// total adds up a metric of processes.
func (s *secured) total(processes []string, name, label string) func() float64 {
	return func() (n float64) {
		for _, p := range processes {
			n += s.metricAt(p, name, label)
		}
		return n
	}
}

// banish gives a region's only host a certificate that the others do not trust. It counts on
// for those who trust it, the others take nothing of it, nor it of them; when it is trusted
// again all that was counted meanwhile is there.
func (s *secured) banish(host string, others []string, sum int) int {
	s.Helper()
	s.within(30*time.Second, "all hear all", func() (bool, string) {
		all := s.heard(others[0])
		return len(all) == len(s.fleet.Processes()), fmt.Sprint(all)
	})
	gossip := s.total(others, "nodehost_gossip_refused_total", `reason="forged"`)
	asked := s.total(others, "nodehost_tls_refused_total", `port="api"`)
	attended := s.total([]string{"drummer-1"}, "drummer_tls_refused_total", `port="api"`)
	forged, asks, attends := gossip(), asked(), attended()
	undo := s.estrange(host)
	conf, err := s.foreign.Client()
	s.must(err)
	own := webOf(conf)
	again := newKey("foreign")
	s.within(30*time.Second, host+" counts alone", func() (bool, string) {
		code, body := s.talkAs(own, host, "/inc?amount=100", "Idempotency-Key", again)
		return code == http.StatusOK && body == fmt.Sprintln(sum+100), fmt.Sprint(code, " ", body)
	})
	s.grows("drummers refuse it", attends, attended)
	s.grows("the others refuse to tell it", asks, asked)
	s.grows("what it gossips is refused", forged, gossip)
	s.within(30*time.Second, "nobody hears it", func() (bool, string) {
		all := s.heard(others[0])
		return len(all) == len(s.fleet.Processes())-1, fmt.Sprint(all)
	})
	s.incUnder(newKey("meanwhile"), others[0], 1)
	s.agree(30*time.Second, sum+1, others...)
	s.grows("it asks on", asked(), asked)
	code, body := s.talkAs(own, host, "/")
	require.Equal(s, http.StatusOK, code)
	require.Equal(s, fmt.Sprintln(sum+100), body, "it was told nothing")
	s.agree(20*time.Second, sum+1, others...)

	undo()
	s.agree(60*time.Second, sum+101, s.hostNames()...)
	return sum + 101
}

func TestCountersOverTLS(t *testing.T) {
	all := newSecured(t)
	sum := 0
	t.Run("exchange", func(t *testing.T) {
		s := all.in(t)
		s.agree(20*time.Second, 0, s.hostNames()...)
		for i, host := range s.hostNames() {
			s.incUnder(newKey(host), host, i+3)
			sum += i + 3
		}
		s.agree(30*time.Second, sum, s.hostNames()...)
		for _, host := range s.hostNames() {
			require.Positive(t, s.metricAt(host, "drumline_counter_exchange_entries_total"), host)
		}
	})
	t.Run("strangers", func(t *testing.T) { all.in(t).strangers("host-1", sum) })
	t.Run("forged", func(t *testing.T) {
		s := all.in(t)
		err := s.forgeAt("host-1")
		require.Equal(t, codes.InvalidArgument, status.Code(err), "%v", err)
		s.agree(20*time.Second, sum, s.hostNames()...)
	})
	t.Run("a foreign host", func(t *testing.T) {
		sum = all.in(t).banish("host-4", []string{"host-1", "host-2", "host-3"}, sum)
	})
}
