package cluster

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/sim/cluster/leap"
	"github.com/drumline/drumline/drummer/sim/cluster/members"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas"
)

// Group is a Raft group. Its log grows with the time in which it serves; a position in
// it is that time. Who holds how much of it decides who can lead and what is committed.
type Group struct {
	members.Set
	w               *World
	ID              uint64
	views           []view // memberships, oldest first
	leader, term    uint64
	Commit, settled time.Duration
	Leap            leap.Leap     // of Commit
	Opened, Sealed  time.Duration // positions of these entries; 0 for none
	Version         uint32        // behaviour version in force
	electing        bool
	loaded          time.Duration // when its first state is there; 0 for none on its way
	spreading       bool
	roster          []Peer // all members, voters first, by number, as of laid
	laid            uint64 // the world's layout; 0 for one of another membership
	Forced          bool   // deleted by force, so it may end while it serves
}

// view is a membership and where in the log it begins.
type view struct {
	at time.Duration
	m  *drummerpb.Membership
}

// Log is a replica's data on a disk.
type Log struct {
	key    replicas.Key
	join   bool          // it was started as an observer, once
	Match  time.Duration // how far its log goes
	up     bool          // its process runs it
	Ready  bool          // and it said that it takes part
	Failed time.Duration // when its start failed last
	Fell   bool          // it saw its own removal and stopped
	snap   time.Duration // when the snapshot that it is sent is there
	// claims is the term in which it leads in its own eyes only.
	claims uint64
	read   uint64 // the membership that its host read last while it led
}

// Kept is how much of the log is kept; who is further behind needs a snapshot.
const Kept = 20 * time.Second

const chase = 8 // times faster than the log grows is a replica that catches up

// NewGroup makes a group of these first members.
func NewGroup(w *World, id uint64, first map[ids.Replica]ids.Host) *Group {
	g := &Group{Set: members.First(first), w: w, ID: id, settled: w.Now}
	g.views = []view{{0, g.Copy()}}
	return g
}

// Begin gives the group a membership to begin with; its maps become the group's.
func (g *Group) Begin(m *drummerpb.Membership) {
	g.Set = members.From(m)
	g.views, g.laid = []view{{0, g.Copy()}}, 0
}

// membership in force, which nobody may change.
func (g *Group) membership() *drummerpb.Membership { return g.views[len(g.views)-1].m }

// Quorum is how many of n voters decide.
func Quorum(n int) int { return n/2 + 1 }

// Peer is a member, and its data where it has some.
type Peer struct {
	id   uint64
	Host *Host
	*Log
}

// runs tells that the member takes part.
func (p *Peer) runs() bool {
	return p.Log != nil && p.Host.Running && !p.Host.Paused && p.up && !p.Fell
}

// all finds the members, and gives the voters. They are looked for when one changed, or the
// data on some disk.
func (g *Group) all() (voters []Peer) {
	if g.laid != g.w.layout {
		g.laid, g.roster = g.w.layout, g.roster[:0]
		for _, some := range []map[uint64]string{g.Voters, g.Observers} {
			from := len(g.roster)
			for id, at := range some {
				p := Peer{id: id, Host: g.w.Host(at)}
				if p.Host != nil {
					p.Log = p.Host.Disk.Logs[replicas.KeyOf(g.ID, id)]
				}
				g.roster = append(g.roster, p)
			}
			slices.SortFunc(g.roster[from:], func(a, b Peer) int { return cmp.Compare(a.id, b.id) })
		}
	}
	return g.roster[:len(g.Voters)]
}

// Peer returns a member if it runs; its log is nil otherwise.
func (g *Group) Peer(id uint64) Peer {
	g.all()
	for i := range g.roster {
		if p := &g.roster[i]; p.id == id && p.runs() {
			return *p
		}
	}
	return Peer{}
}

// Live gives the voters that run, by number.
func (g *Group) Live() []Peer {
	return running(g.all())
}

func running(peers []Peer) []Peer {
	list := make([]Peer, 0, len(peers))
	for i := range peers {
		if peers[i].runs() {
			list = append(list, peers[i])
		}
	}
	return list
}

// around gives the voters that a replica's host and theirs hear each other.
func (g *Group) around(h *Host, voters []Peer) []Peer {
	var list []Peer
	for _, p := range voters {
		if !g.w.cutOff(h, p.Host) {
			list = append(list, p)
		}
	}
	return list
}

// Lead is the leader while it has a quorum.
func (g *Group) Lead() Peer {
	voters := g.all()
	at := slices.IndexFunc(voters, func(p Peer) bool { return p.id == g.leader })
	if at < 0 || !voters[at].runs() {
		return Peer{}
	}
	n := 0
	for i := range voters {
		if voters[i].runs() && !g.w.cutOff(voters[at].Host, voters[i].Host) {
			n++
		}
	}
	if n < Quorum(len(voters)) {
		return Peer{}
	}
	return voters[at]
}

// reaches tells that a host with a replica gets through to the leader and its quorum.
func (g *Group) reaches(h *Host) bool {
	p := g.Lead()
	return p.Log != nil && !g.w.cutOff(h, p.Host)
}

// Settle brings the logs up to now. Call it before anything that they depend on changes.
func (g *Group) Settle() {
	d := g.w.Now - g.settled
	g.settled = g.w.Now
	if d == 0 {
		return
	}
	lead := g.Lead()
	if lead.Log == nil {
		return
	}
	lead.Match += d
	voters := g.all()
	matches := make([]time.Duration, 0, 8)
	for i, p := range g.roster {
		if !p.runs() || g.w.cutOff(lead.Host, p.Host) {
			continue
		}
		g.follow(lead, p, d)
		if i < len(voters) {
			matches = append(matches, p.Match)
		}
	}
	slices.Sort(matches)
	to := matches[len(matches)-Quorum(len(g.Voters))]
	g.Leap.Add(g.w.Now, to-g.Commit-d)
	g.Commit = max(g.Commit, to)
}

