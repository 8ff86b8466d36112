//go:build (e2e || e2elong) && linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/internal/localfleet"
	"github.com/drumline/drumline/statemachines"
)

// Counters beside counter/default, of the same three regions.
const (
	stock = "stock" // bounded
	many  = "many"  // a family that keeps few windows
)

// windowsKept is how many windows of a second are kept in the family.
const windowsKept = 30

// troubleTemplates are what these counters are configured with.
const troubleTemplates = `templates:
- match: stock
  options: {bounded: true}
- match: many
  options: {keep: [{resolution: RESOLUTION_SECOND, windows: 30}]}
- match: "*"
`

// furnish makes the counters.
func (o *oceans) furnish() {
	o.Helper()
	file := filepath.Join(o.dir, "counters.yaml")
	o.must(os.WriteFile(file, []byte(troubleTemplates), 0o600))
	o.run("counter", "config", "apply", "-f", file)
	var all []string
	for region := range o.hosts {
		for _, name := range []string{stock, many} {
			spec := regional(region)
			spec.Name = "counter/" + name
			o.create(spec)
			all = append(all, statemachines.NameOf(spec))
		}
	}
	o.within(60*time.Second, "the other counters are whole", o.whole(all))
}

// call asks a host for /v1/counters/..., again under the same idempotency key until there
// is an answer that says what happened.
func (o *oceans) call(host, method, path string) (int, string) {
	o.Helper()
	key := fmt.Sprintf("%d-%d", time.Now().UnixMilli(), rand.Uint64())
	var seen string
	for range 100 {
		ctx, cancel := context.WithTimeout(o.Context(), 10*time.Second)
		code, body, err := o.once(ctx, host, method, path, key)
		cancel()
		if err == nil && code < http.StatusInternalServerError {
			return code, body
		}
		seen = fmt.Sprint(code, body, err)
		pause(100 * time.Millisecond)
	}
	o.Fatalf("%s %s at %s: %s", method, path, host, seen)
	return 0, ""
}

func (o *oceans) once(ctx context.Context, host, method, path, key string) (int, string, error) {
	p, err := o.fleet.Process(host)
	if err != nil {
		return 0, "", err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.HTTP+"/v1/counters/"+path, nil)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Idempotency-Key", key)
	resp, err := o.web.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(body)), err
}

// ok is call, of which nothing but success is expected.
func (o *oceans) ok(host, method, path string) string {
	o.Helper()
	code, body := o.call(host, method, path)
	require.Equal(o, http.StatusOK, code, "%s %s at %s: %s", method, path, host, body)
	return body
}

// valueAt is a counter's value as a host knows it; 0 when it knows none.
func (o *oceans) valueAt(host, path string) int64 {
	o.Helper()
	code, body := o.call(host, http.MethodGet, path)
	if code == http.StatusNotFound {
		return 0
	}
	var v struct{ Info struct{ Value string } }
	o.must(json.Unmarshal([]byte(body), &v))
	n, err := strconv.ParseInt(v.Info.Value, 10, 64)
	o.must(err)
	return n
}

// show waits until a host of each region shows a value.
func (o *oceans) show(path string, want int64) {
	o.Helper()
	o.showWithin(60*time.Second, path, want)
}

func (o *oceans) showWithin(limit time.Duration, path string, want int64) {
	o.Helper()
	o.within(limit, fmt.Sprintf("all regions show %s at %d", path, want), func() (bool, string) {
		for region, hosts := range o.hosts {
			if got := o.valueAt(hosts[0], path); got != want {
				return false, fmt.Sprintf("%s: %d", region, got)
			}
		}
		return true, ""
	})
}

// apart cuts all regions off from each other.
func (o *oceans) apart() { o.weather(1, "ord", "hkg", "ams") }

// stayAbove: regions that hear nothing of each other take off what they hold rights for, and
// refuse the rest at once; nobody ever shows less than nothing, and all is gone in the end.
func (o *oceans) stayAbove() {
	o.Helper()
	o.ok(o.hosts["ord"][0], http.MethodPost, stock+"?amount=30")
	o.show(stock, 30)
	o.within(60*time.Second, "ord has heard of the others", func() (bool, string) {
		_, body := o.call(o.hosts["ord"][0], http.MethodGet, stock)
		return strings.Contains(body, `"hkg"`) && strings.Contains(body, `"ams"`), body
	})
	for _, region := range []string{"hkg", "ams"} {
		o.run("counter", "transfer", "counter/"+stock, region, "10", "--region", "ord")
	}
	o.within(60*time.Second, "all regions hold rights", func() (bool, string) {
		for region, hosts := range o.hosts {
			_, body := o.call(hosts[0], http.MethodGet, stock)
			if !strings.Contains(strings.ReplaceAll(body, " ", ""), `"rights":"10"`) {
				return false, region + ": " + body
			}
		}
		return true, ""
	})
	o.apart()
	for region, hosts := range o.hosts {
		taken, refused := 0, 0
		for n := range 15 {
			switch code, body := o.call(hosts[n%len(hosts)], http.MethodPost, stock+"?amount=-1"); code {
			case http.StatusOK:
				taken++
			case http.StatusConflict:
				refused++
			default:
				o.Fatalf("%s: %d %s", region, code, body)
			}
			require.GreaterOrEqual(o, o.valueAt(hosts[0], stock), int64(0))
		}
		require.Equal(o, []int{10, 5}, []int{taken, refused}, "taken off and refused in %s", region)
	}
	o.weather(1)
	o.show(stock, 0)
}

