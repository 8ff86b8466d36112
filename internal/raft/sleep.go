package raft

import (
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/hibernate"
)

// sleepers is the Host as its hibernate.Waker sees it.
type sleepers struct{ h *Host }

var _ hibernate.Replicas = sleepers{}

// Groups implements hibernate.Replicas.
func (s sleepers) Groups() []hibernate.Group {
	rs := s.h.all()
	gs := make([]hibernate.Group, len(rs))
	for i, r := range rs {
		gs[i] = r.sleeper()
	}
	return gs
}

// Act implements hibernate.Replicas.
func (s sleepers) Act(a hibernate.Act, groups []ids.Group) {
	rs := make([]*replica, 0, len(groups))
	for _, g := range groups {
		r, err := s.h.replica(g)
		if err == nil && (a != hibernate.Stand || r.sleeper().Leader == 0) {
			rs = append(rs, r)
		}
	}
	s.h.act(a, rs...)
}

// sleeper is the replica as a Waker sees it.
func (r *replica) sleeper() hibernate.Group {
	r.mu.Lock()
	defer r.mu.Unlock()
	return hibernate.Group{ID: r.spec.Group, Self: r.spec.ID, Leader: r.leader, Voters: r.members.voters}
}

// stirred is to be called for whatever wants something of the group: it ends the
// sleep of a replica, of which proposals and transfers take no notice, before its
// group notices. It costs next to nothing when it was called lately.
func (r *replica) stirred() {
	if epoch := r.host.waker.Epoch(); r.epoch.Load() != epoch {
		r.epoch.Store(epoch)
		r.host.act(hibernate.Stir, r)
	}
}
