package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/fleet/rules"

	"github.com/drumline/drumline/drummer/sim/cluster"
	"github.com/drumline/drumline/drummer/sim/cover"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas"
)

// Fault is something that goes wrong, or that an operator does.
type Fault struct {
	// At is when, in virtual time.
	At time.Duration
	// Kind is one of Kinds.
	Kind string
	// Pick chooses its target, For is how long it lasts.
	Pick   uint64
	For    time.Duration
	missed bool // there was nothing that it could be done to
	// Row is what an errand is about: the operation, and which fault strikes it at which step.
	Row cover.Row
}

// kind is what a fault does; the end is nil for one that has none.
type kind struct {
	name   string
	weight int
	strike func(w *world, f *Fault) (end func())
	// command tells that it is something that is asked of the record, or nothing at all.
	command bool
}

// commands are kinds of what is asked of the record.
func commands(list []kind) []kind {
	for i := range list {
		list[i].command = true
	}
	return list
}

// miss is the end of a fault that could do nothing.
func (f *Fault) miss() func() {
	f.missed = true
	return nil
}

func kinds() []kind {
	return []kind{
		{name: "crash", weight: 10, strike: (*world).crash},
		{name: "crash-in-turn", weight: 5, strike: (*world).crashInTurn},
		{name: "restart", weight: 5, strike: (*world).restartHost},
		{name: "replaced", weight: 6, strike: (*world).replace},
		{name: "data-lost", weight: 4, strike: (*world).loseData},
		{name: "pause", weight: 6, strike: (*world).pauseHost},
		{name: "slow-disk", weight: 4, strike: (*world).slowDisk},
		{name: "host-cut", weight: 5, strike: (*world).cutHost},
		{name: "host-mute", weight: 4, strike: (*world).muteHost},
		{name: "host-deaf", weight: 4, strike: (*world).deafHost},
		{name: "pair-cut", weight: 5, strike: (*world).cutPair},
		{name: "new-host", weight: 2, strike: (*world).newHost},
		{name: "leader-change", weight: 7, strike: (*world).changeLeader},
		{name: "drummer-crash", weight: 4, strike: (*world).crashDrummer},
		{name: "drummer-pause", weight: 5, strike: (*world).pauseDrummer},
		{name: "drummer-cut", weight: 5, strike: (*world).cutDrummer},
		{name: "drummer-mute", weight: 3, strike: (*world).muteDrummer},
		{name: "drummers-out", weight: 2, strike: (*world).drummersOut},
		{name: "lossy", weight: 5, strike: (*world).loseMessages},
		{name: "clock-set", weight: 3, strike: (*world).setClock},
		{name: "create", weight: 5, strike: (*world).createGroup, command: true},
		{name: "delete", weight: 5, strike: (*world).deleteGroup, command: true},
		{name: "delete-forced", weight: 2, strike: (*world).forceGroup, command: true},
		{name: "limits", weight: 2, strike: (*world).setLimits, command: true},
	}
}

// everything is all that strikes operations: faults, and what operators want.
func everything() []kind { return slices.Concat(kinds(), wishes(), blows(), chores()) }

// Kinds are the kinds of faults, and of what operators want.
func Kinds() []string {
	var names []string
	for _, k := range everything() {
		names = append(names, k.name)
	}
	return names
}

// draw draws the faults of a run: in bursts, hours apart.
func draw(rng *rand.Rand, n int) ([]Fault, time.Duration) {
	all := kinds()
	total := 0
	for _, k := range all {
		total += k.weight
	}
	hours := time.Hour + time.Duration(rng.Int64N(int64(3*time.Hour)))
	var list []Fault
	for len(list) < n {
		at := 20*time.Second + time.Duration(rng.Int64N(int64(hours-2*time.Minute)))
		if len(list) == 0 { // while the first groups are launched
			at = 4*time.Second + time.Duration(rng.Int64N(int64(10*time.Second)))
		}
		for range 1 + rng.IntN(6) {
			list = append(list, Fault{At: at, Kind: pick(all, rng.IntN(total)), Pick: rng.Uint64(), For: last(rng)})
			at += time.Duration(rng.Int64N(int64(12 * time.Second)))
		}
	}
	list = list[:n]
	slices.SortStableFunc(list, func(a, b Fault) int { return int((a.At - b.At) / time.Microsecond) })
	return list, hours
}

