// Package rescue is the person who helps the groups of a simulated cluster of which nothing
// else can: who recovers them, restores them from a backup and gives up what can never be;
// and it judges with what such groups, and clones, begin.
package rescue

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/api/survivors"
	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/planner/member"
	"github.com/drumline/drumline/drummer/sim/cluster"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas"
	"github.com/drumline/drumline/nodehost/replicas/life"
	"github.com/drumline/drumline/statemachines"
)

// Person looks after one cluster.
type Person struct {
	*cluster.World
	asked map[string]time.Duration // how far a group was when its clone was asked for, by the clone's name
}

// New is who looks after a cluster.
func New(w *cluster.World) *Person { return &Person{w, map[string]time.Duration{}} }

// Lost tells that so many of the group's voters lost their data that only a person may
// repair it.
func Lost(g *cluster.Group) bool { return g.Intact(g.Voters) < cluster.Quorum(len(g.Voters)) }

// Soon has the operator try to recover a group, until that works or is not needed.
func (w *Person) Soon(name string, tries int) {
	if w.recover(name) || tries == 0 {
		return
	}
	w.At(w.Virtual()+7*time.Second, func() { w.Soon(name, tries-1) })
}

// recover does what `groups recover NAME` does. It tells whether that is settled.
func (w *Person) recover(name string) bool {
	rec := w.Record.Freeze().ByName(name)
	if rec == nil || !w.Needed(rec) {
		return true
	}
	k := w.judge(name)
	if k == nil || k.Answer.GetCode() != fleetpb.Code_CODE_OK {
		return false
	}
	return w.Ask(&fleetpb.Command{Op: &fleetpb.Command_LoadGroup{LoadGroup: k.Command(1000)}}).GetCode() == fleetpb.Code_CODE_OK
}

// judge asks the hosts, and says what can be done; nil while no drummer can say.
func (w *Person) judge(name string) *survivors.Case {
	d := w.Lead()
	if d == nil {
		return nil
	}
	v, o := w.Record.Freeze(), d.Core.Observed(d.Clock.Read(w.Now))
	if o.Settling {
		return nil
	}
	k := survivors.Of(v, o, name)
	if k.Answer.GetCode() != fleetpb.Code_CODE_OK {
		return k
	}
	looks := survivors.Looks{}
	for _, id := range k.Hosts() {
		h := w.Host(string(id))
		if h == nil || !h.Running || h.Paused || h.Dark {
			continue
		}
		looks[id] = map[uint64]*statepb.Look{}
		if l := w.lookAt(h, k.Answer.GetId()); l != nil {
			looks[id][l.GetGroup()] = l
		}
	}
	k.Judge(looks, survivors.Wish{})
	return k
}

// lookAt is what a host answers that is asked how far its replica of a group is; nil when
// it runs and keeps none.
func (w *Person) lookAt(h *cluster.Host, group uint64) *statepb.Look {
	g := w.Groups[group]
	if g == nil {
		return nil
	}
	g.Settle()
	for _, k := range h.Keys() {
		if k.Group != ids.Group(group) {
			continue
		}
		if kept, retired := keeps(h, k); retired {
			return &statepb.Look{Group: group, Replica: uint64(k.Replica), Applied: kept}
		}
		if p := g.Peer(uint64(k.Replica)); p.Log != nil && p.Host == h {
			m := g.Seen(p.Log)
			return &statepb.Look{Group: group, Replica: uint64(k.Replica), Applied: g.Reached(p.Log), ConfigChange: m.GetConfigChange(), Voters: m.GetVoters()}
		}
	}
	return nil
}

// keeps tells how far the state is that a host keeps of a retired replica; retired is
// false while that may still run.
func keeps(h *cluster.Host, k replicas.Key) (applied uint64, retired bool) {
	rec := h.Disk.Manifest.Records[k]
	return rec.Applied, rec.Life == life.Retired
}

