//go:build e2e || e2elong

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/localfleet"
	"github.com/drumline/drumline/statemachines"
)

// What a counter of several regions promises, and what the talk's program breaks, on real
// processes: three hosts in ord, one in hkg, one in ams.
//
//	text and newline, honest status codes              TestCountersOfThreeRegions/the talk
//	all hosts of all regions agree soon                TestCountersOfThreeRegions/agree
//	killed right after the answer: still counted       TestCountersOfThreeRegions/killed
//	a key counts once, also under another leader       TestCountersOfThreeRegions/once
//	a region is down and comes back; global reads      TestCountersOfThreeRegions/a region is down
//	restarts add no slots                              TestCountersOfThreeRegions/slots

// talk asks the HTTP port of a host as the talk's curl does.
func (w *world) talk(host, path string, header ...string) (int, string) {
	w.Helper()
	return w.talkAs(w.fleet.Web(), host, path, header...)
}

// talkAs is talk with somebody's certificate, or without one.
func (w *world) talkAs(who *http.Client, host, path string, header ...string) (int, string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 15*time.Second)
	defer cancel()
	p, err := w.fleet.Process(host)
	w.must(err)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.fleet.URL(p, path), nil)
	w.must(err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := who.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	w.must(err)
	return resp.StatusCode, string(body)
}

// inc counts at a host until it has an answer that counts.
func (w *world) inc(host string, amount int) {
	w.Helper()
	code, body := w.talk(host, fmt.Sprintf("/inc?amount=%d", amount))
	if code != http.StatusOK {
		w.Fatalf("inc at %s: %d %s", host, code, body)
	}
}

// incUnder counts under a key until there is an answer that counts, whoever leads meanwhile.
func (w *world) incUnder(key, host string, amount int) {
	w.Helper()
	w.within(30*time.Second, host+" counts", func() (bool, string) {
		code, body := w.talk(host, fmt.Sprintf("/inc?amount=%d", amount), "Idempotency-Key", key)
		return code == http.StatusOK, fmt.Sprint(code, " ", body)
	})
}

// newKey is an idempotency key of now.
func newKey(what string) string { return fmt.Sprint(time.Now().UnixMilli(), "-", what) }

// agree waits until hosts show a value.
func (w *world) agree(limit time.Duration, value int, hosts ...string) time.Duration {
	w.Helper()
	return w.within(limit, fmt.Sprintf("%s show %d", strings.Join(hosts, ", "), value), func() (bool, string) {
		for _, h := range hosts {
			if code, body := w.talk(h, "/"); code != http.StatusOK || body != strconv.Itoa(value)+"\n" {
				return false, fmt.Sprintf("%s: %d %s", h, code, body)
			}
		}
		return true, ""
	})
}

// origins are those that counted, as a host knows them: slots and stale regions.
func (w *world) origins(host, path string) (slots int, stale []string) {
	w.Helper()
	code, body := w.talk(host, path)
	if code != http.StatusOK {
		w.Fatalf("%s at %s: %d %s", path, host, code, body)
	}
	var v struct {
		Info  struct{ Slots []any }
		Stale []string
	}
	w.must(json.Unmarshal([]byte(body), &v))
	return len(v.Info.Slots), v.Stale
}

// forgeAt has a client propose at a host what only hosts may, a slot as a region's leader
// would, and returns the answer.
func (w *world) forgeAt(host string) error {
	w.Helper()
	cmd, err := proto.Marshal(&counterpb.Command{Op: &counterpb.Command_Merge{Merge: &counterpb.Merge{
		From:    &counterpb.Origin{Region: "nrt", Incarnation: 1},
		Entries: []*counterpb.Entry{{Slots: []*counterpb.Slot{{Origin: &counterpb.Origin{Region: "nrt", Incarnation: 1}, Added: 1_000_000}}}},
	}}})
	w.must(err)
	p, err := w.fleet.Process(host)
	w.must(err)
	conn, err := w.client.Server(p.API)
	w.must(err)
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	_, err = hostpb.NewGroupsClient(conn).Propose(ctx, &hostpb.ProposeRequest{Group: &hostpb.GroupRef{Name: "counter/default", Region: "ord"}, Command: cmd})
	return err
}

// metricAt adds up a counter of a process' metrics, whatever its labels are; labels that are
// given it must have.
func (w *world) metricAt(process, name string, labels ...string) (sum float64) {
	w.Helper()
	code, body := w.talk(process, "/metrics")
	require.Equal(w, http.StatusOK, code, body)
	for line := range strings.Lines(body) {
		at, value, is := strings.Cut(strings.TrimSpace(line), " ")
		if !is || at != name && !strings.HasPrefix(at, name+"{") || slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(at, l) }) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		w.must(err)
		sum += n
	}
	return sum
}