func pick(all []kind, at int) string {
	for _, k := range all {
		if at -= k.weight; at < 0 {
			return k.name
		}
	}
	return all[0].name
}

// last draws how long a fault lasts: from a moment to half an hour, each scale as often.
func last(rng *rand.Rand) time.Duration {
	return time.Duration(math.Exp(math.Log(0.3)+rng.Float64()*math.Log(6000)) * float64(time.Second))
}

// kindOf finds a kind by its name, which is one of Kinds.
func kindOf(name string) kind {
	all := everything()
	return all[max(0, slices.IndexFunc(all, func(k kind) bool { return k.name == name }))]
}

// hit lets a fault strike, and end in time. It tells whether it struck anything: there may be
// nothing that it can be done to.
func (w *world) hit(f Fault) bool {
	if f.Kind == errand {
		return w.run(&f)
	}
	k := kindOf(f.Kind)
	w.Note("FAULT %s, for %s", f.Kind, f.For.Round(10*time.Millisecond))
	w.Book.Mark('f', w.Now, f.Pick, uint64(f.For))
	w.Active, w.Changed = w.Now, w.Now
	w.Book.Faults++
	points, before := w.points(), w.Book.Hash
	end := k.strike(w, &f)
	if end != nil {
		w.At(w.Virtual()+f.For, func() {
			w.Note("END of %s", f.Kind)
			w.Active, w.Changed = w.Now, w.Now
			end()
		})
	}
	if f.missed || k.command && w.Book.Hash == before {
		w.Note("it struck nothing")
		return false
	}
	w.strike(points, f.Kind)
	return true
}

func (w *world) pickHost(f *Fault) *cluster.Host { return w.Hosts[f.Pick%uint64(len(w.Hosts))] }
func (w *world) pickDrummer(f *Fault) *cluster.Drummer {
	if w.Leader >= 0 && f.Pick%4 != 0 { // mostly the one that leads
		return w.Drummers[w.Leader]
	}
	return w.Drummers[f.Pick/4%uint64(len(w.Drummers))]
}

func (w *world) crash(f *Fault) func() {
	h := w.pickHost(f)
	f.missed = !h.Running
	h.Crash()
	return h.Boot
}

func (w *world) crashInTurn(f *Fault) func() {
	h := w.pickHost(f)
	f.missed = !h.Running
	h.Trap = 1 + int(f.Pick/64%2)
	return func() {
		h.Trap = 0
		h.Boot()
	}
}

func (w *world) restartHost(f *Fault) func() {
	h := w.pickHost(f)
	h.Crash()
	h.Boot()
	return nil
}

// spare tells that no group loses its quorum with what the host has of it.
func (w *world) spare(h *cluster.Host, only *replicas.Key) bool {
	for _, g := range w.Order {
		left, has := 0, false
		g.Settle()
		for id, host := range g.Voters {
			k := replicas.KeyOf(g.ID, id)
			o := w.Host(host)
			switch {
			case o == nil || o.Disk.Logs[k] == nil:
			case o == h && (only == nil || *only == k):
				has = true
			case o.Disk.Logs[k].Match >= g.Commit:
				left++
			}
		}
		if has && left < cluster.Quorum(len(g.Voters)) {
			return false
		}
	}
	return true
}

// replace gives a host an empty disk. Data that a group cannot do without is only
// destroyed in runs that are harsh.
func (w *world) replace(f *Fault) func() {
	h := w.pickHost(f)
	if !w.Harsh && !w.spare(h, nil) {
		return f.miss()
	}
	h.Crash()
	h.Touch(h.Format)
	return h.Boot
}

