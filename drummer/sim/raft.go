package sim

import (
	"cmp"
	"maps"
	"slices"
	"time"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas"
)

// group is a Raft group. Its log grows with the time in which it serves; a position in
// it is that time. Who holds how much of it decides who can lead and what is committed.
type group struct {
	w                 *world
	id                uint64
	voters, observers map[uint64]string // replica to host id
	removed           map[uint64]bool
	cc                uint64
	views             []view // memberships, oldest first
	leader, term      uint64
	commit, settled   time.Duration
	opened, sealed    time.Duration // positions of these entries; 0 for none
	electing          bool
	spreading         bool
	forced            bool // deleted by force, so it may end while it serves
}

// view is a membership and where in the log it begins.
type view struct {
	at time.Duration
	m  *drummerpb.Membership
}

// log is a replica's data on a disk.
type log struct {
	key    replicas.Key
	join   bool          // it was started as an observer, once
	match  time.Duration // how far its log goes
	up     bool          // its process runs it
	ready  bool          // and it said that it takes part
	failed time.Duration // when its start failed last
	fell   bool          // it saw its own removal and stopped
	snap   time.Duration // when the snapshot that it is sent is there
	// claims is the term in which it leads in its own eyes only.
	claims uint64
	read   uint64 // the membership that its host read last while it led
}

const (
	kept  = 20 * time.Second // of the log, before a snapshot is needed
	chase = 8                // times faster than the log grows is a replica that catches up
)

func newGroup(w *world, id uint64, members map[ids.Replica]ids.Host) *group {
	g := &group{w: w, id: id, voters: map[uint64]string{}, observers: map[uint64]string{}, removed: map[uint64]bool{}, settled: w.now}
	for r, h := range members {
		g.voters[uint64(r)] = string(h)
	}
	g.cc = uint64(len(members))
	g.views = []view{{0, g.membership()}}
	return g
}

func (g *group) membership() *drummerpb.Membership {
	return &drummerpb.Membership{
		ConfigChange: g.cc, Voters: maps.Clone(g.voters), Observers: maps.Clone(g.observers), Removed: slices.Sorted(maps.Keys(g.removed)),
	}
}

// place is where a member is; empty when the id is none.
func (g *group) place(id uint64) string {
	if h, ok := g.voters[id]; ok {
		return h
	}
	return g.observers[id]
}

func quorum(n int) int { return n/2 + 1 }

// peer is a member that runs.
type peer struct {
	id uint64
	h  *host
	*log
}

// peer returns a member if it runs; its log is nil otherwise.
func (g *group) peer(id uint64) peer {
	h := g.w.host(g.place(id))
	if h == nil || !h.running || h.paused {
		return peer{}
	}
	l := h.disk.logs[replicas.KeyOf(g.id, id)]
	if l == nil || !l.up || l.fell {
		return peer{}
	}
	return peer{id, h, l}
}

// live gives those of the ids that run, in order.
func (g *group) live(members map[uint64]string) []peer {
	list := make([]peer, 0, len(members))
	for id := range members {
		if p := g.peer(id); p.log != nil {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b peer) int { return cmp.Compare(a.id, b.id) })
	return list
}

// around gives the voters that a replica's host and theirs hear each other.
func (g *group) around(h *host, voters []peer) []peer {
	var list []peer
	for _, p := range voters {
		if !g.w.cutOff(h, p.h) {
			list = append(list, p)
		}
	}
	return list
}

// lead is the leader while it has a quorum.
func (g *group) lead() peer {
	if _, voter := g.voters[g.leader]; !voter {
		return peer{}
	}
	p := g.peer(g.leader)
	if p.log == nil {
		return p
	}
	n := 0
	for id := range g.voters { // counting needs no order
		if o := g.peer(id); o.log != nil && !g.w.cutOff(p.h, o.h) {
			n++
		}
	}
	if n < quorum(len(g.voters)) {
		return peer{}
	}
	return p
}

// reaches tells that a host with a replica gets through to the leader and its quorum.
func (g *group) reaches(h *host) bool {
	p := g.lead()
	return p.log != nil && !g.w.cutOff(h, p.h)
}

// settle brings the logs up to now. Call it before anything that they depend on changes.
func (g *group) settle() {
	d := g.w.now - g.settled
	g.settled = g.w.now
	if d == 0 {
		return
	}
	lead := g.lead()
	if lead.log == nil {
		return
	}
	lead.match += d
	matches := make([]time.Duration, 0, 8)
	for _, p := range g.live(g.voters) {
		if !g.w.cutOff(lead.h, p.h) {
			g.follow(lead, p, d)
			matches = append(matches, p.match)
		}
	}
	if len(g.observers) > 0 {
		for _, p := range g.live(g.observers) {
			if !g.w.cutOff(lead.h, p.h) {
				g.follow(lead, p, d)
			}
		}
	}
	slices.Sort(matches)
	g.commit = max(g.commit, matches[len(matches)-quorum(len(g.voters))])
}

