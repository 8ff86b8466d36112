// Package change decides, purely, what the leading drummer does next for the one change of
// the drummers' own group that the record wants. It is asked again and again; each answer is
// one step, after which the facts are looked at anew. So a leader that dies in the middle
// leaves nothing behind that the next one has to know.
//
// A newcomer copies the record as an observer and is given its vote when it has caught up.
// Whoever it replaces goes before that if it is dead, and after it if it lives: the group is
// never nearer to losing its quorum than it was. Nobody is removed while the others would
// not have a quorum that answers.
package change

import (
	"fmt"
	"slices"

	"github.com/drumline/drumline/drummer/fleet/drummers"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Scene is what the leader sees.
type Scene struct {
	// Self is the leader's number.
	Self uint64
	// List is that of the record.
	List drummers.List
	// Voters, Observers and Removed are the group's, from a linearizable read.
	Voters, Observers, Removed []uint64
	// Seen are the drummers that answered just now, as who the record has them.
	Seen map[uint64]Sight
}

// Sight is what a drummer said of itself.
type Sight struct {
	// Proven: it answered a linearizable read on its own replica.
	Proven bool
	// Voter: its replica has applied that it votes.
	Voter bool
}

// Kind is what a step does.
type Kind uint8

// Kinds of Step.
const (
	// Wait: nothing can be done now; Why says what for.
	Wait Kind = iota
	// Observe adds the drummer to the group without a vote.
	Observe
	// Promote gives it its vote.
	Promote
	// Remove removes it for ever.
	Remove
	// HandOver gives the lead to drummer Number: the leader is to go itself.
	HandOver
	// Joined tells the record that the drummer votes.
	Joined
	// Gone tells it that the drummer was removed.
	Gone
)

// Step is what to do next. Why is for people.
type Step struct {
	Kind   Kind
	Number uint64
	Why    string
}

// Next returns the next step; ok is false when no change is wanted.
func Next(s Scene) (step Step, ok bool) {
	d := s.List.Pending()
	if d == nil {
		return Step{}, false
	}
	if d.GetState() == fleetpb.DrummerState_DRUMMER_STATE_LEAVING {
		return s.leave(d), true
	}
	return s.join(d), true
}

func (s *Scene) join(d *fleetpb.Drummer) Step {
	n := d.GetNumber()
	old := s.List.Get(d.GetReplaces())
	_, answers := s.Seen[n]
	switch {
	case slices.Contains(s.Removed, n):
		return Step{Gone, n, "it was removed from the group"}
	case slices.Contains(s.Voters, n):
		return s.settle(d, old)
	case !slices.Contains(s.Observers, n):
		return Step{Observe, n, "it is added without a vote"}
	case !answers:
		return wait(n, "it does not answer at %s: see that it runs with --join", d.GetApi())
	case !s.Seen[n].Proven:
		return wait(n, "it copies the record")
	}
	if old != nil && slices.Contains(s.Removed, old.GetNumber()) {
		return Step{Gone, old.GetNumber(), "the one that it replaces is removed"}
	}
	if old != nil && slices.Contains(s.Voters, old.GetNumber()) {
		if _, lives := s.Seen[old.GetNumber()]; !lives {
			return s.drop(old.GetNumber())
		}
	}
	after := append(slices.Clone(s.Voters), n)
	if missing := s.missing(after); missing > 0 {
		return wait(n, "of %d drummers that would vote %d more must answer; remove or replace one that is lost first", len(after), missing)
	}
	return Step{Promote, n, "it has caught up and gets its vote"}
}

// settle ends a join: the newcomer votes, and knows it.
func (s *Scene) settle(d, old *fleetpb.Drummer) Step {
	n := d.GetNumber()
	if old != nil {
		switch o := old.GetNumber(); {
		case slices.Contains(s.Removed, o):
			return Step{Gone, o, "the one that it replaces is removed"}
		case !s.Seen[n].Voter:
			return wait(n, "it has not heard of its vote yet")
		default:
			return s.drop(o)
		}
	}
	if !s.Seen[n].Voter {
		return wait(n, "it has not heard of its vote yet")
	}
	return Step{Joined, n, "it votes"}
}

// leave has a drummer go. If it was to replace another one that is out of the group already, the
// record hears of that first: nothing else would tell it any more.
func (s *Scene) leave(d *fleetpb.Drummer) Step {
	if old := s.List.Get(d.GetReplaces()); old != nil && slices.Contains(s.Removed, old.GetNumber()) {
		return Step{Gone, old.GetNumber(), "the one that it was to replace is removed"}
	}
	if slices.Contains(s.Removed, d.GetNumber()) {
		return Step{Gone, d.GetNumber(), "it is removed"}
	}
	return s.drop(d.GetNumber())
}

// drop removes a drummer as soon as the others can go on without it. One that is not in the
// group yet is removed as well: an addition that is still on its way comes too late then.
func (s *Scene) drop(n uint64) Step {
	if !slices.Contains(s.Voters, n) {
		return Step{Remove, n, "it is removed; it has no vote"}
	}
	rest := slices.DeleteFunc(slices.Clone(s.Voters), func(v uint64) bool { return v == n })
	switch missing := s.missing(rest); {
	case len(rest) == 0:
		return wait(n, "it is the last one that votes")
	case missing > 0:
		return wait(n, "of the %d drummers that would be left %d more must answer; add it again if it has to stay", len(rest), missing)
	case n != s.Self:
		return Step{Remove, n, "it is removed"}
	}
	for _, v := range rest {
		if s.votes(v) {
			return Step{HandOver, v, "the leader is to be removed and hands the lead over"}
		}
	}
	return wait(n, "no other drummer can take the lead now")
}

// missing is how many of these voters would have to answer yet to make a quorum.
func (s *Scene) missing(voters []uint64) int {
	answer := 0
	for _, v := range voters {
		if _, seen := s.Seen[v]; seen {
			answer++
		}
	}
	return max(0, len(voters)/2+1-answer)
}

// votes tells whether a drummer answers and knows that it votes.
func (s *Scene) votes(n uint64) bool { return s.Seen[n].Voter }

func wait(n uint64, format string, args ...any) Step {
	return Step{Wait, n, fmt.Sprintf(format, args...)}
}
