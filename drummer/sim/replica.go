package sim

import (
	"maps"
	"slices"
	"time"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/mutant"
	"github.com/drumline/drumline/nodehost/replicas"
	"github.com/drumline/drumline/nodehost/replicas/life"
)

// startReplica is what the driver of the host's core does for a Start, with a Raft that
// refuses to start from nothing what has run before.
func (h *host) startReplica(r replicas.Record) {
	k := r.Key()
	l := h.disk.logs[k]
	switch {
	case l == nil && r.Life == life.Running:
		h.after(h.pace(5*time.Millisecond, 50*time.Millisecond), func() {
			h.turn(replicas.Started{Key: k, Err: "its data is gone, and it has voted: it never starts from nothing"})
		})
		return
	case l == nil:
		h.checkFresh(r)
		l = &log{key: k, join: r.Join}
		h.disk.logs[k] = l
	case l.join != r.Join:
		h.w.violate("S5: replica %s came as observer=%v and is started on %s as observer=%v", k, l.join, h.name, r.Join)
	}
	h.after(h.pace(10*time.Millisecond, 300*time.Millisecond), func() {
		if h.disk.logs[k] != l {
			h.turn(replicas.Started{Key: k, Err: "its data is gone"})
			return
		}
		if h.w.lossy && h.w.one(25) {
			l.failed = h.w.now
			h.turn(replicas.Started{Key: k, Err: "the disk is busy"})
			return
		}
		h.run(l, r)
		h.turn(replicas.Started{Key: k})
		h.after(h.pace(5*time.Millisecond, 200*time.Millisecond), func() {
			if h.disk.logs[k] == l && l.up {
				l.ready = true
				h.turn(replicas.Up{Key: k})
			}
		})
	})
}

// run lets a replica take part in its group.
func (h *host) run(l *log, r replicas.Record) {
	w, id := h.w, uint64(l.key.Group)
	g := w.groups[id]
	if g == nil {
		if r.Join {
			w.violate("replica %s joins group %d, which was never launched", l.key, id)
		}
		g = newGroup(w, id, r.Members)
		w.groups[id] = g
		at, _ := slices.BinarySearchFunc(w.order, id, func(g *group, id uint64) int { return int(g.id) - int(id) })
		w.order = slices.Insert(w.order, at, g)
	}
	g.settle()
	l.up, l.fell = true, false
	g.look()
}

// destroyReplica removes a replica's data.
func (h *host) destroyReplica(k replicas.Key) {
	h.after(h.pace(10*time.Millisecond, 200*time.Millisecond), func() {
		if h.w.lossy && h.w.one(20) {
			h.turn(replicas.Destroyed{Key: k, Err: "the disk is busy"})
			return
		}
		h.checkDestroyed(k)
		h.lose(k)
		h.turn(replicas.Destroyed{Key: k})
	})
}

// lose removes data, whoever is to blame.
func (h *host) lose(k replicas.Key) {
	g := h.w.groups[uint64(k.Group)]
	if g != nil {
		g.settle()
	}
	delete(h.disk.logs, k)
	if h.core == nil {
		h.w.book.wiped[k] = h.w.now
	}
	if g != nil {
		g.look()
	}
}

// orderPatience is how long a host tries to obey an order.
const orderPatience = 4 * time.Second

// execute carries an order out through Raft: again and again until it works or never
// will, or time is up.
func (h *host) execute(x replicas.Execute) {
	h.checkExecuted(x)
	until := h.w.now + orderPatience
	end := func(r *drummerpb.OrderResult) { h.turn(replicas.Executed{Token: x.Token, Order: x.Order, Result: r}) }
	var want time.Duration
	g := h.w.groups[x.Order.GetGroup()]
	if g != nil {
		g.settle()
		want = g.commit
	}
	var try func()
	try = func() {
		r := &drummerpb.OrderResult{Order: x.Order.GetId()}
		if g == nil || h.disk.logs[replicas.KeyOf(x.Order.GetGroup(), x.Order.GetReplica())] == nil {
			r.Detail = "no such replica"
			end(r)
			return
		}
		g.settle()
		switch g.obey(h, x.Order, want, r) {
		case done:
			end(r)
		case again:
			if h.w.now < until {
				h.after(300*time.Millisecond, try)
				return
			}
			r.Detail = "no quorum"
			end(r)
		}
	}
	h.after(h.w.between(time.Millisecond, 60*time.Millisecond), try)
}

type progress int

const (
	done progress = iota
	again
)

// obey tries an order once.
func (g *group) obey(h *host, o *drummerpb.Order, want time.Duration, r *drummerpb.OrderResult) progress {
	l := h.disk.logs[replicas.KeyOf(g.id, o.GetReplica())]
	if !l.up || g.place(o.GetReplica()) != h.disk.id || !g.reaches(h) {
		return again
	}
	switch b := o.GetBody().(type) {
	case *drummerpb.Order_Open:
		if g.opened == 0 {
			g.opened = g.append()
		}
	case *drummerpb.Order_Seal:
		if g.sealed == 0 {
			g.sealed = g.append()
		}
	case *drummerpb.Order_CatchUp:
		if l.match < want {
			return again
		}
	case *drummerpb.Order_Transfer:
		if p := g.peer(b.Transfer.GetTo()); p.log != nil && g.voters[p.id] != "" && p.match >= g.commit {
			g.term++
			g.crown(p)
		}
	case *drummerpb.Order_Change:
		return g.tryChange(b.Change, r)
	}
	r.Ok = true
	return done
}

