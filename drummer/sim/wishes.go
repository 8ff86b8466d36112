package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/fleet/rules"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/planner"
	"github.com/drumline/drumline/drummer/planner/spread"
	"github.com/drumline/drumline/drummer/sim/cluster"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// wishes are what operators want in the middle of it all, asked for as the service does it:
// with its checks before the record's.
func wishes() []kind {
	said := kind{name: "brake-release", weight: 3, strike: (*world).releaseBrake} // whether the brake is on or not
	return append(commands([]kind{
		{name: "cordon", weight: 3, strike: (*world).cordon},
		{name: "drain", weight: 6, strike: (*world).drain},
		{name: "maintenance", weight: 4, strike: (*world).maintenance},
		{name: "decommission", weight: 3, strike: (*world).decommission},
		{name: "remove-host", weight: 2, strike: (*world).removeHost},
		{name: "weight", weight: 2, strike: (*world).weigh},
		{name: "resize", weight: 8, strike: (*world).resize},
		{name: "tune", weight: 4, strike: (*world).tune},
		{name: "place-rule", weight: 5, strike: (*world).placeRule},
		{name: "move", weight: 7, strike: (*world).move},
		{name: "transfer", weight: 4, strike: (*world).transfer},
		{name: "cancel", weight: 5, strike: (*world).cancel},
		{name: "pause-kind", weight: 3, strike: (*world).pauseKind},
	}), said)
}

// later draws what comes after the faults: each within half a minute of some fault.
func later(rng *rand.Rand, all []kind, faults []Fault, n int) []Fault {
	total := 0
	for _, k := range all {
		total += k.weight
	}
	var list []Fault
	for len(list) < n && len(faults) > 0 {
		at := faults[rng.IntN(len(faults))].At + time.Duration(rng.Int64N(int64(time.Minute))) - 30*time.Second
		list = append(list, Fault{At: max(at, 4*time.Second), Kind: pick(all, rng.IntN(total)), Pick: rng.Uint64(), For: last(rng)})
	}
	return list
}

// look is what the leader's service would decide on; false while it would refuse to.
func (w *world) look() (planner.View, bool) {
	d := w.Lead()
	if d == nil {
		return planner.View{}, false
	}
	o := d.Core.Observed(d.Clock.Read(w.Now))
	return planner.View{Fleet: w.Record.Freeze(), Observed: &o.Observed}, !o.Settling
}

// want changes what is wanted of a host that the record has.
func (w *world) want(h *cluster.Host, change func(*fleetpb.HostWanted)) bool {
	rec := w.Record.Freeze().Host(ids.Host(h.Disk.ID))
	if rec == nil || rec.GetLost() {
		return false
	}
	wanted := &fleetpb.HostWanted{}
	if rec.GetWanted() != nil {
		wanted = proto.CloneOf(rec.GetWanted())
	}
	change(wanted)
	return w.Ask(&fleetpb.Command{Op: &fleetpb.Command_SetHost{SetHost: &fleetpb.SetHost{HostId: rec.GetId(), Wanted: wanted}}}).GetCode() == fleetpb.Code_CODE_OK
}

// duty gives a host one, until the wish ends.
func (w *world) duty(h *cluster.Host, d fleetpb.HostDuty) func() {
	if !w.want(h, func(wanted *fleetpb.HostWanted) { wanted.Duty = d }) {
		return nil
	}
	return func() {
		w.want(h, func(wanted *fleetpb.HostWanted) { wanted.Duty = fleetpb.HostDuty_HOST_DUTY_UNSPECIFIED })
	}
}

func (w *world) cordon(f *Fault) func() {
	return w.duty(w.pickHost(f), fleetpb.HostDuty_HOST_DUTY_CORDONED)
}

// drain empties a host; one time of four whatever blocks it.
func (w *world) drain(f *Fault) func() {
	h := w.pickHost(f)
	if v, ok := w.look(); !ok || f.Pick/64%4 > 0 && blocked(v, h) {
		return nil
	}
	return w.duty(h, fleetpb.HostDuty_HOST_DUTY_DRAINING)
}

func blocked(v planner.View, h *cluster.Host) bool {
	_, n := planner.Blockers(v, ids.Host(h.Disk.ID), 1)
	return n > 0
}

// maintenance announces that a host will be away, and mostly it is.
func (w *world) maintenance(f *Fault) func() {
	h := w.pickHost(f)
	if !w.want(h, func(wanted *fleetpb.HostWanted) {
		wanted.MaintenanceUntilUnixMs = w.UnixMs() + f.For.Milliseconds()
	}) || f.Pick/64%4 == 0 {
		return nil
	}
	w.At(w.Virtual()+f.For/8, func() { h.Crash() })
	w.At(w.Virtual()+f.For*7/8, func() { h.Boot() })
	return nil
}

