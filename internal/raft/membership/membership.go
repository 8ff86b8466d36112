// Package membership says who belongs to a group, and what one change makes of it: whether
// it is so already, and why it cannot be. Pure: package raft reads and asks.
package membership

import (
	"slices"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
)

// Membership is who belongs to a group.
type Membership struct {
	// ConfigChange is the log index of the last change; the next change names it.
	ConfigChange uint64
	Voters       map[ids.Replica]ids.Host
	Observers    map[ids.Replica]ids.Host
	// Removed replicas never come back; sorted.
	Removed []ids.Replica
}

// ChangeKind is what a Change does.
type ChangeKind uint8

// Kinds of Change.
const (
	// AddObserver adds a replica without a vote.
	AddObserver ChangeKind = iota + 1
	// Promote makes an observer a voter.
	Promote
	// Remove removes a voter or observer, for ever.
	Remove
)

// Change is one change of a group's membership.
type Change struct {
	Kind    ChangeKind
	Replica ids.Replica
	// Host is where the replica is; not needed for Remove, and for Promote only checked.
	Host ids.Host
	// ConfigChange, unless 0, must match the membership that is changed.
	ConfigChange uint64
}

// Check refuses a change that makes no sense in any group.
func (c Change) Check() error {
	switch {
	case c.Kind < AddObserver || c.Kind > Remove:
		return fault.New(fault.Invalid, "unknown kind of membership change %d", c.Kind)
	case c.Replica == 0:
		return fault.New(fault.Invalid, "a membership change needs a replica")
	case c.Kind == AddObserver && c.Host == "":
		return fault.New(fault.Invalid, "replica %d needs a host to be added on", c.Replica)
	}
	return nil
}

// HostsOf makes our types of dragonboat's.
func HostsOf(targets map[uint64]string) map[ids.Replica]ids.Host {
	m := make(map[ids.Replica]ids.Host, len(targets))
	for id, host := range targets {
		m[ids.Replica(id)] = ids.Host(host)
	}
	return m
}

// Done tells whether the membership is what c wants.
func (c Change) Done(m *Membership) bool {
	_, voter := m.Voters[c.Replica]
	_, observer := m.Observers[c.Replica]
	switch c.Kind {
	case AddObserver:
		return observer && m.Observers[c.Replica] == c.Host
	case Promote:
		return voter && (c.Host == "" || m.Voters[c.Replica] == c.Host)
	case Remove:
		// An id that was never a member is burnt all the same, so that an addition that
		// is still on its way can't come true.
		return slices.Contains(m.Removed, c.Replica)
	}
	return false
}

// Forbidden says why c cannot be done to m; empty if it can. dragonboat would
// refuse most of it without a reason.
func (c Change) Forbidden(m *Membership) string {
	switch c.Kind {
	case AddObserver:
		return c.forbiddenAdd(m)
	case Promote:
		host, observer := m.Observers[c.Replica]
		if !observer {
			return "the replica to promote is no observer"
		}
		if c.Host != "" && c.Host != host {
			return "the observer is on host " + string(host)
		}
	case Remove:
		if _, voter := m.Voters[c.Replica]; voter && len(m.Voters) == 1 {
			return "the last voter cannot be removed"
		}
	}
	return ""
}

func (c Change) forbiddenAdd(m *Membership) string {
	if slices.Contains(m.Removed, c.Replica) {
		return "the replica was removed and never comes back"
	}
	if _, voter := m.Voters[c.Replica]; voter {
		return "the replica is a voter already"
	}
	if _, observer := m.Observers[c.Replica]; observer {
		return "the replica is an observer on another host"
	}
	for _, hosts := range []map[ids.Replica]ids.Host{m.Voters, m.Observers} {
		for _, host := range hosts {
			if host == c.Host {
				return "the host has a replica of the group already"
			}
		}
	}
	return ""
}
