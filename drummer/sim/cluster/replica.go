package cluster

import (
	"cmp"
	"maps"
	"slices"
	"time"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/nodehost/replicas"
	"github.com/drumline/drumline/nodehost/replicas/life"
)

// startReplica is what the driver of the host's core does for a Start, with a Raft that
// refuses to start from nothing what has run before.
func (h *Host) startReplica(r replicas.Record) {
	k := r.Key()
	l := h.Disk.Logs[k]
	switch {
	case l == nil && (r.Life == life.Running || r.Life == life.Retiring):
		h.after(h.pace(5*time.Millisecond, 50*time.Millisecond), func() {
			h.turn(replicas.Started{Key: k, Err: "its data is gone, and it has voted: it never starts from nothing"})
		})
		return
	case l == nil:
		h.w.Witness.CheckFresh(h, r)
		l = &Log{key: k, join: r.Join}
		h.Disk.Logs[k] = l
		h.w.layout++
	case l.join != r.Join:
		h.w.Violate("S5: replica %s came as observer=%v and is started on %s as observer=%v", k, l.join, h.Name, r.Join)
	}
	h.after(h.pace(10*time.Millisecond, 300*time.Millisecond), func() {
		if h.Disk.Logs[k] != l {
			h.turn(replicas.Started{Key: k, Err: "its data is gone"})
			return
		}
		if h.w.Lossy && h.w.One(25) {
			l.Failed = h.w.Now
			h.turn(replicas.Started{Key: k, Err: "the disk is busy"})
			return
		}
		h.run(l, r)
		h.turn(replicas.Started{Key: k})
		h.after(h.pace(5*time.Millisecond, 200*time.Millisecond), func() {
			if h.Disk.Logs[k] == l && l.up {
				l.Ready = true
				h.turn(replicas.Up{Key: k})
			}
		})
	})
}

// haltReplica stops a replica that is about to be started again.
func (h *Host) haltReplica(k replicas.Key) {
	l, g := h.Disk.Logs[k], h.w.Groups[uint64(k.Group)]
	if l == nil || g == nil {
		return
	}
	g.Settle()
	h.w.Witness.CheckHalted(h, g, k)
	l.up, l.Ready, l.claims = false, false, 0
	g.look()
}

// run lets a replica take part in its group.
func (h *Host) run(l *Log, r replicas.Record) {
	w, id := h.w, uint64(l.key.Group)
	g := w.Groups[id]
	if g == nil {
		if r.Join {
			w.Violate("replica %s joins group %d, which was never launched", l.key, id)
		}
		g = NewGroup(w, id, r.Members)
		w.Add(g)
	}
	g.Settle()
	l.up, l.Fell = true, false
	if g.leader == uint64(l.key.Replica) { // nobody leads again because it led before
		g.leader = 0
	}
	g.look()
}

// Add takes a group in.
func (w *World) Add(g *Group) {
	w.Groups[g.ID] = g
	at, _ := slices.BinarySearchFunc(w.Order, g.ID, func(g *Group, id uint64) int { return int(g.ID) - int(id) })
	w.Order = slices.Insert(w.Order, at, g)
}

// destroyReplica removes a replica's data.
func (h *Host) destroyReplica(k replicas.Key) {
	h.after(h.pace(10*time.Millisecond, 200*time.Millisecond), func() {
		if h.w.Lossy && h.w.One(20) {
			h.turn(replicas.Destroyed{Key: k, Err: "the disk is busy"})
			return
		}
		h.w.Witness.CheckDestroyed(h, k)
		h.Lose(k)
		h.turn(replicas.Destroyed{Key: k})
	})
}

// Lose removes data, whoever is to blame.
func (h *Host) Lose(k replicas.Key) {
	g := h.w.Groups[uint64(k.Group)]
	if g != nil {
		g.Settle()
	}
	delete(h.Disk.Logs, k)
	h.w.layout++
	if h.core == nil {
		h.w.Book.Wiped[k] = h.w.Now
	}
	if g != nil {
		g.look()
	}
}

// orderPatience is how long a host tries to obey an order.
const orderPatience = 4 * time.Second

// execute carries an order out through Raft: again and again until it works or never
// will, or time is up.
func (h *Host) execute(x replicas.Execute) {
	h.w.Witness.CheckExecuted(h, x)
	until := h.w.Now + orderPatience
	end := func(r *drummerpb.OrderResult) { h.turn(replicas.Executed{Token: x.Token, Order: x.Order, Result: r}) }
	var want time.Duration
	g := h.w.Groups[x.Order.GetGroup()]
	if g != nil {
		g.Settle()
		want = g.Commit
	}
	var try func()
	try = func() {
		r := &drummerpb.OrderResult{Order: x.Order.GetId()}
		late := x.Order.GetChange() != nil && h.w.Now >= until // it stood still meanwhile
		if late || g == nil || h.Disk.Logs[replicas.KeyOf(x.Order.GetGroup(), x.Order.GetReplica())] == nil {
			r.Detail = "no such replica, or too late"
			end(r)
			return
		}
		g.Settle()
		switch g.obey(h, x.Order, want, r) {
		case done:
			end(r)
		case again:
			if h.w.Now < until {
				h.after(300*time.Millisecond, try)
				return
			}
			r.Detail = "no quorum"
			end(r)
		}
	}
	h.after(h.w.Between(time.Millisecond, 60*time.Millisecond), try)
}

type progress int

