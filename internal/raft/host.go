package raft

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lni/dragonboat/v3"
	"github.com/lni/dragonboat/v3/config"
	"github.com/lni/dragonboat/v3/raftio"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/coalesce"
	"github.com/drumline/drumline/internal/raft/engine"
	"github.com/drumline/drumline/internal/raft/gate"
	"github.com/drumline/drumline/internal/raft/hibernate"
	"github.com/drumline/drumline/internal/raft/logdb"
	"github.com/drumline/drumline/internal/raft/pace"
	"github.com/drumline/drumline/internal/raft/shelf"
	"github.com/drumline/drumline/statemachines"
)

// Host runs the replicas of one host.
type Host struct {
	opts   Options
	nh     *dragonboat.NodeHost
	logs   logdb.Factory
	events *events
	gates  *gate.Gates
	pump   *pump
	// batches keeps what commands were packed in.
	batches coalesce.Pool
	// intake takes messages for the replicas here; set by guardedFactory within Open.
	intake raftio.MessageHandler
	// depot is for the replicas that are unloaded; see park.go.
	depot *depot
	// sweeps counts the looks for idle replicas: the clock of idleness, which a process
	// that was held up does not find far ahead.
	sweeps atomic.Uint32
	// waker wakes groups; nil unless they hibernate.
	waker *hibernate.Waker
	// crowd makes starting thousands of replicas cheap.
	crowd  *engine.Crowd
	graves *engine.Graves // of replicas that were unloaded

	closing    chan struct{}
	closeOnce  sync.Once
	closeErr   error
	dispatched chan struct{}
	looks      *pace.Pace // paces refreshMembers; the dispatcher's

	// mu guards what follows; never held while NodeHost is called, because its
	// threads call the listener, which takes it.
	mu       sync.RWMutex
	closed   bool
	replicas map[ids.Group]*replica
	// onDisk are the replicas that have data here, running or not.
	onDisk shelf.Shelf
}

// Open starts a host without replicas; Start brings them. On an error the caller
// still owns the transport.
func Open(o Options) (*Host, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	engine.UseLogger(o.Log)
	if err := errors.Join(engine.Tune(o.Log), engine.LookRarely()); err != nil {
		return nil, err
	}
	h := &Host{
		opts: o, events: newEvents(), gates: gate.New(), looks: pace.New(10), pump: newPump(o.Tick),
		closing: make(chan struct{}), dispatched: make(chan struct{}),
		replicas: make(map[ids.Group]*replica),
	}
	h.depot = newDepot(h)
	if o.Hibernate {
		h.waker = hibernate.New(hibernate.Options{
			Self: o.Host, Transport: o.Transport, Replicas: sleepers{h}, Tick: o.Tick, Election: o.electionTimeout() / 2, Log: o.Log,
		})
	}
	if err := h.start(); err != nil {
		h.depot.close()
		return nil, err
	}
	go h.dispatch()
	go h.pump.run()
	h.waker.Start()
	o.Transport.Ready()
	return h, nil
}

// start makes dragonboat's NodeHost.
func (h *Host) start() error {
	c, err := h.nodeHostConfig()
	if err != nil {
		return err
	}
	if h.opts.FS == nil {
		if err := engine.AdoptHostname(h.opts.Log, h.opts.Dir, h.opts.WALDir); err != nil {
			return err
		}
	}
	h.nh, err = dragonboat.NewNodeHost(c)
	if err != nil {
		return fmt.Errorf("start raft in %s: %w", h.opts.Dir, err)
	}
	if h.nh == nil {
		// v3.3.8 swallows a panic that was no error.
		return fmt.Errorf("start raft in %s: dragonboat gave up without a reason", h.opts.Dir)
	}
	if h.crowd, err = engine.NewCrowd(h.nh, h.logs.Store()); err != nil {
		h.opts.Log.Warn("thousands of groups will take long to start, and slow each other down", "error", err)
	}
	if h.graves, err = engine.NewGraves(h.nh); err != nil {
		h.opts.Log.Warn("unloaded replicas keep some of their memory", "error", err)
	}
	for _, n := range h.nh.GetNodeHostInfo(dragonboat.NodeHostInfoOption{}).LogInfo {
		h.noteData(ids.Group(n.ClusterID), ids.Replica(n.NodeID), true)
	}
	return nil
}

