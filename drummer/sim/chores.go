package sim

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/sim/cluster"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// chores are what only errands have operators do: they clone and restore groups, let go what
// was banned, and want a group off a host.
func chores() []kind {
	return commands([]kind{
		{name: "forbid", weight: 4, strike: (*world).forbid},
		{name: "move-leader", weight: 4, strike: (*world).moveLeader},
		{name: "clone", weight: 4, strike: (*world).clone},
		{name: "restore", weight: 4, strike: (*world).restore},
		{name: "purge", weight: 2, strike: (*world).purge},
	})
}

// forbid wants a group off one of its hosts, half the time off that which leads it.
func (w *world) forbid(f *Fault) func() {
	rec := w.group(f.Pick)
	if len(rec.GetReplicas()) == 0 {
		return nil
	}
	h := w.Host(rec.GetReplicas()[f.Pick/256%uint64(len(rec.GetReplicas()))].GetHostId())
	if g := w.Groups[rec.GetId()]; g != nil && f.Pick/1024%2 == 0 && g.Lead().Log != nil {
		h = g.Lead().Host
	}
	if h != nil {
		w.shape(rec, func(s *fleetpb.Spec) { s.Forbid = []string{h.Label()} })
	}
	return nil
}

// moveLeader moves by hand the replica that leads a group, of the first group where that can be.
func (w *world) moveLeader(f *Fault) func() {
	v, ok := w.look()
	if !ok {
		return f.miss()
	}
	groups := slices.Collect(v.Fleet.GroupsByName(""))
	for i := range groups {
		rec := groups[(uint64(i)+f.Pick)%uint64(len(groups))]
		g := w.Groups[rec.GetId()]
		if g == nil || g.Lead().Log == nil {
			continue
		}
		for j := range w.Hosts {
			to := w.Hosts[(uint64(j)+f.Pick/256)%uint64(len(w.Hosts))]
			if w.moveTo(v, rec, g.Lead().Host.Disk.ID, to) {
				return nil
			}
		}
	}
	return f.miss()
}

// copyName is a name that only copies have.
func copyName(app string, f *Fault) string { return fmt.Sprintf("%s/copy%d", app, f.Pick/256%20) }

// loadGroup makes a group with a first state; it tells whether the record took that.
func (w *world) loadGroup(spec *fleetpb.Spec, o *fleetpb.Origin, replaces uint64) bool {
	return w.Ask(&fleetpb.Command{Op: &fleetpb.Command_LoadGroup{LoadGroup: &fleetpb.LoadGroup{
		Spec: spec, Origin: o, Replaces: replaces, Reason: "somebody wants it",
	}}}).GetCode() == fleetpb.Code_CODE_OK
}

// clone does what `groups clone NAME --to OTHER` does.
func (w *world) clone(f *Fault) func() {
	rec := w.group(f.Pick)
	if rec == nil {
		return nil
	}
	spec := proto.CloneOf(rec.GetSpec())
	spec.Name = copyName(spec.GetApp(), f)
	g := w.Groups[rec.GetId()]
	if w.loadGroup(spec, &fleetpb.Origin{Kind: fleetpb.OriginKind_ORIGIN_KIND_CLONE, Group: rec.GetId(), Margin: 1}, 0) && g != nil {
		g.Settle()
		w.asked[spec.GetName()] = g.Commit
	}
	return nil
}

// restore does what `restore` does: it stages a file on a host, and makes a group of it,
// under a name that is free or in the place of another group.
func (w *world) restore(f *Fault) func() {
	h := w.pickHost(f)
	if !h.Running || h.Paused || h.Dark || len(w.Apps) == 0 {
		return nil
	}
	spec, replaces := w.spec(copyName(w.Apps[0].GetName(), f), f.Pick/1024), uint64(0)
	if rec := w.group(f.Pick / 64); rec != nil && f.Pick/32%2 == 0 {
		spec, replaces = rec.GetSpec(), rec.GetId()
	}
	w.restoreOn(h, spec, replaces)
	return nil
}

// restoreOn stages a state on a host, and makes a group of it.
func (w *world) restoreOn(h *cluster.Host, spec *fleetpb.Spec, replaces uint64) {
	staged := fmt.Sprintf("file-%d", w.Steps)
	h.Stage(staged)
	w.loadGroup(spec, &fleetpb.Origin{Kind: fleetpb.OriginKind_ORIGIN_KIND_RESTORE, Staged: staged, HostId: h.Disk.ID, Margin: 1000}, replaces)
}

// purge does what `groups purge NUMBER` does.
func (w *world) purge(f *Fault) func() {
	var banned []uint64
	for rec := range w.Record.Freeze().Groups() {
		if rec.GetState() == fleetpb.GroupState_GROUP_STATE_RETIRED {
			banned = append(banned, rec.GetId())
		}
	}
	if len(banned) > 0 {
		id := banned[f.Pick%uint64(len(banned))]
		w.Ask(&fleetpb.Command{Op: &fleetpb.Command_PurgeRetired{PurgeRetired: &fleetpb.PurgeRetired{Group: id}}})
	}
	return nil
}

// stranded tells that a group can never get its first state: whoever wanted it is told to
// delete it.
func (w *world) stranded(rec *fleetpb.Group) bool {
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
		return from.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN || g != nil && lost(g)
	case fleetpb.OriginKind_ORIGIN_KIND_RESTORE:
		h := w.Host(o.GetHostId())
		return h == nil || !h.Disk.Staged[o.GetStaged()]
	}
	return false
}

// deleteStranded does what whoever wanted such groups is told to.
func (w *world) deleteStranded() {
	for rec := range w.Record.Freeze().GroupsByName("") {
		if w.stranded(rec) {
			w.Ask(&fleetpb.Command{Op: &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{Name: rec.GetSpec().GetName()}}})
		}
	}
}

// checkCopied is what must hold when a group begins with the state of one that serves, or
// with one that was staged.
func (w *world) checkCopied(g *cluster.Group, b *drummerpb.Load, applied uint64) {
	o := w.Recorded(g.ID).GetOrigin()
	if b.GetGroup() != o.GetGroup() || b.GetStaged() != o.GetStaged() {
		w.Violate("R4: group %d is loaded with %v, and was to have %v", g.ID, b, o)
	}
	if want := w.asked[w.Recorded(g.ID).GetSpec().GetName()]; b.GetStaged() == "" && applied < uint64(want) {
		w.Violate("R4: group %d is a clone of group %d as of %d, which had %d when it was asked for", g.ID, b.GetGroup(), applied, want)
	}
}