const (
	done progress = iota
	again
)

// obey tries an order once.
func (g *Group) obey(h *Host, o *drummerpb.Order, want time.Duration, r *drummerpb.OrderResult) progress {
	l := h.Disk.Logs[replicas.KeyOf(g.ID, o.GetReplica())]
	if !l.up || g.Place(o.GetReplica()) != h.Disk.ID || !g.reaches(h) {
		return again
	}
	switch b := o.GetBody().(type) {
	case *drummerpb.Order_Open:
		g.open(b.Open.GetVersion())
	case *drummerpb.Order_Raise:
		g.Version = max(g.Version, b.Raise.GetVersion())
	case *drummerpb.Order_Seal:
		if g.Sealed == 0 {
			g.Sealed = g.append()
		}
	case *drummerpb.Order_CatchUp:
		if l.Match < want {
			return again
		}
	case *drummerpb.Order_Transfer:
		if p := g.Peer(b.Transfer.GetTo()); p.Log != nil && g.Voters[p.id] != "" && p.Match >= g.Commit {
			g.term++
			g.crown(p)
		}
	case *drummerpb.Order_Load:
		return g.load(h, b.Load, r)
	case *drummerpb.Order_Change:
		return g.tryChange(b.Change, r)
	}
	r.Ok = true
	return done
}

// open lets the group obey.
func (g *Group) open(version uint32) {
	if g.Opened == 0 {
		g.Opened, g.Version = g.append(), max(1, version)
	}
}

// append writes an entry. When it is committed a quorum has all of the log up to it: those
// of the others that have most of it, and whoever is not behind at all.
func (g *Group) append() time.Duration {
	p := g.Lead()
	was := p.Match
	p.Match++
	g.Leap.Add(g.w.Now, p.Match-g.Commit)
	g.Commit = p.Match
	others := g.around(p.Host, g.Live())
	slices.SortStableFunc(others, func(a, b Peer) int { return cmp.Compare(b.Match, a.Match) })
	for n, o := range others { // the leader among them
		if n < Quorum(len(g.Voters)) || was-o.Match <= time.Millisecond {
			o.Match = p.Match
		}
	}
	g.w.Active = g.w.Now
	g.spread()
	return p.Match
}

// tryChange does what the host's Raft does for a membership order.
func (g *Group) tryChange(c *drummerpb.Change, r *drummerpb.OrderResult) progress {
	w := g.w
	if w.Lossy && c.GetKind() != drummerpb.ChangeKind_CHANGE_KIND_UNSPECIFIED && w.One(6) {
		r.Detail = "it may come true yet"
		w.Later(w.Between(0, 8*time.Second), func() {
			g.Settle()
			if g.Lead().Log != nil {
				g.Change(c)
			}
		})
		return done
	}
	why := g.Change(c)
	if p := g.Lead(); p.Log != nil && w.One(2) {
		p.read = g.CC
	}
	r.Ok, r.Refused, r.Detail, r.Membership = why == "", why != "", why, g.membership()
	return done
}

// Change applies a membership change by the rules of Raft and of our Raft host; it says
// why not. It needs a leader with a quorum, which the caller looked for.
func (g *Group) Change(c *drummerpb.Change) string {
	if g.So(c) {
		return ""
	}
	if why := g.Forbids(c); why != "" {
		return why
	}
	before, at := g.membership(), g.Commit+1
	if g.Lead().Log != nil { // the members there are commit it, whoever lives of those to come
		at = g.append()
	}
	if c.GetKind() == drummerpb.ChangeKind_CHANGE_KIND_REMOVE {
		g.settleRemoval(c.GetReplica())
	}
	g.Make(c, g.CC+uint64(1+g.w.Rng.IntN(50)))
	g.applied(c, before, at)
	return ""
}

// applied goes on with the change that is in the log at a place.
func (g *Group) applied(c *drummerpb.Change, before *drummerpb.Membership, at time.Duration) {
	w := g.w
	g.laid = 0
	g.views = append(g.views, view{at, g.Copy()})
	w.Note("group %d: %s %d, config change %d", g.ID, c.GetKind(), c.GetReplica(), g.CC)
	w.Book.Mark('c', w.Now, g.ID<<20|c.GetReplica(), g.CC)
	w.Active = w.Now
	w.Witness.CheckChanged(g, c, before)
	w.Later(w.Between(0, 3*time.Second), func() { // the leader's host reads what has changed
		if p := g.Lead(); p.Log != nil {
			p.read = g.CC
			p.Host.mark(p.key)
		}
	})
	g.look()
}

// settleRemoval has the removed replica hear of its end, or not.
func (g *Group) settleRemoval(id uint64) {
	if p := g.Peer(id); p.Log != nil && g.w.One(2) {
		p.Host.after(g.w.Between(0, 200*time.Millisecond), func() {
			if p.Host.Disk.Logs[p.key] == p.Log {
				p.Fell, p.claims = true, 0
				p.Host.turn(replicas.Fell{Key: p.key})
			}
		})
	}
	if g.leader == id {
		g.leader = 0
	}
}

// Intact counts those of the members whose data is there, whether they run or not.
func (g *Group) Intact(members map[uint64]string) int {
	n := 0
	for _, id := range slices.Sorted(maps.Keys(members)) {
		if h := g.w.Host(members[id]); h != nil && h.Disk.Logs[replicas.KeyOf(g.ID, id)] != nil {
			n++
		}
	}
	return n
}
