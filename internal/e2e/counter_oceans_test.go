//go:build (e2e || e2elong) && linux

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/chaos"
	"github.com/drumline/drumline/internal/localfleet"
	"github.com/drumline/drumline/internal/netlab"
)

// What a counter promises across oceans: three regions of three hosts, each host a process
// with a network of its own, a delay and a loss of one percent between regions. What was
// acknowledged is what all agree on in the end, exactly, for every request has a key.
//
//	C4   an increment crosses no ocean        TestCountersAcrossOceans/an increment crosses no ocean
//	C5   all agree, soon                      TestCountersAcrossOceans/all agree
//	C8   a region is cut off, then flaps      TestCountersAcrossOceans/cut off
//	C15  windows, with clocks that differ     TestCountersAcrossOceans/windows
//	C16  forged counts, garbage at every port TestCountersAcrossOceans/forged, garbage
//	C18  what travels is what changed         TestCountersAcrossOceans/only changes
//	C19  never below 0, while cut off         TestCountersAcrossOceans/bounded
//	C20  a reset while another region counts  TestCountersAcrossOceans/reset
//	C7   a region is killed                   TestCountersSurvive/a region is killed
//	C9   restarts add no slots                TestCountersSurvive/restarts
//	C13  a region loses all its disks         TestCountersSurvive/disks are lost
//	C14  a region is retired                  TestCountersSurvive/retired
//	C17  a region starts with nobody to hear  TestCountersSurvive/started alone

// roundTrips are those between regions.
func roundTrips() map[[2]string]time.Duration {
	return map[[2]string]time.Duration{
		{"ord", "ams"}: 100 * time.Millisecond, {"ord", "hkg"}: 150 * time.Millisecond, {"hkg", "ams"}: 200 * time.Millisecond,
	}
}

// oceanLoss is the share of packets between regions that are lost.
const oceanLoss = 0.01

// oceans is a fleet of three regions with a counter that all of them count.
type oceans struct {
	*world
	lab *netlab.Net
	// hosts of each region; the drummer is in ord.
	hosts map[string][]string
	web   *http.Client
	// acked is what was acknowledged in all.
	acked *atomic.Int64
}

// enterOceans runs a test again in a network namespace, and tells whether this is there.
func enterOceans(t *testing.T) bool {
	t.Helper()
	if netlab.Inside() {
		return true
	}
	if os.Getenv("E2E_NO_NAMESPACES") != "" {
		t.Skip("E2E_NO_NAMESPACES is set: nothing is known about slow networks")
	}
	err := netlab.Enter("-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=20m")
	require.NoError(t, err, "where namespaces can't be made, set E2E_NO_NAMESPACES=1 to leave this test out")
	return false
}

// newOceans starts the fleet.
func newOceans(t *testing.T) *oceans {
	t.Helper()
	o := &oceans{hosts: map[string][]string{}, web: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}, acked: &atomic.Int64{}}
	nodes, regions := []string{"drummer-1"}, []string{"ord", "hkg", "ams"}
	for i := range 9 {
		name := fmt.Sprintf("host-%d", i+1)
		nodes = append(nodes, name)
		o.hosts[regions[i%3]] = append(o.hosts[regions[i%3]], name)
	}
	lab, err := netlab.New(nodes...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	o.lab = lab
	o.weather(1)
	o.world = newWorldOf(t, localfleet.Options{Drummers: 1, Hosts: 9, Regions: regions, Address: lab.Address, Around: lab.In, Gossip: true})
	t.Cleanup(o.web.CloseIdleConnections)
	for _, region := range regions {
		o.create(regional(region))
	}
	o.within(60*time.Second, "groups are whole", o.whole(nil))
	o.agree(60*time.Second, 0, o.hostNames()...)
	return o
}

// regional is the group of a region.
func regional(region string) *fleetpb.Spec {
	return &fleetpb.Spec{
		Name: "counter/default", Region: region, App: "counter", Replicas: 3,
	}
}

// in is the same fleet in a part of the test.
func (o *oceans) in(t *testing.T) *oceans {
	c := *o
	c.world = &world{T: t, fleet: o.fleet, client: o.client, dir: o.dir}
	return &c
}

