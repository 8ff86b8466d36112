package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/planner/spread"
	"github.com/drumline/drumline/drummer/sim/rescue"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas"
)

// Bounds of the end of a run.
const (
	settleWithin = 7 * time.Minute
	stillFor     = 75 * time.Second
)

// converge demands that, with nothing in its way, the cluster becomes what is wanted
// within a bound, and rests: nothing happens for longer than any of its timers.
func (w *world) converge() {
	w.NoJumps = true
	content := false
	within := w.patience()
	for end := w.Virtual() + within; w.Virtual() < end; {
		w.Run(w.Virtual()+2*time.Second, nil)
		if content = content || w.content(); content {
			w.tend()
		}
		if len(w.Book.Violations) > 0 || content && w.Now-w.Active > stillFor && len(w.unsettled()) == 0 {
			return
		}
	}
	bad := w.unsettled()
	if len(bad) == 0 {
		bad = []string{"all is as wanted, and it does not rest"}
	}
	w.Violate("S10: %s after the last fault was healed: %s", within, bad[0])
	for _, b := range bad[1:] {
		w.Note("  and %s", b)
	}
}

// tend is what the operator does once all is healed: recovers what was lost, gives up copies
// of what is lost, and replaces drummers whose disks were, or takes back one that was to join,
// or a removal that keeps it from that.
func (w *world) tend() {
	switch n, p := w.spent(), w.Record.Freeze().Drummers().Pending(); {
	case n != 0 && p == nil:
		w.crew.Add(n)
	case n != 0 && n != p.GetNumber() && p.GetState() == fleetpb.DrummerState_DRUMMER_STATE_LEAVING:
		w.crew.Keep(p.GetNumber())
	case p.GetState() == fleetpb.DrummerState_DRUMMER_STATE_JOINING && w.Drummers[p.GetNumber()-1].Spent:
		w.crew.Remove(p.GetNumber())
	}
	if w.Virtual() > w.tended+10*time.Second {
		w.tended = w.Virtual()
		w.rescue.All()
	}
}

// patience is within which a cluster has to settle. A fleet that was exported may have
// any thresholds, and any number of groups to mend.
func (w *world) patience() time.Duration {
	if !w.From {
		return settleWithin
	}
	return settleWithin + 6*w.DownAfter + time.Duration(w.Record.Freeze().GroupCount())*3*time.Second
}

// hopeless tells that a group of an exported fleet cannot be as it is wanted there, or that
// what is left of its hosts may not suffice for its rules: a person has to bring one.
func (w *world) hopeless(rec *fleetpb.Group) bool {
	if !w.From {
		return false
	}
	if spread.Possible(w.Record.Freeze(), rec.GetSpec()) != nil {
		return true
	}
	strict := len(rec.GetSpec().GetRequire())+len(rec.GetSpec().GetForbid()) > 0 || rec.GetSpec().GetIsolation() == fleetpb.Isolation_ISOLATION_ZONE
	for _, r := range rec.GetReplicas() {
		if h := w.Host(r.GetHostId()); strict && h != nil && h.Disk.Logs[replicas.KeyOf(rec.GetId(), r.GetId())] == nil {
			return true
		}
	}
	return false
}

// unsettled lists what is not as it should be.
func (w *world) unsettled() []string {
	d := w.Lead()
	if d == nil {
		return []string{"no drummer leads"}
	}
	reasons := d.Core.Observed(d.Clock.Read(w.Now)).Reasons
	inRecord := map[uint64]bool{}
	var bad []string
	for rec := range w.Record.Freeze().Groups() {
		for _, r := range rec.GetReplicas() {
			inRecord[r.GetId()] = true
		}
		g := w.Groups[rec.GetId()]
		if rec.GetState() == fleetpb.GroupState_GROUP_STATE_RETIRED {
			if g != nil && g.Lead().Log != nil {
				bad = append(bad, fmt.Sprintf("group %d %s is banned, and serves", rec.GetId(), words.Full(rec)))
			}
			continue
		}
		if g != nil && rescue.Lost(g) || w.rescue.Needed(rec) {
			continue
		}
		if why := w.amiss(rec); why != "" && !w.beyond(rec) && !w.hopeless(rec) {
			bad = append(bad, fmt.Sprintf("group %d %s: %s; %v", rec.GetId(), words.Full(rec), why, reasons[ids.Group(rec.GetId())]))
		}
	}
	for _, h := range w.Hosts {
		for _, k := range slices.SortedFunc(maps.Keys(h.Disk.Manifest.Records), func(a, b replicas.Key) int { return int(a.Replica) - int(b.Replica) }) {
			if g := w.Groups[uint64(k.Group)]; !inRecord[uint64(k.Replica)] && (g == nil || !rescue.Lost(g)) {
				bad = append(bad, fmt.Sprintf("%s still has replica %s", h.Name, k))
			}
		}
	}
	return slices.Concat(bad, w.undone(), w.crewUnsettled(), w.rescue.Forsaken())
}

