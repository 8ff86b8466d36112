// Package crew changes who the drummers of a simulated cluster are: the record's wish, the
// steps that the leading drummer takes (the real decisions, package change), and a Raft
// group that obeys its rules of membership.
package crew

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/members/change"
	"github.com/drumline/drumline/drummer/sim/cluster"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Crew is the Raft membership of the drummers' own group, once it is to change. Before,
// all drummers vote.
type Crew struct {
	// Step is called behind each step, with the number of the drummer that it was about.
	Step func(kind change.Kind, number uint64)

	w                          *cluster.World
	voters, observers, removed map[uint64]bool
	cc                         uint64
	since                      map[uint64]time.Duration // since when each is what it is
	managing                   bool
}

// New is the crew of a cluster.
func New(w *cluster.World) *Crew { return &Crew{w: w} }

// copies is how long a newcomer copies the record, at most.
const copies = 12 * time.Second

// numbered returns the process of a drummer; nil for none.
func (c *Crew) numbered(n uint64) *cluster.Drummer {
	if n == 0 || n > uint64(len(c.w.Drummers)) {
		return nil
	}
	return c.w.Drummers[n-1]
}

func identity(n uint64) *fleetpb.Drummer {
	name := fmt.Sprintf("d%d", n)
	return &fleetpb.Drummer{Number: n, HostId: name, Name: name, Api: name + ":1", Raft: name + ":2"}
}

// found writes the first drummers down, once.
func (c *Crew) found() bool {
	if c.voters != nil {
		return true
	}
	first := &fleetpb.FoundDrummers{}
	voters := map[uint64]bool{}
	for _, d := range c.w.Drummers {
		first.Drummers = append(first.Drummers, identity(d.Number()))
		voters[d.Number()] = true
	}
	if c.w.Ask(&fleetpb.Command{Op: &fleetpb.Command_FoundDrummers{FoundDrummers: first}}).GetCode() != fleetpb.Code_CODE_OK {
		return false
	}
	c.voters, c.observers, c.removed = voters, map[uint64]bool{}, map[uint64]bool{}
	c.since, c.cc, c.w.Votes = map[uint64]time.Duration{}, uint64(len(voters)), voters
	return true
}

// Add has a new drummer join, in the place of another one unless replaces is 0. It
// tells whether the record took the wish.
func (c *Crew) Add(replaces uint64) bool {
	if !c.found() {
		return false
	}
	n := c.w.Record.Freeze().Drummers().Next
	d := identity(n)
	d.Replaces, d.Number = replaces, 0
	if c.w.Ask(&fleetpb.Command{Op: &fleetpb.Command_AddDrummer{AddDrummer: &fleetpb.AddDrummer{Drummer: d}}}).GetCode() != fleetpb.Code_CODE_OK {
		return false
	}
	if got := c.w.AddDrummer().Number(); got != n {
		c.w.Violate("M2: the next drummer is the %d. that ever was, and gets number %d", got, n)
	}
	c.manage()
	return true
}

// Remove has a drummer leave for good. It tells whether the record took the wish.
func (c *Crew) Remove(n uint64) bool {
	if !c.found() || c.w.Ask(&fleetpb.Command{Op: &fleetpb.Command_RemoveDrummer{RemoveDrummer: &fleetpb.RemoveDrummer{Number: n}}}).GetCode() != fleetpb.Code_CODE_OK {
		return false
	}
	c.manage()
	return true
}

// Keep has a drummer stay that was to leave.
func (c *Crew) Keep(n uint64) {
	d := identity(n)
	d.Number = 0 // the record knows it by its host
	c.w.Ask(&fleetpb.Command{Op: &fleetpb.Command_AddDrummer{AddDrummer: &fleetpb.AddDrummer{Drummer: d}}})
	c.manage()
}

// manage has the leader of the drummers take one step after the other, until no change of
// their group is wanted any more.
func (c *Crew) manage() {
	if c.managing {
		return
	}
	c.managing = true
	var round func()
	round = func() {
		if c.w.Record.Freeze().Drummers().Pending() == nil {
			c.managing = false
			return
		}
		plan := c.w.Routine
		if d := c.w.Lead(); d != nil && c.advance(d) {
			plan = c.w.Later
		}
		plan(c.w.Between(700*time.Millisecond, 1500*time.Millisecond), round)
	}
	c.w.Later(c.w.Between(10*time.Millisecond, 300*time.Millisecond), round)
}

