package loop_test

import (
	"maps"
	"slices"
	"time"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
)

// simRaft is a Raft group: members, a commit index, a leader, and the rules of
// dragonboat's ordered membership changes.
type simRaft struct {
	id                uint64
	voters, observers map[uint64]string
	removed           map[uint64]bool
	cc                uint64
	views             map[uint64]*drummerpb.Membership // by config change
	leader, term      uint64
	elect             time.Duration // no leader before
	commit            int
	commits           map[time.Duration]int // commit index by second
	opened, sealed    bool
}

func newRaft(id uint64, members map[uint64]string) *simRaft {
	r := &simRaft{
		id: id, voters: maps.Clone(members), observers: map[uint64]string{}, removed: map[uint64]bool{},
		cc: uint64(len(members)), views: map[uint64]*drummerpb.Membership{}, commits: map[time.Duration]int{},
	}
	r.views[r.cc] = r.membership()
	return r
}

func (r *simRaft) membership() *drummerpb.Membership {
	return &drummerpb.Membership{
		ConfigChange: r.cc, Voters: maps.Clone(r.voters), Observers: maps.Clone(r.observers),
		Removed: slices.Sorted(maps.Keys(r.removed)),
	}
}

func (r *simRaft) member(id uint64) bool { return r.voters[id] != "" || r.observers[id] != "" }

func (w *world) hostOf(id string) *simHost {
	for _, h := range w.hosts {
		if h.id == id {
			return h
		}
	}
	return nil
}

// replica returns a member's replica if it runs.
func (r *simRaft) replica(w *world, id uint64, host string) *simReplica {
	if h := w.hostOf(host); h != nil && h.live(w, id) {
		return h.manifest[id]
	}
	return nil
}

// running gives the voters that run, by id.
func (r *simRaft) running(w *world) []*simReplica {
	var list []*simReplica
	for _, id := range slices.Sorted(maps.Keys(r.voters)) {
		if m := r.replica(w, id, r.voters[id]); m != nil {
			list = append(list, m)
		}
	}
	return list
}

func (r *simRaft) serving(w *world) bool {
	return r.leader != 0 && r.replica(w, r.leader, r.voters[r.leader]) != nil && len(r.running(w)) >= len(r.voters)/2+1
}

func (r *simRaft) tick(w *world) {
	running := r.running(w)
	if r.leader != 0 && (r.voters[r.leader] == "" || r.replica(w, r.leader, r.voters[r.leader]) == nil) {
		r.leader, r.elect = 0, w.now+time.Duration(3+w.rng.IntN(20))*tick
	}
	if len(running) < len(r.voters)/2+1 {
		return
	}
	if r.leader == 0 {
		if w.now < r.elect {
			return
		}
		best := running[w.rng.IntN(len(running))]
		for _, m := range running {
			if m.match > best.match {
				best = m
			}
		}
		if best.match < r.commit {
			w.violate("group %d: replica %d leads with %d of %d committed entries", r.id, best.id, best.match, r.commit)
		}
		r.leader, r.term = best.id, r.term+1
		w.note("group %d: replica %d leads in term %d", r.id, r.leader, r.term)
	}
	r.replicate(w, running)
	r.commits[w.now.Truncate(time.Second)] = r.commit
}

// replicate moves entries from the leader to all members that run, at a bounded
// rate, and commits what a quorum has.
func (r *simRaft) replicate(w *world, running []*simReplica) {
	lead := r.replica(w, r.leader, r.voters[r.leader])
	lead.match++
	all := running
	for _, id := range slices.Sorted(maps.Keys(r.observers)) {
		if m := r.replica(w, id, r.observers[id]); m != nil {
			all = append(all[:len(all):len(all)], m)
		}
	}
	for _, m := range all {
		if m != lead {
			m.match = min(lead.match, m.match+40)
		}
		if m.match >= r.commit-5 && w.rng.IntN(3) == 0 {
			m.cc = r.cc
		}
	}
	var matches []int
	for _, m := range running {
		matches = append(matches, m.match)
	}
	slices.SortFunc(matches, func(a, b int) int { return b - a })
	r.commit = max(r.commit, matches[len(r.voters)/2])
}

// describe fills in what a running replica says.
func (r *simRaft) describe(w *world, m *simReplica, d *drummerpb.ReplicaReport) {
	d.ConfigChange = m.cc
	if v := r.views[m.cc]; v != nil {
		_, voter := v.GetVoters()[m.id]
		d.Observer = m.join && !voter
	}
	d.Opened, d.Sealed = r.opened && m.cc > 0, r.sealed && m.cc > 0
	if r.opened {
		d.Version = 1
	}
	if !r.member(m.id) || !r.serving(w) {
		return
	}
	d.LeaderReplica, d.Term = r.leader, r.term
	if r.leader == m.id {
		d.Serving = true
		if m.cc == r.cc {
			d.Membership = r.membership()
		}
	}
}