// undone lists what of the fleet itself is not as it should be.
func (w *world) undone() []string {
	var bad []string
	v := w.Record.Freeze()
	if v.Brake().GetEngaged() {
		bad = append(bad, "the brake is on: "+v.Brake().GetReason())
	}
	for _, h := range w.Hosts {
		if rec := v.Host(ids.Host(h.Disk.ID)); rec == nil || rec.GetLost() {
			bad = append(bad, fmt.Sprintf("the record does not have %s, or has it as lost", h.Name))
		}
	}
	for o := range v.Operations() {
		if o.GetEndedUnixMs() != 0 {
			continue
		}
		g := w.Groups[o.GetGroup()]
		if g != nil && rescue.Lost(g) || o.GetGroup() != 0 && w.rescue.Needed(w.Recorded(o.GetGroup())) || o.GetGroup() != 0 && (w.beyond(w.Recorded(o.GetGroup())) || w.hopeless(w.Recorded(o.GetGroup()))) {
			continue
		}
		bad = append(bad, fmt.Sprintf("operation %d of group %d, a %s, has not ended", o.GetId(), o.GetGroup(), o.GetKind()))
	}
	return bad
}

// beyond tells that a group cannot become whole: a host that runs has lost the data of its
// replica or keeps it down, and there is no other host for a new one. A person has to bring one.
func (w *world) beyond(rec *fleetpb.Group) bool {
	wants, has, lost, taken := map[string]int{}, map[string]bool{}, false, map[string]bool{}
	for _, rule := range rec.GetSpec().GetRegions() {
		wants[rule.GetRegion()] = int(rule.GetCount())
	}
	for _, r := range rec.GetReplicas() {
		h := w.Host(r.GetHostId())
		if h == nil {
			continue
		}
		has[h.Disk.ID] = true
		if k := replicas.KeyOf(rec.GetId(), r.GetId()); h.Disk.Logs[k] == nil || h.KeptDown(k) {
			lost = true
		} else {
			wants[h.Region]--
			taken[h.Region] = rec.GetSpec().GetIsolation() == fleetpb.Isolation_ISOLATION_REGION
		}
	}
	for _, h := range w.Hosts {
		unfit := spread.Unfit(rec.GetSpec(), w.Record.Freeze().Host(ids.Host(h.Disk.ID))) != ""
		if !unfit && !has[h.Disk.ID] && !taken[h.Region] && (len(rec.GetSpec().GetRegions()) == 0 || wants[h.Region] > 0) {
			return false
		}
	}
	return lost
}

// amiss says what of a group is not as it is wanted.
func (w *world) amiss(rec *fleetpb.Group) string {
	if rec.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN {
		return "it is " + rec.GetState().String()
	}
	if len(rec.GetReplicas()) != int(rec.GetSpec().GetReplicas()) {
		return fmt.Sprintf("it has replicas %v", rec.GetReplicas())
	}
	g := w.Groups[rec.GetId()]
	if g.Lead().Log == nil {
		return "it has no leader"
	}
	at := map[string]int{}
	for _, r := range rec.GetReplicas() {
		if p := g.Peer(r.GetId()); p.Log == nil || g.Voters[r.GetId()] != r.GetHostId() || !r.GetVoter() {
			return fmt.Sprintf("replica %d is no live voter", r.GetId())
		}
		at[w.Host(r.GetHostId()).Region]++
	}
	for _, rule := range rec.GetSpec().GetRegions() {
		if at[rule.GetRegion()] != int(rule.GetCount()) {
			return fmt.Sprintf("%d of its replicas are in %s, %d are wanted", at[rule.GetRegion()], rule.GetRegion(), rule.GetCount())
		}
	}
	return ""
}
