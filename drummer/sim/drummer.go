package sim

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/mutant"
)

// passPeriod keeps passes on time for a clock that runs a little fast.
const passPeriod = loop.PassPeriod * 9 / 5

// drummer is a master: a loop, what drives it, and what it knows.
type drummer struct {
	w     *world
	index int
	core  *loop.Core
	clock clock

	up, paused bool
	apart      bool // cut off from the other drummers
	deaf, mute bool // hears no host, is heard by none

	leads    bool // and believes it
	term     uint64
	reign    int // what belongs to an earlier one is dropped
	led      time.Duration
	view     *fleet.View
	floor    *fleet.View  // the record when it took the lead
	inbox    []loop.Event // while paused
	sessions []*session

	nextPass, lastPass time.Duration
	// asleep is for how long it was paused, in this reign; since when it is.
	asleep, since time.Duration
}

// clock is a monotonic clock that drifts.
type clock struct {
	origin time.Duration
	ppm    int64
	// wall is how far the wall clock was set.
	wall time.Duration
}

func (c *clock) read(now time.Duration) time.Duration {
	t := c.origin + now + time.Duration(int64(now/time.Microsecond)*c.ppm/1000)
	if mutant.Is("wall-clock") {
		t += c.wall
	}
	return t
}

func newDrummer(w *world, index int) *drummer {
	d := &drummer{w: w, index: index, up: true}
	d.restart()
	return d
}

// restart is a new process.
func (d *drummer) restart() {
	d.core = loop.New(loop.Options{Deployment: "sim", Fleet: "sim"})
	d.clock = clock{origin: d.w.between(0, time.Hour), ppm: d.w.rng.Int64N(2001) - 1000}
	d.reign++
}

// majority tells that its group's entries reach a majority.
func (d *drummer) majority() bool {
	n := 0
	for _, o := range d.w.drummers {
		if o == d || o.up && !o.paused && !o.apart && !d.apart {
			n++
		}
	}
	return d.up && !d.paused && n > len(d.w.drummers)/2
}

// lookToLead has a leader elected when there is none that reaches a majority.
func (w *world) lookToLead() {
	if w.electing || w.leader >= 0 && w.drummers[w.leader].majority() {
		return
	}
	w.electing = true
	w.later(w.between(time.Second, 2500*time.Millisecond), func() {
		w.electing = false
		if w.leader >= 0 && w.drummers[w.leader].majority() {
			return
		}
		var able []*drummer
		for _, d := range w.drummers {
			if d.majority() {
				able = append(able, d)
			}
		}
		if len(able) > 0 {
			w.elect(able[w.rng.IntN(len(able))])
			return
		}
		if w.leader >= 0 { // no quorum: it finds out and steps down
			w.drummers[w.leader].findOut(0)
			w.leader = -1
		}
	})
}

// elect makes a drummer lead its group, and in a moment supervise.
func (w *world) elect(d *drummer) {
	if w.leader >= 0 && w.drummers[w.leader] != d {
		w.drummers[w.leader].findOut(w.between(50*time.Millisecond, 2*time.Second))
	}
	w.term++
	w.leader = d.index
	term := w.term
	w.note("drummer %d is elected in term %d", d.index, term)
	w.book.mark('L', w.now, uint64(d.index), term)
	w.later(w.between(10*time.Millisecond, 300*time.Millisecond), func() {
		if w.leader == d.index && w.term == term && d.majority() {
			d.takeLead(term)
			return
		}
		if w.leader == d.index && w.term == term {
			w.leader = -1
			d.findOut(w.between(50*time.Millisecond, 2*time.Second))
		}
		w.lookToLead()
	})
}

// findOut tells a drummer that it leads no more, once it runs and it has been told.
func (d *drummer) findOut(after time.Duration) {
	reign := d.reign
	d.w.later(after, func() {
		switch {
		case d.reign != reign || !d.up || !d.leads:
		case d.paused:
			d.findOut(500 * time.Millisecond)
		default:
			d.lay()
		}
	})
}

// takeLead begins a leadership: its Lead entry is applied, and it has read the record.
func (d *drummer) takeLead(term uint64) {
	if d.leads {
		d.lay()
	}
	d.leads, d.term, d.led, d.asleep = true, term, d.w.now, 0
	d.reign++
	d.inbox, d.nextPass, d.floor = nil, 0, d.w.record.Freeze()
	d.w.note("drummer %d leads in term %d", d.index, term)
	d.w.active = d.w.now
	d.feed(loop.Led{Term: term})
	d.pass()
}

// lay ends a leadership; hosts are sent away.
func (d *drummer) lay() {
	d.w.note("drummer %d leads no more", d.index)
	d.leads = false
	d.reign++
	d.inbox = nil
	d.feed(loop.Unled{})
	for _, s := range slices.Clone(d.sessions) {
		s.closeFromDrummer()
	}
	d.w.lookToLead()
}

// crash ends the process; its streams break.
func (d *drummer) crash() {
	d.w.note("drummer %d crashes", d.index)
	if d.w.leader == d.index {
		d.w.leader = -1
	}
	d.up, d.leads, d.paused = false, false, false
	d.reign++
	d.inbox = nil
	for _, s := range slices.Clone(d.sessions) {
		s.closeFromDrummer()
	}
	d.w.lookToLead()
}

func (d *drummer) start() {
	if d.up {
		return
	}
	d.w.note("drummer %d starts", d.index)
	d.up = true
	d.restart()
	d.w.lookToLead()
}

func (d *drummer) pause() {
	if d.paused || !d.up {
		return
	}
	d.w.note("drummer %d is suspended", d.index)
	d.paused, d.since = true, d.w.now
	for _, s := range d.sessions {
		s.suspect()
	}
	d.w.lookToLead()
}

