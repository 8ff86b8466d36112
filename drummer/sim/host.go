package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas"
)

// host is a nodehost: a disk, a process with the real decisions about replicas, links.
type host struct {
	w            *world
	name, region string
	disk         *disk

	running, paused  bool
	dark, deaf, mute bool // hears and reaches nobody; does not hear drummers; is not heard by them
	refused          bool // its identity is spent: it stopped itself
	slow             int  // how many times slower its disk is
	life             int  // counts its processes and their ends
	trap             int  // 1: crash before the next commit, 2: right behind it

	core     *replicas.Core
	clock    clock
	tokens   map[uint64]token
	token    uint64
	booted   bool
	session  *session
	last     map[int]*session // that each drummer took in
	tried    time.Duration
	reported map[replicas.Key]*drummerpb.ReplicaReport
	dirty    map[replicas.Key]bool
	gone     map[replicas.Key]bool
	flushing bool

	changed time.Duration // when it last came up, went down, or lost or got a link
}

// disk is what survives a process.
type disk struct {
	id       string
	epoch    uint64
	manifest replicas.Manifest
	logs     map[replicas.Key]*log
}

// token is an order that a host has taken.
type token struct {
	s *session
	o *order
}

func (w *world) addHost(region string) {
	w.named++
	h := &host{w: w, name: fmt.Sprintf("h%d", w.named), region: region, slow: 1, last: map[int]*session{}}
	w.hosts = append(w.hosts, h)
	h.format()
	h.boot()
}

// format gives the host an empty disk, which makes it a new host.
func (h *host) format() {
	if h.disk != nil {
		for k := range h.disk.logs {
			h.w.book.wiped[k] = h.w.now
		}
		h.w.byID[h.disk.id] = nil // nobody ever has the id again
	}
	h.disk = &disk{
		id:       fmt.Sprintf("%s-%08x", h.name, h.w.rng.Uint32()),
		manifest: replicas.Manifest{Records: map[replicas.Key]replicas.Record{}, Tombstones: map[replicas.Key]replicas.Tombstone{}},
		logs:     map[replicas.Key]*log{},
	}
	h.w.byID[h.disk.id] = h
	h.refused = false
}

// boot starts a process. It starts replicas when a drummer has welcomed it, or none
// has answered for a while.
func (h *host) boot() {
	if h.running || h.refused {
		return
	}
	h.disk.epoch++
	h.life++
	h.running, h.paused, h.booted, h.changed, h.tried = true, false, false, h.w.now, h.w.now
	h.clock = clock{origin: h.w.between(0, time.Hour), ppm: h.w.rng.Int64N(2001) - 1000}
	h.w.note("%s (%s) starts for the %d. time", h.name, h.disk.id, h.disk.epoch)
	h.w.book.mark('b', h.w.now, h.disk.epoch, uint64(len(h.disk.logs)))
	h.core = replicas.New(replicas.Self{
		Host: ids.Host(h.disk.id), BootEpoch: h.disk.epoch, Apps: func(string) error { return nil }, Batch: 8,
	}, replicas.Manifest{
		Fence: h.disk.manifest.Fence, Marker: slices.Clone(h.disk.manifest.Marker),
		Records: maps.Clone(h.disk.manifest.Records), Tombstones: maps.Clone(h.disk.manifest.Tombstones),
	})
	h.tokens, h.dirty, h.gone = map[uint64]token{}, map[replicas.Key]bool{}, map[replicas.Key]bool{}
	h.session, h.flushing = nil, false
	h.dial()
	h.tick(h.life)
}

// bootGrace is how long a host waits for a drummer before it starts alone.
const bootGrace = 5 * time.Second

// tick lets the process's time pass.
func (h *host) tick(life int) {
	h.w.routine(time.Second, func() {
		if h.life != life {
			return
		}
		if !h.paused {
			if !h.booted && h.session == nil && h.w.now-h.tried > bootGrace {
				h.start()
			}
			h.turn(replicas.Tick{})
		}
		if h.life == life {
			h.tick(life)
		}
	})
}

func (h *host) start() {
	if !h.booted {
		h.booted = true
		h.turn(replicas.Boot{})
	}
}

// crash ends the process. The drummer learns it at once, or by silence.
func (h *host) crash() {
	if !h.running {
		return
	}
	h.w.note("%s crashes", h.name)
	h.touch(func() {
		h.running, h.paused, h.changed = false, false, h.w.now
		h.life++
		for _, l := range h.disk.logs {
			l.up, l.ready, l.snap = false, false, 0
		}
	})
	h.core = nil
	if s := h.session; s != nil {
		h.session, s.atHost, s.heldDown = nil, false, nil
		if h.w.one(2) {
			s.up(func() loop.Event { return loop.Gone{Session: s.id} })
		}
	}
}

