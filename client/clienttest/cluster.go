package clienttest

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/config"
	"github.com/drumline/drumline/drummer"
	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/freeport"
	"github.com/drumline/drumline/nodehost"
	"github.com/drumline/drumline/nodehost/agent"
	"github.com/drumline/drumline/statemachines"
)

// Times of a cluster whose messages take microseconds. An election is long against them,
// because a loaded machine must not look like a dead leader.
const (
	tick           = 5 * time.Millisecond
	heartbeatTicks = 4
	electionTicks  = 40
	heartbeat      = 100 * time.Millisecond
	pollEvery      = 10 * time.Millisecond
	// patience is for a machine that does ten other things.
	patience = time.Minute
)

// Cluster is a drummer and its hosts. The test that started it ends it.
type Cluster struct {
	tb      testing.TB
	o       options
	apps    *statemachines.Registry
	drummer *server
	hosts   []*server
	client  *client.Client
}

// Start starts a cluster and waits until it serves. It fails the test if it can't, and
// ends the cluster with it.
func Start(tb testing.TB, opts ...Option) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb, o: newOptions(opts)}
	if !slices.Contains([]int{1, 3, 5, 7}, c.o.hosts) {
		tb.Fatalf("start a cluster of %d hosts: want 1, 3, 5 or 7", c.o.hosts)
	}
	var err error
	if c.apps, err = statemachines.NewRegistry(c.o.apps...); err != nil {
		tb.Fatalf("start a cluster: %v", err)
	}
	tb.Cleanup(c.end)
	dir := tb.TempDir()
	c.drummer = c.newServer(func(ctx context.Context, ln net.Listener) error { return c.runDrummer(ctx, ln, dir) })
	for i := range c.o.hosts {
		c.hosts = append(c.hosts, c.newServer(func(ctx context.Context, ln net.Listener) error { return c.runHost(ctx, ln, dir, i) }))
	}
	for _, s := range c.all() {
		s.start()
	}
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	if err = c.await(ctx); err == nil {
		err = c.configure(ctx)
	}
	if err != nil {
		tb.Fatalf("start a cluster: %v", err)
	}
	return c
}

// Client is a client of the cluster; it ends with it.
func (c *Cluster) Client() *client.Client { return c.client }

// Addresses are the gRPC addresses of the hosts, for clients of any kind.
func (c *Cluster) Addresses() []string {
	var out []string
	for _, h := range c.hosts {
		out = append(out, h.addr)
	}
	return out
}

// Drummer is the gRPC address of the drummer.
func (c *Cluster) Drummer() string { return c.drummer.addr }

// StopHost stops a host, from 0, in order, and waits. The others go on as long as they are
// a majority.
func (c *Cluster) StopHost(i int) {
	c.tb.Helper()
	if err := c.hosts[i].stop(); err != nil {
		c.tb.Errorf("host %d: %v", i, err)
	}
}

// StartHost starts a host that was stopped, on its old addresses; it returns at once. On
// disk it is the host that it was. In memory it is a new one, which the cluster gives
// replicas when it gives up the old one.
func (c *Cluster) StartHost(i int) { c.hosts[i].start() }

func (c *Cluster) all() []*server { return append([]*server{c.drummer}, c.hosts...) }

// newServer has a port of its own, which it keeps when it is stopped and started.
func (c *Cluster) newServer(run func(context.Context, net.Listener) error) *server {
	ln, err := freeport.Listen()
	if err != nil {
		c.tb.Fatalf("start a cluster: %v", err)
	}
	return &server{addr: ln.Addr().String(), port: ln, run: run}
}

func (c *Cluster) runDrummer(ctx context.Context, ln net.Listener, dir string) error {
	cfg := config.DefaultDrummer()
	cfg.Name, cfg.Deployment, cfg.DataDir, cfg.Index = "drummer", "clienttest", filepath.Join(dir, "drummer"), 1
	cfg.Drummers, cfg.API = []string{c.drummer.addr}, config.Listener{Listen: c.drummer.addr}
	cfg.Raft, cfg.HTTP = config.Listener{Listen: "127.0.0.1:0"}, config.Listener{}
	cfg.Tick, cfg.ElectionTicks, cfg.HeartbeatTicks = tick, electionTicks, heartbeatTicks
	return drummer.RunWith(ctx, drummer.Options{
		Config: cfg, Log: c.o.log, APIListener: ln, Memory: !c.o.disk,
		Loop: loop.Options{Heartbeat: heartbeat, Resend: 5 * heartbeat},
	})
}

func (c *Cluster) runHost(ctx context.Context, ln net.Listener, dir string, i int) error {
	cfg := config.DefaultNodeHost()
	cfg.Name = fmt.Sprintf("host-%d", i+1)
	cfg.Deployment, cfg.DataDir, cfg.Drummers = "clienttest", filepath.Join(dir, cfg.Name), []string{c.drummer.addr}
	cfg.API, cfg.Raft, cfg.HTTP = config.Listener{Listen: c.hosts[i].addr}, config.Listener{Listen: "127.0.0.1:0"}, config.Listener{}
	cfg.Tick, cfg.ElectionTicks, cfg.HeartbeatTicks = tick, electionTicks, heartbeatTicks
	if !c.o.disk {
		cfg.Storage = config.StorageMemory
	}
	return nodehost.RunWith(ctx, nodehost.Options{
		Config: cfg, Apps: c.apps, Log: c.o.log, APIListener: ln,
		Agent: agent.Options{PauseLeast: 5 * time.Millisecond, PauseMost: heartbeat},
	})
}

// await waits until the drummer knows all hosts.
func (c *Cluster) await(ctx context.Context) error {
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		up, err := c.look(ctx)
		if err == nil && up == len(c.hosts) {
			return nil
		}
		for _, s := range c.all() {
			if ended := s.ended(); ended != nil {
				return fmt.Errorf("server %s: %w", s.addr, ended)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d hosts are up: %w", up, len(c.hosts), ctx.Err())
		case <-poll.C:
		}
	}
}

// look counts the hosts that are up.
func (c *Cluster) look(ctx context.Context) (up int, err error) {
	if c.client == nil {
		if c.client, err = client.Open(ctx, append(c.Addresses(), c.drummer.addr)); err != nil {
			return 0, err
		}
	}
	resp, err := c.client.Drummer().ListHosts(ctx, &drummerpb.ListHostsRequest{})
	for _, h := range resp.GetHosts() {
		if h.GetState() == "up" && h.GetBoot() == nil {
			up++
		}
	}
	return up, err
}

// configure lets first uses make groups, on all hosts.
func (c *Cluster) configure(ctx context.Context) error {
	for _, app := range c.apps.Names() {
		t := &fleetpb.Template{Match: "*", Replicas: uint32(len(c.hosts)), AutoCreate: true, Options: c.o.options[app]} //nolint:gosec // 1 to 7
		cfg := &fleetpb.Configuration{App: app, Author: "clienttest", Templates: []*fleetpb.Template{t}}
		if _, err := c.client.Drummer().ApplyConfiguration(ctx, &drummerpb.ApplyConfigurationRequest{Configuration: cfg}); err != nil {
			return fmt.Errorf("configure app %s: %w", app, err)
		}
	}
	return nil
}

// end stops everything, all at a time.
func (c *Cluster) end() {
	if c.client != nil {
		c.client.Close()
	}
	var stopping sync.WaitGroup
	for _, s := range c.all() {
		if s == nil {
			continue
		}
		stopping.Go(func() {
			if err := s.stop(); err != nil {
				c.tb.Errorf("server %s: %v", s.addr, err)
			}
		})
	}
	stopping.Wait()
}