// advance plans one step on what the leader sees, which is carried out a moment later.
func (c *Crew) advance(d *cluster.Drummer) bool {
	step, ok := change.Next(change.Scene{
		Self: d.Number(), List: c.w.Record.Freeze().Drummers(), Seen: c.sight(d),
		Voters: slices.Sorted(maps.Keys(c.voters)), Observers: slices.Sorted(maps.Keys(c.observers)), Removed: slices.Sorted(maps.Keys(c.removed)),
	})
	if !ok || step.Kind == change.Wait {
		return false
	}
	c.w.Note("drummers: step %d of drummer %d: %s", step.Kind, step.Number, step.Why)
	cc, term := c.cc, c.w.Term()
	c.w.Later(c.w.Between(20*time.Millisecond, 600*time.Millisecond), func() {
		if c.w.Lead() == d && c.w.Term() == term && c.cc == cc {
			c.carry(step)
		}
	})
	return true
}

// sight is which drummers answer the leader, and what they say.
func (c *Crew) sight(d *cluster.Drummer) map[uint64]change.Sight {
	seen := map[uint64]change.Sight{}
	for _, listed := range c.w.Record.Freeze().Drummers().All {
		n := listed.GetNumber()
		o := c.numbered(n)
		if o == nil || !o.Up() || o.Paused || o != d && (o.Apart || d.Apart) || o != d && c.w.Lossy && c.w.One(6) {
			continue
		}
		is := c.w.Now - c.since[n]
		seen[n] = change.Sight{Proven: c.voters[n] || c.observers[n] && is > copies, Voter: c.voters[n] && is > time.Second}
	}
	return seen
}

// carry does a step by the rules of Raft.
func (c *Crew) carry(s change.Step) {
	n := s.Number
	c.w.Active = c.w.Now
	c.w.Book.Mark('m', c.w.Now, uint64(s.Kind), n)
	switch s.Kind {
	case change.Observe:
		if !c.removed[n] && !c.voters[n] {
			c.observers[n] = true
			c.changed(n)
		}
	case change.Promote:
		if c.observers[n] {
			delete(c.observers, n)
			c.voters[n] = true
			c.changed(n)
		}
	case change.Remove:
		delete(c.observers, n)
		delete(c.voters, n)
		c.removed[n] = true
		c.changed(n)
		c.hearOfRemoval(n)
	case change.HandOver:
		if o := c.numbered(n); o.Majority() {
			c.w.Elect(o)
		}
	case change.Joined, change.Gone:
		c.w.Ask(&fleetpb.Command{Op: &fleetpb.Command_DrummerSettled{DrummerSettled: &fleetpb.DrummerSettled{Number: n, Gone: s.Kind == change.Gone}}})
	default:
	}
	c.Step(s.Kind, n)
}

func (c *Crew) changed(n uint64) {
	c.cc++
	c.since[n] = c.w.Now
	c.w.LookToLead()
}

// hearOfRemoval has a removed drummer stop for good, soon or never.
func (c *Crew) hearOfRemoval(n uint64) {
	o := c.numbered(n)
	if o == nil || c.w.One(3) {
		return
	}
	c.w.Later(c.w.Between(0, 5*time.Second), o.Spend)
}

// Voters are who votes in the drummers' group by Raft's own word; alive counts those of them
// that are up and heard by the leader, or were until so long ago.
func (c *Crew) Voters(long time.Duration) (voters []uint64, alive int) {
	lead := c.w.Lead()
	for _, d := range c.w.Drummers {
		if c.voters != nil && !c.voters[d.Number()] {
			continue
		}
		voters = append(voters, d.Number())
		well := d.Up() && !d.Paused && !d.Apart && (lead == nil || !lead.Apart)
		if well || c.w.Now-d.Changed < long {
			alive++
		}
	}
	return voters, alive
}
