package cluster

import (
	"fmt"
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/loop"
	"github.com/drumline/drumline/drummer/planner"
	"github.com/drumline/drumline/drummer/sim/cluster/drift"
	"github.com/drumline/drumline/drummer/sim/cluster/twice"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/mutant"
)

// passPeriod keeps passes on time for a clock that runs a little fast.
const passPeriod = loop.PassPeriod * 9 / 5

// Drummer is a master: a loop, what drives it, and what it knows.
type Drummer struct {
	w     *World
	Index int
	Core  *loop.Core
	Clock drift.Clock

	up, Paused bool
	Spent      bool // its disk is lost, or it was removed: it never runs again
	Apart      bool // cut off from the other drummers
	Deaf, Mute bool // hears no host, is heard by none

	leads    bool // and believes it
	term     uint64
	Reign    int // what belongs to an earlier one is dropped
	Led      time.Duration
	View     *fleet.View
	Floor    *fleet.View  // the record when it took the lead
	inbox    []loop.Event // while paused
	sessions []*Session

	nextPass, lastPass time.Duration
	// asleep is for how long it was paused, in this reign; since when it is.
	asleep, since time.Duration
	// Changed is when it came up or went down last.
	Changed time.Duration
}

func newDrummer(w *World, index int) *Drummer {
	d := &Drummer{w: w, Index: index, up: true}
	d.restart()
	return d
}

// restart is a new process.
func (d *Drummer) restart() {
	o := loop.Options{Deployment: "sim", Fleet: "sim"}
	if d.w.Twice {
		o.Planned = func(v planner.View, r planner.Result) {
			if what := twice.Differs(v, r); what != "" {
				d.w.Violate("%s", what)
			}
		}
	}
	d.Core = loop.New(o)
	d.Clock = drift.Draw(d.w.Rng)
	d.Reign++
}

// Number of the drummer in its group, which is never another's.
func (d *Drummer) Number() uint64 { return uint64(d.Index) + 1 }

func (d *Drummer) votes() bool { return d.w.Votes == nil || d.w.Votes[d.Number()] }

// Up tells that its process is there, suspended or not.
func (d *Drummer) Up() bool { return d.up }

// Spend ends a drummer for good: it was removed, or its disk is lost.
func (d *Drummer) Spend() {
	d.Spent = true
	if d.up {
		d.Crash()
	}
}

// AddDrummer starts a new one, which votes when its group says so.
func (w *World) AddDrummer() *Drummer {
	d := newDrummer(w, len(w.Drummers))
	w.Drummers = append(w.Drummers, d)
	return d
}

// Term of the drummers' group.
func (w *World) Term() uint64 { return w.term }

// Majority tells that its group's entries reach a majority.
func (d *Drummer) Majority() bool {
	n, all := 0, 0
	for _, o := range d.w.Drummers {
		if !o.votes() {
			continue
		}
		all++
		if o == d || o.up && !o.Paused && !o.Apart && !d.Apart {
			n++
		}
	}
	return d.up && !d.Paused && d.votes() && n > all/2
}

// LookToLead has a leader elected when there is none that reaches a majority.
func (w *World) LookToLead() {
	if w.electing || w.Leader >= 0 && w.Drummers[w.Leader].Majority() {
		return
	}
	w.electing = true
	w.Later(w.Between(time.Second, 2500*time.Millisecond), func() {
		w.electing = false
		if w.Leader >= 0 && w.Drummers[w.Leader].Majority() {
			return
		}
		var able []*Drummer
		for _, d := range w.Drummers {
			if d.Majority() {
				able = append(able, d)
			}
		}
		if len(able) > 0 {
			w.Elect(able[w.Rng.IntN(len(able))])
			return
		}
		if w.Leader >= 0 { // no quorum: it finds out and steps down
			w.Drummers[w.Leader].findOut(0)
			w.Leader = -1
		}
	})
}

// Elect makes a drummer lead its group, and in a moment supervise.
func (w *World) Elect(d *Drummer) {
	if w.Leader >= 0 && w.Drummers[w.Leader] != d {
		w.Drummers[w.Leader].findOut(w.Between(50*time.Millisecond, 2*time.Second))
	}
	w.term++
	w.Leader = d.Index
	term := w.term
	w.Note("drummer %d is elected in term %d", d.Index, term)
	w.Book.Mark('L', w.Now, uint64(d.Index), term)
	w.Later(w.Between(10*time.Millisecond, 300*time.Millisecond), func() {
		if w.Leader == d.Index && w.term == term && d.Majority() {
			d.takeLead(term)
			return
		}
		if w.Leader == d.Index && w.term == term {
			w.Leader = -1
			d.findOut(w.Between(50*time.Millisecond, 2*time.Second))
		}
		w.LookToLead()
	})
}