// slept is for how long it was suspended in this reign, as far as it notices: a pass
// may be a second late.
func (d *drummer) slept() time.Duration {
	if d.paused {
		return d.asleep + max(0, d.w.now-d.since-1100*time.Millisecond)
	}
	return d.asleep
}

// resume lets a suspended drummer go on; what waited for it is heard before or after
// its next pass.
func (d *drummer) resume() {
	if !d.paused {
		return
	}
	d.w.note("drummer %d goes on", d.index)
	d.asleep, d.paused = d.slept(), false
	inbox := d.inbox
	d.inbox = nil
	if d.leads {
		if d.w.one(2) {
			d.pass()
		}
		for _, e := range inbox {
			d.feed(e)
		}
		d.pass()
	}
	d.w.lookToLead()
}

// tell hands an event to the loop, in the reign that it belongs to.
func (d *drummer) tell(reign int, e loop.Event) {
	switch {
	case !d.up || d.reign != reign:
	case d.paused:
		d.inbox = append(d.inbox, e)
	default:
		d.feed(e)
		if _, beat := e.(loop.Beat); !beat {
			d.wake()
		}
	}
}

// wake makes a pass soon.
func (d *drummer) wake() {
	if d.leads {
		d.passAt(max(d.w.now+time.Millisecond, d.lastPass+d.w.passGap))
	}
}

func (d *drummer) passAt(at time.Duration) {
	if d.nextPass > d.w.now && d.nextPass <= at {
		return
	}
	d.nextPass = at
	reign := d.reign
	d.w.routine(at-d.w.now, func() {
		if d.reign == reign && d.nextPass == at && d.leads && !d.paused {
			d.pass()
		}
	})
}

// pass plans. Only a leader that is in touch with its group sees what is new there.
func (d *drummer) pass() {
	if d.view == nil || d.term == d.w.term && d.majority() {
		d.view = d.w.record.Freeze()
	}
	d.lastPass, d.nextPass = d.w.now, 0
	if mutant.Is("stale-view") && d.w.now-d.led < 3*time.Second {
		d.view = d.w.past[0]
	}
	d.feed(loop.Pass{View: d.view})
	if d.leads {
		d.passAt(d.w.now + passPeriod)
	}
}

// feed steps the loop and carries out what it wants.
func (d *drummer) feed(e loop.Event) {
	for _, f := range d.core.Step(e, d.clock.read(d.w.now)) {
		switch f := f.(type) {
		case loop.Send:
			d.send(f)
		case loop.Propose:
			d.propose(f)
		case loop.Disconnect:
			d.w.note("drummer %d ends session %d: %s", d.index, f.Session, f.Reason)
			if s := d.session(f.Session); s != nil {
				s.verdict = f.Verdict
				s.closeFromDrummer()
			}
		}
	}
}

func (d *drummer) session(id uint64) *session {
	for _, s := range d.sessions {
		if s.id == id {
			return s
		}
	}
	return nil
}

func (d *drummer) send(f loop.Send) {
	s := d.session(f.Session)
	if s == nil {
		return
	}
	if f.Message.GetAddresses() != nil || f.Message.GetConfigurations() != nil {
		return // hosts of the simulator know where everybody is
	}
	m := proto.CloneOf(f.Message)
	if m.GetWelcome() != nil {
		s.h.last[d.index], s.heard, s.asleep = s, d.w.now, d.asleep
	}
	if o := m.GetOrder(); o != nil {
		d.w.active = d.w.now
		d.w.book.orders++
		d.w.note("drummer %d orders %d g%d r%d at %s gen %d: %s", d.index, o.GetId(), o.GetGroup(), o.GetReplica(), s.h.name, o.GetGeneration(), text(o))
		d.w.book.mark('o', d.w.now, o.GetGroup()<<20|o.GetReplica(), o.GetId())
		d.w.checkOrder(s, &order{Order: o})
	}
	s.down(m)
}

// propose has a command go through the drummers' log, or not.
func (d *drummer) propose(f loop.Propose) {
	w := d.w
	w.active = w.now
	w.book.proposals++
	w.note("drummer %d proposes %d: %s", d.index, f.Token, text(f.Command))
	w.book.mark('p', w.now, uint64(d.index), f.Token)
	w.checkProposal(d, f.Command)
	term, reign, fate := d.term, d.reign, 0
	if w.lossy {
		fate = w.rng.IntN(25)
	}
	answer := func(after time.Duration, e loop.Proposed) {
		w.later(after, func() { d.tell(reign, e) })
	}
	w.later(w.lag(), func() {
		switch {
		case fate == 1 || term != w.term || w.leader != d.index || !d.majority():
			answer(w.between(100*time.Millisecond, 2*time.Second), loop.Proposed{Token: f.Token, Err: "lost"})
			return
		}
		r := w.apply(f.Command)
		if r.GetCode() != fleetpb.Code_CODE_OK {
			w.note("  refused: %s", r.GetDetail())
		}
		if fate == 2 {
			answer(time.Second, loop.Proposed{Token: f.Token, Err: "time-out"})
			return
		}
		answer(w.lag(), loop.Proposed{Token: f.Token, Result: r})
	})
}

// order is an order on its way, with what the simulator remembers of it.
type order struct {
	*drummerpb.Order
	at time.Duration
	s  *session
	// answered: the answer has come. stale: its host had been welcomed by a newer leader.
	answered, stale bool
}

func (d *drummer) String() string { return fmt.Sprintf("drummer %d", d.index) }
