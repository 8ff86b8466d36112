package cluster

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/loop"
	"github.com/drumline/drumline/drummer/sim/cluster/drift"
	"github.com/drumline/drumline/drummer/sim/cluster/told"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas"
	"github.com/drumline/drumline/nodehost/replicas/life"
)

// Host is a nodehost: a disk, a process with the real decisions about replicas, links.
type Host struct {
	w            *World
	Name, Region string
	said         *fleetpb.Host // what it says of itself; nil for the usual
	Disk         *disk

	Running, Paused  bool
	Dark, Deaf, Mute bool // hears and reaches nobody; does not hear drummers; is not heard by them
	Refused          bool // its identity is spent: it stopped itself
	Slow             int  // how many times slower its disk is
	life             int  // counts its processes and their ends
	Trap             int  // 1: crash before the next commit, 2: right behind it

	core     *replicas.Core
	clock    drift.Clock
	tokens   map[uint64]token
	token    uint64
	booted   bool
	session  *Session
	Last     map[int]*Session // that each drummer took in
	tried    time.Duration
	reported map[replicas.Key]*drummerpb.ReplicaReport
	unheard  []string // neighbours, as it said last
	dirty    map[replicas.Key]bool
	gone     map[replicas.Key]bool
	flushing bool

	Changed time.Duration // when it last came up, went down, or lost or got a link
}

// disk is what survives a process.
type disk struct {
	ID       string
	epoch    uint64
	Manifest replicas.Manifest
	Logs     map[replicas.Key]*Log
	Staged   map[string]bool // states that groups can be restored from
}

// token is an order that a host has taken.
type token struct {
	s *Session
	o *Order
}

// AddHost brings a new host, and starts it.
func (w *World) AddHost(region string) {
	w.named++
	for w.hostNamed(fmt.Sprintf("h%d", w.named)) {
		w.named++
	}
	h := &Host{w: w, Name: fmt.Sprintf("h%d", w.named), Region: region, Slow: 1, Last: map[int]*Session{}}
	w.Hosts = append(w.Hosts, h)
	h.Format()
	h.Boot()
}

func (w *World) hostNamed(name string) bool {
	return slices.ContainsFunc(w.Hosts, func(h *Host) bool { return h.Name == name })
}

func emptyDisk(id string) *disk {
	return &disk{
		ID:       id,
		Staged:   map[string]bool{},
		Manifest: replicas.Manifest{Records: map[replicas.Key]replicas.Record{}, Tombstones: map[replicas.Key]replicas.Tombstone{}},
		Logs:     map[replicas.Key]*Log{},
	}
}

// Bring brings a host that says of itself what it is, with an empty disk. It does not run.
func (w *World) Bring(said *fleetpb.Host) *Host {
	h := &Host{w: w, Name: said.GetName(), Region: said.GetRegion(), said: said, Slow: 1, Last: map[int]*Session{}, Disk: emptyDisk(said.GetId())}
	h.Disk.epoch = said.GetBootEpoch()
	w.byID[h.Disk.ID] = h
	w.layout++
	w.Hosts = append(w.Hosts, h)
	return h
}

// Hold puts a replica that has run on the host's disk; of a damaged one only its record.
func (h *Host) Hold(r replicas.Record, match time.Duration, damaged bool) {
	h.Disk.Manifest.Records[r.Key()] = r
	if !damaged {
		h.Disk.Logs[r.Key()] = &Log{key: r.Key(), join: r.Join, Match: match}
		h.w.layout++
	}
	h.w.Book.Ran[uint64(r.Replica)] = h.Disk.ID
}

// Format gives the host an empty disk, which makes it a new host.
func (h *Host) Format() {
	if h.Disk != nil {
		for k := range h.Disk.Logs {
			h.w.Book.Wiped[k] = h.w.Now
		}
		h.w.byID[h.Disk.ID] = nil // nobody ever has the id again
	}
	h.Disk = emptyDisk(fmt.Sprintf("%s-%08x", h.Name, h.w.Rng.Uint32()))
	h.w.byID[h.Disk.ID] = h
	h.w.layout++
	h.Refused = false
}