// resetMeanwhile: a reset takes off what its region knows; what was counted on the other
// side of a cut stays, and all come to the same.
func (o *oceans) resetMeanwhile() {
	o.Helper()
	const name = many + "?key=reset"
	ord, hkg := o.hosts["ord"][0], o.hosts["hkg"][0]
	o.ok(ord, http.MethodPost, name+"&amount=5")
	o.show(name, 5)
	o.apart()
	o.ok(hkg, http.MethodPost, name+"&amount=7")
	o.ok(ord, http.MethodPost, name+"&amount=3")
	o.ok(ord, http.MethodPost, many+"/reset?key=reset")
	require.Zero(o, o.valueAt(ord, name))
	require.EqualValues(o, 12, o.valueAt(hkg, name))
	o.weather(1)
	o.show(name, 7)
}

// bucket is a window as the pages tell it.
type bucket struct {
	Start  string `json:"start_ms"`
	Added  string
	Sealed bool
}

func (o *oceans) windows(host, key, resolution string) []bucket {
	o.Helper()
	var v struct{ Windows []bucket }
	o.must(json.Unmarshal([]byte(o.ok(host, http.MethodGet, many+"/windows?key="+key+"&resolution="+resolution)), &v))
	return v.Windows
}

func sumOf(o *oceans, all []bucket) (sum int64) {
	for _, w := range all {
		n, err := strconv.ParseInt(w.Added, 10, 64)
		o.must(err)
		sum += n
	}
	return sum
}

// keepTime: the clocks of a region are five seconds ahead while all count. What was counted
// lies in windows, all of it, and no later than that; a sealed window is the same for ever
// and everywhere; and old ones are dropped.
func (o *oceans) keepTime(lasts time.Duration) {
	o.Helper()
	const ahead = 5 * time.Second
	for _, host := range o.hosts["hkg"] {
		o.set(host, "clock_offset", ahead.String())
	}
	o.each(o.fleet.Stop, "hkg")
	o.each(o.fleet.Start, "hkg")
	o.ready(o.hosts["hkg"]...)
	began, counted := time.Now(), atomic.Int64{}
	sealed := map[string]string{} // by start: what was counted in it
	for end := began.Add(lasts); time.Now().Before(end); pause(100 * time.Millisecond) {
		for _, hosts := range o.hosts {
			o.ok(hosts[0], http.MethodPost, many+"?key=windows&amount=1")
			counted.Add(1)
		}
		o.seals(sealed)
	}
	o.show(many+"?key=windows", counted.Load())
	for _, resolution := range []string{"minute", "hour"} {
		o.within(60*time.Second, "the sum of windows is the total", func() (bool, string) {
			for region, hosts := range o.hosts {
				if got := sumOf(o, o.windows(hosts[0], "windows", resolution)); got != counted.Load() {
					return false, fmt.Sprintf("%s: %d of %d", region, got, counted.Load())
				}
			}
			return true, ""
		})
	}
	for _, hosts := range o.hosts {
		for _, w := range o.windows(hosts[0], "windows", "second") {
			at, err := strconv.ParseInt(w.Start, 10, 64)
			o.must(err)
			require.GreaterOrEqual(o, at, began.Add(-time.Second).UnixMilli())
			require.LessOrEqual(o, at, time.Now().Add(ahead).UnixMilli(), "nothing lies later than the clock that is ahead")
		}
	}
	o.within(60*time.Second, "windows end everywhere", func() (bool, string) {
		o.ok(o.hosts["ord"][0], http.MethodPost, many+"?key=later&amount=1") // which tells the regions the time
		o.seals(sealed)
		return len(sealed) > 0, "none is sealed"
	})
	seconds := o.windows(o.hosts["hkg"][0], "windows", "second")
	require.LessOrEqual(o, len(seconds), windowsKept)
}

