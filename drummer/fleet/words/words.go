// Package words is the fleet record's vocabulary: its kinds of operation, what duties and
// states mean, and how events name them for people. Events and operations keep these words,
// so what they are does not change.
package words

import (
	"fmt"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
)

// StateWord is a group's state as a word for people.
func StateWord(s fleetpb.GroupState) string {
	switch s {
	case fleetpb.GroupState_GROUP_STATE_LAUNCHING:
		return "launching"
	case fleetpb.GroupState_GROUP_STATE_OPENING:
		return "opening"
	case fleetpb.GroupState_GROUP_STATE_OPEN:
		return "open"
	case fleetpb.GroupState_GROUP_STATE_SEALING:
		return "being sealed"
	case fleetpb.GroupState_GROUP_STATE_PURGING:
		return "being purged"
	case fleetpb.GroupState_GROUP_STATE_RETIRED:
		return "retired"
	default:
		return "unknown"
	}
}

// Full is a group's full name: with its region, where each has one of that name.
func Full(g *fleetpb.Group) string { return statemachines.NameOf(g.GetSpec()) }

// Nameless tells that a group has no name any more: another one may have it.
func Nameless(g *fleetpb.Group) bool {
	return g.GetState() == fleetpb.GroupState_GROUP_STATE_PURGING || g.GetState() == fleetpb.GroupState_GROUP_STATE_RETIRED
}

// OriginText is where a group's first state is from.
func OriginText(o *fleetpb.Origin) string {
	if o.GetGroup() == 0 {
		return "a file"
	}
	return fmt.Sprintf("group %d", o.GetGroup())
}

// DutyWord is what is wanted of a host, for people.
func DutyWord(d fleetpb.HostDuty) string {
	switch d {
	case fleetpb.HostDuty_HOST_DUTY_CORDONED:
		return "cordoned"
	case fleetpb.HostDuty_HOST_DUTY_DRAINING:
		return "draining"
	case fleetpb.HostDuty_HOST_DUTY_LEAVING:
		return "leaving"
	default:
		return "serving"
	}
}

// Leaves tells whether a duty takes everything off its host.
func Leaves(d fleetpb.HostDuty) bool { return d >= fleetpb.HostDuty_HOST_DUTY_DRAINING }

// weight in percent.
func weight(w *fleetpb.HostWanted) uint32 {
	if w.GetWeight() == 0 {
		return 100
	}
	return w.GetWeight()
}

// Weight of a host in percent of an ordinary one's share.
func Weight(h *fleetpb.Host) uint32 { return weight(h.GetWanted()) }

// AskedBy names who asked, if they said so.
func AskedBy(author string) string {
	if author == "" {
		return ""
	}
	return " by " + author
}

// By is AskedBy after a comma.
func By(author string) string {
	if author == "" {
		return ""
	}
	return ", by " + author
}

// DrummerState is how a drummer's state is called; ok is false for none that is known.
func DrummerState(s fleetpb.DrummerState) (word string, ok bool) {
	switch s {
	case fleetpb.DrummerState_DRUMMER_STATE_MEMBER:
		return "member", true
	case fleetpb.DrummerState_DRUMMER_STATE_JOINING:
		return "joining", true
	case fleetpb.DrummerState_DRUMMER_STATE_LEAVING:
		return "leaving", true
	}
	return "", false
}
