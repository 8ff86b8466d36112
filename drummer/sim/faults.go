package sim

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/nodehost/replicas"
)

// Fault is something that goes wrong, or that an operator does.
type Fault struct {
	// At is when, in virtual time.
	At time.Duration
	// Kind is one of Kinds.
	Kind string
	// Pick chooses its target, For is how long it lasts.
	Pick uint64
	For  time.Duration
}

// kind is what a fault does; the end is nil for one that has none.
type kind struct {
	name   string
	weight int
	strike func(w *world, f *Fault) (end func())
}

func kinds() []kind {
	return []kind{
		{"crash", 10, (*world).crash},
		{"crash-in-turn", 5, (*world).crashInTurn},
		{"restart", 5, (*world).restartHost},
		{"replaced", 6, (*world).replace},
		{"data-lost", 4, (*world).loseData},
		{"pause", 6, (*world).pauseHost},
		{"slow-disk", 4, (*world).slowDisk},
		{"host-cut", 5, (*world).cutHost},
		{"host-mute", 4, (*world).muteHost},
		{"host-deaf", 4, (*world).deafHost},
		{"pair-cut", 5, (*world).cutPair},
		{"new-host", 2, (*world).newHost},
		{"leader-change", 7, (*world).changeLeader},
		{"drummer-crash", 4, (*world).crashDrummer},
		{"drummer-pause", 5, (*world).pauseDrummer},
		{"drummer-cut", 5, (*world).cutDrummer},
		{"drummer-mute", 3, (*world).muteDrummer},
		{"drummers-out", 2, (*world).drummersOut},
		{"lossy", 5, (*world).loseMessages},
		{"clock-set", 3, (*world).setClock},
		{"create", 5, (*world).createGroup},
		{"delete", 5, (*world).deleteGroup},
		{"delete-forced", 2, (*world).forceGroup},
		{"limits", 2, (*world).setLimits},
	}
}

