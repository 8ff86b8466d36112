// Package survey looks at the members of one group: who votes, who lives, who is to be
// replaced, who is being built and who goes. It decides nothing.
package survey

import (
	"github.com/drumline/drumline/drummer/planner/member"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Condition of a replica as the supervisor sees it.
type Condition int

// Conditions.
const (
	// Live: its host is up and says that it runs, in the role that it has.
	Live Condition = iota
	// Rising: its host is up; the replica starts, or has not applied its promotion.
	Rising
	// Silent: its host is not heard, for less than it takes to be down.
	Silent
	// Dead: to be replaced.
	Dead
)

// Survey is a group's members by their condition. It must not be copied: its lists lie in
// it.
type Survey struct {
	Group *fleetpb.Group
	// Want is how many voters it shall have.
	Want int
	// Voters by id, Conds of each of them; Alive counts the live ones, Dead lists the dead.
	Voters []*fleetpb.Replica
	Conds  []Condition
	Alive  int
	Dead   []*fleetpb.Replica
	// Candidate is the observer being built; nil for none.
	Candidate *fleetpb.Replica
	// Victim is the live voter that a move takes away: the candidate, or a voter that was
	// it, is there in its place. Nil for none.
	Victim *fleetpb.Replica

	// Leader and Members are set once the membership is known to be current.
	Leader  *fleetpb.Replica
	Members *drummerpb.Membership

	few struct { // the voters of nearly all groups lie beside the rest
		voters [5]*fleetpb.Replica
		conds  [5]Condition
	}
}

// Fill makes it the survey of a group, whatever it was before.
func (s *Survey) Fill(g *fleetpb.Group, condition func(*fleetpb.Replica) Condition) {
	*s = Survey{Group: g, Want: int(g.GetSpec().GetReplicas()), Candidate: member.Candidate(g)}
	s.Voters, s.Conds = s.few.voters[:0], s.few.conds[:0]
	for _, r := range g.GetReplicas() {
		if !member.Active(r) || !r.GetVoter() {
			continue
		}
		c := condition(r)
		s.Voters, s.Conds = append(s.Voters, r), append(s.Conds, c)
		switch c {
		case Live:
			s.Alive++
		case Dead:
			s.Dead = append(s.Dead, r)
		}
	}
	for _, r := range g.GetReplicas() {
		if old := member.Recorded(g, r.GetReplaces()); r.GetMove() && member.Active(r) && old != nil && member.Active(old) && old.GetVoter() {
			s.Victim = old
		}
	}
}

// Moves tells whether the candidate is to take a live voter's place.
func (s *Survey) Moves() bool {
	return s.Victim != nil && s.Candidate != nil && s.Candidate.GetMove() && s.Candidate.GetReplaces() == s.Victim.GetId()
}

// Whole tells whether nothing is to be done.
func (s *Survey) Whole() bool {
	return s.Candidate == nil && len(s.Voters) == s.Want && s.Alive == s.Want
}

// Short tells whether another voter is needed.
func (s *Survey) Short() bool { return len(s.Dead) > 0 || len(s.Voters) < s.Want }

// Content tells whether there is nothing to change about its members, as when a voter is
// away and may come back.
func (s *Survey) Content() bool {
	return s.Candidate == nil && !s.Short() && len(s.Voters) <= s.Want
}
