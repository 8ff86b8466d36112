package sim

import (
	"maps"
	"time"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/planner"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas"
)

// What may have happened since a decision was made, and is no fault of it: two
// heartbeats of freshness and the way of a message; behind a slow stream, also what a
// host waits before it leaves it, and the order's own patience.
const (
	decided = 3 * time.Second
	obeyed  = 12 * time.Second
	// proven is how old the proof of being up to date may be: a read takes up to 4 s.
	proven = 7 * time.Second
)

// hear notes the newest term that a host was welcomed in.
func (b *ledger) hear(disk string, term uint64) {
	b.heard[disk] = max(b.heard[disk], term)
}

// settled notes that the answer to an order has come.
func (b *ledger) settled(o *order) {
	if c := b.changes[o.GetGroup()]; c != nil && c.s == o.s && c.GetId() == o.GetId() {
		c.answered = true
	}
}

// checkOrder is what must hold of an order when it is sent: one change of a group at a
// time, on the newest membership known, and a quorum afterwards.
func (w *world) checkOrder(s *session, o *order) {
	c, id := o.GetChange(), ids.Group(o.GetGroup())
	if known := s.d.floor.Group(id); o.GetGeneration() < known.GetGeneration() {
		w.violate("S7: group %d: an order of generation %d; when this drummer took the lead it was at %d", id, o.GetGeneration(), known.GetGeneration())
	}
	if told := s.told[o.GetGroup()]; !s.d.paused && c.GetKind() != 0 && c.GetConfigChange() < told {
		w.violate("S7: group %d: a change of membership %d; the host told that it is at %d", id, c.GetConfigChange(), told)
	}
	if known := s.d.view.Group(id); c.GetKind() != 0 && c.GetConfigChange() < known.GetConfigChange() {
		w.violate("S7: group %d: a change of membership %d; the record knows %d", id, c.GetConfigChange(), known.GetConfigChange())
	}
	if c == nil || c.GetKind() == drummerpb.ChangeKind_CHANGE_KIND_UNSPECIFIED {
		return
	}
	o.at, o.s = w.now, s
	last := w.book.changes[o.GetGroup()]
	if last.beside(o) && w.now-last.at < 4500*time.Millisecond {
		w.violate("S4: group %d: change order %d is sent while %d is on its way", o.GetGroup(), o.GetId(), last.GetId())
	}
	w.book.changes[o.GetGroup()] = o
	g := w.groups[o.GetGroup()]
	if g == nil || g.cc != c.GetConfigChange() || s.d != w.lead() {
		return
	}
	g.settle()
	after := maps.Clone(g.voters)
	if _, voter := after[c.GetReplica()]; !voter && c.GetKind() == drummerpb.ChangeKind_CHANGE_KIND_REMOVE {
		return
	}
	switch c.GetKind() {
	case drummerpb.ChangeKind_CHANGE_KIND_REMOVE:
		delete(after, c.GetReplica())
	case drummerpb.ChangeKind_CHANGE_KIND_PROMOTE:
		after[c.GetReplica()] = c.GetHostId()
	default:
		return
	}
	w.checkQuorum(g, c, after, decided)
}

// beside tells that two orders would make two changes of the same membership, of which
// the first has not been answered, on a stream that still works.
func (o *order) beside(next *order) bool {
	if o == nil || o.answered || !o.s.atDrummer || o.s.d != next.s.d || o.s.reign != next.s.reign || o.GetId() == next.GetId() {
		return false
	}
	a, b := o.GetChange(), next.GetChange()
	return a.GetConfigChange() == b.GetConfigChange() && (a.GetKind() != b.GetKind() || a.GetReplica() != b.GetReplica())
}

// checkQuorum is S1: after a change a quorum of the voters lives and is up to date, as
// far as anybody could know it when it was decided.
func (w *world) checkQuorum(g *group, c *drummerpb.Change, after map[uint64]string, slack time.Duration) {
	alive := 0
	for id, host := range after {
		h := w.host(host)
		if h == nil || h.disk.logs[replicas.KeyOf(g.id, id)] == nil {
			if at, ok := w.book.wiped[replicas.KeyOf(g.id, id)]; ok && w.now-at < slack {
				alive++
			}
			continue
		}
		l := h.disk.logs[replicas.KeyOf(g.id, id)]
		if l.match < g.commit-max(slack, proven) {
			if id == c.GetReplica() {
				w.violate("S1: group %d: replica %d is promoted and has not caught up", g.id, id)
			}
			continue
		}
		if h.running && !h.paused || w.now-h.changed < slack {
			alive++
		}
	}
	if alive < quorum(len(after)) {
		w.violate("S1: group %d: %s of %d leaves %d of %d voters that live and are up to date", g.id, c.GetKind(), c.GetReplica(), alive, len(after))
	}
}