// decommission takes a host out of service; when it is empty, out of the fleet, and
// somebody brings another one.
func (w *world) decommission(f *Fault) func() {
	h := w.pickHost(f)
	v, ok := w.look()
	if !ok || blocked(v, h) {
		return nil
	}
	end := w.duty(h, fleetpb.HostDuty_HOST_DUTY_LEAVING)
	if end == nil {
		return nil
	}
	id := h.Disk.ID
	return func() {
		rec := w.Record.Freeze().Host(ids.Host(id))
		switch {
		case h.Disk.ID != id: // a fault replaced it meanwhile
		case rec.GetWanted().GetEmpty() && w.Ask(&fleetpb.Command{Op: &fleetpb.Command_RemoveHost{RemoveHost: &fleetpb.RemoveHost{HostId: id}}}).GetCode() == fleetpb.Code_CODE_OK:
			w.bringAnother(h)
		default:
			end()
		}
	}
}

// bringAnother gives a host that is gone an empty disk, after a while.
func (w *world) bringAnother(h *cluster.Host) {
	id := h.Disk.ID
	w.At(w.Virtual()+10*time.Second, func() {
		if h.Disk.ID == id {
			h.Crash()
			h.Touch(h.Format)
			h.Boot()
		}
	})
}

// removeHost declares a host gone for good that may not be. As whoever does that should,
// it looks first whether the groups can do without it.
func (w *world) removeHost(f *Fault) func() {
	h := w.pickHost(f)
	if !w.spare(h, nil) || w.Record.Freeze().Host(ids.Host(h.Disk.ID)) == nil {
		return nil
	}
	id := h.Disk.ID
	if w.Ask(&fleetpb.Command{Op: &fleetpb.Command_RemoveHost{RemoveHost: &fleetpb.RemoveHost{HostId: id, Force: true}}}).GetCode() != fleetpb.Code_CODE_OK {
		return nil
	}
	h.Crash()
	return func() {
		if h.Disk.ID == id {
			w.bringAnother(h)
		}
	}
}

func (w *world) weigh(f *Fault) func() {
	h := w.pickHost(f)
	w.want(h, func(wanted *fleetpb.HostWanted) { wanted.Weight = []uint32{50, 100, 200, 400}[f.Pick/64%4] })
	return nil
}

// group picks one that has a name; nil for none.
func (w *world) group(pick uint64) *fleetpb.Group {
	v := w.Record.Freeze()
	groups := slices.Collect(v.GroupsByName(""))
	if len(groups) == 0 {
		return nil
	}
	return groups[pick%uint64(len(groups))]
}

// shape wants something else of a group, if some choice of hosts can give it.
func (w *world) shape(g *fleetpb.Group, change func(*fleetpb.Spec)) {
	next := proto.CloneOf(g.GetSpec())
	change(next)
	rules.Settle(next)
	if int(next.GetReplicas()) > len(w.Hosts) || spread.Possible(w.Record.Freeze(), next) != nil {
		return
	}
	w.Ask(&fleetpb.Command{Op: &fleetpb.Command_ShapeGroups{ShapeGroups: &fleetpb.ShapeGroups{Specs: []*fleetpb.Spec{next}}}})
}

func (w *world) resize(f *Fault) func() {
	if g := w.group(f.Pick); g != nil {
		w.shape(g, func(s *fleetpb.Spec) {
			s.Replicas, s.Regions, s.Isolation = []uint32{1, 3, 3, 5, 7}[f.Pick/256%5], nil, fleetpb.Isolation_ISOLATION_UNSPECIFIED
		})
	}
	return nil
}

// tune wants other Raft options of a group.
func (w *world) tune(f *Fault) func() {
	if g := w.group(f.Pick); g != nil {
		w.shape(g, func(s *fleetpb.Spec) {
			s.Raft = []*fleetpb.RaftOptions{nil, {SnapshotEntries: 200}, {SnapshotEntries: 300, ElectionTicks: 20, HeartbeatTicks: 2}}[f.Pick/256%3]
		})
	}
	return nil
}

// placeRule wants a group elsewhere, or led from elsewhere.
func (w *world) placeRule(f *Fault) func() {
	g := w.group(f.Pick)
	if g == nil {
		return nil
	}
	w.shape(g, func(s *fleetpb.Spec) {
		switch other := w.spec(s.GetName(), f.Pick/1024<<5|f.Pick/256%5); f.Pick / 256 % 3 {
		case 0:
			s.Leaders = []string{w.Regions[f.Pick/2048%uint64(len(w.Regions))]}
		case 1:
			s.Replicas, s.Regions, s.Isolation = 3, nil, fleetpb.Isolation_ISOLATION_REGION
		default:
			s.Replicas, s.Regions, s.Isolation = other.GetReplicas(), other.GetRegions(), fleetpb.Isolation_ISOLATION_UNSPECIFIED
		}
	})
	return nil
}