// findOut tells a drummer that it leads no more, once it runs and it has been told.
func (d *Drummer) findOut(after time.Duration) {
	reign := d.Reign
	d.w.Later(after, func() {
		switch {
		case d.Reign != reign || !d.up || !d.leads:
		case d.Paused:
			d.findOut(500 * time.Millisecond)
		default:
			d.lay()
		}
	})
}

// takeLead begins a leadership: its Lead entry is applied, and it has read the record.
func (d *Drummer) takeLead(term uint64) {
	if d.leads {
		d.lay()
	}
	d.leads, d.term, d.Led, d.asleep = true, term, d.w.Now, 0
	d.Reign++
	d.inbox, d.nextPass, d.Floor = nil, 0, d.w.Record.Freeze()
	d.w.Note("drummer %d leads in term %d", d.Index, term)
	d.w.Active = d.w.Now
	d.feed(loop.Led{Term: term})
	d.pass()
}

// lay ends a leadership; hosts are sent away.
func (d *Drummer) lay() {
	d.w.Note("drummer %d leads no more", d.Index)
	d.leads = false
	d.Reign++
	d.inbox = nil
	d.feed(loop.Unled{})
	for _, s := range slices.Clone(d.sessions) {
		s.closeFromDrummer()
	}
	d.w.LookToLead()
}

// Crash ends the process; its streams break.
func (d *Drummer) Crash() {
	d.w.Note("drummer %d crashes", d.Index)
	if d.w.Leader == d.Index {
		d.w.Leader = -1
	}
	d.up, d.leads, d.Paused, d.Changed = false, false, false, d.w.Now
	d.Reign++
	d.inbox = nil
	for _, s := range slices.Clone(d.sessions) {
		s.closeFromDrummer()
	}
	d.w.LookToLead()
}

// Start begins a process, if there is none.
func (d *Drummer) Start() {
	if d.up || d.Spent {
		return
	}
	d.w.Note("drummer %d starts", d.Index)
	d.up, d.Changed = true, d.w.Now
	d.restart()
	d.w.LookToLead()
}

// Pause suspends the process.
func (d *Drummer) Pause() {
	if d.Paused || !d.up {
		return
	}
	d.w.Note("drummer %d is suspended", d.Index)
	d.Paused, d.since, d.Changed = true, d.w.Now, d.w.Now
	for _, s := range d.sessions {
		s.suspect()
	}
	d.w.LookToLead()
}

// Slept is for how long it was suspended in this reign, as far as it notices: a pass
// may be a second late.
func (d *Drummer) Slept() time.Duration {
	if d.Paused {
		return d.asleep + max(0, d.w.Now-d.since-1100*time.Millisecond)
	}
	return d.asleep
}

// Resume lets a suspended drummer go on; what waited for it is heard before or after
// its next pass.
func (d *Drummer) Resume() {
	if !d.Paused {
		return
	}
	d.w.Note("drummer %d goes on", d.Index)
	d.asleep, d.Paused, d.Changed = d.Slept(), false, d.w.Now
	inbox := d.inbox
	d.inbox = nil
	if d.leads {
		if d.w.One(2) {
			d.pass()
		}
		for _, e := range inbox {
			d.feed(e)
		}
		d.pass()
	}
	d.w.LookToLead()
}

// tell hands an event to the loop, in the reign that it belongs to.
func (d *Drummer) tell(reign int, e loop.Event) {
	switch {
	case !d.up || d.Reign != reign:
	case d.Paused:
		d.inbox = append(d.inbox, e)
	default:
		d.feed(e)
		if _, beat := e.(loop.Beat); !beat {
			d.wake()
		}
	}
}

// wake makes a pass soon.
func (d *Drummer) wake() {
	if d.leads {
		d.passAt(max(d.w.Now+time.Millisecond, d.lastPass+d.w.passGap))
	}
}

func (d *Drummer) passAt(at time.Duration) {
	if d.nextPass > d.w.Now && d.nextPass <= at {
		return
	}
	d.nextPass = at
	reign := d.Reign
	d.w.Routine(at-d.w.Now, func() {
		if d.Reign == reign && d.nextPass == at && d.leads && !d.Paused {
			d.pass()
		}
	})
}