// Needed tells that a person has to recover a group: a quorum of its data is gone
// for good, or that which it was to be loaded from.
func (w *Person) Needed(rec *fleetpb.Group) bool {
	switch rec.GetState() {
	case fleetpb.GroupState_GROUP_STATE_OPENING, fleetpb.GroupState_GROUP_STATE_OPEN:
		if g := w.Groups[rec.GetId()]; g != nil && g.Opened > 0 {
			return Lost(g)
		}
	case fleetpb.GroupState_GROUP_STATE_LAUNCHING:
	default:
		return false
	}
	if rec.GetOrigin().GetKind() != fleetpb.OriginKind_ORIGIN_KIND_RECOVER {
		return false
	}
	for _, s := range rec.GetOrigin().GetSources() {
		if h := w.Host(s.GetHostId()); h == nil || h.Disk.Logs[replicas.KeyOf(rec.GetOrigin().GetGroup(), s.GetReplica())] == nil {
			return true
		}
	}
	return false
}

// All does for every group what can be done: one of which nothing has survived is
// restored from a backup, and one that waits for what is gone is deleted.
func (w *Person) All() {
	for rec := range w.Record.Freeze().GroupsByName("") {
		if !w.Needed(rec) || w.recover(words.Full(rec)) {
			continue
		}
		if k := w.judge(words.Full(rec)); k != nil && k.Answer.GetCode() == fleetpb.Code_CODE_NOT_FOUND {
			w.RestoreOn(w.Hosts[rec.GetId()%uint64(len(w.Hosts))], rec.GetSpec(), rec.GetId())
		}
	}
	w.deleteStranded()
}

// Forsaken lists the groups that a person could recover, and that were not, or that are told to
// heal by themselves although they cannot.
func (w *Person) Forsaken() []string {
	var bad []string
	for rec := range w.Record.Freeze().GroupsByName("") {
		if !w.Needed(rec) {
			continue
		}
		k := w.judge(words.Full(rec))
		switch {
		case k == nil || k.Answer.GetCode() == fleetpb.Code_CODE_OK:
			bad = append(bad, "group "+words.Full(rec)+" has lost its quorum, and is not recovered")
		case k.Answer.GetCode() == fleetpb.Code_CODE_CONFLICT:
			bad = append(bad, "group "+words.Full(rec)+" has lost its quorum, and is not recovered: "+k.Answer.GetDetail())
		}
	}
	return bad
}

// CheckLoaded is what must hold when a group begins with a state.
func (w *Person) CheckLoaded(g *cluster.Group, b *drummerpb.Load, applied uint64) {
	if b.GetRetired() {
		w.checkRecovered(g, b.GetGroup(), applied)
	} else {
		w.checkCopied(g, b, applied)
	}
}

// checkRecovered is what must hold when a group begins with what another one left: nobody
// goes on behind its back, and no survivor that was asked has more.
func (w *Person) checkRecovered(g *cluster.Group, from, applied uint64) {
	old := w.Groups[from]
	for _, s := range w.Recorded(g.ID).GetOrigin().GetSources() {
		h := w.Host(s.GetHostId())
		if h == nil {
			continue
		}
		k := replicas.KeyOf(from, s.GetReplica())
		l := h.Disk.Logs[k]
		if l == nil {
			continue
		}
		kept, retired := keeps(h, k)
		if !retired {
			w.Violate("R2: group %d is loaded from group %d, whose replica %d still runs", g.ID, from, s.GetReplica())
		}
		if kept > applied || retired && kept < uint64(min(l.Match, old.Commit)) {
			w.Violate("R1: group %d is loaded with %d, and replica %d of group %d has %d", g.ID, applied, s.GetReplica(), from, kept)
		}
	}
	if rec := w.Record.Freeze().Group(ids.Group(from)); rec.GetState() == fleetpb.GroupState_GROUP_STATE_OPEN {
		w.Violate("R2: group %d is loaded from group %d, which is not banned", g.ID, from)
	}
}