// move moves a replica by hand.
func (w *world) move(f *Fault) func() {
	g, to := w.group(f.Pick), w.Hosts[f.Pick/256%uint64(len(w.Hosts))]
	v, ok := w.look()
	if g == nil || !ok || len(g.GetReplicas()) == 0 {
		return nil
	}
	from := g.GetReplicas()[f.Pick/4096%uint64(len(g.GetReplicas()))].GetHostId()
	w.moveTo(v, g, from, to)
	return nil
}

// moveTo moves what a host has of a group to another one. It tells whether that was possible.
func (w *world) moveTo(v planner.View, g *fleetpb.Group, from string, to *cluster.Host) bool {
	id, err := planner.CheckMove(v, g, ids.Host(from), ids.Host(to.Disk.ID))
	if err != nil {
		return false
	}
	w.byHand = w.Now
	return w.Ask(&fleetpb.Command{Op: &fleetpb.Command_AddReplica{AddReplica: &fleetpb.AddReplica{
		Group: g.GetId(), Generation: g.GetGeneration(), HostId: to.Disk.ID, Replaces: uint64(id), Kind: words.KindMove, Move: true,
	}}}).GetCode() == fleetpb.Code_CODE_OK
}

// transfer has a replica lead, half the time until the wish ends.
func (w *world) transfer(f *Fault) func() {
	g := w.group(f.Pick)
	if g == nil || len(g.GetReplicas()) == 0 {
		return nil
	}
	prefer := func(id uint64) {
		w.Ask(&fleetpb.Command{Op: &fleetpb.Command_PreferLeader{PreferLeader: &fleetpb.PreferLeader{Name: g.GetSpec().GetName(), Region: g.GetSpec().GetRegion(), Replica: id}}})
	}
	prefer(g.GetReplicas()[f.Pick/256%uint64(len(g.GetReplicas()))].GetId())
	if f.Pick/4096%2 == 0 {
		return nil
	}
	return func() { prefer(0) }
}

// cancel gives up an operation that is under way.
func (w *world) cancel(f *Fault) func() {
	var running []uint64
	for o := range w.Record.Freeze().Operations() {
		if o.GetEndedUnixMs() == 0 {
			running = append(running, o.GetId())
		}
	}
	if len(running) > 0 {
		w.Ask(&fleetpb.Command{Op: &fleetpb.Command_CancelOperation{CancelOperation: &fleetpb.CancelOperation{Id: running[f.Pick%uint64(len(running))]}}})
	}
	return nil
}

// pauseKind lets no new operations of a kind begin for a while.
func (w *world) pauseKind(f *Fault) func() {
	kinds := []string{words.KindReplace, words.KindLaunch, words.KindDrain, words.KindBalance, words.KindPlace, words.KindResize, words.KindTransfer}
	p := &fleetpb.Pause{Kind: kinds[f.Pick%uint64(len(kinds))]}
	w.Ask(&fleetpb.Command{Op: &fleetpb.Command_Pause{Pause: p}})
	return func() {
		w.Ask(&fleetpb.Command{Op: &fleetpb.Command_Pause{Pause: &fleetpb.Pause{Kind: p.GetKind(), Resume: true}}})
	}
}

// releaseBrake says of the hosts that are silent now that they stay away.
func (w *world) releaseBrake(*Fault) func() {
	if v, ok := w.look(); ok && v.Fleet.Brake().GetEngaged() {
		w.Ask(&fleetpb.Command{Op: &fleetpb.Command_SetBrake{SetBrake: &fleetpb.SetBrake{Reason: "released", Accepted: planner.Gone(v)}}})
	}
	return nil
}

// content ends all wishes, as soon as somebody leads. It tells whether it could.
func (w *world) content() bool {
	v, ok := w.look()
	if !ok {
		return false
	}
	for _, h := range w.Hosts {
		rec := v.Fleet.Host(ids.Host(h.Disk.ID))
		if rec == nil {
			return false
		}
		if rec.GetWanted().GetDuty() != 0 || rec.GetWanted().GetMaintenanceUntilUnixMs() != 0 {
			w.want(h, func(wanted *fleetpb.HostWanted) {
				wanted.Duty, wanted.MaintenanceUntilUnixMs = fleetpb.HostDuty_HOST_DUTY_UNSPECIFIED, 0
			})
		}
	}
	for _, kind := range v.Fleet.Paused() {
		w.Ask(&fleetpb.Command{Op: &fleetpb.Command_Pause{Pause: &fleetpb.Pause{Kind: kind, Resume: true}}})
	}
	return true
}
