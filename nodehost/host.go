// Package nodehost is the host: a process that runs replicas of groups and answers
// for every group of the cluster.
//
// It wires the rooms below it. replicas knows what lives here and keeps the
// manifest; agent is the line to Drummer; duty does what only leaders do; route
// finds and forwards; api is the services. DESIGN.md says how they play together.
//
// Users build a host with apps of their own from two lines:
//
//	func main() { os.Exit(nodehost.Main(myapp.App())) }
package nodehost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/drumline/drumline/config"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/gossip"
	"github.com/drumline/drumline/internal/hostdir"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/internal/raft/transport"
	"github.com/drumline/drumline/internal/raft/transport/faults"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/nodehost/agent"
	"github.com/drumline/drumline/nodehost/api"
	"github.com/drumline/drumline/nodehost/capacity"
	"github.com/drumline/drumline/nodehost/counters"
	"github.com/drumline/drumline/nodehost/counters/exchange"
	"github.com/drumline/drumline/nodehost/duty"
	"github.com/drumline/drumline/nodehost/follow"
	"github.com/drumline/drumline/nodehost/replicas"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/nodehost/sequences"
	"github.com/drumline/drumline/nodehost/sequences/front"
	"github.com/drumline/drumline/nodehost/states"
	"github.com/drumline/drumline/statemachines"
)

// Bounds of a graceful stop, and the grain of the wait before the boot.
const (
	goodbyePatience = time.Second
	handOffPatience = 5 * time.Second
	identityCheck   = 100 * time.Millisecond
)

// Options of a host beyond its configuration; tests use them.
type Options struct {
	Config config.NodeHost
	Apps   *statemachines.Registry
	Log    *slog.Logger
	// APIListener and HTTPListener are ports that are bound already; may be nil.
	APIListener, HTTPListener net.Listener
	// Agent tunes the line to Drummer; only its times are taken.
	Agent agent.Options
	// Hook decides about what goes over the Raft transport; may be nil.
	Hook faults.Hook
}

// Run runs a host until ctx ends, and stops it gracefully: readiness goes first,
// then Drummer is told, running calls finish, leaderships are handed off, and the
// data directory is closed last. An error means that the host could not start or
// go on: a refusal of its identity is a *agent.Refusal.
func Run(ctx context.Context, cfg config.NodeHost, apps *statemachines.Registry, log *slog.Logger) error {
	usual := serve.DelayCollections(serve.GarbageFloor)
	defer usual()
	return RunWith(ctx, Options{Config: cfg, Apps: apps, Log: log})
}

// RunWith is Run with options.
func RunWith(ctx context.Context, o Options) error {
	h := prepare(o)
	err := h.open()
	if err == nil {
		err = h.run(ctx)
	}
	return h.finish(err)
}

func prepare(o Options) *host {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &host{o: o, cfg: o.Config, log: o.Log, registry: prometheus.NewRegistry()}
}

// finish frees everything in the reverse order of open.
func (h *host) finish(err error) error { return errors.Join(err, h.stop.Drain()) }

// host is one running nodehost.
type host struct {
	o        Options
	cfg      config.NodeHost
	log      *slog.Logger
	registry *prometheus.Registry
	events   eventCounts
	stop     serve.Stack

	dir       *hostdir.Dir
	pool      *serve.Pool
	server    *serve.Server
	transport *transport.Transport
	raft      *raft.Host
	gossip    *gossip.Gossip // nil without a key
	keeper    *replicas.Keeper
	book      *follow.Book
	agent     *agent.Agent
	roster    *duty.Roster
	router    *route.Router
	leases    *capacity.Service
	states    *states.States
	counters  *counters.Service
	exchange  *exchange.Exchange

	stopping   atomic.Bool
	endStreams context.CancelFunc
}

