//go:build e2e || e2elong

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client/capacity"
	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/chaos"
	"github.com/drumline/drumline/internal/localfleet"
	"github.com/drumline/drumline/statemachines"
)

const (
	// newcomerWithin is how long a client waits for its first answer, whatever died.
	newcomerWithin = 3 * time.Second
	crowdSize      = 200
	// shortLease is of those who wait until one has gone round.
	shortLease = 9 * time.Second
)

// resource is how a resource is divided.
type resource struct {
	match           string
	algorithm       capacitypb.Algorithm
	capacity        float64
	lease, interval time.Duration
}

// divide applies a configuration of app capacity.
func (w *world) divide(resources ...resource) {
	w.Helper()
	conf := &fleetpb.Configuration{App: "capacity"}
	for _, r := range resources {
		options, err := proto.Marshal(&capacitypb.Definition{
			Capacity: &r.capacity, Algorithm: r.algorithm, LeaseLengthMs: r.lease.Milliseconds(), RefreshIntervalMs: r.interval.Milliseconds(),
			SafeCapacity: proto.Float64(0),
		})
		w.must(err)
		conf.Templates = append(conf.Templates, &fleetpb.Template{Match: r.match, Replicas: 3, AutoCreate: true, Options: options})
	}
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	_, err := w.client.Drummer().ApplyConfiguration(ctx, &drummerpb.ApplyConfigurationRequest{Configuration: conf})
	w.must(err)
}

// leader returns the name of the host that leads a group.
func (w *world) leader(group string) string {
	w.Helper()
	host := ""
	w.within(20*time.Second, "a leader of "+group, func() (bool, string) {
		ctx, cancel := context.WithTimeout(w.Context(), 2*time.Second)
		defer cancel()
		name, region := statemachines.CutRegion(group)
		where, err := w.client.In(region).Group(name).Locate(ctx)
		for _, p := range w.fleet.Processes() {
			if err == nil && p.API == where.GetLeaderApi() {
				host = p.Name
			}
		}
		return host != "", fmt.Sprint(where, err)
	})
	return host
}

// TestALeasesLeaderIsKilled kills the host that leads a resource: who holds a lease
// notices nothing, and newcomers are answered and have their share.
func TestALeasesLeaderIsKilled(t *testing.T) {
	w := newWorld(t, 1, 3)
	w.divide(resource{"shared", capacitypb.Algorithm_ALGORITHM_FAIR_SHARE, 100, shortLease, shortLease / 3})
	open := func(id string, wants float64) *capacity.Resource {
		c := capacity.New(w.client.Hosts(), capacity.WithID(id))
		t.Cleanup(c.Close)
		r, err := c.Resource("shared", capacity.WithWants(wants))
		w.must(err)
		return r
	}
	var holders []*capacity.Resource
	for i := range 8 {
		r := open(fmt.Sprint("holder-", i), 10)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		w.must(r.Await(ctx))
		cancel()
		require.InDelta(t, 10, (<-r.Changes()).Capacity, 1e-9)
		holders = append(holders, r)
	}
	dead := w.leader("capacity/shared")
	w.must(w.fleet.Kill(dead))
	begin := time.Now()
	free := open("newcomer", 20)
	w.within(newcomerWithin, "a newcomer has the share that is free", func() (bool, string) {
		return free.State().Capacity >= 20-1e-9, fmt.Sprint(free.State(), free.Err())
	})
	late := open("latecomer", 50)
	w.within(newcomerWithin, "another one is answered", func() (bool, string) {
		return late.State().Basis == capacity.Leased, fmt.Sprint(late.State(), late.Err())
	})
	// Ten clients of 100: the share of the two greedy ones is what the others leave. It is
	// there when those that have more have come by and have shown that they know.
	w.within(2*shortLease/3+newcomerWithin, "it has its share when the holders have refreshed", func() (bool, string) {
		return late.State().Capacity >= 10-1e-9, fmt.Sprint(late.State())
	})
	w.within(20*time.Second-time.Since(begin), "a lease has gone round", func() (bool, string) { return time.Since(begin) > shortLease+2*time.Second, "" })
	for i, r := range holders {
		select {
		case s := <-r.Changes():
			t.Errorf("holder %d noticed: %v", i, s)
		default:
		}
	}
	w.must(w.fleet.Start(dead))
}