func (w *world) loseData(f *Fault) func() {
	h := w.pickHost(f)
	keys := slices.DeleteFunc(h.Keys(), func(k replicas.Key) bool { return !h.HasRun(k) })
	if len(keys) == 0 {
		return f.miss()
	}
	k := keys[f.Pick/64%uint64(len(keys))]
	if !w.Harsh && !w.spare(h, &k) {
		return f.miss()
	}
	h.Crash()
	h.Lose(k)
	return h.Boot
}

func (w *world) pauseHost(f *Fault) func() {
	h := w.pickHost(f)
	f.missed = !h.Running || h.Paused
	h.Pause()
	return h.Resume
}

func (w *world) slowDisk(f *Fault) func() {
	h := w.pickHost(f)
	set := func(n int) func() {
		return func() { h.Touch(func() { h.Slow = n }) }
	}
	set(20)()
	return set(1)
}

// link changes the links of a host for a while.
func (w *world) link(h *cluster.Host, flag *bool) func() {
	set := func(on bool) func() {
		return func() {
			h.Touch(func() { *flag = on })
			h.Changed = w.Now
			w.LinksChanged()
		}
	}
	set(true)()
	return set(false)
}

func (w *world) cutHost(f *Fault) func()  { h := w.pickHost(f); return w.link(h, &h.Dark) }
func (w *world) muteHost(f *Fault) func() { h := w.pickHost(f); return w.link(h, &h.Mute) }
func (w *world) deafHost(f *Fault) func() { h := w.pickHost(f); return w.link(h, &h.Deaf) }

func (w *world) cutPair(f *Fault) func() {
	a, b := w.pickHost(f), w.Hosts[f.Pick/64%uint64(len(w.Hosts))]
	if a == b {
		return f.miss()
	}
	set := func(on bool) func() {
		return func() {
			a.Touch(func() {
				if on {
					w.Cuts[[2]*cluster.Host{a, b}] = true
				} else {
					delete(w.Cuts, [2]*cluster.Host{a, b})
				}
			})
		}
	}
	set(true)()
	return set(false)
}

func (w *world) newHost(f *Fault) func() {
	if len(w.Hosts) >= 12 {
		return f.miss()
	}
	w.AddHost(w.Regions[f.Pick/64%uint64(len(w.Regions))])
	return nil
}

func (w *world) changeLeader(f *Fault) func() {
	d := w.Drummers[f.Pick%uint64(len(w.Drummers))]
	if !d.Majority() {
		return f.miss()
	}
	w.Elect(d)
	return nil
}

func (w *world) crashDrummer(f *Fault) func() {
	d := w.pickDrummer(f)
	f.missed = !d.Up()
	d.Crash()
	return d.Start
}

func (w *world) pauseDrummer(f *Fault) func() {
	d := w.pickDrummer(f)
	f.missed = !d.Up() || d.Paused
	d.Pause()
	return d.Resume
}

// drummerLink changes the links of a drummer for a while.
func (w *world) drummerLink(flags ...*bool) func() {
	set := func(on bool) func() {
		return func() {
			for _, f := range flags {
				*f = on
			}
			w.LinksChanged()
		}
	}
	set(true)()
	return set(false)
}

// cutDrummer cuts a drummer off from the others; half the time the hosts still hear it.
func (w *world) cutDrummer(f *Fault) func() {
	d := w.pickDrummer(f)
	if f.Pick/64%2 == 0 {
		return w.drummerLink(&d.Apart, &d.Deaf, &d.Mute)
	}
	return w.drummerLink(&d.Apart)
}

func (w *world) muteDrummer(f *Fault) func() {
	d := w.pickDrummer(f)
	if f.Pick/64%2 == 0 {
		return w.drummerLink(&d.Mute)
	}
	return w.drummerLink(&d.Deaf)
}