// Kinds are the kinds of faults.
func Kinds() []string {
	var names []string
	for _, k := range kinds() {
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

// hit lets a fault strike, and end in time.
func (w *world) hit(f Fault) {
	for _, k := range kinds() {
		if k.name != f.Kind {
			continue
		}
		w.note("FAULT %s, for %s", f.Kind, f.For.Round(10*time.Millisecond))
		w.book.mark('f', w.now, f.Pick, uint64(f.For))
		w.strike(f.Kind)
		w.active, w.changed = w.now, w.now
		w.book.faults++
		if end := k.strike(w, &f); end != nil {
			w.at(w.virtual()+f.For, func() {
				w.note("END of %s", f.Kind)
				w.active, w.changed = w.now, w.now
				end()
			})
		}
	}
}

func (w *world) pickHost(f *Fault) *host { return w.hosts[f.Pick%uint64(len(w.hosts))] }
func (w *world) pickDrummer(f *Fault) *drummer {
	if w.leader >= 0 && f.Pick%4 != 0 { // mostly the one that leads
		return w.drummers[w.leader]
	}
	return w.drummers[f.Pick/4%uint64(len(w.drummers))]
}

func (w *world) crash(f *Fault) func() {
	h := w.pickHost(f)
	h.crash()
	return h.boot
}

func (w *world) crashInTurn(f *Fault) func() {
	h := w.pickHost(f)
	h.trap = 1 + int(f.Pick/64%2)
	return func() {
		h.trap = 0
		h.boot()
	}
}

func (w *world) restartHost(f *Fault) func() {
	h := w.pickHost(f)
	h.crash()
	h.boot()
	return nil
}

// spare tells that no group loses its quorum with what the host has of it.
func (w *world) spare(h *host, only *replicas.Key) bool {
	for _, g := range w.order {
		left, has := 0, false
		g.settle()
		for id, host := range g.voters {
			k := replicas.KeyOf(g.id, id)
			o := w.host(host)
			switch {
			case o == nil || o.disk.logs[k] == nil:
			case o == h && (only == nil || *only == k):
				has = true
			case o.disk.logs[k].match >= g.commit:
				left++
			}
		}
		if has && left < quorum(len(g.voters)) {
			return false
		}
	}
	return true
}

// replace gives a host an empty disk. Data that a group cannot do without is only
// destroyed in runs that are harsh.
func (w *world) replace(f *Fault) func() {
	h := w.pickHost(f)
	if !w.harsh && !w.spare(h, nil) {
		return nil
	}
	h.crash()
	h.touch(h.format)
	return h.boot
}

func (w *world) loseData(f *Fault) func() {
	h := w.pickHost(f)
	keys := slices.DeleteFunc(h.keys(), func(k replicas.Key) bool { return !h.hasRun(k) })
	if len(keys) == 0 {
		return nil
	}
	k := keys[f.Pick/64%uint64(len(keys))]
	if !w.harsh && !w.spare(h, &k) {
		return nil
	}
	h.crash()
	h.lose(k)
	return h.boot
}

func (w *world) pauseHost(f *Fault) func() {
	h := w.pickHost(f)
	h.pause()
	return h.resume
}

func (w *world) slowDisk(f *Fault) func() {
	h := w.pickHost(f)
	set := func(n int) func() {
		return func() { h.touch(func() { h.slow = n }) }
	}
	set(20)()
	return set(1)
}

// link changes the links of a host for a while.
func (w *world) link(h *host, flag *bool) func() {
	set := func(on bool) func() {
		return func() {
			h.touch(func() { *flag = on })
			h.changed = w.now
			w.linksChanged()
		}
	}
	set(true)()
	return set(false)
}

func (w *world) cutHost(f *Fault) func()  { h := w.pickHost(f); return w.link(h, &h.dark) }
func (w *world) muteHost(f *Fault) func() { h := w.pickHost(f); return w.link(h, &h.mute) }
func (w *world) deafHost(f *Fault) func() { h := w.pickHost(f); return w.link(h, &h.deaf) }

func (w *world) cutPair(f *Fault) func() {
	a, b := w.pickHost(f), w.hosts[f.Pick/64%uint64(len(w.hosts))]
	if a == b {
		return nil
	}
	set := func(on bool) func() {
		return func() {
			a.touch(func() {
				if on {
					w.cuts[[2]*host{a, b}] = true
				} else {
					delete(w.cuts, [2]*host{a, b})
				}
			})
		}
	}
	set(true)()
	return set(false)
}

func (w *world) newHost(f *Fault) func() {
	if len(w.hosts) < 12 {
		w.addHost(w.regions[f.Pick/64%uint64(len(w.regions))])
	}
	return nil
}

func (w *world) changeLeader(f *Fault) func() {
	if d := w.drummers[f.Pick%uint64(len(w.drummers))]; d.majority() {
		w.elect(d)
	}
	return nil
}

func (w *world) crashDrummer(f *Fault) func() {
	d := w.pickDrummer(f)
	d.crash()
	return d.start
}

func (w *world) pauseDrummer(f *Fault) func() {
	d := w.pickDrummer(f)
	d.pause()
	return d.resume
}

// drummerLink changes the links of a drummer for a while.
func (w *world) drummerLink(flags ...*bool) func() {
	set := func(on bool) func() {
		return func() {
			for _, f := range flags {
				*f = on
			}
			w.linksChanged()
		}
	}
	set(true)()
	return set(false)
}

// cutDrummer cuts a drummer off from the others; half the time the hosts still hear it.
func (w *world) cutDrummer(f *Fault) func() {
	d := w.pickDrummer(f)
	if f.Pick/64%2 == 0 {
		return w.drummerLink(&d.apart, &d.deaf, &d.mute)
	}
	return w.drummerLink(&d.apart)
}

func (w *world) muteDrummer(f *Fault) func() {
	d := w.pickDrummer(f)
	if f.Pick/64%2 == 0 {
		return w.drummerLink(&d.mute)
	}
	return w.drummerLink(&d.deaf)
}

func (w *world) drummersOut(*Fault) func() {
	for _, d := range w.drummers {
		d.crash()
	}
	return func() {
		for _, d := range w.drummers {
			d.start()
		}
	}
}

func (w *world) loseMessages(*Fault) func() {
	w.lossy = true
	return func() { w.lossy = false }
}

// setClock sets the wall clock of a drummer, which nothing may depend on.
func (w *world) setClock(f *Fault) func() {
	w.pickDrummer(f).clock.wall += time.Duration(f.Pick % uint64(time.Hour))
	return nil
}

func (w *world) createGroup(f *Fault) func() {
	w.create(w.spec(name(int(f.Pick%80)), f.Pick/128))
	return nil
}

// spec makes a spec that the hosts can fulfil.
func (w *world) spec(name string, pick uint64) *fleetpb.Spec {
	sizes := []int{1, 3, 3, 3, 5}
	n := sizes[pick%5]
	if n > len(w.hosts) {
		n = 3
	}
	if pick/8%4 > 0 || n == 1 {
		return spec(name, n)
	}
	have := map[string]int{}
	for _, h := range w.hosts {
		have[h.region]++
	}
	var rules []*fleetpb.RegionCount
	for _, r := range w.regions {
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
	var names []string
	for g := range w.record.Freeze().GroupsByName("") {
		names = append(names, g.GetSpec().GetName())
	}
	if len(names) > 0 {
		w.ask(&fleetpb.Command{Op: &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{Name: names[f.Pick%uint64(len(names))], Force: force}}})
	}
	return nil
}

func (w *world) deleteGroup(f *Fault) func() { return w.remove(f, false) }
func (w *world) forceGroup(f *Fault) func()  { return w.remove(f, true) }

func (w *world) setLimits(f *Fault) func() {
	w.ask(&fleetpb.Command{Op: &fleetpb.Command_SetPolicy{SetPolicy: &fleetpb.Policy{
		DownAfterMs: w.downAfter.Milliseconds(), SuspectAfterMs: 3000,
		OperationsPerHost: uint32(1 + f.Pick%8), OperationsTotal: uint32(2 + f.Pick/8%16),
	}}})
	return nil
}

// heal ends whatever is wrong.
func (w *world) heal() {
	w.note("HEAL")
	w.agenda, w.lossy, w.cuts = nil, false, map[[2]*host]bool{}
	for _, d := range w.drummers {
		d.apart, d.deaf, d.mute = false, false, false
		d.resume()
		d.start()
	}
	for _, h := range w.hosts {
		h.touch(func() { h.dark, h.deaf, h.mute, h.slow, h.trap = false, false, false, 1, 0 })
		h.resume()
		if h.refused {
			h.touch(h.format)
		}
		h.boot()
	}
	w.linksChanged()
	w.active, w.changed = w.now, w.now
}