// CheckDestroyed is that the data of a replica is not removed that a group is to be loaded from.
func (w *Person) CheckDestroyed(k replicas.Key) {
	v := w.Record.Freeze()
	from := v.Group(k.Group)
	for rec := range v.Groups() {
		if from != nil && member.Source(rec, from, uint64(k.Replica)) {
			w.Violate("R3: replica %s is destroyed, and group %d is to be loaded from it", k, rec.GetId())
		}
	}
}

// load makes a group with a first state; it tells whether the record took that.
func (w *Person) load(spec *fleetpb.Spec, o *fleetpb.Origin, replaces uint64) bool {
	return w.Ask(&fleetpb.Command{Op: &fleetpb.Command_LoadGroup{LoadGroup: &fleetpb.LoadGroup{
		Spec: spec, Origin: o, Replaces: replaces, Reason: "somebody wants it",
	}}}).GetCode() == fleetpb.Code_CODE_OK
}

// Clone has a group begin with the state of another one.
func (w *Person) Clone(of *fleetpb.Group, name string) {
	spec := proto.CloneOf(of.GetSpec())
	spec.Name = name
	g := w.Groups[of.GetId()]
	if w.load(spec, &fleetpb.Origin{Kind: fleetpb.OriginKind_ORIGIN_KIND_CLONE, Group: of.GetId(), Margin: 1}, 0) && g != nil {
		g.Settle()
		w.asked[statemachines.NameOf(spec)] = g.Commit
	}
}

// RestoreOn stages a state on a host, and makes a group of it.
func (w *Person) RestoreOn(h *cluster.Host, spec *fleetpb.Spec, replaces uint64) {
	staged := fmt.Sprintf("file-%d", w.Steps)
	h.Stage(staged)
	w.load(spec, &fleetpb.Origin{Kind: fleetpb.OriginKind_ORIGIN_KIND_RESTORE, Staged: staged, HostId: h.Disk.ID, Margin: 1000}, replaces)
}

// stranded tells that a group can never get its first state: whoever wanted it is told to
// delete it.
func (w *Person) stranded(rec *fleetpb.Group) bool {
	o := rec.GetOrigin()
	if s := rec.GetState(); s != fleetpb.GroupState_GROUP_STATE_LAUNCHING && s != fleetpb.GroupState_GROUP_STATE_OPENING {
		return false
	}
	if g := w.Groups[rec.GetId()]; g != nil && g.Opened > 0 {
		return false
	}
	switch o.GetKind() {
	case fleetpb.OriginKind_ORIGIN_KIND_CLONE:
		from, g := w.Record.Freeze().Group(ids.Group(o.GetGroup())), w.Groups[o.GetGroup()]
		return from.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN || g != nil && Lost(g)
	case fleetpb.OriginKind_ORIGIN_KIND_RESTORE:
		h := w.Host(o.GetHostId())
		return h == nil || !h.Disk.Staged[o.GetStaged()]
	}
	return false
}

// deleteStranded does what whoever wanted such groups is told to.
func (w *Person) deleteStranded() {
	for rec := range w.Record.Freeze().GroupsByName("") {
		if w.stranded(rec) {
			w.Ask(&fleetpb.Command{Op: &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{Name: rec.GetSpec().GetName(), Region: rec.GetSpec().GetRegion()}}})
		}
	}
}

// checkCopied is what must hold when a group begins with the state of one that serves, or
// with one that was staged.
func (w *Person) checkCopied(g *cluster.Group, b *drummerpb.Load, applied uint64) {
	o := w.Recorded(g.ID).GetOrigin()
	if b.GetGroup() != o.GetGroup() || b.GetStaged() != o.GetStaged() {
		w.Violate("R4: group %d is loaded with %v, and was to have %v", g.ID, b, o)
	}
	if want := w.asked[words.Full(w.Recorded(g.ID))]; b.GetStaged() == "" && applied < uint64(want) {
		w.Violate("R4: group %d is a clone of group %d as of %d, which had %d when it was asked for", g.ID, b.GetGroup(), applied, want)
	}
}