// weather sets how long all ways between regions are, as a multiple of the usual; 0 takes
// the oceans away. Regions named are cut off from all others.
func (o *oceans) weather(factor int, cut ...string) {
	sites := map[string][]string{"ord": {"drummer-1"}}
	for region, hosts := range o.hosts {
		sites[region] = append(sites[region], hosts...)
	}
	for pair, trip := range roundTrips() {
		link := netlab.Link{Delay: time.Duration(factor) * trip / 2}
		if factor > 0 {
			link.Loss = oceanLoss
		}
		link.Cut = slices.Contains(cut, pair[0]) || slices.Contains(cut, pair[1])
		for _, a := range sites[pair[0]] {
			for _, b := range sites[pair[1]] {
				o.lab.Both(a, b, link)
			}
		}
	}
}

// each does something to all hosts of regions at a time.
func (o *oceans) each(do func(host string) error, regions ...string) {
	o.Helper()
	var work sync.WaitGroup
	for _, region := range regions {
		for _, host := range o.hosts[region] {
			work.Go(func() {
				if err := do(host); err != nil {
					o.Errorf("%s: %v", host, err)
				}
			})
		}
	}
	work.Wait()
	require.False(o, o.Failed())
}

// count adds 1 at one of a region's hosts until it is acknowledged, under one key.
func (o *oceans) count(ctx context.Context, region, key string, first int) error {
	for try := 0; ; try++ {
		hosts := o.hosts[region]
		p, err := o.fleet.Process(hosts[(first+try)%len(hosts)])
		if err != nil {
			return err
		}
		once, cancel := context.WithTimeout(ctx, 5*time.Second)
		code, body, err := o.ask(once, p.HTTP, key)
		cancel()
		if code == http.StatusOK {
			o.acked.Add(1)
			return nil
		}
		if err == nil && code < http.StatusInternalServerError {
			return fmt.Errorf("%s: %d %s", p.Name, code, body)
		}
		pause := time.NewTimer(20 * time.Millisecond)
		select {
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("%s: %d %s: %w", p.Name, code, body, err)
		case <-pause.C:
		}
	}
}

func (o *oceans) ask(ctx context.Context, at, key string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+at+"/inc?amount=1", nil)
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

// traffic is people who count, in some regions.
type traffic struct {
	o    *oceans
	over chan struct{}
	work sync.WaitGroup
	each map[string]*atomic.Int64 // by region
}

// begin lets some people count in each of these regions, until end.
func (o *oceans) begin(regions ...string) *traffic {
	t := &traffic{o: o, over: make(chan struct{}), each: map[string]*atomic.Int64{}}
	for _, region := range regions {
		t.each[region] = &atomic.Int64{}
		for who := range 3 {
			t.work.Go(func() { t.person(region, who) })
		}
	}
	return t
}

func (t *traffic) person(region string, who int) {
	for n := 0; ; n++ {
		select {
		case <-t.over:
			return
		default:
		}
		key := fmt.Sprintf("%d-%s-%d-%d", time.Now().UnixMilli(), region, who, n)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err := t.o.count(ctx, region, key, who+n)
		cancel()
		if err != nil {
			t.o.Errorf("in %s: %v", region, err)
			return
		}
		t.each[region].Add(1)
	}
}

// goesOn waits until so much more was counted in each region.
func (t *traffic) goesOn(n int64) {
	t.o.Helper()
	for region, had := range t.each {
		from := had.Load()
		t.o.within(30*time.Second, fmt.Sprintf("%d more in %s", n, region), func() (bool, string) {
			now := had.Load()
			return now >= from+n, fmt.Sprint(now - from)
		})
	}
}

// end lets everybody have the answer to the last request, and demands that all hosts agree.
func (t *traffic) end() {
	t.o.Helper()
	close(t.over)
	t.work.Wait()
	t.o.agree(60*time.Second, int(t.o.acked.Load()), t.o.hostNames()...)
}