func (w *world) drummersOut(*Fault) func() {
	for _, d := range w.Drummers {
		d.Crash()
	}
	return func() {
		for _, d := range w.Drummers {
			d.Start()
		}
	}
}

func (w *world) loseMessages(*Fault) func() {
	w.Lossy = true
	return func() { w.Lossy = false }
}

// setClock sets the wall clock of a drummer, which nothing may depend on.
func (w *world) setClock(f *Fault) func() {
	w.pickDrummer(f).Clock.Wall += time.Duration(f.Pick % uint64(time.Hour))
	return nil
}

func (w *world) createGroup(f *Fault) func() {
	if len(w.Apps) > 0 {
		w.create(w.spec(fmt.Sprintf("%s/g%d", w.Apps[0].GetName(), f.Pick%80), f.Pick/128))
	}
	return nil
}

// spec makes a spec that the hosts can fulfil.
func (w *world) spec(name string, pick uint64) *fleetpb.Spec {
	sizes := []int{1, 3, 3, 3, 5}
	n := sizes[pick%5]
	if n > len(w.Hosts) {
		n = 3
	}
	have := map[string]int{}
	for _, h := range w.Hosts {
		have[h.Region]++
	}
	if own := w.Regions[pick/128%uint64(len(w.Regions))]; pick/32%4 == 1 && have[own] >= n {
		s := spec(name, n)
		s.Region = own
		return rules.Settle(s)
	}
	if pick/8%4 > 0 || n == 1 {
		return spec(name, n)
	}
	var rules []*fleetpb.RegionCount
	for _, r := range w.Regions {
		if c := min(have[r], n-sum(rules), 2); c > 0 {
			rules = append(rules, &fleetpb.RegionCount{Region: r, Count: uint32(c)})
		}
	}
	if sum(rules) != n {
		return spec(name, n)
	}
	return spec(name, n, rules...)
}

func sum(rules []*fleetpb.RegionCount) int {
	n := 0
	for _, r := range rules {
		n += int(r.GetCount())
	}
	return n
}

func (w *world) remove(f *Fault, force bool) func() {
	var specs []*fleetpb.Spec
	for g := range w.Record.Freeze().GroupsByName("") {
		specs = append(specs, g.GetSpec())
	}
	if len(specs) > 0 {
		s := specs[f.Pick%uint64(len(specs))]
		w.Ask(&fleetpb.Command{Op: &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{Name: s.GetName(), Region: s.GetRegion(), Force: force}}})
	}
	return nil
}

func (w *world) deleteGroup(f *Fault) func() { return w.remove(f, false) }
func (w *world) forceGroup(f *Fault) func()  { return w.remove(f, true) }

func (w *world) setLimits(f *Fault) func() {
	p := w.Policy()
	p.OperationsPerHost, p.OperationsTotal = uint32(1+f.Pick%8), uint32(2+f.Pick/8%16)
	w.Ask(&fleetpb.Command{Op: &fleetpb.Command_SetPolicy{SetPolicy: p}})
	return nil
}

// heal ends whatever is wrong.
func (w *world) heal() {
	w.Note("HEAL")
	for _, t := range slices.Clone(w.traps) {
		w.disarm(t)
	}
	w.Agenda, w.Lossy, w.Cuts = nil, false, map[[2]*cluster.Host]bool{}
	for _, d := range w.Drummers {
		d.Apart, d.Deaf, d.Mute = false, false, false
		d.Resume()
		d.Start()
	}
	for _, h := range w.Hosts {
		h.Touch(func() { h.Dark, h.Deaf, h.Mute, h.Slow, h.Trap = false, false, false, 1, 0 })
		h.Resume()
		if h.Refused || w.Record.Freeze().Host(ids.Host(h.Disk.ID)).GetLost() {
			h.Crash()
			h.Touch(h.Format)
		}
		h.Boot()
	}
	w.LinksChanged()
	w.Active, w.Changed = w.Now, w.Now
}
