// Package member reads the members of a group in the record, and compares them with a
// membership that the group itself told.
package member

import (
	"cmp"
	"maps"
	"slices"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// Quorum is how many of so many voters decide.
func Quorum(voters int) int { return voters/2 + 1 }

// Active tells whether a replica is or shall be a member.
func Active(r *fleetpb.Replica) bool {
	return r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED
}

// Candidate is the replica that is being built; a group has one at most. Nil for none.
func Candidate(g *fleetpb.Group) *fleetpb.Replica {
	if s := g.GetState(); s != fleetpb.GroupState_GROUP_STATE_OPENING && s != fleetpb.GroupState_GROUP_STATE_OPEN {
		return nil
	}
	for _, r := range g.GetReplicas() {
		if Active(r) && !r.GetVoter() {
			return r
		}
	}
	return nil
}

// Recorded returns the record's replica of that number, or nil.
func Recorded(g *fleetpb.Group, id uint64) *fleetpb.Replica {
	for _, r := range g.GetReplicas() {
		if r.GetId() == id {
			return r
		}
	}
	return nil
}

// Known tells that the record has all members of the group, as members.
func Known(g *fleetpb.Group, m *drummerpb.Membership) bool {
	for _, ids := range []map[uint64]string{m.GetVoters(), m.GetObservers()} {
		for id := range ids {
			if r := Recorded(g, id); r == nil || !Active(r) {
				return false
			}
		}
	}
	return true
}

// Stranger is the first member that the record does not know, voters before observers; 0 for
// none. An observer whose number the record gave is one that it has given up.
func Stranger(g *fleetpb.Group, m *drummerpb.Membership, gave func(ids.Replica) bool) uint64 {
	voter, observer := uint64(0), uint64(0)
	for id := range m.GetVoters() {
		if Recorded(g, id) == nil && (voter == 0 || id < voter) {
			voter = id
		}
	}
	for id := range m.GetObservers() {
		if Recorded(g, id) == nil && !gave(ids.Replica(id)) && (observer == 0 || id < observer) {
			observer = id
		}
	}
	return cmp.Or(voter, observer)
}

// News is what the record should learn of a membership; nil for nothing. Absent are
// replicas that are no members although the group never removed them.
func News(g *fleetpb.Group, m *drummerpb.Membership, absent map[ids.Replica]bool) *fleetpb.MembershipSeen {
	if m == nil || m.GetConfigChange() < g.GetConfigChange() || len(m.GetVoters()) == 0 {
		return nil
	}
	news := m.GetConfigChange() > g.GetConfigChange()
	var gone []uint64
	for _, r := range g.GetReplicas() {
		_, voter := m.GetVoters()[r.GetId()]
		_, observer := m.GetObservers()[r.GetId()]
		removed := slices.Contains(m.GetRemoved(), r.GetId()) || !voter && !observer && absent[ids.Replica(r.GetId())]
		if removed {
			gone = append(gone, r.GetId())
		}
		news = news || Active(r) && (removed || voter != r.GetVoter())
	}
	if !news {
		return nil
	}
	return &fleetpb.MembershipSeen{
		Group: g.GetId(), ConfigChange: m.GetConfigChange(), Voters: Sorted(m.GetVoters()), Observers: Sorted(m.GetObservers()), Removed: gone,
	}
}

// Sorted are the numbers of members.
func Sorted(members map[uint64]string) []uint64 {
	if len(members) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(members))
}

// Runs tells that a replica takes part in its group, by its host's word: it is neither down
// nor about to try again.
func Runs(r *drummerpb.ReplicaReport) bool {
	return r.GetState() != drummerpb.ReplicaState_REPLICA_STATE_DOWN && r.GetState() != drummerpb.ReplicaState_REPLICA_STATE_STARTING
}

// Source tells whether a group that is not open yet may begin with the state of a replica
// of another one; to is nil for none.
func Source(to, from *fleetpb.Group, replica uint64) bool {
	if to.GetOrigin() == nil || to.GetOrigin().GetGroup() != from.GetId() {
		return false
	}
	if s := to.GetState(); s != fleetpb.GroupState_GROUP_STATE_LAUNCHING && s != fleetpb.GroupState_GROUP_STATE_OPENING {
		return false
	}
	return slices.ContainsFunc(to.GetOrigin().GetSources(), func(s *fleetpb.Source) bool { return s.GetReplica() == replica })
}

// Emptied is the host as if it were being emptied.
func Emptied(h *fleetpb.Host) *fleetpb.Host {
	return &fleetpb.Host{
		Id: h.GetId(), Name: h.GetName(), Region: h.GetRegion(), Zone: h.GetZone(), Labels: h.GetLabels(), Apps: h.GetApps(),
		Wanted: &fleetpb.HostWanted{Duty: fleetpb.HostDuty_HOST_DUTY_LEAVING},
	}
}
