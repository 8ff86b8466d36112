package sim

import (
	"fmt"
	"slices"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
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

// clone does what `groups clone NAME --to OTHER` does.
func (w *world) clone(f *Fault) func() {
	rec := w.group(f.Pick)
	if rec == nil {
		return nil
	}
	w.rescue.Clone(rec, copyName(rec.GetSpec().GetApp(), f))
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
	w.rescue.RestoreOn(h, spec, replaces)
	return nil
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
