// Package members is who belongs to a simulated Raft group, and the rules of Raft and of
// our Raft host by which that changes.
package members

import (
	"maps"
	"slices"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/mutant"
)

// Set are the members of one group. The maps are by replica, to the id of its host.
type Set struct {
	Voters, Observers map[uint64]string
	Removed           map[uint64]bool
	// CC is the config change id, which grows with every change.
	CC uint64
}

// First are those that a group is launched with.
func First(voters map[ids.Replica]ids.Host) Set {
	s := Set{Voters: map[uint64]string{}, Observers: map[uint64]string{}, Removed: map[uint64]bool{}, CC: uint64(len(voters))}
	for r, h := range voters {
		s.Voters[uint64(r)] = string(h)
	}
	return s
}

// From are those of a membership that was read; its maps become the set's.
func From(m *drummerpb.Membership) Set {
	s := Set{Voters: m.GetVoters(), Observers: m.GetObservers(), Removed: map[uint64]bool{}, CC: m.GetConfigChange()}
	for _, id := range m.GetRemoved() {
		s.Removed[id] = true
	}
	return s
}

// Copy is the membership as a host would read it.
func (s *Set) Copy() *drummerpb.Membership {
	return &drummerpb.Membership{
		ConfigChange: s.CC, Voters: maps.Clone(s.Voters), Observers: maps.Clone(s.Observers), Removed: slices.Sorted(maps.Keys(s.Removed)),
	}
}

// Place is where a member is; empty when the id is none.
func (s *Set) Place(id uint64) string {
	if h, ok := s.Voters[id]; ok {
		return h
	}
	return s.Observers[id]
}

// On tells that a host has a member of the group.
func (s *Set) On(host string) bool {
	for _, members := range []map[uint64]string{s.Voters, s.Observers} {
		for _, h := range members {
			if h == host {
				return true
			}
		}
	}
	return false
}

// So tells that the membership is what the change wants.
func (s *Set) So(c *drummerpb.Change) bool {
	id, host := c.GetReplica(), c.GetHostId()
	switch c.GetKind() {
	case drummerpb.ChangeKind_CHANGE_KIND_UNSPECIFIED:
		return true
	case drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER:
		return s.Observers[id] == host && host != ""
	case drummerpb.ChangeKind_CHANGE_KIND_PROMOTE:
		at, voter := s.Voters[id]
		return voter && (host == "" || at == host)
	default:
		return s.Removed[id]
	}
}

// Forbids says why the change is against the rules; empty when it is not.
func (s *Set) Forbids(c *drummerpb.Change) string {
	if c.GetConfigChange() != 0 && c.GetConfigChange() != s.CC {
		return "the membership is at another change"
	}
	id, host := c.GetReplica(), c.GetHostId()
	_, voter := s.Voters[id]
	at, observer := s.Observers[id]
	switch c.GetKind() {
	case drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER:
		switch {
		case s.Removed[id]:
			return "the replica was removed and never comes back"
		case voter || observer:
			return "the replica is a member already"
		case s.On(host):
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
		if voter && len(s.Voters) == 1 {
			return "the last voter cannot be removed"
		}
	}
	return ""
}

// Make makes a change that the rules allow, as the next one of that number.
func (s *Set) Make(c *drummerpb.Change, number uint64) {
	id := c.GetReplica()
	switch c.GetKind() {
	case drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER:
		s.Observers[id] = c.GetHostId()
	case drummerpb.ChangeKind_CHANGE_KIND_PROMOTE:
		delete(s.Observers, id)
		s.Voters[id] = c.GetHostId()
	case drummerpb.ChangeKind_CHANGE_KIND_REMOVE:
		delete(s.Voters, id)
		delete(s.Observers, id)
		s.Removed[id] = true
	}
	s.CC = number
}