// TestTheCapacityUnderFire has a crowd of honest clients share two resources while hosts
// are killed and paused at random. A checker that sees only what the clients are told
// says whether they were ever told more than there is.
func TestTheCapacityUnderFire(t *testing.T) {
	w := newWorld(t, 1, 3)
	both := []resource{
		{"fair", capacitypb.Algorithm_ALGORITHM_FAIR_SHARE, 1000, 6 * time.Second, 2 * time.Second},
		{"proportional", capacitypb.Algorithm_ALGORITHM_PROPORTIONAL_SHARE, 500, 6 * time.Second, 2 * time.Second},
	}
	w.divide(both...)
	var record chaos.Leases
	conn := record.Through(w.client.Hosts())
	storm, calm := context.WithTimeout(t.Context(), underFire)
	defer calm()
	stop := make(chan struct{})
	var crowd sync.WaitGroup
	for i := range crowdSize {
		crowd.Go(func() {
			c := capacity.New(conn, capacity.WithID(fmt.Sprint("client-", i)))
			defer c.Close()
			live(storm, c, uint64(i), stop, both)
		})
	}
	blows := w.fire(storm, "capacity/fair", "capacity/proportional")
	// What was promised in the storm is proven; now all must come back.
	w.within(30*time.Second, "all hosts are back", func() (bool, string) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := w.fleet.WaitReady(ctx)
		return err == nil, fmt.Sprint(err)
	})
	rest := time.Now()
	w.within(30*time.Second, "leases of the storm are over, and clients have come by", func() (bool, string) { return time.Since(rest) > 9*time.Second, "" })
	close(stop)
	crowd.Wait()
	for _, r := range both {
		report, err := record.Judge(r.match, r.capacity)
		w.must(err)
		t.Logf("%s: %d answers, %.1f %% in use at most, %.1f %% in the mean, longest time without an answer %s, %d blows",
			r.match, report.Answers, 100*report.Most, 100*report.Mean, report.Gap, blows)
		require.Greater(t, report.Most, 0.99, "the crowd wants more than there is, and gets all of it")
		require.Greater(t, report.Mean, 0.3, "most of the time clients could work")
	}
}

// live is one client's life: its wants change, it gives its share back and comes again,
// and after the storm it only keeps what it has.
func live(storm context.Context, c *capacity.Client, seed uint64, stop <-chan struct{}, both []resource) {
	rng := rand.New(rand.NewPCG(seed, 3))
	held := make([]*capacity.Resource, len(both))
	for {
		for i, r := range both {
			wants := capacity.WithWants(r.capacity / crowdSize * 3 * rng.Float64())
			switch {
			case held[i] == nil:
				held[i], _ = c.Resource(r.match, wants) // it is open in no other
			case storm.Err() == nil && rng.IntN(10) == 0:
				held[i].Release()
				held[i] = nil
			case storm.Err() == nil:
				_ = held[i].SetWants(r.capacity / crowdSize * 3 * rng.Float64()) // it is not released
			}
		}
		pause := time.NewTimer(time.Second + rand.N(2*time.Second))
		select {
		case <-stop:
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

// fire kills and pauses hosts, one after the other, until the time is over; every other
// one is the leader of one of these groups, so that it moves.
func (w *world) fire(storm context.Context, groups ...string) (blows int) {
	w.Helper()
	rng := rand.New(rand.NewPCG(rand.Uint64(), 4))
	var hosts []string
	for _, p := range w.fleet.Processes() {
		if p.Kind == localfleet.KindNodeHost {
			hosts = append(hosts, p.Name)
		}
	}
	for storm.Err() == nil {
		b := chaos.Blow{
			Action: []chaos.Action{chaos.ActionKill, chaos.ActionPause, chaos.ActionStop}[rng.IntN(3)],
			Name:   hosts[rng.IntN(len(hosts))], For: 500*time.Millisecond + time.Duration(rng.Int64N(int64(5*time.Second))),
		}
		if rng.IntN(2) == 0 {
			b.Name = w.leader(groups[rng.IntN(len(groups))])
		}
		w.Logf("%v", b)
		if err := chaos.Strike(storm, w.fleet, b); err != nil && storm.Err() == nil {
			w.must(err)
		}
		blows++
		pause := time.NewTimer(time.Duration(rng.Int64N(int64(2 * time.Second))))
		select {
		case <-storm.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
	return blows
}
