// Package drummer is the master server: it keeps the fleet record with the other
// drummers and, while it leads them, supervises the hosts.
//
// It wires the rooms below it. fleet is the record, a pure machine that the
// drummers' own Raft group replicates. planner and loop decide, purely, what is to
// be done. supervise drives the loop: streams of hosts, proposals, time. api
// answers operators and clients, on any drummer. formation brings the drummers'
// group into being. DESIGN.md says how they play together, and what happens when
// something fails.
//
// A program needs only Main:
//
//	func main() { os.Exit(drummer.Main()) }
package drummer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/drumline/drumline/config"
	"github.com/drumline/drumline/drummer/api"
	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/formation"
	"github.com/drumline/drumline/drummer/loop"
	"github.com/drumline/drumline/drummer/members"
	"github.com/drumline/drumline/drummer/supervise"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/gossip"
	"github.com/drumline/drumline/internal/hostdir"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/internal/raft/transport"
	"github.com/drumline/drumline/internal/raft/transport/faults"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/statemachines"
)

// Options of a drummer beyond its configuration; tests use them.
type Options struct {
	Config config.Drummer
	Log    *slog.Logger
	// APIListener and HTTPListener are ports that are bound already; may be nil.
	APIListener, HTTPListener net.Listener
	// Memory keeps Raft's data in memory and makes a new drummer of each start: for
	// clusters that live in one process, and end with it.
	Memory bool
	// Loop tunes the supervisor; Deployment and Drummers are filled in.
	Loop loop.Options
	// Hook decides about what goes over the Raft transport; may be nil.
	Hook faults.Hook
}

// Run runs a drummer until ctx ends, and stops it gracefully.
func Run(ctx context.Context, cfg config.Drummer, log *slog.Logger) error {
	return RunWith(ctx, Options{Config: cfg, Log: log})
}

// RunWith is Run with options.
func RunWith(ctx context.Context, o Options) error {
	d := &drummer{o: o, cfg: o.Config, log: o.Log, registry: prometheus.NewRegistry()}
	err := d.open()
	if err == nil {
		err = d.run(ctx)
	}
	return errors.Join(err, d.stop.Drain())
}

// handOffPatience bounds the wait for a successor: when all drummers stop at the
// same time, the last ones find none.
const handOffPatience = 3 * time.Second

// drummer is one running master.
type drummer struct {
	o         Options
	cfg       config.Drummer
	log       *slog.Logger
	registry  *prometheus.Registry
	stop      serve.Stack
	dir       *hostdir.Dir
	pool      *serve.Pool
	server    *serve.Server
	transport *transport.Transport
	gossip    *gossip.Gossip       // nil without a key
	formation *formation.Formation // nil on a drummer that joins the others later
	members   *members.Members
	seed      *seed  // a record to go on with; nil without one
	fleet     string // identifies the record; set before the supervisor starts
	number    uint64 // of this drummer's replica; set with fleet
	api       *api.Service

	mu         sync.Mutex            // guards the rest
	stopping   bool                  // the graceful stop has begun: nothing new is started
	host       *raft.Host            // nil until the group is formed
	supervisor *supervise.Supervisor // nil until then
	peers      *peers
	retire     context.CancelFunc // ends the supervisor
	retired    chan struct{}      // closed when it has ended
}

// open acquires what is needed to speak with the other drummers.
func (d *drummer) open() (err error) {
	if err = d.cfg.Validate(); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	open := hostdir.Open
	if d.o.Memory {
		open = hostdir.OpenMemory
	}
	if d.dir, err = open(d.cfg.DataDir); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	d.stop.Push("data directory", d.dir.Close)
	if err := hostdir.CheckRoom(d.cfg.DataDir, d.cfg.WALDir); err != nil {
		return err
	}
	if d.pool, err = serve.NewPool(d.cfg.TLS); err != nil {
		return fmt.Errorf("connections: %w", err)
	}
	d.stop.Push("connections", d.pool.Close)
	if err = d.openServer(); err != nil {
		return fmt.Errorf("ports: %w", err)
	}
	d.stop.Push("ports", d.server.Close)
	if err = d.openTransport(); err != nil {
		return fmt.Errorf("raft port: %w", err)
	}
	d.stop.Push("raft port", d.closeTransport)
	if err = d.openGossip(); err != nil {
		return err
	}
	if err = d.openMembers(); err != nil {
		return err
	}
	return d.register(d.server.GRPC())
}

