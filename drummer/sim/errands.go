package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/sim/cover"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// An errand is a row of the coverage table that is looked for on purpose: the operator sees to
// it that there is such an operation, and when that is at the step, the fault strikes. What is
// rare by chance happens all the same, in the moments that matter.
const errand = "errand"

// errandsDrawn is how many of them a schedule has.
const errandsDrawn = 6

// drawErrands draws errands: half of them beside a fault, the others at any time. Rows are not
// drawn but taken in turn, so that two thousand seeds in a row go through all of them several times.
func drawErrands(rng *rand.Rand, seed uint64, hours time.Duration, faults []Fault, n int) []Fault {
	rows := sought()
	var list []Fault
	for i := range uint64(max(n, 0)) {
		at := 20*time.Second + time.Duration(rng.Int64N(int64(hours-2*time.Minute)))
		if i%2 == 0 && len(faults) > 0 {
			at = max(20*time.Second, faults[rng.IntN(len(faults))].At-time.Duration(rng.Int64N(int64(20*time.Second))))
		}
		all := uint64(len(rows))
		row := rows[(seed+i*all/uint64(n))%all]
		list = append(list, Fault{At: at, Kind: errand, Pick: rng.Uint64(), For: last(rng), Row: row})
	}
	return list
}

// sought are the rows that errands go for: all but those that chance reaches often.
func sought() []cover.Row {
	var often []string
	for _, k := range slices.Concat(kinds(), wishes()) {
		often = append(often, k.name)
	}
	return slices.DeleteFunc(cover.Rows(Kinds()), func(r cover.Row) bool { return r.Common() && slices.Contains(often, r.Fault) })
}

// trap is a fault that lies in wait for an operation at a step.
type trap struct {
	row    cover.Row
	strike Fault
	sprung bool // it strikes in a moment
	gone   bool // it has struck, or waits no more
	begun  bool // the operator has begun what is enough once
}

// Bounds of an errand: how often the operator tries, how far apart, and for how long the fault
// lies in wait after the last time.
const (
	tries    = 6
	between  = 6 * time.Second
	inWait   = time.Minute
	shortest = 40 * time.Second // of what is wanted of a host
)

// run runs an errand.
func (w *world) run(f *Fault) bool {
	w.Note("ERRAND %s", f.Row)
	if f.Row.Operation == cover.Drummers {
		return w.hit(Fault{Kind: []string{"drummer-add", "drummer-replace", "drummer-remove"}[f.Pick%3], Pick: f.Pick, For: f.For})
	}
	t := &trap{row: f.Row, strike: Fault{Kind: f.Row.Fault, Pick: f.Pick ^ f.Pick>>7, For: f.For}}
	w.traps = append(w.traps, t)
	for i := range time.Duration(tries) {
		w.At(w.Virtual()+i*between, func() {
			if !t.gone && !t.sprung && !t.begun {
				t.begun = w.bringAbout(f, uint64(i)) && once(f.Row.Operation)
			}
		})
	}
	w.At(w.Virtual()+tries*between+inWait, func() { w.disarm(t) })
	return true
}

// disarm ends a trap.
func (w *world) disarm(t *trap) {
	t.gone = true
	w.traps = slices.DeleteFunc(w.traps, func(o *trap) bool { return o == t })
}

// once tells that one beginning is enough, which may take a while.
func once(operation string) bool {
	return operation == words.KindRecover || operation == cover.DrainHost || operation == words.KindLeave
}

// bringAbout does what begins an operation of the errand's kind, if all is well. It tells
// whether it did.
func (w *world) bringAbout(f *Fault, try uint64) bool {
	g := Fault{Pick: f.Pick*(2*try+1) + try*7919, For: shortest + f.For%(2*time.Minute)}
	switch f.Row.Operation {
	case words.KindLaunch:
		g.Kind = "create"
	case words.KindRecover:
		g.Kind, g.For = "quorum-lost", f.For%(10*time.Second) // and somebody sees it soon
	case words.KindReplace:
		g.Kind = []string{"data-lost", "replaced", "crash"}[(f.Pick/8+try)%3]
	case words.KindMove:
		g.Kind = []string{"move-leader", "move"}[try%2]
	case words.KindBalance:
		g.Kind = []string{"weight", "weight", "new-host"}[(f.Pick/8+try)%3]
	case words.KindPlace:
		g.Kind = []string{"forbid", "forbid", "place-rule"}[(f.Pick/8+try)%3]
	case cover.DrainHost:
		g.Kind = "drain"
	default: // they are called alike
		g.Kind = f.Row.Operation
	}
	if f.Row.Step == cover.HandOver && once(f.Row.Operation) {
		g.aim(w.leads(try), len(w.Hosts))
	}
	if (g.Kind == "purge" || f.Row.Fault == "purge") && !w.banned() {
		g.Kind, g.Pick = "restore", g.Pick&^32 // in the place of another one, which is banned
		w.hit(g)
		return false
	}
	return w.hit(g)
}