// open acquires everything; nothing runs yet, and no replica is started.
func (h *host) open() (err error) {
	if err := h.cfg.Validate(); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	h.warnOfClock()
	if h.dir, err = h.openDir(); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	h.stop.Push("data directory", h.dir.Close)
	if err := hostdir.CheckRoom(h.cfg.DataDir, h.cfg.WALDir); err != nil {
		return err
	}
	if h.pool, err = serve.NewPool(h.cfg.TLS); err != nil {
		return fmt.Errorf("connections: %w", err)
	}
	h.stop.Push("connections", h.pool.Close)
	if err := h.openServer(); err != nil {
		return fmt.Errorf("ports: %w", err)
	}
	h.stop.Push("ports", h.server.Close)
	if err := h.openRaft(); err != nil {
		return err
	}
	h.stop.Push("raft", h.raft.Close)
	if err := h.openGossip(); err != nil {
		return err
	}
	return h.openRooms()
}

func (h *host) openServer() (err error) {
	h.server, err = serve.NewServer(serve.Options{
		Kind: "nodehost", Name: h.cfg.Name, API: h.cfg.API, HTTP: h.cfg.HTTP,
		APIListener: h.o.APIListener, HTTPListener: h.o.HTTPListener,
		TLS: h.cfg.TLS, Log: h.log, Metrics: h.registry, Ready: h.ready, Serving: h.serving, OnStop: h.bow,
	})
	return err
}

func (h *host) openRaft() error {
	server, client, err := h.cfg.TLS.Both()
	if err != nil {
		return err
	}
	h.transport, err = transport.New(transport.Options{
		Host: h.dir.Host(), BootEpoch: h.dir.BootEpoch(), Deployment: h.cfg.Deployment,
		Listen: h.cfg.Raft.Listen, Advertise: h.cfg.Raft.Advertise,
		ServerTLS: server, ClientTLS: client, Book: h.dir.Book(), Hook: h.o.Hook, Log: h.log,
	})
	if err != nil {
		return fmt.Errorf("raft port: %w", err)
	}
	h.raft, err = raft.Open(raft.Options{
		Host: h.dir.Host(), Deployment: h.cfg.Deployment, Dir: h.dir.RaftDir(), WALDir: h.cfg.WALDir,
		Memory: h.inMemory(), Transport: h.transport, Apps: h.o.Apps, Tick: h.cfg.Tick, ElectionTicks: h.cfg.ElectionTicks,
		HeartbeatTicks: h.cfg.HeartbeatTicks, SnapshotEntries: h.cfg.SnapshotEntries, Hibernate: h.cfg.Hibernate, UnloadAfter: h.cfg.UnloadAfter,
		Events: h.observe, Log: h.log,
		BeforeLoad: func(ctx context.Context, g ids.Group, id ids.Replica) error { return h.keeper.Loading(ctx, g, id) },
	})
	if err != nil {
		return errors.Join(fmt.Errorf("open raft: %w", err), h.transport.Close())
	}
	return nil
}