func (h *host) pause() {
	if !h.running || h.paused {
		return
	}
	h.w.note("%s is suspended", h.name)
	h.touch(func() { h.paused, h.changed = true, h.w.now })
}

func (h *host) resume() {
	if !h.paused {
		return
	}
	h.w.note("%s goes on", h.name)
	h.touch(func() { h.paused, h.changed = false, h.w.now })
	if s := h.session; s != nil {
		if !s.atDrummer && s.d.up && s.obeys() {
			s.flow()
		} else {
			s.flow()
			s.suspect()
		}
	}
	h.flush()
}

// touch changes something about the host that its groups notice.
func (h *host) touch(change func()) {
	groups := h.groups()
	for _, g := range groups {
		g.settle()
	}
	change()
	for _, g := range groups {
		g.look()
	}
}

// groups of which the host has a replica, in order.
func (h *host) groups() []*group {
	var list []*group
	for _, k := range h.keys() {
		if g := h.w.groups[uint64(k.Group)]; g != nil {
			list = append(list, g)
		}
	}
	return list
}

func (h *host) keys() []replicas.Key {
	keys := make([]replicas.Key, 0, len(h.disk.logs))
	for k := range h.disk.logs {
		keys = append(keys, k)
	}
	replicas.SortKeys(keys)
	return keys
}

// turn takes one event in, commits what is to be saved and does the rest.
func (h *host) turn(e replicas.Event) {
	if h.core == nil {
		return
	}
	effects := h.core.Step(e, h.clock.read(h.w.now))
	saves := len(effects) > 0
	if _, ok := first(effects).(replicas.Save); !ok {
		saves = false
	}
	if saves && h.trap == 1 {
		h.trap = 0
		h.crash()
		return
	}
	for _, f := range effects {
		if s, ok := f.(replicas.Save); ok {
			h.disk.save(s)
		}
	}
	if saves && h.trap == 2 {
		h.trap = 0
		h.crash()
		return
	}
	for _, f := range effects {
		h.perform(f)
	}
}

func first(effects []replicas.Effect) replicas.Effect {
	if len(effects) == 0 {
		return nil
	}
	return effects[0]
}

func (d *disk) save(s replicas.Save) {
	m := &d.manifest
	switch {
	case s.Record != nil:
		m.Records[s.Record.Key()] = *s.Record
	case s.Drop != nil:
		delete(m.Records, *s.Drop)
	case s.Tombstone != nil:
		m.Tombstones[s.Tombstone.Key()] = *s.Tombstone
	case s.Forget != nil:
		delete(m.Tombstones, *s.Forget)
	case s.Fence != nil:
		m.Fence = *s.Fence
	case s.Marker != nil:
		m.Marker = *s.Marker
	}
}

func (h *host) perform(f replicas.Effect) {
	if h.core == nil {
		return
	}
	switch f := f.(type) {
	case replicas.Start:
		h.startReplica(f.Record)
	case replicas.Destroy:
		h.destroyReplica(f.Key)
	case replicas.Execute:
		h.execute(f)
	case replicas.Answer:
		t, ok := h.tokens[f.Token]
		delete(h.tokens, f.Token)
		if ok && f.Result != nil {
			h.reply(t, f.Result)
		}
	case replicas.Changed:
		if f.Gone {
			h.gone[f.Key] = true
		}
		h.mark(f.Key)
	}
}

// after does something later if the process still is the same then, and runs.
func (h *host) after(d time.Duration, do func()) {
	life := h.life
	var try func()
	try = func() {
		switch {
		case h.life != life:
		case h.paused:
			h.w.later(500*time.Millisecond, try)
		default:
			do()
		}
	}
	h.w.later(d, try)
}

// pace draws how long something takes on the host's disk.
func (h *host) pace(least, most time.Duration) time.Duration {
	return h.w.between(least, most) * time.Duration(h.slow)
}

// hello says who the host is and what it has.
func (h *host) hello() *drummerpb.Hello {
	hello := &drummerpb.Hello{Deployment: "sim", Version: "sim", Host: &fleetpb.Host{
		Id: h.disk.id, Name: h.name, Region: h.region, Api: h.name + ":1", Raft: h.name + ":2", BootEpoch: h.disk.epoch,
		Apps: []*fleetpb.App{{Name: "kv", Version: 1}},
	}}
	h.reported = map[replicas.Key]*drummerpb.ReplicaReport{}
	h.dirty, h.gone = map[replicas.Key]bool{}, map[replicas.Key]bool{}
	for _, k := range h.core.Keys() {
		r := h.describe(k)
		h.reported[k] = r
		hello.Replicas = append(hello.Replicas, r)
	}
	return hello
}

