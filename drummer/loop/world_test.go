package loop_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// tick is the world's step.
const tick = 50 * time.Millisecond

// world is a cluster in virtual time: the real record, loop and planner, and
// simulated hosts, network and Raft. All randomness comes from a seed. What must
// never happen is written into violations.
type world struct {
	rng    *rand.Rand
	now    time.Duration
	record *fleet.Machine
	core   *loop.Core
	term   uint64
	up     bool          // a supervisor leads
	paused time.Duration // until when its process is suspended
	queue  []delivery    // messages on their way to the supervisor or to hosts, by time
	inbox  []loop.Event  // what waits for a suspended supervisor

	hosts    []*simHost
	sessions map[uint64]*simHost
	nextSess uint64
	nextHost int
	rafts    map[uint64]*simRaft

	changes     map[uint64]changeSent // by group, the last membership order
	started     map[uint64]string     // replica to the host id that ran it
	deletedHard map[uint64]bool       // groups deleted by force
	proposals   int
	orders      int
	lossy       bool // proposals and orders fail now and then
	burns       bool // the removal of what is no member burns its id all the same
	violations  []string
	trace       []string
}

type delivery struct {
	at time.Duration
	do func()
}

type changeSent struct {
	order    uint64
	at       time.Duration
	session  uint64
	answered bool
}

func newWorld(seed uint64) *world {
	return &world{
		burns:       seed%3 == 0,
		rng:         rand.New(rand.NewPCG(seed, 17)),
		record:      fleet.New(),
		sessions:    map[uint64]*simHost{},
		rafts:       map[uint64]*simRaft{},
		changes:     map[uint64]changeSent{},
		started:     map[uint64]string{},
		deletedHard: map[uint64]bool{},
	}
}

func (w *world) violate(format string, args ...any) {
	w.violations = append(w.violations, fmt.Sprintf("%s: ", w.now)+fmt.Sprintf(format, args...))
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%7.2f ", w.now.Seconds())+fmt.Sprintf(format, args...))
}

// later delivers after a random few ticks, in order for the same key's sender.
func (w *world) later(ticks int, do func()) {
	w.queue = append(w.queue, delivery{w.now + time.Duration(ticks)*tick, do})
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	for end := w.now + d; w.now < end; {
		w.step()
	}
}

func (w *world) step() {
	w.now += tick
	due := w.queue
	w.queue = nil
	var rest []delivery
	for _, d := range due {
		if d.at > w.now {
			rest = append(rest, d)
		} else {
			d.do()
		}
	}
	w.queue = append(rest, w.queue...)
	for _, id := range slices.Sorted(maps.Keys(w.rafts)) {
		w.rafts[id].tick(w)
	}
	for _, h := range w.hosts {
		h.tick(w)
	}
	if w.up && w.now >= w.paused {
		inbox := w.inbox
		w.inbox = nil
		if len(inbox) > 0 && w.rng.IntN(2) == 0 {
			w.feed(loop.Pass{View: w.record.Freeze()}) // before what has waited was heard
		}
		for _, e := range inbox {
			w.feed(e)
		}
		if w.now%(2*tick) == 0 {
			w.feed(loop.Pass{View: w.record.Freeze()})
		}
	}
	w.check()
}

// tell hands an event to the supervisor, which may be suspended.
func (w *world) tell(e loop.Event) {
	if !w.up {
		return
	}
	if w.now < w.paused {
		w.inbox = append(w.inbox, e)
		return
	}
	w.feed(e)
}

func (w *world) feed(e loop.Event) {
	for _, f := range w.core.Step(e, w.now) {
		switch f := f.(type) {
		case loop.Send:
			w.send(f)
		case loop.Propose:
			w.propose(f)
		case loop.Disconnect:
			w.note("disconnect session %d: %s", f.Session, f.Reason)
			if h := w.sessions[f.Session]; h != nil {
				delete(w.sessions, f.Session)
				h.cut(w)
			}
		}
	}
}

func (w *world) send(f loop.Send) {
	h := w.sessions[f.Session]
	if o := f.Message.GetOrder(); o != nil {
		w.orders++
		w.note("order %d g%d r%d -> %s gen %d: %s", o.GetId(), o.GetGroup(), o.GetReplica(), o.GetHostId(), o.GetGeneration(), orderText(o))
		w.checkOrder(f.Session, o)
	}
	if h == nil {
		return
	}
	session := f.Session
	h.arrive = max(h.arrive, w.now+time.Duration(1+w.rng.IntN(3))*tick)
	message := proto.CloneOf(f.Message)
	w.queue = append(w.queue, delivery{h.arrive, func() {
		if h.session == session && h.running {
			h.receive(w, message)
		}
	}})
}

func orderText(o *drummerpb.Order) string {
	return strings.Join(strings.Fields(fmt.Sprint(o.GetBody())), " ")
}

