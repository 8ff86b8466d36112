package foresight

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/planner"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// add has an empty host come to the fleet, which runs what the others run.
func (w *world) add(h *fleetpb.Host) error {
	hosts := 0
	var apps []*fleetpb.App
	for other := range w.record.Freeze().Hosts() {
		if other.GetName() == h.GetName() && !other.GetLost() {
			return fmt.Errorf("a host %s is there already: give the one that would be added another name", h.GetName())
		}
		hosts++
		apps = common(apps, other.GetApps(), hosts == 1)
	}
	added := &fleetpb.Host{
		Id: fmt.Sprintf("added-%d", hosts+1), Name: h.GetName(), Region: h.GetRegion(), Zone: h.GetZone(), Labels: slices.Clone(h.GetLabels()),
		Api: "added", Raft: "added", BootEpoch: 1, Apps: apps,
	}
	slices.Sort(added.Labels)
	if err := w.apply(&fleetpb.Command{Op: &fleetpb.Command_RegisterHost{RegisterHost: added}}); err != nil {
		return err
	}
	w.seen.Hosts[ids.Host(added.GetId())] = &planner.Host{State: planner.Up, Connected: true, Replicas: map[planner.Ref]*drummerpb.ReplicaReport{}}
	if weight := h.GetWanted().GetWeight(); weight != 0 && weight != words.Weight(added) {
		return w.apply(&fleetpb.Command{Op: &fleetpb.Command_SetHost{SetHost: &fleetpb.SetHost{HostId: added.GetId(), Wanted: &fleetpb.HostWanted{Weight: weight}}}})
	}
	return nil
}

// common keeps the apps that the other list has too, in the older version of both; the
// first list is taken as it is.
func common(apps, other []*fleetpb.App, first bool) []*fleetpb.App {
	if first {
		return other
	}
	var both []*fleetpb.App
	for _, a := range apps {
		if i := slices.IndexFunc(other, func(b *fleetpb.App) bool { return a.GetName() == b.GetName() }); i >= 0 {
			a = proto.CloneOf(a)
			a.Version = min(a.GetVersion(), other[i].GetVersion())
			both = append(both, a)
		}
	}
	return both
}