// pass plans. Only a leader that is in touch with its group sees what is new there.
func (d *Drummer) pass() {
	if d.View == nil || d.term == d.w.term && d.Majority() {
		d.View = d.w.Record.Freeze()
	}
	d.lastPass, d.nextPass = d.w.Now, 0
	if mutant.Is("stale-view") && d.w.Now-d.Led < 3*time.Second {
		d.View = d.w.past[0]
	}
	d.feed(loop.Pass{View: d.View, UnixMs: d.UnixMs()})
	if d.leads {
		d.passAt(d.w.Now + passPeriod)
	}
}

// UnixMs is what its wall clock shows.
func (d *Drummer) UnixMs() int64 { return d.w.UnixMs() + d.Clock.Wall.Milliseconds() }

// feed steps the loop and carries out what it wants.
func (d *Drummer) feed(e loop.Event) {
	for _, f := range d.Core.Step(e, d.Clock.Read(d.w.Now)) {
		switch f := f.(type) {
		case loop.Send:
			d.send(f)
		case loop.Propose:
			d.propose(f)
		case loop.Disconnect:
			d.w.Note("drummer %d ends session %d: %s", d.Index, f.Session, f.Reason)
			if s := d.session(f.Session); s != nil {
				s.verdict = f.Verdict
				s.closeFromDrummer()
			}
		}
	}
}

func (d *Drummer) session(id uint64) *Session {
	for _, s := range d.sessions {
		if s.id == id {
			return s
		}
	}
	return nil
}

func (d *Drummer) send(f loop.Send) {
	s := d.session(f.Session)
	if s == nil {
		return
	}
	if f.Message.GetAddresses() != nil || f.Message.GetConfigurations() != nil {
		return // hosts of the simulator know where everybody is
	}
	m := f.Message
	if m.GetWelcome() != nil {
		s.h.Last[d.Index], s.Heard, s.Asleep = s, d.w.Now, d.asleep
		d.w.Witness.CheckWelcomed(s)
	}
	if o := m.GetOrder(); o != nil {
		d.w.Active = d.w.Now
		d.w.Book.Orders++
		d.w.Note("drummer %d orders %d g%d r%d at %s gen %d: %s", d.Index, o.GetId(), o.GetGroup(), o.GetReplica(), s.h.Name, o.GetGeneration(), text(o))
		d.w.Book.Mark('o', d.w.Now, o.GetGroup()<<20|o.GetReplica(), o.GetId())
		d.w.Witness.CheckOrder(s, &Order{Order: o})
	}
	s.down(m)
}

// propose has a command go through the drummers' log, or not.
func (d *Drummer) propose(f loop.Propose) {
	w := d.w
	w.Active = w.Now
	w.Book.Proposals++
	w.Note("drummer %d proposes %d: %s", d.Index, f.Token, text(f.Command))
	w.Book.Mark('p', w.Now, uint64(d.Index), f.Token)
	w.Witness.CheckProposal(d, f.Command)
	term, reign, fate := d.term, d.Reign, 0
	if w.Lossy {
		fate = w.Rng.IntN(25)
	}
	answer := func(after time.Duration, e loop.Proposed) {
		w.Later(after, func() { d.tell(reign, e) })
	}
	w.Later(w.lag(), func() {
		switch {
		case fate == 1 || term != w.term || w.Leader != d.Index || !d.Majority():
			answer(w.Between(100*time.Millisecond, 2*time.Second), loop.Proposed{Token: f.Token, Err: "lost"})
			return
		}
		r := w.apply(f.Command)
		if r.GetCode() != fleetpb.Code_CODE_OK {
			w.Note("  refused: %s", r.GetDetail())
		}
		if fate == 2 {
			answer(time.Second, loop.Proposed{Token: f.Token, Err: "time-out"})
			return
		}
		answer(w.lag(), loop.Proposed{Token: f.Token, Result: r})
	})
}

// Order is an order on its way, with what the simulator remembers of it.
type Order struct {
	*drummerpb.Order
	At      time.Duration
	Session *Session
	// Answered: the answer has come. Stale: its host had been welcomed by a newer leader.
	Answered, Stale bool
}

func (d *Drummer) String() string { return fmt.Sprintf("drummer %d", d.Index) }