// openRooms makes the rooms of this package. None of them runs yet, so raft, which
// has no replica, tells them of nothing either.
func (h *host) openRooms() (err error) {
	h.states, err = states.Open(states.Options{
		Self: h.dir.Host(), Fleet: func() string { return h.agent.Fleet() }, Dir: h.dir.StatesDir(),
		Raft: h.raft, Apps: h.o.Apps, Pool: h.pool, Inventory: h.inventory, Log: h.log,
	})
	if err != nil {
		return err
	}
	h.keeper, err = replicas.Open(replicas.Options{
		Self: replicas.Self{Host: h.dir.Host(), BootEpoch: h.dir.BootEpoch(), Unloads: h.cfg.UnloadAfter > 0, Program: config.Version()},
		DB:   h.dir.DB(), Raft: h.raft, States: h.states, Apps: h.o.Apps, Log: h.log,
		Changed: func(k replicas.Key, gone bool) { h.agent.Changed(k, gone) },
	})
	if err != nil {
		return fmt.Errorf("replicas: %w", err)
	}
	if h.book, err = follow.Open(h.dir.DB(), func(string) { h.roster.Again(follow.TaskName) }); err != nil {
		return err
	}
	if h.agent, err = agent.New(h.agentOptions()); err != nil {
		return fmt.Errorf("line to drummer: %w", err)
	}
	follower := follow.New(follow.Options{Book: h.book, Raft: h.raft, Apps: h.o.Apps, Log: h.log})
	timestamps := front.New(h.raft, h.now)
	h.stop.Push("timestamps", timestamps.Close)
	h.router = route.New(route.Options{
		Self: h.dir.Host(), Raft: timestamps, Local: h.keeper, Locator: h.agent, Pool: h.pool,
		DB: h.dir.DB(), API: h.agent.API, Advertise: h.server.APIAddr(), Hosts: h.otherHosts, Log: h.log,
		Prepare: func(ctx context.Context, g ids.Group, cmds [][]byte) ([][]byte, error) {
			follower.Await(ctx, g)
			led, _ := h.raft.Status(g)
			return h.leases.Prepare(ctx, g, h.counters.Prepare(led.Name, cmds))
		},
	})
	h.stop.Push("directory of groups", h.router.Close)
	h.leases = capacity.New(capacity.Options{
		Router: h.router, Raft: h.raft, Cluster: h.agent, Led: h.groups, Makes: h.makes, Advertise: h.server.APIAddr(), Log: h.log,
	})
	streams, end := context.WithCancel(context.Background())
	h.endStreams = end
	h.stop.Push("streams", func() error { end(); return nil })
	api.Register(h.server.GRPC(), api.Options{Router: h.router, Stopping: streams.Done(), Log: h.log})
	sequences.Register(h.server.GRPC(), sequences.Options{Router: h.router, Stopping: streams.Done(), Now: h.now})
	h.counters = counters.New(counters.Options{
		Router: h.router, Region: h.cfg.Region, Knows: h.router.Knows, Makes: h.makesRegional, Regions: h.agent.Regions, Members: h.members, Stopping: streams.Done(), Now: h.now,
	})
	h.stop.Push("counters", h.counters.Close)
	h.exchange = exchange.New(exchange.Options{Router: h.router, Raft: h.raft, Regions: h.agent.Regions, Now: h.now, Log: h.log})
	h.roster = duty.New(duty.Options{Raft: h.raft, Log: h.log}, duty.Membership(h.raft.Membership, h.tellMembership), follower.Task(), h.exchange.Task())
	h.counters.Register(h.server.GRPC())
	h.leases.Register(h.server.GRPC())
	h.states.Register(h.server.GRPC())
	if err := h.openPages(); err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	if err := errors.Join(h.registry.Register(collector{h}), h.registry.Register(h.leases), h.registry.Register(h.exchange),
		h.registry.Register(gossip.NewCollector(h.gossip, "nodehost"))); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// otherHosts are the gRPC addresses of the hosts that this one was told of.
func (h *host) otherHosts() []string {
	var apis []string
	for _, e := range h.agent.Hosts() {
		if e.ID != h.dir.Host() && e.API != "" {
			apis = append(apis, e.API)
		}
	}
	return apis
}

// makes tells whether a template makes a group on first use.
func (h *host) makes(group string) bool {
	t, _ := h.book.Template(group)
	return t.GetAutoCreate()
}

// makesRegional tells whether a template makes the group of a full name, with a region, on
// first use.
func (h *host) makesRegional(full string) bool {
	t, _ := h.book.Template(full)
	_, region := statemachines.CutRegion(full)
	return t.GetAutoCreate() && slices.Contains(t.GetEachRegion(), region)
}

// groups are those with a replica here.
func (h *host) groups() []ids.Group {
	var out []ids.Group
	for _, l := range h.keeper.Locals() {
		out = append(out, l.Record.Group)
	}
	return out
}

func (h *host) tellMembership(s raft.Status, m raft.Membership) {
	h.keeper.SetMembership(replicas.Key{Group: s.Group, Replica: s.Replica}, m)
}

// observe hands raft's events to whom they concern.
func (h *host) observe(e raft.Event) {
	h.events.count(e.Kind)
	h.keeper.Observe(e)
	h.roster.Observe(e)
}

// serving says why clients must not come, or nil: once replicas may start here, those
// that are up answer, and calls for all others are passed on to their other hosts.
func (h *host) serving() error {
	if h.stopping.Load() {
		return fault.New(fault.Unavailable, "the host is stopping")
	}
	if p := h.keeper.Progress(); !p.Begun {
		return fault.New(fault.Unavailable, "the host asks who it is before it starts its %d replicas", p.Total)
	}
	return nil
}

// ready says why the next host must not be stopped yet, or nil: it is the word for
// rollouts, and means that every replica was started or is kept down.
func (h *host) ready() error {
	if err := h.serving(); err != nil {
		return err
	}
	if p := h.keeper.Progress(); !p.Done {
		return fault.New(fault.Unavailable, "starting replicas: %d of %d are through", p.Through, p.Total)
	}
	return nil
}

// progress is what heartbeats say of the boot; false once it is done.
func (h *host) progress() (done, total int, booting bool) {
	p := h.keeper.Progress()
	return p.Through, p.Total, !p.Done
}

// bow is the first part of a graceful stop; the server runs it while calls are still
// answered: whoever calls meanwhile is passed on to the new leaders.
func (h *host) bow(ctx context.Context) {
	h.stopping.Store(true)
	defer h.endStreams() // they would keep the server from stopping
	h.sayGoodbye(ctx)
	h.handOff(ctx)
}

func (h *host) sayGoodbye(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, goodbyePatience)
	defer cancel()
	if err := h.agent.Goodbye(ctx); err != nil {
		h.log.Warn("drummer was not told of the stop", "err", err)
	}
}