// Boot starts a process. It starts replicas when a drummer has welcomed it, or none
// has answered for a while.
func (h *Host) Boot() {
	if h.Running || h.Refused {
		return
	}
	h.Disk.epoch++
	h.life++
	h.Running, h.Paused, h.booted, h.Changed, h.tried = true, false, false, h.w.Now, h.w.Now
	h.clock = drift.Draw(h.w.Rng)
	h.w.Note("%s (%s) starts for the %d. time", h.Name, h.Disk.ID, h.Disk.epoch)
	h.w.Book.Mark('b', h.w.Now, h.Disk.epoch, uint64(len(h.Disk.Logs)))
	h.core = replicas.New(replicas.Self{
		Host: ids.Host(h.Disk.ID), BootEpoch: h.Disk.epoch, Apps: func(string) error { return nil }, Batch: 8,
		TrialAfter: 30 * time.Second, // a schedule has minutes, not hours
	}, replicas.Manifest{
		Fence: h.Disk.Manifest.Fence, Marker: slices.Clone(h.Disk.Manifest.Marker),
		Records: maps.Clone(h.Disk.Manifest.Records), Tombstones: maps.Clone(h.Disk.Manifest.Tombstones),
	})
	h.tokens, h.dirty, h.gone = map[uint64]token{}, map[replicas.Key]bool{}, map[replicas.Key]bool{}
	h.session, h.flushing = nil, false
	h.dial()
	h.tick(h.life)
}

// bootGrace is how long a host waits for a drummer before it starts alone.
const bootGrace = 5 * time.Second

// tick lets the process's time pass.
func (h *Host) tick(life int) {
	h.w.Routine(time.Second, func() {
		if h.life != life {
			return
		}
		if !h.Paused {
			if !h.booted && h.session == nil && h.w.Now-h.tried > bootGrace {
				h.start()
			}
			h.turn(replicas.Tick{})
		}
		if h.life == life {
			h.tick(life)
		}
	})
}

func (h *Host) start() {
	if !h.booted {
		h.booted = true
		h.turn(replicas.Boot{})
	}
}

// Crash ends the process. The drummer learns it at once, or by silence.
func (h *Host) Crash() {
	if !h.Running {
		return
	}
	h.w.Note("%s crashes", h.Name)
	h.Touch(func() {
		h.Running, h.Paused, h.Changed = false, false, h.w.Now
		h.life++
		for _, l := range h.Disk.Logs {
			l.up, l.Ready, l.snap, l.claims = false, false, 0, 0
		}
	})
	h.core = nil
	if s := h.session; s != nil {
		h.session, s.atHost, s.heldDown = nil, false, nil
		if h.w.One(2) {
			s.up(func() loop.Event { return loop.Gone{Session: s.id} })
		}
	}
}

// Pause suspends the process.
func (h *Host) Pause() {
	if !h.Running || h.Paused {
		return
	}
	h.w.Note("%s is suspended", h.Name)
	h.Touch(func() { h.Paused, h.Changed = true, h.w.Now })
}

// Resume lets a suspended process go on.
func (h *Host) Resume() {
	if !h.Paused {
		return
	}
	h.w.Note("%s goes on", h.Name)
	h.Touch(func() { h.Paused, h.Changed = false, h.w.Now })
	if s := h.session; s != nil {
		if !s.AtDrummer && s.Drummer.up && s.obeys() {
			s.flow()
		} else {
			s.flow()
			s.suspect()
		}
	}
	h.flush()
}

// Touch changes something about the host that its groups notice.
func (h *Host) Touch(change func()) {
	groups := h.groups()
	for _, g := range groups {
		g.Settle()
	}
	change()
	for _, g := range groups {
		g.look()
	}
}

// groups of which the host has a replica, in order.
func (h *Host) groups() []*Group {
	var list []*Group
	for _, k := range h.Keys() {
		if g := h.w.Groups[uint64(k.Group)]; g != nil {
			list = append(list, g)
		}
	}
	return list
}