func TestCountersOfThreeRegions(t *testing.T) {
	w := newWorldOf(t, localfleet.Options{Drummers: 1, Hosts: 5, Regions: []string{"ord", "ord", "ord", "hkg", "ams"}})
	var specs []*fleetpb.Spec
	for region, n := range map[string]uint32{"ord": 3, "hkg": 1, "ams": 1} {
		specs = append(specs, &fleetpb.Spec{
			Name: "counter/default", Region: region, App: "counter", Replicas: n,
		})
	}
	w.create(specs...)
	w.within(20*time.Second, "groups are whole", w.whole(nil))
	all := []string{"host-1", "host-2", "host-3", "host-4", "host-5"}
	sum := 0
	t.Run("the talk", func(t *testing.T) {
		w := &world{T: t, fleet: w.fleet, client: w.client, dir: w.dir}
		w.agree(20*time.Second, 0, all...)
		for path, want := range map[string]int{"/inc": 400, "/inc?amount=x": 400, "/nosuch": 404, "/cluster": 200, "/verbose": 200, "/metrics": 200, "/debug/status": 200} {
			if code, body := w.talk("host-1", path); code != want {
				t.Errorf("%s: %d %s, want %d", path, code, body, want)
			}
		}
	})
	t.Run("agree", func(t *testing.T) {
		w := &world{T: t, fleet: w.fleet, client: w.client, dir: w.dir}
		w.incUnder(newKey("host-2"), "host-2", 3)
		w.incUnder(newKey("host-4"), "host-4", 4)
		w.incUnder(newKey("host-5"), "host-5", 5)
		sum += 12
		w.agree(30*time.Second, sum, all...)
	})
	t.Run("killed", func(t *testing.T) {
		w := &world{T: t, fleet: w.fleet, client: w.client, dir: w.dir}
		w.incUnder(newKey("host-4"), "host-4", 100)
		w.must(w.fleet.Kill("host-4"))
		w.incUnder(newKey("host-1"), "host-1", 10)
		w.must(w.fleet.Kill("host-1"))
		sum += 110
		w.within(30*time.Second, "host-2 and host-3 count on", func() (bool, string) { // hkg may have told before it was killed
			for _, h := range []string{"host-2", "host-3"} {
				if _, body := w.talk(h, "/"); body != fmt.Sprintln(sum-100) && body != fmt.Sprintln(sum) {
					return false, h + ": " + body
				}
			}
			return true, ""
		})
		w.must(w.fleet.Start("host-4"))
		w.must(w.fleet.Start("host-1"))
		w.agree(30*time.Second, sum, all...)
	})
	t.Run("once", func(t *testing.T) {
		w := &world{T: t, fleet: w.fleet, client: w.client, dir: w.dir}
		key := newKey("once")
		leader := w.leader(statemachines.NameIn("counter/default", "ord"))
		w.incUnder(key, leader, 7)
		w.must(w.fleet.Kill(leader))
		for _, h := range []string{"host-1", "host-2", "host-3"} {
			if h != leader {
				w.incUnder(key, h, 7)
			}
		}
		w.must(w.fleet.Start(leader))
		sum += 7
		w.agree(30*time.Second, sum, all...)
	})
	t.Run("a region is down", func(t *testing.T) {
		w := &world{T: t, fleet: w.fleet, client: w.client, dir: w.dir}
		w.must(w.fleet.Kill("host-5"))
		w.incUnder(newKey("ord"), "host-1", 1)
		w.incUnder(newKey("hkg"), "host-4", 1)
		sum += 2
		w.agree(20*time.Second, sum, "host-1", "host-2", "host-3", "host-4")
		w.within(30*time.Second, "ams alone is stale", func() (bool, string) {
			_, body := w.talk("host-1", "/verbose?read=global")
			return strings.Contains(strings.ReplaceAll(body, " ", ""), `"stale":["ams"]`), body
		})
		w.within(30*time.Second, "an exact read fails without ams", func() (bool, string) {
			code, body := w.talk("host-1", "/?read=exact")
			return code == http.StatusServiceUnavailable && strings.Contains(body, "no answer from ams"), fmt.Sprint(code, " ", body)
		})
		w.must(w.fleet.Start("host-5"))
		w.agree(30*time.Second, sum, all...)
		w.within(20*time.Second, "a global read reaches all", func() (bool, string) {
			_, stale := w.origins("host-1", "/verbose?read=global")
			return len(stale) == 0, fmt.Sprint(stale)
		})
	})
	t.Run("slots", func(t *testing.T) {
		w := &world{T: t, fleet: w.fleet, client: w.client, dir: w.dir}
		if slots, _ := w.origins("host-3", "/verbose"); slots != 3 {
			t.Errorf("there are %d slots after all restarts, want 3", slots)
		}
	})
}