// checkChanged is what must hold when a change has come true.
func (w *world) checkChanged(g *group, c *drummerpb.Change, before *drummerpb.Membership) {
	if had, has := g.intact(before.GetVoters()), g.intact(g.voters)+w.justLost(g); had >= quorum(len(before.GetVoters())) && has < quorum(len(g.voters)) {
		w.violate("S1: group %d had %d of %d undamaged voters, and after %s of %d it has %d of %d", g.id, had, len(before.GetVoters()), c.GetKind(), c.GetReplica(), has, len(g.voters))
	}
	at := map[string]bool{}
	for _, members := range []map[uint64]string{g.voters, g.observers} {
		for id, host := range members {
			if at[host] {
				w.violate("S2: group %d has two members on one host, replica %d among them", g.id, id)
			}
			at[host] = true
		}
	}
	if !maps.Equal(before.GetVoters(), g.voters) {
		w.checkQuorum(g, c, g.voters, obeyed)
	}
}

// justLost counts the voters whose data was there when the last change can have been decided.
func (w *world) justLost(g *group) int {
	n := 0
	for id := range g.voters {
		if at, ok := w.book.wiped[replicas.KeyOf(g.id, id)]; ok && w.now-at < obeyed {
			n++
		}
	}
	return n
}

// checkFresh is S3: what starts from nothing never ran anywhere.
func (h *host) checkFresh(r replicas.Record) {
	id := uint64(r.Replica)
	if at, ran := h.w.book.ran[id]; ran {
		h.w.violate("S3: replica %d ran on %s, may have voted, and starts from nothing on %s", id, at, h.disk.id)
	}
	h.w.book.ran[id] = h.disk.id
	for k := range h.disk.logs {
		if k.Group == r.Group {
			h.w.violate("S2: %s starts beside %s on %s", r.Key(), k, h.name)
		}
	}
}

// checkDestroyed is S6: no data is removed of a member, but of a deleted group.
func (h *host) checkDestroyed(k replicas.Key) {
	h.w.book.ran[uint64(k.Replica)] = h.disk.id
	g := h.w.groups[uint64(k.Group)]
	if g == nil || h.disk.logs[k] == nil || g.place(uint64(k.Replica)) == "" {
		return
	}
	rec := h.w.recorded(g.id)
	switch {
	case rec != nil && rec.GetState() != fleetpb.GroupState_GROUP_STATE_PURGING:
		h.w.violate("S6: replica %s is destroyed while it is a member", k)
	case g.opened > 0 && g.sealed == 0 && !g.forced:
		h.w.violate("S6: replica %s is destroyed while its group serves", k)
	}
}

// checkExecuted and checkObeyed: a host that was welcomed by a newer leader obeys no
// older one.
func (h *host) checkExecuted(x replicas.Execute) {
	if x.Order.GetTerm() < h.w.book.heard[h.disk.id] {
		h.w.violate("an order of term %d is executed on %s, which was welcomed in term %d", x.Order.GetTerm(), h.name, h.w.book.heard[h.disk.id])
	}
}

func (h *host) checkObeyed(o *order) {
	if o.stale {
		h.w.violate("order %d of term %d is obeyed by %s, which was welcomed in a newer one", o.GetId(), o.GetTerm(), h.name)
	}
}