// Keys are the replicas that have data on its disk, in order.
func (h *Host) Keys() []replicas.Key {
	keys := make([]replicas.Key, 0, len(h.Disk.Logs))
	for k := range h.Disk.Logs {
		keys = append(keys, k)
	}
	replicas.SortKeys(keys)
	return keys
}

// turn takes one event in, commits what is to be saved and does the rest.
func (h *Host) turn(e replicas.Event) {
	if h.core == nil {
		return
	}
	effects := h.core.Step(e, h.clock.Read(h.w.Now))
	saves := len(effects) > 0
	if _, ok := first(effects).(replicas.Save); !ok {
		saves = false
	}
	if saves && h.Trap == 1 {
		h.Trap = 0
		h.Crash()
		return
	}
	for _, f := range effects {
		if s, ok := f.(replicas.Save); ok {
			h.Disk.save(s)
		}
	}
	if saves && h.Trap == 2 {
		h.Trap = 0
		h.Crash()
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
	m := &d.Manifest
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

func (h *Host) perform(f replicas.Effect) {
	if h.core == nil {
		return
	}
	switch f := f.(type) {
	case replicas.Start:
		if f.Again {
			h.haltReplica(f.Record.Key())
		}
		h.startReplica(f.Record)
	case replicas.Destroy:
		h.destroyReplica(f.Key)
	case replicas.Retire:
		h.retire(f.Key)
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
func (h *Host) after(d time.Duration, do func()) {
	life := h.life
	var try func()
	try = func() {
		switch {
		case h.life != life:
		case h.Paused:
			h.w.Later(500*time.Millisecond, try)
		default:
			do()
		}
	}
	h.w.Later(d, try)
}

// pace draws how long something takes on the host's disk.
func (h *Host) pace(least, most time.Duration) time.Duration {
	return h.w.Between(least, most) * time.Duration(h.Slow)
}

// hello says who the host is and what it has.
func (h *Host) hello() *drummerpb.Hello {
	hello := &drummerpb.Hello{Deployment: "sim", Version: "sim", Host: h.self()}
	h.reported = map[replicas.Key]*drummerpb.ReplicaReport{}
	h.dirty, h.gone = map[replicas.Key]bool{}, map[replicas.Key]bool{}
	for _, k := range h.core.Keys() {
		r := h.describe(k)
		h.reported[k] = r
		hello.Replicas = append(hello.Replicas, r)
	}
	return hello
}

// self is what the host says of itself.
func (h *Host) self() *fleetpb.Host {
	if h.said == nil {
		return &fleetpb.Host{
			Id: h.Disk.ID, Name: h.Name, Region: h.Region, Api: h.Name + ":1", Raft: h.Name + ":2", BootEpoch: h.Disk.epoch, Apps: h.w.Apps,
			Labels: []string{h.Label()},
		}
	}
	self := proto.CloneOf(h.said)
	if self.GetId() != h.Disk.ID {
		self.Id, self.Age = h.Disk.ID, 0 // a new disk
	}
	self.BootEpoch = h.Disk.epoch
	return self
}

// Label is one that no other host has.
func (h *Host) Label() string { return "name=" + h.Name }

// beat is the host's heartbeat on one stream.
func (h *Host) beat(s *Session) {
	h.w.Routine(time.Second, func() {
		if !s.atHost || h.life != s.life {
			return
		}
		if !h.Paused {
			if s.waiting == 0 && s.hears() {
				s.waiting++
				s.arrive(loop.Beat{Session: s.id})
			} else {
				s.up(func() loop.Event { return loop.Beat{Session: s.id} })
			}
			h.opine(s)
		}
		h.beat(s)
	})
}

// mark has a replica reported soon.
func (h *Host) mark(k replicas.Key) {
	h.dirty[k] = true
	if h.flushing || h.session == nil {
		return
	}
	h.flushing = true
	h.after(h.w.Between(time.Millisecond, 50*time.Millisecond), func() {
		h.flushing = false
		h.flush()
	})
}

// flush reports what differs from what was told.
func (h *Host) flush() {
	if h.session == nil || len(h.dirty) == 0 || h.core == nil {
		return
	}
	keys := make([]replicas.Key, 0, len(h.dirty))
	for k := range h.dirty {
		keys = append(keys, k)
	}
	replicas.SortKeys(keys)
	rep := &drummerpb.Report{}
	for _, k := range keys {
		if r := h.describe(k); r != nil {
			if !told.Same(r, h.reported[k]) {
				h.reported[k] = r
				rep.Changed = append(rep.Changed, r)
			}
		} else if h.gone[k] {
			delete(h.reported, k)
			rep.Gone = append(rep.Gone, &drummerpb.ReplicaRef{Group: uint64(k.Group), Replica: uint64(k.Replica)})
		}
	}
	clear(h.dirty)
	clear(h.gone)
	if len(rep.GetChanged())+len(rep.GetGone()) > 0 {
		s := h.session
		s.up(func() loop.Event { return loop.Reported{Session: s.id, Report: rep} })
	}
}

func (h *Host) describe(k replicas.Key) *drummerpb.ReplicaReport {
	l, here := h.core.Look(k)
	if !here {
		return nil
	}
	r := &drummerpb.ReplicaReport{
		Group: uint64(k.Group), Replica: uint64(k.Replica), Name: l.Record.Name, State: l.State, Detail: l.Detail, Observer: l.Record.Join, Raft: l.Raft,
	}
	if l.Record.Life == life.Retired {
		r.Applied = l.Record.Applied
	}
	if g, log := h.w.Groups[uint64(k.Group)], h.Disk.Logs[k]; g != nil && log != nil && log.up {
		g.describe(h, log, r)
	}
	return r
}

// receive takes what a drummer says.
func (h *Host) receive(s *Session, m *drummerpb.SupervisorMessage) {
	if h.life != s.life || !s.atHost || h.core == nil {
		return
	}
	if m := m.GetWelcome(); m != nil {
		h.turn(replicas.Welcomed{Fence: replicas.Fence{Incarnation: m.GetIncarnation(), Term: m.GetTerm()}, Banned: ids.Groups(m.GetBanned())})
		h.w.Book.hear(h.Disk.ID, m.GetTerm())
		h.start()
	}
	o := m.GetOrder()
	if o == nil || h.core == nil {
		return
	}
	if h.w.Lossy && h.w.One(40) {
		return // lost on its way through the process
	}
	h.token++
	h.tokens[h.token] = token{s, &Order{Order: o, Session: s, At: h.w.Now, Stale: o.GetTerm() < h.w.Book.Heard[h.Disk.ID]}}
	h.turn(replicas.Ordered{Token: h.token, Order: o})
}

func (h *Host) reply(t token, r *drummerpb.OrderResult) {
	if r.GetOk() {
		h.w.Witness.CheckObeyed(h, t.o)
	}
	if h.w.Lossy && h.w.One(30) || !t.s.atHost || h.session != t.s {
		return
	}
	h.w.Book.Mark('a', h.w.Now, r.GetOrder(), b2u(r.GetOk()))
	h.w.Note("%s answers order %d: ok=%v refused=%v %s", h.Name, r.GetOrder(), r.GetOk(), r.GetRefused(), r.GetDetail())
	t.s.up(func() loop.Event {
		h.w.Book.settled(t.o)
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
func (h *Host) ended(s *Session) {
	if h.session != s {
		return
	}
	h.session = nil
	if s.verdict == loop.Never {
		h.w.Note("%s is told that its identity is spent, and stops", h.Name)
		h.Crash()
		h.Refused = true
		return
	}
	h.dial()
}

// KeptDown tells that the host, running or not, does not start a replica for now, because its
// process died of that: it may have told so and crashed again.
func (h *Host) KeptDown(k replicas.Key) bool { return h.Disk.Manifest.Records[k].KeptDown() }

// HasRun tells that a host's record says that a replica has run.
func (h *Host) HasRun(k replicas.Key) bool {
	return h.Disk.Manifest.Records[k].Life == life.Running
}
