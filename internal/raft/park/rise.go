package park

import (
	"maps"
	"slices"

	"github.com/drumline/drumline/internal/ids"
)

// View is what a host knows of a replica that it has just loaded.
type View struct {
	Self ids.Replica
	// Ready: it has recovered its data.
	Ready    bool
	Observer bool
	// Leader is zero when unknown.
	Leader ids.Replica
	Term   uint64
	Voters map[ids.Replica]ids.Host
}

// Action is what to do for a replica that is rising.
type Action struct {
	// Call: tell these voters that this replica is up or will be, and ask them to be.
	Call []ids.Replica
	// Stand for election.
	Stand bool
	// Done: there is nothing more to do.
	Done bool
}

// Waits of Rise, in ticks.
const (
	// modesty is how long a replica that was loaded for its peer's sake leaves the
	// election to the peer; its rank among the voters comes on top, twice.
	modesty = 3
	// doubt is how long a leader is waited for of whom a peer has told.
	doubt = 4
	// again is the time between two candidatures, besides rank.
	again = 5
)

// Rise is the way of a replica back into its group, from when it is loaded until it
// knows a leader. A fresh replica would wait for an election timeout before it stands,
// and its peers may be unloaded: their votes would come too late for its term, and a
// candidate that failed waits for another timeout. So it calls its peers first and
// stands as soon as enough of them are up; where some say that there is a leader, it
// waits for that one. Should all this fail, Raft's own elections are still to come, and
// ask for votes, which loads the peers as well.
type Rise struct {
	// asked: a caller waits for this replica, so it stands first.
	asked bool
	// ticks since it was loaded, and since it is ready.
	ticks, ready int
	called       bool // before it was ready
	announced    bool // that it is ready
	nextCall     int
	nextStand    int
	term         uint64
	// up are the peers that were heard, with the leader that each told of.
	up map[ids.Replica]ids.Replica
}

// NewRise begins; asked says that a caller waits for the replica.
func NewRise(asked bool) *Rise {
	return &Rise{asked: asked, nextCall: 2, up: make(map[ids.Replica]ids.Replica)}
}

// Ask notes that a caller waits.
func (r *Rise) Ask() { r.asked = true }

// Heard notes that a peer is up and whom it takes for the leader.
func (r *Rise) Heard(from, leader ids.Replica) { r.up[from] = leader }

// Tick notes that a tick has passed.
func (r *Rise) Tick(v View) {
	r.ticks++
	if v.Ready {
		r.ready++
	}
}

// Next decides what to do now. patience is after how many ticks Raft is left to itself.
func (r *Rise) Next(v View, patience int) Action {
	if (v.Ready && v.Leader != 0) || r.ticks > patience {
		return Action{Done: true}
	}
	var a Action
	peers := peersOf(v)
	if r.callsNow(v, len(peers)) {
		a.Call = slices.DeleteFunc(peers, func(id ids.Replica) bool {
			_, up := r.up[id]
			return up && r.ready > 0 // who is up knows all; but tell all, once, that this one is
		})
	}
	a.Stand = r.standsNow(v)
	return a
}

// callsNow calls when it is loaded, when it is ready, and at ever longer intervals.
func (r *Rise) callsNow(v View, peers int) bool {
	switch {
	case peers == 0:
		return false
	case v.Ready && !r.announced:
		r.announced, r.called = true, true
	case !r.called:
		r.called = true
	case r.ticks >= r.nextCall:
		r.nextCall = 2 * r.ticks
	default:
		return false
	}
	return true
}

func (r *Rise) standsNow(v View) bool {
	if _, voter := v.Voters[v.Self]; !voter || !v.Ready || v.Observer {
		return false
	}
	rank := rankOf(v)
	if v.Term > r.term {
		// Somebody stood, maybe this one: time for that to come to something.
		if r.term != 0 {
			r.nextStand = max(r.nextStand, r.ready+again+rank)
		}
		r.term = v.Term
	}
	if r.ready < r.nextStand || r.ready < r.patience(v, rank) || !r.enough(v) {
		return false
	}
	r.nextStand = r.ready + 1
	return true
}

// patience is from which tick of readiness on this replica stands.
func (r *Rise) patience(v View, rank int) int {
	wait := 0
	if !r.asked {
		wait = modesty + 2*rank
	}
	for id, leader := range r.up {
		if _, voter := v.Voters[id]; !voter || leader == 0 || leader == v.Self {
			continue
		}
		wait = max(wait, doubt)
		if leader == id {
			wait = max(wait, 2*doubt) // it sends a heartbeat, unless it just lost its office
		}
	}
	return wait
}

// enough tells whether a quorum of the voters is up, this one included.
func (r *Rise) enough(v View) bool {
	n := 1
	for id := range r.up {
		if _, voter := v.Voters[id]; voter && id != v.Self {
			n++
		}
	}
	return n > len(v.Voters)/2
}

// peersOf lists the other voters, in order.
func peersOf(v View) []ids.Replica {
	ps := slices.Sorted(maps.Keys(v.Voters))
	return slices.DeleteFunc(ps, func(id ids.Replica) bool { return id == v.Self })
}

// rankOf is the replica's place among the voters, so that no two wait equally long.
func rankOf(v View) int {
	rank := 0
	for id := range v.Voters {
		if id < v.Self {
			rank++
		}
	}
	return rank
}
