// Package planner decides what the supervisor does next. It is pure: Plan compares
// what the record wants with what the hosts say and returns the next safe steps,
// and for every group with something open the reasons why nothing else is done.
//
// It is level-based: it never reacts to an event, only to a state, and the same
// state gives the same plan. Whoever calls it keeps an order or a proposal that is
// on its way from being issued twice.
//
// Of each group it takes at most one step that changes the record or the
// membership; groups never wait for each other except for the limits of the
// policy, which are handed out to those in the greatest danger first.
package planner

import (
	"time"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/planner/opinion"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// Liveness is what the supervisor makes of a host's silence.
type Liveness int

// Liveness of a host, from best to worst.
const (
	// Up: heard within the policy's suspect_after.
	Up Liveness = iota
	// Suspect: silent for longer; it gets nothing new.
	Suspect
	// Down: silent for longer than down_after; its replicas are replaced.
	Down
	// Lost: its data directory is gone; it never comes back under this id.
	Lost
)

// String is the word for people.
func (l Liveness) String() string {
	switch l {
	case Up:
		return "up"
	case Suspect:
		return "suspect"
	case Down:
		return "down"
	default:
		return "lost"
	}
}

// Ref names a replica.
type Ref struct {
	Group   ids.Group
	Replica ids.Replica
}

// Host is what is observed of a host in the record.
type Host struct {
	// State by its silence.
	State Liveness
	// Silent is how long nothing was heard, counted only while the supervisor
	// itself ran on time, and from taking the lead at the earliest. Death is
	// decided by it.
	Silent time.Duration
	// Age is the real time since the last message; freshness is decided by it.
	Age time.Duration
	// Connected tells that it has a session, and that the record has what it said
	// of itself: orders reach it.
	Connected bool
	// Session that its reports came from.
	Session uint64
	// Version of its program.
	Version string
	// Boot is how far it is when it starts its replicas; nil when it does not. It is
	// given no more of them meanwhile.
	Boot *drummerpb.Boot
	// Maintained tells that it is in maintenance: it gets nothing new, leads nothing, and
	// is no more than suspect however long it is silent.
	Maintained bool
	// Flapping tells that it came and went several times lately: others are chosen first.
	Flapping bool
	// Opinion is what its neighbours say while it is silent.
	opinion.Opinion
	// Replicas it reported: all of its manifest while connected, else the last known.
	Replicas map[Ref]*drummerpb.ReplicaReport
}

// Group is what is observed of a group in this leadership.
type Group struct {
	// Membership is the newest linearizable membership seen; nil for none yet.
	Membership *drummerpb.Membership
	// CaughtUp is when a replica last passed the catch-up gate since the last such order; compare it with Observed.Now.
	CaughtUp map[ids.Replica]time.Duration
	// Changing tells that an order that changes the membership, or restarts a replica, was
	// sent and has neither been answered nor given up.
	Changing bool
	// Absent holds replicas whose removal was answered with a membership that does not
	// have them, without their having been members.
	Absent map[ids.Replica]bool
	// Gone holds replicas whose hosts said that their data is removed.
	Gone map[ids.Replica]bool
	// Refused holds replicas that their hosts refused to start, with what they said.
	Refused map[ids.Replica]string
}

// Observed is everything that is known beside the record.
type Observed struct {
	// Now is the real time, since any origin.
	Now time.Duration
	// Settling tells that the supervisor has only just taken the lead and not every
	// host has had the chance to connect: no host is chosen for anything yet.
	Settling bool
	// Unsteady tells that the supervisor itself was suspended a moment ago: what it
	// heard since may be old, so no membership is changed yet.
	Unsteady bool
	// Hosts of the record by id; absent for a host never heard since taking the lead
	// and not known to the loop yet.
	Hosts map[ids.Host]*Host
	// Groups by number; absent for one of which nothing was heard.
	Groups map[ids.Group]*Group
	// Refusers holds, by full group name, hosts that lately refused to start a replica
	// of it: they are not chosen again for a while.
	Refusers map[string]map[ids.Host]bool
}

// View is what a plan is made from.
type View struct {
	// Fleet is the record.
	Fleet *fleet.View
	// Observed is the world.
	Observed *Observed
	// Pending are commands proposed and not answered yet. Their groups are left
	// alone, and the hosts that they choose count as chosen.
	Pending []*fleetpb.Command
}

// Action is one step: an order for a host, or a command for the record.
type Action struct {
	// Group concerned; 0 for none.
	Group ids.Group
	// Order to send; the sender sets its id, incarnation and term. Nil for a command.
	Order *drummerpb.Order
	// Command to propose. Nil for an order.
	Command *fleetpb.Command
	// Why, for people.
	Why string
}

// Result is a plan.
type Result struct {
	// Actions, most urgent first.
	Actions []Action
	// Reasons why a group is not as it is wanted, most important first.
	Reasons map[ids.Group][]string
	// HostReasons why a host is not as it is wanted.
	HostReasons map[ids.Host][]string
}
