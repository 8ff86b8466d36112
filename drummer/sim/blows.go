package sim

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/members/change"
	"github.com/drumline/drumline/drummer/sim/cluster"
	"github.com/drumline/drumline/drummer/sim/cover"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/nodehost/replicas"
)

// blows are what happens less often, and takes longer than one moment: each is a little
// story of its own, in the middle of which other faults strike.
func blows() []kind {
	return []kind{
		{name: "flap", weight: 6, strike: (*world).flap},
		{name: "quorum-lost", weight: 8, strike: (*world).loseQuorum},
		{name: "drummer-add", weight: 4, strike: (*world).addDrummer},
		{name: "drummer-remove", weight: 3, strike: (*world).removeDrummer},
		{name: "drummer-replace", weight: 6, strike: (*world).replaceDrummer},
	}
}

// harass has some other faults strike within a time, and end soon.
func (w *world) harass(f *Fault, within time.Duration) {
	all := kinds()
	for i := range f.Pick / 512 % 4 {
		pick := f.Pick*2654435761 + i*40503
		at := time.Duration(pick % uint64(within))
		w.At(w.Virtual()+at, func() {
			w.hit(Fault{Kind: all[pick/7%uint64(len(all))].name, Pick: pick / 11, For: within/8 + at/2})
		})
	}
}

// flap has a host come and go several times, half the time behind an absence after which
// it was replaced and is empty.
func (w *world) flap(f *Fault) func() {
	h, at := w.pickHost(f), w.Virtual()
	h.Crash()
	if f.Pick/64%2 == 0 {
		at += w.DownAfter + 8*time.Second
	}
	for i := range 4 + time.Duration(f.Pick/128%3) {
		w.At(at+i*6*time.Second, h.Boot)
		w.At(at+i*6*time.Second+3*time.Second, h.Crash)
	}
	return h.Boot
}

// loseQuorum destroys the data of a quorum of a group for good. After a while its operator
// sees that and recovers what is left.
func (w *world) loseQuorum(f *Fault) func() {
	rec := w.group(f.Pick)
	g := w.Groups[rec.GetId()]
	if g == nil || len(g.Voters) < 3 || rec.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN {
		return f.miss()
	}
	voters := slices.Sorted(maps.Keys(g.Voters))
	for i := range cluster.Quorum(len(voters)) {
		id := voters[(i+int(f.Pick/64%8))%len(voters)]
		h, k := w.Host(g.Voters[id]), replicas.KeyOf(g.ID, id)
		if h == nil || h.Disk.Logs[k] == nil {
			continue
		}
		h.Crash()
		h.Lose(k)
		h.Boot()
	}
	w.At(w.Virtual()+5*time.Second+f.For%time.Minute, func() {
		w.harass(f, 15*time.Second)
		w.rescue.Soon(words.Full(rec), 20)
	})
	return nil
}

// founders is how many drummers there are when nobody changes that.
const founders = 3

// addDrummer wants one more, up to five.
func (w *world) addDrummer(f *Fault) func() {
	w.harass(f, 30*time.Second)
	if voters, _ := w.crew.Voters(0); len(voters) < founders+2 {
		w.crew.Add(0)
	}
	return nil
}

// removeDrummer wants one less, or that one which is to come does not, or to go stays.
func (w *world) removeDrummer(f *Fault) func() {
	w.harass(f, 20*time.Second)
	list := w.Record.Freeze().Drummers()
	if p := list.Pending(); p.GetState() == fleetpb.DrummerState_DRUMMER_STATE_LEAVING {
		w.crew.Keep(p.GetNumber())
	} else if p != nil {
		w.crew.Remove(p.GetNumber())
	} else if len(list.All) > founders {
		w.crew.Remove(list.All[f.Pick%uint64(len(list.All))].GetNumber())
	}
	return nil
}

// replaceDrummer wants another one in the place of one that lives, or has lost its disk.
func (w *world) replaceDrummer(f *Fault) func() {
	d := w.pickDrummer(f)
	if voters, alive := w.crew.Voters(0); d.Spent || !slices.Contains(voters, d.Number()) || alive <= len(voters)/2+1 || w.spent() > 0 {
		return f.miss()
	}
	if f.Pick/64%3 > 0 {
		w.Note("the disk of %s is lost", d)
		d.Spend()
	}
	w.At(w.Virtual()+f.For%(30*time.Second), func() {
		w.harass(f, 30*time.Second)
		w.crew.Add(d.Number())
	})
	return nil
}

// spent is the lowest number of a drummer that is listed and never comes back; 0 for none.
func (w *world) spent() uint64 {
	for _, d := range w.Record.Freeze().Drummers().All {
		if w.Drummers[d.GetNumber()-1].Spent {
			return d.GetNumber()
		}
	}
	if voters, _ := w.crew.Voters(0); len(w.Record.Freeze().Drummers().All) == 0 { // not written down yet
		for _, n := range voters {
			if w.Drummers[n-1].Spent {
				return n
			}
		}
	}
	return 0
}

// checkCrew is what must hold of the drummers' own group after each step: whoever is given
// a vote or loses it leaves a quorum that lives.
func (w *world) checkCrew(kind change.Kind, number uint64) {
	if voters, alive := w.crew.Voters(decided); w.Now-w.Changed > decided && alive < cluster.Quorum(len(voters)) {
		w.Violate("M1: a step for drummer %d leaves %d of %d drummers that vote and live", number, alive, len(voters))
	}
	if w.Rng.IntN(4) > 0 {
		return
	}
	victims := w.Drummers // somebody is killed behind the step
	d := victims[w.Rng.IntN(len(victims))]
	w.Note("drummer %d is killed behind a step", d.Index)
	w.cover.Count(cover.Killed(crewSteps()[kind]), "done")
	d.Crash()
	w.At(w.Virtual()+time.Second+time.Duration(w.Rng.Int64N(int64(30*time.Second))), d.Start)
	w.Changed = w.Now
}

// crewUnsettled says what of the drummers is not as it should be; their operator has
// replaced those whose disks are lost.
func (w *world) crewUnsettled() []string {
	list := w.Record.Freeze().Drummers()
	voters, _ := w.crew.Voters(0)
	var listed []uint64
	for _, d := range list.All {
		listed = append(listed, d.GetNumber())
	}
	switch {
	case list.Pending() != nil:
		return []string{"the change of drummer " + list.Pending().GetName() + " has not ended"}
	case w.spent() != 0:
		return []string{"a drummer that is gone is not replaced"}
	case len(listed) > 0 && slices.CompareFunc(listed, voters, cmp.Compare[uint64]) != 0:
		return []string{"the record and the drummers' group differ on who votes"}
	}
	return nil
}