// latencies counts n times in ord, and returns the median and the 99th percentile.
func (o *oceans) latencies(n int) (p50, p99 time.Duration) {
	o.Helper()
	took := make([]time.Duration, n)
	for i := range took {
		began := time.Now()
		o.must(o.count(o.Context(), "ord", fmt.Sprintf("%d-latency", began.UnixNano()), i))
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[n/2], took[n*99/100]
}

func TestCountersAcrossOceans(t *testing.T) {
	if !enterOceans(t) {
		return
	}
	all := newOceans(t)
	t.Run("an increment crosses no ocean", func(t *testing.T) {
		o := all.in(t)
		shortest := 10 * 100 * time.Millisecond
		for _, factor := range []int{0, 1, 10} {
			o.weather(factor)
			for try := 1; ; try++ { // what else the machine does may hold a few up, once
				p50, p99 := o.latencies(oceanLatencies)
				t.Logf("round trips of %d x (100, 150, 200 ms): /inc in ord takes %s, p99 %s", factor, p50, p99)
				require.Less(t, p50, shortest/2, "all wait for another region")
				if p99 < shortest/2 {
					break
				}
				require.Less(t, try, 3, "somebody waited for another region, each time")
			}
		}
		o.weather(1)
	})
	t.Run("all agree", func(t *testing.T) {
		o := all.in(t)
		o.agree(60*time.Second, int(o.acked.Load()), o.hostNames()...)
		soon := 2*time.Second + 200*time.Millisecond
		for try := 0; ; try++ {
			o.inc(o.hosts["ord"][0], 3)
			o.inc(o.hosts["hkg"][1], 4)
			o.inc(o.hosts["ams"][2], 5)
			took := o.agree(30*time.Second, int(o.acked.Add(12)), o.hostNames()...)
			if took <= soon {
				break
			}
			require.Less(t, try, 5, "they never agree within %s", soon)
		}
	})
	t.Run("forged", func(t *testing.T) { all.in(t).forge() })
	all.furnish()
	t.Run("bounded", func(t *testing.T) { all.in(t).stayAbove() })
	t.Run("reset", func(t *testing.T) { all.in(t).resetMeanwhile() })
	t.Run("only changes", func(t *testing.T) { all.in(t).onlyChanges(oceanKeys) })
	t.Run("garbage", func(t *testing.T) { all.in(t).garbage() })
	t.Run("cut off", func(t *testing.T) {
		o := all.in(t)
		load := o.begin("ord", "hkg", "ams")
		load.goesOn(5)
		o.weather(1, "ord")
		pause(oceanSevered)
		load.goesOn(20)
		for range oceanFlaps {
			o.weather(1)
			pause(oceanFlap)
			o.weather(1, "ord")
			pause(oceanFlap)
		}
		o.weather(1)
		load.end()
		t.Logf("%d increments were acknowledged, and all hosts show them", o.acked.Load())
	})
	t.Run("windows", func(t *testing.T) { all.in(t).keepTime(oceanWindows) })
}

// pause lets trouble last.
func pause(d time.Duration) { <-time.NewTimer(d).C }

// forge has a client propose at each of a region's hosts what only hosts may.
func (o *oceans) forge() {
	o.Helper()
	for _, host := range o.hosts["ord"] {
		err := o.forgeAt(host)
		require.Equal(o, codes.InvalidArgument, status.Code(err), "%v", err)
	}
}

// TestCountersAreLinearizable: clients of one region add, subtract and read with the tokens
// of what they were told, hosts are killed and paused, and every answer must be one that a
// single counter could have given at some instant of the call.
func TestCountersAreLinearizable(t *testing.T) {
	w := newWorld(t, 1, 3)
	groups := []string{"counter/judged", "counter/other"}
	for _, name := range groups {
		w.create(&fleetpb.Spec{Name: name, App: "counter", Replicas: 3})
	}
	w.within(20*time.Second, "groups are whole", w.whole(nil))
	storm, calm := context.WithTimeout(t.Context(), oceanFire)
	defer calm()
	load := chaos.BeginCounters(t.Context(), counterpb.NewCounterClient(w.hostsClient().Hosts()), chaos.Load{
		Groups: groups, Clients: 4, Pace: 15 * time.Millisecond, Deadline: 20 * time.Second, Run: "linear", Drawings: os.Getenv("E2E_KEEP"),
	})
	blows := w.fire(storm, groups...)
	w.ready()
	w.finish(load)
	t.Logf("%d blows", blows)
}