// beat is the host's heartbeat on one stream.
func (h *host) beat(s *session) {
	h.w.routine(time.Second, func() {
		if !s.atHost || h.life != s.life {
			return
		}
		if !h.paused {
			if s.waiting == 0 && s.hears() {
				s.waiting++
				s.arrive(loop.Beat{Session: s.id})
			} else {
				s.up(func() loop.Event { return loop.Beat{Session: s.id} })
			}
		}
		h.beat(s)
	})
}

// mark has a replica reported soon.
func (h *host) mark(k replicas.Key) {
	h.dirty[k] = true
	if h.flushing || h.session == nil {
		return
	}
	h.flushing = true
	h.after(h.w.between(time.Millisecond, 50*time.Millisecond), func() {
		h.flushing = false
		h.flush()
	})
}

// flush reports what differs from what was told.
func (h *host) flush() {
	if h.session == nil || len(h.dirty) == 0 || h.core == nil {
		return
	}
	keys := slices.Collect(maps.Keys(h.dirty))
	replicas.SortKeys(keys)
	rep := &drummerpb.Report{}
	for _, k := range keys {
		if r := h.describe(k); r != nil {
			if !proto.Equal(r, h.reported[k]) {
				h.reported[k] = r
				rep.Changed = append(rep.Changed, r)
			}
		} else if h.gone[k] {
			delete(h.reported, k)
			rep.Gone = append(rep.Gone, &drummerpb.ReplicaRef{Group: uint64(k.Group), Replica: uint64(k.Replica)})
		}
	}
	h.dirty, h.gone = map[replicas.Key]bool{}, map[replicas.Key]bool{}
	if len(rep.GetChanged())+len(rep.GetGone()) > 0 {
		s := h.session
		s.up(func() loop.Event { return loop.Reported{Session: s.id, Report: rep} })
	}
}

func (h *host) describe(k replicas.Key) *drummerpb.ReplicaReport {
	l, here := h.core.Look(k)
	if !here {
		return nil
	}
	r := &drummerpb.ReplicaReport{
		Group: uint64(k.Group), Replica: uint64(k.Replica), Name: l.Record.Name, State: l.State, Detail: l.Detail, Observer: l.Record.Join,
	}
	if g, log := h.w.groups[uint64(k.Group)], h.disk.logs[k]; g != nil && log != nil && log.up {
		g.describe(h, log, r)
	}
	return r
}

// receive takes what a drummer says.
func (h *host) receive(s *session, m *drummerpb.SupervisorMessage) {
	if h.life != s.life || !s.atHost || h.core == nil {
		return
	}
	if m := m.GetWelcome(); m != nil {
		h.turn(replicas.Welcomed{Fence: replicas.Fence{Incarnation: m.GetIncarnation(), Term: m.GetTerm()}})
		h.w.book.hear(h.disk.id, m.GetTerm())
		h.start()
	}
	o := m.GetOrder()
	if o == nil || h.core == nil {
		return
	}
	if h.w.lossy && h.w.one(40) {
		return // lost on its way through the process
	}
	h.token++
	h.tokens[h.token] = token{s, &order{Order: o, s: s, at: h.w.now, stale: o.GetTerm() < h.w.book.heard[h.disk.id]}}
	h.turn(replicas.Ordered{Token: h.token, Order: o})
}

func (h *host) reply(t token, r *drummerpb.OrderResult) {
	if r.GetOk() {
		h.checkObeyed(t.o)
	}
	if h.w.lossy && h.w.one(30) || !t.s.atHost || h.session != t.s {
		return
	}
	h.w.book.mark('a', h.w.now, r.GetOrder(), b2u(r.GetOk()))
	h.w.note("%s answers order %d: ok=%v refused=%v %s", h.name, r.GetOrder(), r.GetOk(), r.GetRefused(), r.GetDetail())
	r = proto.CloneOf(r)
	t.s.up(func() loop.Event {
		h.w.book.settled(t.o)
		return loop.Answered{Session: t.s.id, Result: r}
	})
}

func b2u(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// ended takes the end of a stream by the drummer.
func (h *host) ended(s *session) {
	if h.session != s {
		return
	}
	h.session = nil
	if s.verdict == loop.Never {
		h.w.note("%s is told that its identity is spent, and stops", h.name)
		h.crash()
		h.refused = true
		return
	}
	h.dial()
}