// checkProposal is S8 and S9: nobody is replaced whose data is well and who was silent,
// for this leader and while it ran, for less than down_after.
func (w *world) checkProposal(d *drummer, c *fleetpb.Command) {
	add := c.GetAddReplica()
	if add.GetReplaces() == 0 || add.GetMove() || d != w.lead() { // who is moved is well
		return
	}
	h := w.victim(add)
	if h == nil {
		return
	}
	heard, asleep := d.led, time.Duration(0)
	if s := h.last[d.index]; s != nil && s.reign == d.reign && s.heard > heard {
		heard, asleep = s.heard, s.asleep
	}
	if silent := w.now - heard - (d.slept() - asleep); silent < w.downAfter-w.downAfter/50 {
		w.violate("S9: group %d: replica %d on %s is replaced; the host was silent for %s only", add.GetGroup(), add.GetReplaces(), h.name, silent)
	}
}

// victim is the host of a replica that is to be replaced and is well where it is.
func (w *world) victim(add *fleetpb.AddReplica) *host {
	for _, r := range w.recorded(add.GetGroup()).GetReplicas() {
		if r.GetId() != add.GetReplaces() {
			continue
		}
		h := w.host(r.GetHostId())
		if h == nil {
			return nil
		}
		k := replicas.KeyOf(add.GetGroup(), r.GetId())
		if l := h.disk.logs[k]; l == nil || l.fell || h.running && !l.ready || l.failing(w.now) {
			return nil
		}
		return h
	}
	return nil
}

// failing tells that a start failed so lately that the supervisor may believe it still does.
func (l *log) failing(now time.Duration) bool { return l.failed > 0 && now-l.failed < obeyed }

// checkCommand is what must hold of the record at any time.
func (w *world) checkCommand(c *fleetpb.Command, before *fleet.View) {
	if del := c.GetDeleteGroup(); del.GetForce() {
		if g := w.groups[before.ByName(del.GetName()).GetId()]; g != nil {
			g.forced = true
		}
	}
	id := planner.GroupOf(c)
	g := w.record.Freeze().Group(id)
	at, building := map[string]bool{}, 0
	for _, r := range g.GetReplicas() {
		if at[r.GetHostId()] {
			w.violate("S2: group %d has two replicas on %s in the record", id, r.GetHostId())
		}
		at[r.GetHostId()] = true
		if was := before.Group(id); !hasReplica(was, r.GetId()) && before.Gave(ids.Replica(r.GetId())) {
			w.violate("S3: replica %d is given to group %d and was given before", r.GetId(), id)
		}
		if !r.GetVoter() && r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED {
			building++
		}
	}
	if building > 1 {
		w.violate("S4: group %d has %d replicas being built", id, building)
	}
	if c.GetAddReplica() != nil {
		w.checkLimits(c.GetAddReplica().GetHostId())
	}
}

func hasReplica(g *fleetpb.Group, id uint64) bool {
	for _, r := range g.GetReplicas() {
		if r.GetId() == id {
			return true
		}
	}
	return false
}

// checkLimits counts what is being built. What was stuck until a moment ago does not count.
func (w *world) checkLimits(host string) {
	v := w.record.Freeze()
	here, all := 0, 0
	for rec := range v.Groups() {
		if rec.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN {
			continue
		}
		for _, r := range rec.GetReplicas() {
			g, h := w.groups[rec.GetId()], w.host(r.GetHostId())
			if r.GetVoter() || r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED || g == nil || h == nil {
				continue
			}
			l := h.disk.logs[replicas.KeyOf(g.id, r.GetId())]
			if l != nil && (!l.ready || l.failing(w.now)) || !w.moves(g, h) {
				continue
			}
			all++
			if r.GetHostId() == host {
				here++
			}
		}
	}
	p := v.Policy()
	if here > int(p.GetOperationsPerHost()) || all > int(p.GetOperationsTotal()) {
		w.violate("limits: %d replicas are being built on one host and %d in all; %d and %d are allowed", here, all, p.GetOperationsPerHost(), p.GetOperationsTotal())
	}
}

// moves tells that the building of a replica has been able to go on for a while, in
// everybody's eyes: all hosts of the group are well, and heard.
func (w *world) moves(g *group, h *host) bool {
	const long = 8 * time.Second
	well := func(h *host) bool {
		return h.running && !h.paused && !h.dark && !h.deaf && !h.mute && w.now-h.changed > long
	}
	n := 0
	for _, p := range g.live(g.voters) {
		if p.ready && well(p.h) {
			n++
		}
	}
	return n >= quorum(len(g.voters)) && well(h) && !w.lossy && w.now-w.changed > long
}