// run serves until ctx ends or a part fails. The rooms outlive the server: calls
// that are still being answered need them.
func (h *host) run(ctx context.Context) error {
	rooms, stopRooms := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRooms()
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	var g errgroup.Group
	part := func(f func(context.Context) error) {
		g.Go(func() error {
			err := f(rooms)
			if err != nil {
				stopServing()
			}
			return err
		})
	}
	part(h.keeper.Run)
	part(func(ctx context.Context) error { return hostdir.WatchRoom(ctx, h.cfg.DataDir, h.cfg.WALDir) })
	part(h.dir.GrowOlder)
	part(h.agent.Run)
	part(func(ctx context.Context) error { h.roster.Run(ctx); return nil })
	part(func(ctx context.Context) error { h.leases.Run(ctx); return nil })
	part(h.boot)
	if h.gossip != nil {
		part(h.gossip.Run)
	}
	h.log.Info("nodehost runs", "name", h.cfg.Name, "nodehost", h.dir.Host(), "boot_epoch", h.dir.BootEpoch(),
		"api", h.server.APIAddr(), "raft", h.transport.Addr(), "http", h.server.HTTPAddr(), "replicas", len(h.keeper.Keys()))
	err := h.server.Serve(serving)
	h.handOff(rooms) // what it was elected to since; or all, if a part of it failed
	stopRooms()
	return errors.Join(err, g.Wait())
}

// handOff gives leaderships away, as far as there is somebody to take them.
func (h *host) handOff(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, handOffPatience)
	defer cancel()
	if err := h.raft.HandOff(ctx); err != nil {
		h.log.Warn("some leaderships were not handed off", "err", err)
	}
}

// boot starts the replicas as soon as a drummer has said that this host is still
// who it was, or alone when none answers within the grace. While one refuses the
// host, nothing starts: the agent ends the process if it stays so.
func (h *host) boot(ctx context.Context) error {
	grace := time.NewTimer(h.cfg.BootGrace)
	defer grace.Stop()
	select {
	case <-ctx.Done():
		return nil
	case <-h.agent.Welcomed():
		h.keeper.Boot()
		return nil
	case <-grace.C:
	}
	check := time.NewTicker(identityCheck)
	defer check.Stop()
	for h.agent.Refused() {
		select {
		case <-ctx.Done():
			return nil
		case <-h.agent.Welcomed():
		case <-check.C:
			continue
		}
		break
	}
	h.log.Info("starting replicas", "grace", h.cfg.BootGrace, "replicas", len(h.keeper.Keys()))
	h.keeper.Boot()
	return nil
}
