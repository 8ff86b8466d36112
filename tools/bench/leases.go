package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/localfleet"
	"github.com/drumline/drumline/tools/bench/holders"
	"github.com/drumline/drumline/tools/bench/measure"
)

// leaseMs is the length of leases, refreshMs when a client asks again: none ends in a run.
const leaseMs, refreshMs = 600_000, 60_000

// algorithms that are measured, by the first part of a resource's name.
func algorithms() map[string]capacitypb.Algorithm {
	return map[string]capacitypb.Algorithm{
		"none":         capacitypb.Algorithm_ALGORITHM_NONE,
		"proportional": capacitypb.Algorithm_ALGORITHM_PROPORTIONAL_SHARE,
		"fair":         capacitypb.Algorithm_ALGORITHM_FAIR_SHARE,
	}
}

// leases is a fleet that leases capacity, and the clients that hold it.
type leases struct {
	*fleet
	crowds map[string]*holders.Crowd // by the names of their resources
	lines  map[string][]*grpc.ClientConn
}

func newLeases(ctx context.Context, dir string, s measure.Setup) (subject, error) {
	f, err := newProcesses(dir, s)
	if err != nil {
		return nil, err
	}
	l := &leases{fleet: f, crowds: map[string]*holders.Crowd{}, lines: map[string][]*grpc.ClientConn{}}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if err = f.boot(ctx); err == nil {
		err = l.configure(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// configure tells how resources are divided; those themselves are made on first use.
func (l *leases) configure(ctx context.Context) error {
	conf := &fleetpb.Configuration{App: "capacity", Author: "bench"}
	for name, algorithm := range algorithms() {
		for _, clients := range []int{100, 1000, 5000, 50000} {
			options, err := proto.Marshal(&capacitypb.Definition{
				Capacity: proto.Float64(float64(holders.PerClient * clients)), Algorithm: algorithm,
				LeaseLengthMs: leaseMs, RefreshIntervalMs: refreshMs,
			})
			if err != nil {
				return fmt.Errorf("configure: %w", err)
			}
			conf.Templates = append(conf.Templates, &fleetpb.Template{
				Match: fmt.Sprintf("%s-%d-*", name, clients), Replicas: uint32(l.Hosts), AutoCreate: true, Options: options,
			})
		}
	}
	if _, err := l.client.Drummer().ApplyConfiguration(ctx, &drummerpb.ApplyConfigurationRequest{Configuration: conf}); err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	return nil
}

// run measures refreshes by the clients of some resources, all of which hold leases.
func (l *leases) run(ctx context.Context, r measure.Request) (s measure.Sample, err error) {
	if r.Op == measure.OpPause || r.Op == measure.OpResume {
		return s, l.pause(r.Op == measure.OpPause)
	}
	c, err := l.crowd(ctx, r)
	if err != nil {
		return s, err
	}
	lines, err := l.connect(ctx, r.Via, c.Names[0])
	if err != nil {
		return s, err
	}
	var refreshed atomic.Int64 // in all: the log is looked at before and after the run
	op := func(ctx context.Context, caller int) error {
		err := c.Refresh(ctx, lines[caller%len(lines)])
		if err == nil {
			refreshed.Add(1)
		}
		return err
	}
	before, err := l.entries(ctx, "capacity/", c.Names...)
	if err != nil {
		return s, err
	}
	err = l.profiledHosts(r, func() error {
		var e error
		s, e = l.Measured(ctx, r, l.served, measure.Workload{Call: op, Weight: 1})
		return e
	})
	if err != nil {
		return s, err
	}
	after, err := l.entries(ctx, "capacity/", c.Names...)
	if grants := float64(refreshed.Load()) * float64(r.Each); grants > 0 {
		s.Entries = 1000 * float64(after-before) / grants
	}
	s.Algorithm, s.Clients, s.Each = r.Algorithm, r.Clients, r.Each
	return s, err
}

// served is what the servers alone have used.
func (l *leases) served() measure.Usage {
	var u measure.Usage
	for _, p := range l.local.Processes() {
		u.CPU += measure.ProcessCPU(p.PID)
	}
	return u
}

// crowd finds the clients of a run, or has them take their first leases.
func (l *leases) crowd(ctx context.Context, r measure.Request) (*holders.Crowd, error) {
	c := holders.New(r, holders.Protocol(r.Via))
	key := strings.Join(c.Names, " ")
	if known := l.crowds[key]; known != nil {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	lines, err := l.connect(ctx, holders.ViaAnyHost, c.Names[0])
	if err == nil {
		err = c.Use(ctx, lines)
	}
	if err != nil {
		return nil, err
	}
	l.crowds[key] = c
	return c, nil
}

// connect gives the connections of a road to a resource.
func (l *leases) connect(ctx context.Context, via, resource string) ([]*grpc.ClientConn, error) {
	addrs := l.local.APIs(localfleet.KindNodeHost)
	if via != holders.ViaAnyHost {
		leader, err := l.leader(ctx, "capacity/"+resource)
		if err != nil {
			return nil, err
		}
		addrs = []string{leader}
	}
	key := strings.Join(addrs, " ")
	for i := len(l.lines[key]); i < holders.Connections; i++ {
		conn, err := dial(addrs[i%len(addrs)])
		if err != nil {
			return nil, err
		}
		l.lines[key] = append(l.lines[key], conn)
	}
	return l.lines[key], nil
}

func (l *leases) close() error {
	var errs []error
	for _, lines := range l.lines {
		for _, c := range lines {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errors.Join(errs...), l.fleet.close())
}