func (d *drummer) openServer() (err error) {
	d.server, err = serve.NewServer(serve.Options{
		Kind: "drummer", Name: d.cfg.Name, API: d.cfg.API, HTTP: d.cfg.HTTP,
		APIListener: d.o.APIListener, HTTPListener: d.o.HTTPListener,
		TLS: d.cfg.TLS, Log: d.log, Metrics: d.registry, Ready: d.ready, OnStop: d.bow,
	})
	return err
}

func (d *drummer) openTransport() error {
	server, client, err := d.cfg.TLS.Both()
	if err != nil {
		return err
	}
	d.transport, err = transport.New(transport.Options{
		Host: d.dir.Host(), BootEpoch: d.dir.BootEpoch(), Deployment: d.cfg.Deployment,
		Listen: d.cfg.Raft.Listen, Advertise: d.cfg.Raft.Advertise,
		ServerTLS: server, ClientTLS: client, Book: d.dir.Book(), Hook: d.o.Hook, Log: d.log,
	})
	return err
}

// closeTransport closes what no Raft host took over.
func (d *drummer) closeTransport() error {
	if h, _ := d.parts(); h != nil {
		return nil
	}
	return d.transport.Close()
}

func (d *drummer) register(r grpc.ServiceRegistrar) error {
	d.api = api.New(api.Options{
		Deployment: d.cfg.Deployment, Name: d.cfg.Name, API: d.ownAddress(), Dial: d.pool, Members: d.heard, Log: d.log,
	})
	if d.formation != nil {
		drummerpb.RegisterFormationServer(r, d.formation)
	} else {
		drummerpb.RegisterFormationServer(r, lateFormation{})
	}
	drummerpb.RegisterMembersServer(r, d.members)
	drummerpb.RegisterSupervisorServer(r, attendant{d: d})
	statepb.RegisterStatesServer(r, states{d: d})
	if err := d.registry.Register(d.api.Collector()); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return d.api.Register(r)
}

// run serves and supervises until ctx ends or a part fails.
func (d *drummer) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.server.Serve(ctx) })
	g.Go(func() error { return ignoreEnd(ctx, d.work(ctx)) })
	g.Go(func() error { return hostdir.WatchRoom(ctx, d.cfg.DataDir, d.cfg.WALDir) })
	if d.gossip != nil {
		g.Go(func() error { return d.gossip.Run(ctx) })
	}
	return g.Wait()
}

// ignoreEnd drops the error of what was interrupted by a stop.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// work forms the group or finds it formed, starts this drummer's replica, and
// supervises until the graceful stop.
func (d *drummer) work(ctx context.Context) error {
	founders, err := d.agree(ctx)
	if err != nil {
		return err
	}
	if err := d.startRaft(); err != nil {
		return err
	}
	d.stop.Push("raft", func() error { h, _ := d.parts(); return h.Close() })
	if err := d.startReplica(ctx, founders); err != nil {
		return err
	}
	supervising, ok := d.startSupervisor(ctx)
	if !ok {
		return nil
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { defer close(d.retired); d.supervisor.Run(supervising) })
	d.supervisor.Poke()
	if err := d.members.Run(ctx); err != nil {
		d.retire() // it is no drummer any more; set before, and for good
		return err
	}
	return nil
}

