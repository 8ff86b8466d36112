package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/planner/member"
	"github.com/drumline/drumline/drummer/sim/cluster"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas"
	"github.com/drumline/drumline/statemachines"
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

// CheckOrder is what must hold of an order when it is sent: one change of a group at a
// time, on the newest membership known, and a quorum afterwards.
func (w *world) CheckOrder(s *cluster.Session, o *cluster.Order) {
	w.watch(o.GetGroup())
	c, id := o.GetChange(), ids.Group(o.GetGroup())
	if known := s.Drummer.Floor.Group(id); o.GetGeneration() < known.GetGeneration() {
		w.Violate("S7: group %d: an order of generation %d; when this drummer took the lead it was at %d", id, o.GetGeneration(), known.GetGeneration())
	}
	if told := s.Told[o.GetGroup()]; !s.Drummer.Paused && c.GetKind() != 0 && c.GetConfigChange() < told {
		w.Violate("S7: group %d: a change of membership %d; the host told that it is at %d", id, c.GetConfigChange(), told)
	}
	if known := s.Drummer.View.Group(id); c.GetKind() != 0 && c.GetConfigChange() < known.GetConfigChange() {
		w.Violate("S7: group %d: a change of membership %d; the record knows %d", id, c.GetConfigChange(), known.GetConfigChange())
	}
	if c == nil || c.GetKind() == drummerpb.ChangeKind_CHANGE_KIND_UNSPECIFIED {
		return
	}
	if s.Drummer.View.Brake().GetEngaged() {
		w.Violate("brake: group %d: %s of %d is ordered while the brake holds", o.GetGroup(), c.GetKind(), c.GetReplica())
	}
	o.At, o.Session = w.Now, s
	last := w.Book.Changes[o.GetGroup()]
	if beside(last, o) && w.Now-last.At < 4500*time.Millisecond {
		w.Violate("S4: group %d: change order %d is sent while %d is on its way", o.GetGroup(), o.GetId(), last.GetId())
	}
	w.Book.Changes[o.GetGroup()] = o
	g := w.Groups[o.GetGroup()]
	if g == nil || g.CC != c.GetConfigChange() || s.Drummer != w.Lead() {
		return
	}
	g.Settle()
	after := maps.Clone(g.Voters)
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
func beside(o, next *cluster.Order) bool {
	if o == nil || o.Answered || !o.Session.AtDrummer || o.Session.Drummer != next.Session.Drummer || o.Session.Reign != next.Session.Reign || o.GetId() == next.GetId() {
		return false
	}
	a, b := o.GetChange(), next.GetChange()
	return a.GetConfigChange() == b.GetConfigChange() && (a.GetKind() != b.GetKind() || a.GetReplica() != b.GetReplica())
}

// checkQuorum is S1: after a change a quorum of the voters lives and is up to date, as
// far as anybody could know it when it was decided.
func (w *world) checkQuorum(g *cluster.Group, c *drummerpb.Change, after map[uint64]string, slack time.Duration) {
	alive := 0
	for id, host := range after {
		h := w.Host(host)
		if h == nil || h.Disk.Logs[replicas.KeyOf(g.ID, id)] == nil {
			if at, ok := w.Book.Wiped[replicas.KeyOf(g.ID, id)]; ok && w.Now-at < slack {
				alive++
			}
			continue
		}
		l := h.Disk.Logs[replicas.KeyOf(g.ID, id)]
		if l.Match < g.Commit-max(slack, proven)-g.Leap.Lately(w.Now) {
			if id == c.GetReplica() {
				w.Violate("S1: group %d: replica %d is promoted and has not caught up", g.ID, id)
			}
			continue
		}
		if h.Running && !h.Paused || w.Now-w.lately(h) < slack {
			alive++
		}
	}
	if alive < cluster.Quorum(len(after)) {
		w.Violate("S1: group %d: %s of %d leaves %d of %d voters that live and are up to date", g.ID, c.GetKind(), c.GetReplica(), alive, len(after))
	}
}

// CheckChanged is what must hold when a change has come true.
func (w *world) CheckChanged(g *cluster.Group, c *drummerpb.Change, before *drummerpb.Membership) {
	if had, has := g.Intact(before.GetVoters()), g.Intact(g.Voters)+w.justLost(g); had >= cluster.Quorum(len(before.GetVoters())) && has < cluster.Quorum(len(g.Voters)) {
		w.Violate("S1: group %d had %d of %d undamaged voters, and after %s of %d it has %d of %d", g.ID, had, len(before.GetVoters()), c.GetKind(), c.GetReplica(), has, len(g.Voters))
	}
	at := map[string]bool{}
	for _, members := range []map[uint64]string{g.Voters, g.Observers} {
		for id, host := range members {
			if at[host] {
				w.Violate("S2: group %d has two members on one host, replica %d among them", g.ID, id)
			}
			at[host] = true
		}
	}
	if !maps.Equal(before.GetVoters(), g.Voters) {
		w.checkQuorum(g, c, g.Voters, obeyed)
	}
	w.watch(g.ID)
}

// justLost counts the voters whose data was there when the last change can have been decided.
func (w *world) justLost(g *cluster.Group) int {
	n := 0
	for id := range g.Voters {
		if at, ok := w.Book.Wiped[replicas.KeyOf(g.ID, id)]; ok && w.Now-at < obeyed {
			n++
		}
	}
	return n
}

// CheckFresh is S3: what starts from nothing never ran anywhere.
func (w *world) CheckFresh(h *cluster.Host, r replicas.Record) {
	id := uint64(r.Replica)
	if at, ran := w.Book.Ran[id]; ran {
		w.Violate("S3: replica %d ran on %s, may have voted, and starts from nothing on %s", id, at, h.Disk.ID)
	}
	w.Book.Ran[id] = h.Disk.ID
	for k := range h.Disk.Logs {
		if k.Group == r.Group {
			w.Violate("S2: %s starts beside %s on %s", r.Key(), k, h.Name)
		}
	}
}

// CheckDestroyed is S6: no data is removed of a member, but of a deleted group; nor is any
// that another group is still to be loaded from.
func (w *world) CheckDestroyed(h *cluster.Host, k replicas.Key) {
	w.Book.Ran[uint64(k.Replica)] = h.Disk.ID
	w.rescue.CheckDestroyed(k)
	g := w.Groups[uint64(k.Group)]
	if g == nil || h.Disk.Logs[k] == nil || g.Place(uint64(k.Replica)) == "" {
		return
	}
	rec := w.Recorded(g.ID)
	switch {
	case rec != nil && rec.GetState() != fleetpb.GroupState_GROUP_STATE_PURGING:
		w.Violate("S6: replica %s is destroyed while it is a member", k)
	case g.Opened > 0 && g.Sealed == 0 && !g.Forced:
		w.Violate("S6: replica %s is destroyed while its group serves", k)
	}
}

// CheckHalted is S1 of a restart by order: a quorum of all voters runs meanwhile, as far as
// anybody could know it. One voter alone has nobody to wait for, and a group that is deleted
// has nobody to serve.
func (w *world) CheckHalted(h *cluster.Host, g *cluster.Group, k replicas.Key) {
	rec := w.Recorded(g.ID)
	if _, voter := g.Voters[uint64(k.Replica)]; !voter || len(g.Voters) == 1 || rec == nil || rec.GetState() == fleetpb.GroupState_GROUP_STATE_PURGING {
		return
	}
	n := 0
	for id, host := range g.Voters {
		at := w.Host(host)
		if id != uint64(k.Replica) && (g.Peer(id).Log != nil || at == nil || w.Now-at.Changed < obeyed) {
			n++
		}
	}
	if n < cluster.Quorum(len(g.Voters)) {
		w.Violate("S1: group %d: replica %d is restarted on %s, and %d of %d voters run", g.ID, k.Replica, h.Name, n, len(g.Voters))
	}
}

// CheckExecuted and CheckObeyed: a host that was welcomed by a newer leader obeys no
// older one.
func (w *world) CheckExecuted(h *cluster.Host, x replicas.Execute) {
	if x.Order.GetTerm() < w.Book.Heard[h.Disk.ID] {
		w.Violate("an order of term %d is executed on %s, which was welcomed in term %d", x.Order.GetTerm(), h.Name, w.Book.Heard[h.Disk.ID])
	}
}

func (w *world) CheckObeyed(h *cluster.Host, o *cluster.Order) {
	if o.Stale {
		w.Violate("order %d of term %d is obeyed by %s, which was welcomed in a newer one", o.GetId(), o.GetTerm(), h.Name)
	}
}

// CheckProposal is S8 and S9: nobody is replaced whose data is well and who was silent,
// for this leader and while it ran, for less than down_after.
func (w *world) CheckProposal(d *cluster.Drummer, c *fleetpb.Command) {
	add := c.GetAddReplica()
	if d.View.Brake().GetEngaged() && add != nil {
		w.Violate("brake: group %d: a replica for host %s is proposed while the brake holds", add.GetGroup(), add.GetHostId())
	}
	if add != nil && d == w.Lead() {
		w.doubt.CheckDamping(d, add)
		w.doubt.Give(add.GetHostId())
	}
	if add.GetReplaces() == 0 || add.GetMove() || d != w.Lead() { // who is moved is well
		return
	}
	h := w.victim(add)
	if h == nil || d.View.Host(ids.Host(h.Disk.ID)).GetLost() { // somebody declared it
		return
	}
	if rec := d.View.Host(ids.Host(h.Disk.ID)); rec.GetWanted().GetMaintenanceUntilUnixMs() > d.UnixMs() {
		w.Violate("group %d: replica %d on %s is replaced, which is in maintenance", add.GetGroup(), add.GetReplaces(), h.Name)
	}
	w.checkBrake(d, add)
	if heardBy, of := w.doubt.Opinions(d, h); 2*heardBy > of && w.silent(d, h) < w.UnreachableAfter-w.UnreachableAfter/50 {
		w.Violate("gossip: group %d: replica %d on %s is replaced, which %d of %d neighbours hear; it was silent for %s only", add.GetGroup(), add.GetReplaces(), h.Name, heardBy, of, w.silent(d, h))
	}
	if silent := w.silent(d, h); silent < w.DownAfter-w.DownAfter/50 {
		w.Violate("S9: group %d: replica %d on %s is replaced; the host was silent for %s only", add.GetGroup(), add.GetReplaces(), h.Name, silent)
	}
}

// lately is when the leading drummer can have taken a host for alive last: what it said before
// it stopped may have come late.
func (w *world) lately(h *cluster.Host) time.Duration {
	if d := w.Lead(); d != nil {
		if s := h.Last[d.Index]; s != nil {
			return max(h.Changed, s.Heard)
		}
	}
	return h.Changed
}

// silent is for how long a drummer has not heard a host, while it led and ran.
func (w *world) silent(d *cluster.Drummer, h *cluster.Host) time.Duration {
	heard, asleep := d.Led, time.Duration(0)
	if s := h.Last[d.Index]; s != nil && s.Reign == d.Reign && s.Heard > heard {
		heard, asleep = s.Heard, s.Asleep
	}
	return w.Now - heard - (d.Slept() - asleep)
}

// checkBrake is that nobody is replaced for being silent when so many are at once, and
// nobody said of them that they stay away.
func (w *world) checkBrake(d *cluster.Drummer, add *fleetpb.AddReplica) {
	p, all := d.View.Policy(), 0
	has := map[string]bool{}
	for g := range d.View.Groups() {
		for _, r := range g.GetReplicas() {
			has[r.GetHostId()] = true
		}
	}
	var gone []time.Duration
	for rec := range d.View.Hosts() {
		if rec.GetLost() {
			continue
		}
		all++
		h := w.Host(rec.GetId())
		if h == nil || !has[rec.GetId()] || rec.GetWanted().GetMaintenanceUntilUnixMs() > 0 || slices.Contains(d.View.Brake().GetAccepted(), rec.GetId()) {
			continue
		}
		if heardBy, _ := w.doubt.Opinions(d, h); heardBy > 0 {
			continue // it may be unreachable only
		}
		if s := w.silent(d, h); s > w.DownAfter {
			gone = append(gone, s)
		}
	}
	slices.Sort(gone)
	window := time.Duration(p.GetBrakeWindowMs()) * time.Millisecond
	if n := len(gone); n >= 2 && n*100 > all*int(p.GetBrakePercent()) && gone[n-1]-gone[0] < window-time.Second {
		w.Violate("brake: group %d: replica %d is replaced; %d of %d hosts vanished at once", add.GetGroup(), add.GetReplaces(), n, all)
	}
}

// victim is the host of a replica that is to be replaced and is well where it is.
func (w *world) victim(add *fleetpb.AddReplica) *cluster.Host {
	for _, r := range w.Recorded(add.GetGroup()).GetReplicas() {
		if r.GetId() != add.GetReplaces() {
			continue
		}
		h := w.Host(r.GetHostId())
		if h == nil {
			return nil
		}
		k := replicas.KeyOf(add.GetGroup(), r.GetId())
		if l := h.Disk.Logs[k]; l == nil || l.Fell || h.Running && !l.Ready || failing(l, w.Now) || h.KeptDown(k) {
			return nil
		}
		return h
	}
	return nil
}

// failing tells that a start failed so lately that the supervisor may believe it still does.
func failing(l *cluster.Log, now time.Duration) bool { return l.Failed > 0 && now-l.Failed < obeyed }

// CheckCommand is what must hold of the record at any time.
func (w *world) CheckCommand(c *fleetpb.Command, before *fleet.View) {
	if del := c.GetDeleteGroup(); del.GetForce() {
		if g := w.Groups[before.ByName(statemachines.NameOf(del)).GetId()]; g != nil {
			g.Forced = true
		}
	}
	if purge := c.GetPurgeRetired(); purge != nil {
		if g := w.Groups[purge.GetGroup()]; g != nil {
			g.Forced = true // what it served was recovered
		}
	}
	id := member.GroupOf(c)
	g := w.Record.Freeze().Group(id)
	at, building := map[string]bool{}, 0
	for _, r := range g.GetReplicas() {
		if at[r.GetHostId()] {
			w.Violate("S2: group %d has two replicas on %s in the record", id, r.GetHostId())
		}
		at[r.GetHostId()] = true
		if was := before.Group(id); !hasReplica(was, r.GetId()) && before.Gave(ids.Replica(r.GetId())) {
			w.Violate("S3: replica %d is given to group %d and was given before", r.GetId(), id)
		}
		if !r.GetVoter() && r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED {
			building++
		}
	}
	if building > 1 {
		w.Violate("S4: group %d has %d replicas being built", id, building)
	}
	if c.GetAddReplica() != nil && w.Now-w.byHand > obeyed { // a move by hand may meet proposals on their way
		w.checkLimits(c.GetAddReplica().GetHostId())
	}
	w.followOperations(id)
	if id == 0 {
		w.watchAll()
	} else {
		w.watch(uint64(id))
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

// checkLimits counts what is being built. What was stuck until a moment ago does not count, nor
// what was taken back, or got its vote, and the record does not have yet.
func (w *world) checkLimits(host string) {
	v := w.Record.Freeze()
	here, all := 0, 0
	for rec := range v.Groups() {
		if rec.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN {
			continue
		}
		for _, r := range rec.GetReplicas() {
			g, h := w.Groups[rec.GetId()], w.Host(r.GetHostId())
			if r.GetVoter() || r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED || g == nil || h == nil || g.Removed[r.GetId()] || g.Voters[r.GetId()] != "" {
				continue
			}
			if w.stuck(h, replicas.KeyOf(g.ID, r.GetId())) || !w.moves(g, h) {
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
		w.Violate("limits: %d replicas are being built on one host and %d in all; %d and %d are allowed", here, all, p.GetOperationsPerHost(), p.GetOperationsTotal())
	}
}

// stuck tells that a replica cannot be built on as it is: it does not start, or it did and
// its data was destroyed, after which it is only taken back.
func (w *world) stuck(h *cluster.Host, k replicas.Key) bool {
	if l := h.Disk.Logs[k]; l != nil {
		return !l.Ready || failing(l, w.Now)
	}
	_, wiped := w.Book.Wiped[k]
	return wiped
}

// moves tells that the building of a replica has been able to go on for a while, in
// everybody's eyes: all hosts of the group are well, and heard.
func (w *world) moves(g *cluster.Group, h *cluster.Host) bool {
	const long = 8 * time.Second
	well := func(h *cluster.Host) bool {
		return h.Running && !h.Paused && !h.Dark && !h.Deaf && !h.Mute && w.Now-h.Changed > long
	}
	n := 0
	for _, p := range g.Live() {
		if p.Ready && well(p.Host) {
			n++
		}
	}
	return n >= cluster.Quorum(len(g.Voters)) && well(h) && !w.Lossy && w.Now-w.Changed > long
}

// CheckLoaded is what must hold when a group begins with a state.
func (w *world) CheckLoaded(g *cluster.Group, b *drummerpb.Load, applied uint64) {
	w.rescue.CheckLoaded(g, b, applied)
}

// CheckWelcomed notes that a drummer takes a host in.
func (w *world) CheckWelcomed(s *cluster.Session) { w.doubt.Welcome(s) }