// append writes an entry that all who have more of the log than now will have.
func (g *group) append() time.Duration {
	p := g.lead()
	p.match++
	g.commit = p.match
	for _, o := range g.around(p.h, g.live(g.voters)) {
		if p.match-o.match <= time.Millisecond || len(g.live(g.voters)) <= quorum(len(g.voters)) {
			o.match = p.match
		}
	}
	g.w.active = g.w.now
	g.spread()
	return p.match
}

// tryChange does what the host's Raft does for a membership order.
func (g *group) tryChange(c *drummerpb.Change, r *drummerpb.OrderResult) progress {
	w := g.w
	if w.lossy && c.GetKind() != drummerpb.ChangeKind_CHANGE_KIND_UNSPECIFIED && w.one(6) {
		r.Detail = "it may come true yet"
		w.later(w.between(0, 8*time.Second), func() {
			g.settle()
			if g.lead().log != nil {
				g.change(c)
			}
		})
		return done
	}
	why := g.change(c)
	if p := g.lead(); p.log != nil && w.one(2) {
		p.read = g.cc
	}
	r.Ok, r.Refused, r.Detail, r.Membership = why == "", why != "", why, g.membership()
	return done
}

// change applies a membership change by the rules of Raft and of our Raft host; it says
// why not. It needs a leader with a quorum, which the caller looked for.
func (g *group) change(c *drummerpb.Change) string {
	id, kind := c.GetReplica(), c.GetKind()
	switch {
	case kind == drummerpb.ChangeKind_CHANGE_KIND_UNSPECIFIED || g.so(c):
		return ""
	case c.GetConfigChange() != 0 && c.GetConfigChange() != g.cc:
		return "the membership is at another change"
	}
	if why := g.forbidden(c); why != "" {
		return why
	}
	before := g.membership()
	switch kind {
	case drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER:
		g.observers[id] = c.GetHostId()
	case drummerpb.ChangeKind_CHANGE_KIND_PROMOTE:
		delete(g.observers, id)
		g.voters[id] = c.GetHostId()
	case drummerpb.ChangeKind_CHANGE_KIND_REMOVE:
		g.settleRemoval(id)
		delete(g.voters, id)
		delete(g.observers, id)
		g.removed[id] = true
	}
	g.applied(c, before)
	return ""
}

// applied writes the change into the log.
func (g *group) applied(c *drummerpb.Change, before *drummerpb.Membership) {
	w := g.w
	g.cc += uint64(1 + w.rng.IntN(50))
	at := g.commit + 1
	if g.lead().log != nil {
		at = g.append()
	}
	g.views = append(g.views, view{at, g.membership()})
	w.note("group %d: %s %d, config change %d", g.id, c.GetKind(), c.GetReplica(), g.cc)
	w.book.mark('c', w.now, g.id<<20|c.GetReplica(), g.cc)
	w.active = w.now
	w.checkChanged(g, c, before)
	w.later(w.between(0, 3*time.Second), func() { // the leader's host reads what has changed
		if p := g.lead(); p.log != nil {
			p.read = g.cc
			p.h.mark(p.key)
		}
	})
	g.look()
}

// so tells that the membership is what the change wants.
func (g *group) so(c *drummerpb.Change) bool {
	id, host := c.GetReplica(), c.GetHostId()
	switch c.GetKind() {
	case drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER:
		return g.observers[id] == host && host != ""
	case drummerpb.ChangeKind_CHANGE_KIND_PROMOTE:
		at, voter := g.voters[id]
		return voter && (host == "" || at == host)
	default:
		return g.removed[id]
	}
}

func (g *group) forbidden(c *drummerpb.Change) string {
	id, host := c.GetReplica(), c.GetHostId()
	_, voter := g.voters[id]
	at, observer := g.observers[id]
	switch c.GetKind() {
	case drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER:
		switch {
		case g.removed[id]:
			return "the replica was removed and never comes back"
		case voter || observer:
			return "the replica is a member already"
		case g.on(host):
			return "the host has a replica of the group already"
		}
	case drummerpb.ChangeKind_CHANGE_KIND_PROMOTE:
		switch {
		case !observer && !mutant.Is("voter-first"): // as dragonboat itself would not mind
			return "the replica to promote is no observer"
		case observer && host != "" && host != at:
			return "the observer is on another host"
		}
	case drummerpb.ChangeKind_CHANGE_KIND_REMOVE:
		if voter && len(g.voters) == 1 {
			return "the last voter cannot be removed"
		}
	}
	return ""
}

func (g *group) on(host string) bool {
	for _, members := range []map[uint64]string{g.voters, g.observers} {
		for _, h := range members {
			if h == host {
				return true
			}
		}
	}
	return false
}

// settleRemoval has the removed replica hear of its end, or not.
func (g *group) settleRemoval(id uint64) {
	if p := g.peer(id); p.log != nil && g.w.one(2) {
		p.h.after(g.w.between(0, 200*time.Millisecond), func() {
			if p.h.disk.logs[p.key] == p.log {
				p.fell, p.claims = true, 0
				p.h.turn(replicas.Fell{Key: p.key})
			}
		})
	}
	if g.leader == id {
		g.leader = 0
	}
}

// intact counts those of the members whose data is there, whether they run or not.
func (g *group) intact(members map[uint64]string) int {
	n := 0
	for _, id := range slices.Sorted(maps.Keys(members)) {
		if h := g.w.host(members[id]); h != nil && h.disk.logs[replicas.KeyOf(g.id, id)] != nil {
			n++
		}
	}
	return n
}