// follow moves a replica's log towards its leader's.
func (g *group) follow(lead, p peer, d time.Duration) {
	if p.log == lead.log {
		return
	}
	p.claims = 0
	if lead.match-d-p.match > kept {
		if p.snap == 0 {
			p.snap = g.w.now + p.h.pace(100*time.Millisecond, 2500*time.Millisecond)
			g.spread()
		}
		if g.w.now < p.snap {
			return
		}
		p.match, d = lead.match-min(d, g.w.now-p.snap), min(d, g.w.now-p.snap)
	}
	p.snap = 0
	p.match = min(lead.match, p.match+d*chase/time.Duration(p.h.slow))
}

// look elects, if the leader does not hold any more. Call it after a change.
func (g *group) look() {
	g.settle()
	g.spread()
	if g.electing || g.lead().log != nil {
		return
	}
	g.electing = true
	g.w.later(g.w.between(500*time.Millisecond, 2500*time.Millisecond), g.elect)
}

// elect makes a voter lead that a quorum hears and that has all that this quorum has.
func (g *group) elect() {
	g.electing = false
	g.settle()
	if g.lead().log != nil {
		g.spread()
		return
	}
	old := g.peer(g.leader)
	voters := g.live(g.voters)
	var able []peer
	for _, p := range voters {
		votes := 0
		for _, o := range g.around(p.h, voters) {
			if o.match <= p.match {
				votes++
			}
		}
		if votes >= quorum(len(g.voters)) {
			able = append(able, p)
		}
	}
	g.leader = 0
	if len(able) == 0 {
		g.spread()
		return // the next change of a host or a link looks again
	}
	p := able[g.w.rng.IntN(len(able))]
	g.term++
	if old.log != nil && old.log != p.log && g.w.cutOff(old.h, p.h) {
		old.claims = g.term - 1
	}
	g.crown(p)
}

// crown makes a replica lead; what the others have beyond its log is undone.
func (g *group) crown(p peer) {
	if p.match < g.commit {
		g.w.violate("group %d: replica %d leads with %s of %s that are committed: acknowledged writes are lost", g.id, p.id, p.match, g.commit)
	}
	g.leader, p.claims, p.read = p.id, 0, g.cc
	for _, id := range slices.Concat(slices.Sorted(maps.Keys(g.voters)), slices.Sorted(maps.Keys(g.observers))) {
		if h := g.w.host(g.place(id)); h != nil {
			if l := h.disk.logs[replicas.KeyOf(g.id, id)]; l != nil {
				l.match = min(l.match, p.match)
			}
		}
	}
	g.w.note("group %d: replica %d leads in term %d", g.id, p.id, g.term)
	g.w.book.mark('l', g.w.now, g.id, p.id)
	g.w.active = g.w.now
	g.spread()
}

// spread has the members hear what is new, as soon as they have it.
func (g *group) spread() {
	if g.spreading {
		return
	}
	g.spreading = true
	var round func()
	rounds := 0
	round = func() {
		g.settle()
		rounds++
		behind := false
		lead := g.lead()
		for _, p := range append(g.live(g.voters), g.live(g.observers)...) {
			p.h.mark(p.key)
			behind = behind || lead.log != nil && !g.w.cutOff(lead.h, p.h) && lead.match-p.match > 100*time.Millisecond
		}
		if behind && rounds < 200 {
			g.w.later(300*time.Millisecond, round)
			return
		}
		g.spreading = false
	}
	g.w.later(g.w.between(10*time.Millisecond, 100*time.Millisecond), round)
}

// seen is the newest membership that a replica has applied.
func (g *group) seen(l *log) *drummerpb.Membership {
	for _, v := range slices.Backward(g.views) {
		if v.at <= l.match {
			return v.m
		}
	}
	return g.views[0].m
}

// describe fills in what a running replica says.
func (g *group) describe(h *host, l *log, d *drummerpb.ReplicaReport) {
	g.settle()
	id := uint64(l.key.Replica)
	m := g.seen(l)
	_, voter := m.GetVoters()[id]
	d.ConfigChange, d.Observer = m.GetConfigChange(), l.join && !voter
	d.Opened, d.Sealed = g.opened > 0 && g.opened <= l.match, g.sealed > 0 && g.sealed <= l.match
	if d.GetOpened() {
		d.Version = 1
	}
	if l.claims > 0 {
		d.Serving, d.LeaderReplica, d.Term = true, id, l.claims
		return
	}
	if l.fell || g.place(id) == "" || !g.reaches(h) {
		return
	}
	d.LeaderReplica, d.Term = g.leader, g.term
	if g.leader == id {
		d.Serving = true
		if m.GetConfigChange() == g.cc && l.read == g.cc {
			d.Membership = g.membership()
		}
	}
}