// propose applies a command after a while, or loses it, or its answer.
func (w *world) propose(f loop.Propose) {
	w.proposals++
	w.note("propose %d: %s", f.Token, strings.Join(strings.Fields(fmt.Sprint(f.Command)), " "))
	term := w.term
	fate := 0
	if w.lossy {
		fate = w.rng.IntN(30)
	}
	w.later(1+w.rng.IntN(3), func() {
		if fate == 1 || (term != w.term && w.rng.IntN(2) == 0) {
			w.answer(term, loop.Proposed{Token: f.Token, Err: "lost"})
			return
		}
		if term != w.term {
			return // refused by the record: the Lead entry of another is before it
		}
		r := w.apply(f.Command)
		if r.GetCode() != fleetpb.Code_CODE_OK {
			w.note("  refused: %s", r.GetDetail())
		}
		if fate == 2 {
			w.answer(term, loop.Proposed{Token: f.Token, Err: "time-out"})
			return
		}
		w.answer(term, loop.Proposed{Token: f.Token, Result: r})
	})
}

func (w *world) answer(term uint64, e loop.Proposed) {
	if w.up && term == w.term {
		w.tell(e)
	}
}

// apply applies a command to the record.
func (w *world) apply(c *fleetpb.Command) *fleetpb.Result {
	c = proto.CloneOf(c)
	c.AtUnixMs = w.now.Milliseconds()
	data, err := proto.Marshal(c)
	if err != nil {
		panic(err)
	}
	results := make([]statemachines.Result, 1)
	w.record.Apply([]statemachines.Command{{Data: data}}, results)
	var r fleetpb.Result
	if err := proto.Unmarshal(results[0].Data, &r); err != nil {
		panic(err)
	}
	return &r
}

// lead makes another supervisor lead; the one before is gone with all its sessions.
func (w *world) lead() {
	w.term++
	w.up = true
	w.inbox, w.paused = nil, 0
	for _, s := range slices.Sorted(maps.Keys(w.sessions)) {
		w.sessions[s].cut(w)
	}
	w.sessions = map[uint64]*simHost{}
	if w.core == nil || w.rng.IntN(2) == 0 {
		w.core = loop.New(loop.Options{Deployment: "sim"})
	}
	w.note("LEAD term %d", w.term)
	w.feed(loop.Led{Term: w.term})
}

// halt leaves the cluster without a supervisor.
func (w *world) halt() {
	w.note("HALT")
	w.feed(loop.Unled{})
	w.up = false
	for _, s := range slices.Sorted(maps.Keys(w.sessions)) {
		w.sessions[s].cut(w)
	}
	w.sessions = map[uint64]*simHost{}
}

func (w *world) create(specs ...*fleetpb.Spec) {
	r := w.apply(&fleetpb.Command{Op: &fleetpb.Command_CreateGroups{CreateGroups: &fleetpb.CreateGroups{Specs: specs}}})
	w.note("create %d groups: %v", len(specs), r.GetCode())
}

func (w *world) remove(name string, force bool) {
	g := w.record.Freeze().ByName(name)
	if g == nil {
		return
	}
	w.note("delete %s (group %d) force=%v", name, g.GetId(), force)
	if force {
		w.deletedHard[g.GetId()] = true
	}
	w.apply(&fleetpb.Command{Op: &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{Name: name, Force: force}}})
}

func spec(name string, replicas int, regions ...*fleetpb.RegionCount) *fleetpb.Spec {
	app, _, _ := strings.Cut(name, "/")
	return &fleetpb.Spec{Name: name, App: app, Replicas: uint32(replicas), Regions: regions}
}

// checkOrder is S4 and S1, S7 as far as they can be seen when an order is sent.
func (w *world) checkOrder(session uint64, o *drummerpb.Order) {
	c := o.GetChange()
	if c == nil || c.GetKind() == drummerpb.ChangeKind_CHANGE_KIND_UNSPECIFIED {
		return
	}
	last := w.changes[o.GetGroup()]
	if last.order != 0 && last.order != o.GetId() && !last.answered && w.sessions[last.session] != nil && w.now-last.at < 5*time.Second {
		w.violate("S4: group %d: change order %d while %d is on its way", o.GetGroup(), o.GetId(), last.order)
	}
	w.changes[o.GetGroup()] = changeSent{order: o.GetId(), at: w.now, session: session}
	g := w.record.Freeze().Group(ids.Group(o.GetGroup()))
	if c.GetConfigChange() < g.GetConfigChange() {
		w.violate("S7: group %d: order on config change %d, the record knows %d", o.GetGroup(), c.GetConfigChange(), g.GetConfigChange())
	}
	if r := w.rafts[o.GetGroup()]; r != nil && r.cc == c.GetConfigChange() {
		r.checkChange(w, c)
	}
}

// check is what must hold of the record and the hosts at any time.
func (w *world) check() {
	seen := map[uint64]bool{}
	for g := range w.record.Freeze().Groups() {
		at := map[string]bool{}
		for _, r := range g.GetReplicas() {
			if at[r.GetHostId()] {
				w.violate("S2: group %d has two replicas on %s", g.GetId(), r.GetHostId())
			}
			if seen[r.GetId()] {
				w.violate("S3: replica %d is used twice", r.GetId())
			}
			at[r.GetHostId()], seen[r.GetId()] = true, true
		}
	}
}