// seals sees that windows that were sealed are as they were, in every region; one that is
// missing was dropped.
func (o *oceans) seals(sealed map[string]string) {
	o.Helper()
	for region, hosts := range o.hosts {
		for _, w := range o.windows(hosts[0], "windows", "second") {
			if !w.Sealed {
				continue
			}
			if was, there := sealed[w.Start]; there {
				require.Equal(o, was, w.Added, "the sealed window %s in %s", w.Start, region)
			}
			sealed[w.Start] = w.Added
		}
	}
}

// metric adds up a counter of all hosts' metrics, whatever its labels are.
func (o *oceans) metric(name string) (sum float64) {
	o.Helper()
	for _, host := range o.hostNames() {
		sum += o.metricAt(host, name)
	}
	return sum
}

// onlyChanges counts on many keys, then on few: what crosses the oceans the second time is
// as much as changed.
func (o *oceans) onlyChanges(keys int) {
	o.Helper()
	const entries, bytes, batch = "drumline_counter_exchange_entries_total", "drumline_counter_exchange_bytes_total", 1000
	last := many + "?key=" + url.QueryEscape(fmt.Sprint("key-", keys-1))
	add := func(n int) {
		p, err := o.fleet.Process(o.hosts["ord"][0])
		o.must(err)
		conn, err := o.client.Server(p.API)
		o.must(err)
		for from := 0; from < n; from += batch {
			req := &counterpb.AddBatchRequest{Group: "counter/" + many}
			for k := from; k < min(from+batch, n); k++ {
				// The last key of few is the last of all: when it is there, all are.
				req.Adds = append(req.Adds, &counterpb.Add{Key: fmt.Sprint("key-", keys-n+k), Amount: 1})
			}
			ctx, cancel := context.WithTimeout(o.Context(), 30*time.Second)
			_, err = counterpb.NewCounterClient(conn).AddBatch(ctx, req)
			cancel()
			o.must(err)
		}
	}
	before, weight := o.metric(entries), o.metric(bytes)
	add(keys)
	o.showWithin(5*time.Minute, last, 1) // a page of 500 takes a round trip
	all, whole := o.metric(entries)-before, o.metric(bytes)-weight
	require.GreaterOrEqual(o, all, float64(2*keys), "changes that two regions took")
	const few, idle = 10, 30_000 // idle is more bytes a second than regions take to say that there is nothing new
	before, weight = o.metric(entries), o.metric(bytes)
	began := time.Now()
	add(few)
	o.show(last, 2)
	some, part := o.metric(entries)-before, o.metric(bytes)-weight
	o.Logf("%d keys: %.0f changes, %.0f bytes; %d of them: %.0f changes, %.0f bytes", keys, all, whole, few, some, part)
	require.LessOrEqual(o, some, float64(10*few), "a leader that is new may take one twice")
	require.Less(o, part, whole/4+idle*time.Since(began).Seconds())
}

// garbage throws bytes of all sizes at every port of a region's hosts: they refuse them and
// count on. What is gossiped without the key is counted.
func (o *oceans) garbage() {
	o.Helper()
	const refused = "nodehost_gossip_refused_total"
	before := o.metric(refused)
	value := o.valueAt(o.hosts["hkg"][0], "default")
	for _, host := range o.hosts["hkg"] {
		p, err := o.fleet.Process(host)
		o.must(err)
		for _, port := range []struct{ network, at string }{
			{"tcp", p.API}, {"tcp", p.HTTP}, {"tcp", p.Raft}, {"tcp", p.Gossip}, {"udp", p.Gossip},
		} {
			for _, size := range []int{0, 1, 20, 1400, 60_000} {
				o.must(throw(port.network, port.at, size))
			}
		}
	}
	o.within(60*time.Second, "forged gossip is counted", func() (bool, string) {
		now := o.metric(refused)
		return now > before, fmt.Sprint(now)
	})
	o.ok(o.hosts["hkg"][1], http.MethodPost, "default?amount=1")
	o.acked.Add(1)
	o.show("default", value+1)
	for _, p := range o.fleet.Processes() {
		if p.Kind == localfleet.KindNodeHost {
			code, _ := o.talk(p.Name, "/livez")
			require.Equal(o, http.StatusOK, code, p.Name)
		}
	}
}

// throw sends random bytes and hears what comes. That it is hung up on is the right answer.
func throw(network, at string, size int) error {
	conn, err := net.DialTimeout(network, at, 10*time.Second)
	if err != nil {
		return fmt.Errorf("%s of %s: %w", network, at, err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	dice := rand.NewChaCha8([32]byte{byte(size)})
	data := make([]byte, size)
	_, _ = dice.Read(data)
	if _, err := conn.Write(data); err != nil && network == "tcp" {
		return nil //nolint:nilerr // it was hung up on
	}
	if half, is := conn.(*net.TCPConn); is {
		_ = half.CloseWrite() // it may have been hung up on
		_, _ = io.Copy(io.Discard, io.LimitReader(conn, 1<<20))
	}
	return nil
}