func (d *drummer) startRaft() error {
	apps, err := statemachines.NewRegistry(fleet.App())
	if err != nil {
		return fmt.Errorf("apps: %w", err)
	}
	h, err := raft.Open(raft.Options{
		Host: d.dir.Host(), Deployment: d.cfg.Deployment, Dir: d.dir.RaftDir(), WALDir: d.cfg.WALDir,
		Memory: d.o.Memory, Transport: d.transport, Apps: apps, Tick: d.cfg.Tick, ElectionTicks: d.cfg.ElectionTicks,
		HeartbeatTicks: d.cfg.HeartbeatTicks, SnapshotEntries: d.cfg.SnapshotEntries,
		Events: func(raft.Event) { d.poke() }, Log: d.log,
	})
	if err != nil {
		return fmt.Errorf("open raft: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.host = h
	return nil
}

// startSupervisor makes the supervisor and lets calls in, unless the stop has begun.
func (d *drummer) startSupervisor(ctx context.Context) (context.Context, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return nil, false
	}
	rec := &record{host: d.host, changed: d.poke, first: d.openRecord}
	d.members.Attach(members.Cluster{Group: d.host, Record: rec, Fleet: d.fleet, Founders: d.founders(), Seeded: d.seeded()})
	d.peers = &peers{members: d.members, founders: d.founders(), host: d.host}
	o := d.o.Loop
	o.Deployment, o.Fleet, o.Drummers = d.cfg.Deployment, d.fleet, d.cfg.Drummers
	d.supervisor = supervise.New(supervise.Options{
		Record: rec, Core: loop.New(o), Deployment: d.cfg.Deployment, Leader: d.peers.Leader,
		PassEvery: loop.PassPeriod, Metrics: d.registry, Log: d.log,
	})
	d.api.Ready(api.Cluster{Record: rec, Supervisor: d.supervisor, Peers: d.peers, Members: d.members})
	d.retired = make(chan struct{})
	// The supervisor outlives ctx: it ends after the leadership was handed off.
	ctx, d.retire = context.WithCancel(context.WithoutCancel(ctx))
	return ctx, true
}

// parts returns what exists yet.
func (d *drummer) parts() (*raft.Host, *supervise.Supervisor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.host, d.supervisor
}

func (d *drummer) poke() {
	if _, s := d.parts(); s != nil {
		s.Poke()
	}
}

// ready tells whether this drummer can serve: its replica runs and knows a leader.
func (d *drummer) ready() error {
	h, s := d.parts()
	switch {
	case d.members.Number() == 0:
		return errors.New("waiting to be added to the other drummers")
	case h == nil || s == nil:
		return errors.New("waiting for the other drummers")
	}
	st, ok := h.Status(ids.DrummerGroup)
	switch {
	case !ok || !st.Ready:
		return errors.New("loading the fleet record")
	case st.Leader == 0:
		return errors.New("no drummer leads")
	}
	if _, leading := s.Leading(); st.Leading && !leading {
		return errors.New("taking the lead")
	}
	return nil
}

// bow begins the graceful stop, while calls are still answered: the leadership goes
// to another drummer first, so that the hosts can be sent to it.
func (d *drummer) bow(ctx context.Context) {
	d.mu.Lock()
	d.stopping = true
	host, retire, retired := d.host, d.retire, d.retired
	d.mu.Unlock()
	if host != nil {
		handing, cancel := context.WithTimeout(ctx, handOffPatience)
		defer cancel()
		if err := host.HandOff(handing); err != nil {
			d.log.Warn("hand the leadership off", "err", err)
		}
	}
	if retire == nil {
		return
	}
	retire()
	select {
	case <-retired:
	case <-ctx.Done():
		d.log.Warn("the supervisor did not end in time")
	}
}

// attendant is the Supervisor service before and after there is a supervisor.
type attendant struct {
	drummerpb.UnimplementedSupervisorServer
	d *drummer
}

// Attend serves a host's stream.
func (a attendant) Attend(st grpc.BidiStreamingServer[drummerpb.HostMessage, drummerpb.SupervisorMessage]) error {
	_, s := a.d.parts()
	if s == nil {
		return fault.New(fault.Unavailable, "drummer %s is starting: try another", a.d.cfg.Name)
	}
	return s.Attend(st)
}