// obey carries out an order at the leader.
func (r *simRaft) obey(w *world, o *drummerpb.Order, answer *drummerpb.OrderResult) {
	if r == nil || r.leader != o.GetReplica() || !r.serving(w) {
		answer.Detail = "it does not lead"
		return
	}
	switch b := o.GetBody().(type) {
	case *drummerpb.Order_Open:
		r.opened = true
	case *drummerpb.Order_Seal:
		r.sealed = true
	case *drummerpb.Order_Transfer:
		if r.voters[b.Transfer.GetTo()] != "" {
			r.leader, r.term = b.Transfer.GetTo(), r.term+1
		}
	case *drummerpb.Order_Change:
		if w.lossy && b.Change.GetReplica() != 0 && w.rng.IntN(6) == 0 {
			answer.Detail = "it may come true yet"
			w.later(1+w.rng.IntN(200), func() {
				if r.serving(w) {
					r.change(w, b.Change)
				}
			})
			return
		}
		if !r.change(w, b.Change) {
			answer.Detail = "rejected"
			answer.Membership = r.membership()
			return
		}
		answer.Membership = r.membership()
	}
	answer.Ok = true
}

// change applies a membership change by dragonboat's rules.
func (r *simRaft) change(w *world, c *drummerpb.Change) bool {
	id := c.GetReplica()
	if c.GetKind() == drummerpb.ChangeKind_CHANGE_KIND_UNSPECIFIED {
		return true
	}
	if c.GetConfigChange() != r.cc {
		return false
	}
	onHost := func() bool {
		for _, members := range []map[uint64]string{r.voters, r.observers} {
			for m, h := range members {
				if h == c.GetHostId() && m != id {
					return true
				}
			}
		}
		return false
	}
	switch c.GetKind() {
	case drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER:
		if r.removed[id] || r.member(id) || onHost() {
			return false
		}
		r.observers[id] = c.GetHostId()
	case drummerpb.ChangeKind_CHANGE_KIND_PROMOTE:
		if r.observers[id] != c.GetHostId() {
			return false
		}
		delete(r.observers, id)
		r.voters[id] = c.GetHostId()
	case drummerpb.ChangeKind_CHANGE_KIND_REMOVE:
		if len(r.voters) == 1 && r.voters[id] != "" {
			return false
		}
		if !r.member(id) && !w.burns {
			return true // so already: nothing is asked of Raft, no id is burnt
		}
		delete(r.voters, id)
		delete(r.observers, id)
		r.removed[id] = true
	}
	r.cc += uint64(1 + w.rng.IntN(50))
	r.views[r.cc] = r.membership()
	w.note("group %d: %s %d, config change %d", r.id, c.GetKind(), id, r.cc)
	return true
}

// checkChange is S1: when a change is ordered, a quorum of the voters after it is
// live and caught up, as far as anybody can know: what died within the freshness
// that the planner asks for counts as live.
func (r *simRaft) checkChange(w *world, c *drummerpb.Change) {
	const slack = 3 * time.Second
	after := maps.Clone(r.voters)
	switch c.GetKind() {
	case drummerpb.ChangeKind_CHANGE_KIND_REMOVE:
		delete(after, c.GetReplica())
	case drummerpb.ChangeKind_CHANGE_KIND_PROMOTE:
		after[c.GetReplica()] = c.GetHostId()
	default:
		return
	}
	needed := r.commits[(w.now - slack).Truncate(time.Second)]
	alive := 0
	for id, host := range after {
		h := w.hostOf(host)
		if h == nil || h.manifest[id] == nil || h.manifest[id].match < needed {
			continue
		}
		if h.running || w.now-h.since < slack {
			alive++
		}
	}
	if alive < len(after)/2+1 {
		w.violate("S1: group %d: %s %d leaves %d of %d voters live and caught up", r.id, c.GetKind(), c.GetReplica(), alive, len(after))
	}
	if c.GetKind() == drummerpb.ChangeKind_CHANGE_KIND_PROMOTE {
		if h := w.hostOf(c.GetHostId()); h != nil && (h.manifest[c.GetReplica()] == nil || h.manifest[c.GetReplica()].match < needed) {
			w.violate("S1: group %d: replica %d is promoted before it has caught up", r.id, c.GetReplica())
		}
	}
}