// leads is the place of a host that leads a group, another one at each try; -1 for none.
func (w *world) leads(try uint64) int {
	at := -1
	for i := range w.Order {
		g := w.Order[(uint64(i)+try)%uint64(len(w.Order))]
		if p := g.Lead(); p.Log != nil {
			at = slices.Index(w.Hosts, p.Host)
		}
	}
	return at
}

func (w *world) banned() bool {
	for rec := range w.Record.Freeze().Groups() {
		if rec.GetState() == fleetpb.GroupState_GROUP_STATE_RETIRED {
			return true
		}
	}
	return false
}

// watch springs the traps that wait for what a group's operation, or a host's, is at now: a
// moment later, in the middle of the step. One that strikes nothing goes on waiting.
func (w *world) watch(id uint64) {
	for _, t := range w.traps {
		if t.sprung || !w.meets(t, id) {
			continue
		}
		t.sprung = true
		w.Later(time.Duration(t.strike.Pick%40)*time.Millisecond, func() {
			t.sprung = false
			if t.gone || !w.meets(t, id) {
				return
			}
			t.gone = true // its own strike does not spring it
			t.gone = w.hitSomething(t, id)
			if t.gone {
				w.disarm(t)
			}
		})
	}
}

// hitSomething strikes until that does something, or seems to be in vain.
func (w *world) hitSomething(t *trap, id uint64) bool {
	for range 16 {
		w.aim(t, id)
		if w.hit(t.strike) {
			return true
		}
		t.strike.Pick = t.strike.Pick*5 + 3
	}
	return false
}

// watchAll is watch for whatever an operator may have begun.
func (w *world) watchAll() {
	if len(w.traps) == 0 {
		return
	}
	w.watch(0)
	for rec := range w.Record.Freeze().Groups() {
		if rec.GetOperation() != 0 {
			w.watch(rec.GetId())
		}
	}
}

// meets tells that an operation is where a trap waits for it.
func (w *world) meets(t *trap, id uint64) bool {
	same := func(p point) bool { return p.kind == t.row.Operation && p.step == t.row.Step }
	if t.row.Operation == cover.DrainHost || t.row.Operation == words.KindLeave {
		for _, h := range w.Hosts {
			if same(w.pointOfHost(h)) {
				return true
			}
		}
		return false
	}
	v := w.Record.Freeze()
	rec := v.Group(ids.Group(id))
	return rec.GetOperation() != 0 && v.Operation(rec.GetOperation()).GetKind() == t.row.Operation && same(w.pointOf(rec))
}

// aim has a fault mostly strike who takes part: the group itself, or one of its hosts.
func (w *world) aim(t *trap, id uint64) {
	f := &t.strike
	rec := w.Recorded(id)
	if f.Pick/4%4 == 0 || rec == nil {
		return
	}
	switch f.Kind {
	case "move", "transfer", "quorum-lost", "forbid":
		if len(rec.GetReplicas()) == 0 {
			return
		}
		fallthrough
	case "delete", "delete-forced", "resize", "tune", "place-rule", "clone":
		groups := slices.Collect(w.Record.Freeze().GroupsByName(""))
		f.aim(slices.IndexFunc(groups, func(g *fleetpb.Group) bool { return g.GetId() == id }), len(groups))
	default:
		if r := rec.GetReplicas(); len(r) > 0 {
			at := w.Host(r[f.Pick/16%uint64(len(r))].GetHostId())
			f.aim(slices.Index(w.Hosts, at), len(w.Hosts))
		}
	}
}

// aim has a fault pick that one of so many.
func (f *Fault) aim(at, of int) {
	if at >= 0 && of > 0 {
		f.Pick += uint64(at) + uint64(of) - f.Pick%uint64(of)
	}
}