func (h *Host) nodeHostConfig() (config.NodeHostConfig, error) {
	s, err := engine.ChooseShards(h.opts.Dir, h.opts.FS != nil)
	if err != nil {
		return config.NodeHostConfig{}, err
	}
	c := config.NodeHostConfig{
		DeploymentID:        deploymentID(h.opts.Deployment),
		NodeHostDir:         h.opts.Dir,
		WALDir:              h.opts.WALDir,
		RTTMillisecond:      uint64(h.opts.Tick / time.Millisecond),
		RaftAddress:         string(h.opts.Host),
		MaxSendQueueSize:    engine.MaxSendQueue,
		MaxReceiveQueueSize: engine.MaxReceiveQueue,
		RaftEventListener:   listener{h: h},
		SystemEventListener: listener{h: h},
	}
	c.Expert.TransportFactory = guardedFactory{inner: h.opts.Transport.Factory(), host: h}
	c.Expert.LogDBFactory = &h.logs
	c.Expert.FS = h.opts.FS
	c.Expert.Engine = s.Engine()
	c.Expert.LogDB = s.LogDB(h.opts.FS != nil)
	return c, nil
}

// Close stops every replica and the transport; idempotent. It gives no leadership
// away: HandOff first, for a graceful stop.
func (h *Host) Close() error {
	h.closeOnce.Do(func() { h.closeErr = h.close() })
	return h.closeErr
}

func (h *Host) close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.depot.close()
	h.waker.Close()
	for _, r := range h.all() {
		r.halt()
	}
	h.pump.close()
	h.crowd.Close()
	h.nh.Stop()
	for _, r := range h.all() {
		r.markUnloaded()
	}
	close(h.closing)
	<-h.dispatched
	return h.opts.Transport.Close()
}

// replica returns the replica of a group that runs here.
func (h *Host) replica(g ids.Group) (*replica, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	r := h.replicas[g]
	if r == nil {
		return nil, fault.New(fault.GroupNotFound, "no replica of group %d runs on this host", g).InGroup(fmt.Sprint(uint64(g)))
	}
	return r, nil
}

// all lists the replicas that run here.
func (h *Host) all() []*replica {
	h.mu.RLock()
	defer h.mu.RUnlock()
	rs := make([]*replica, 0, len(h.replicas))
	for _, r := range h.replicas {
		rs = append(rs, r)
	}
	return rs
}

// admit registers a replica.
func (h *Host) admit(r *replica) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errHostClosed()
	}
	h.replicas[r.spec.Group] = r
	h.crowd.Count(len(h.replicas))
	return nil
}

func errHostClosed() error { return fault.New(fault.Unavailable, "this host is being stopped") }

// forget ends a replica and drops it.
func (h *Host) forget(r *replica) {
	r.halt()
	h.depot.vigil.Drop(r.spec.Group, r)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.replicas[r.spec.Group] == r {
		delete(h.replicas, r.spec.Group)
	}
}

// reap drops a replica that dragonboat unloaded, unless it runs again already.
func (h *Host) reap(e Event) {
	r, err := h.replica(e.Group)
	if err != nil || r.spec.ID != e.Replica {
		return
	}
	select {
	case <-r.unloaded:
		h.forget(r)
	default:
	}
}

// noteData notes whether a replica has data here.
func (h *Host) noteData(g ids.Group, id ids.Replica, has bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onDisk.Note(g, id, has)
}

// refreshMembers asks dragonboat for the memberships that its replicas know, and
// returns an event for each that is news.
func (h *Host) refreshMembers() (news []Event) {
	defer h.looks.Done(time.Now())
	info := h.nh.GetNodeHostInfo(dragonboat.NodeHostInfoOption{SkipLogInfo: true})
	if info == nil {
		return nil
	}
	for i := range info.ClusterInfoList {
		c := &info.ClusterInfoList[i]
		r, err := h.replica(ids.Group(c.ClusterID))
		if err != nil || c.Pending || uint64(r.spec.ID) != c.NodeID {
			continue
		}
		if r.setMembers(c.ConfigChangeIndex, c.IsObserver, c.Nodes) {
			h.waker.Meet(r.sleeper())
			news = append(news, Event{Kind: EventMembership, Group: r.spec.Group, Replica: r.spec.ID})
		}
	}
	return news
}

// Status tells what this host knows of its replica of a group.
func (h *Host) Status(g ids.Group) (Status, bool) {
	if r, err := h.replica(g); err == nil {
		return r.status(), true
	}
	return h.depot.status(g)
}

// proposalTimeout is after how long an entry's outcome is given up as unknown.
func (h *Host) proposalTimeout() time.Duration {
	return max(defaultDeadline, 4*h.opts.electionTimeout())
}

// app returns the app of a group's name.
func (h *Host) app(name string) (statemachines.App, error) {
	text, err := statemachines.AppOf(name)
	if err != nil {
		return statemachines.App{}, fault.Wrap(err, fault.Invalid, "start a replica")
	}
	app, err := h.opts.Apps.App(text)
	if errors.Is(err, statemachines.ErrUnknownApp) {
		return app, fault.Wrap(err, fault.Invalid, "start a replica of %s", name)
	}
	return app, err
}