// follow moves a replica's log towards its leader's.
func (g *Group) follow(lead, p Peer, d time.Duration) {
	if p.Log == lead.Log {
		return
	}
	p.claims = 0
	if lead.Match-d-p.Match > Kept {
		if p.snap == 0 {
			p.snap = g.w.Now + p.Host.pace(100*time.Millisecond, 2500*time.Millisecond)
			g.spread()
		}
		if g.w.Now < p.snap {
			return
		}
		p.Match, d = lead.Match-min(d, g.w.Now-p.snap), min(d, g.w.Now-p.snap)
	}
	p.snap = 0
	p.Match = min(lead.Match, p.Match+d*chase/time.Duration(p.Host.Slow))
}

// look elects, if the leader does not hold any more. Call it after a change.
func (g *Group) look() {
	g.Settle()
	g.spread()
	if g.electing || g.Lead().Log != nil {
		return
	}
	g.electing = true
	g.w.Later(g.w.Between(500*time.Millisecond, 2500*time.Millisecond), g.elect)
}

// elect makes a voter lead that a quorum hears and that has all that this quorum has.
func (g *Group) elect() {
	g.electing = false
	g.Settle()
	if g.Lead().Log != nil {
		g.spread()
		return
	}
	old := g.Peer(g.leader)
	voters := g.Live()
	var able []Peer
	for _, p := range voters {
		votes := 0
		for _, o := range g.around(p.Host, voters) {
			if o.Match <= p.Match {
				votes++
			}
		}
		if votes >= Quorum(len(g.Voters)) {
			able = append(able, p)
		}
	}
	g.leader = 0
	if len(able) == 0 {
		g.spread()
		return // the next change of a host or a link looks again
	}
	p := able[g.w.Rng.IntN(len(able))]
	g.term++
	if old.Log != nil && old.Log != p.Log && g.w.cutOff(old.Host, p.Host) {
		g.claim(old)
	}
	g.crown(p)
}

// stepsDown is within which a leader that hears no quorum steps down.
const stepsDown = 4 * time.Second

// claim lets a deposed leader lead in its own eyes until it notices.
func (g *Group) claim(old Peer) {
	term := g.term - 1
	old.claims = term
	g.w.Later(stepsDown, func() {
		if old.claims == term {
			old.claims = 0
			old.Host.mark(old.key)
		}
	})
}

// crown makes a replica lead; what the others have beyond its log is undone.
func (g *Group) crown(p Peer) {
	if p.Match < g.Commit {
		g.w.Violate("group %d: replica %d leads with %s of %s that are committed: acknowledged writes are lost", g.ID, p.id, p.Match, g.Commit)
	}
	g.leader, p.claims, p.read = p.id, 0, g.CC
	for _, id := range slices.Concat(slices.Sorted(maps.Keys(g.Voters)), slices.Sorted(maps.Keys(g.Observers))) {
		if h := g.w.Host(g.Place(id)); h != nil {
			if l := h.Disk.Logs[replicas.KeyOf(g.ID, id)]; l != nil {
				l.Match = min(l.Match, p.Match)
			}
		}
	}
	g.w.Note("group %d: replica %d leads in term %d", g.ID, p.id, g.term)
	g.w.Book.Mark('l', g.w.Now, g.ID, p.id)
	g.w.Active = g.w.Now
	g.spread()
}

// spread has the members hear what is new, as soon as they have it.
func (g *Group) spread() {
	if g.spreading {
		return
	}
	g.spreading = true
	var round func()
	rounds := 0
	round = func() {
		g.Settle()
		rounds++
		behind := false
		lead := g.Lead()
		g.all()
		for _, p := range running(g.roster) {
			p.Host.mark(p.key)
			behind = behind || lead.Log != nil && !g.w.cutOff(lead.Host, p.Host) && lead.Match-p.Match > 100*time.Millisecond
		}
		if behind && rounds < 200 {
			g.w.Later(300*time.Millisecond, round)
			return
		}
		g.spreading = false
	}
	g.w.Later(g.w.Between(10*time.Millisecond, 100*time.Millisecond), round)
}

// Seen is the newest membership that a replica has applied.
func (g *Group) Seen(l *Log) *drummerpb.Membership {
	for _, v := range slices.Backward(g.views) {
		if v.at <= l.Match {
			return v.m
		}
	}
	return g.views[0].m
}

// describe fills in what a running replica says.
func (g *Group) describe(h *Host, l *Log, d *drummerpb.ReplicaReport) {
	g.Settle()
	id := uint64(l.key.Replica)
	m := g.Seen(l)
	_, voter := m.GetVoters()[id]
	d.ConfigChange, d.Observer = m.GetConfigChange(), l.join && !voter
	d.Opened, d.Sealed = g.Opened > 0 && g.Opened <= l.Match, g.Sealed > 0 && g.Sealed <= l.Match
	if d.GetOpened() {
		d.Version = g.Version
	}
	if l.claims > 0 {
		d.Serving, d.LeaderReplica, d.Term = true, id, l.claims
		return
	}
	if l.Fell || g.Place(id) == "" || !g.reaches(h) {
		return
	}
	d.LeaderReplica, d.Term = g.leader, g.term
	if g.leader == id {
		d.Serving = true
		if m.GetConfigChange() == g.CC && l.read == g.CC {
			d.Membership = g.membership()
		}
	}
}
