package sim

import (
	"maps"
	"slices"

	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/members/change"
	"github.com/drumline/drumline/drummer/sim/cluster"
	"github.com/drumline/drumline/drummer/sim/cover"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas"
)

// crewSteps are the steps of a change of the drummers' own group, by their kinds.
func crewSteps() map[change.Kind]string {
	return map[change.Kind]string{
		change.Observe: "observe", change.Promote: "give vote", change.Remove: "remove drummer", change.HandOver: "hand over",
		change.Joined: "joined", change.Gone: "gone",
	}
}

// point is a step that an operation is at.
type point struct {
	operation uint64
	kind      string
	step      string
}

// points are the steps that all operations are at now.
func (w *world) points() (list []point) {
	for rec := range w.Record.Freeze().Groups() {
		list = append(list, w.pointOf(rec))
	}
	for _, h := range w.Hosts {
		list = append(list, w.pointOfHost(h))
	}
	return slices.DeleteFunc(list, func(p point) bool { return p.operation == 0 })
}

// strike notes that a fault struck operations at these steps; some may have ended by it.
func (w *world) strike(points []point, fault string) {
	for _, p := range points {
		w.struck[p.operation] = append(w.struck[p.operation], cover.Row{Operation: p.kind, Step: p.step, Fault: fault})
	}
	w.followOperations(0)
}

// pointOf says where the operation of a group is.
func (w *world) pointOf(rec *fleetpb.Group) point {
	o := w.Record.Freeze().Operation(rec.GetOperation())
	if rec.GetOperation() == 0 || o == nil {
		return point{}
	}
	return point{o.GetId(), o.GetKind(), w.stepOf(o.GetKind(), rec)}
}

// pointOfHost says where the operation of a host is.
func (w *world) pointOfHost(h *cluster.Host) point {
	v := w.Record.Freeze()
	o := v.Operation(v.Host(ids.Host(h.Disk.ID)).GetWanted().GetOperation())
	if o == nil {
		return point{}
	}
	p := point{o.GetId(), o.GetKind(), cover.Empty}
	if p.kind == words.KindDrain {
		p.kind = cover.DrainHost
	}
	for _, g := range w.Order {
		if g.Lead().Host == h {
			p.step = cover.HandOver
		}
	}
	return p
}

// stepOf says which step of its operation a group is at.
func (w *world) stepOf(kind string, rec *fleetpb.Group) string {
	switch {
	case kind == words.KindTransfer:
		return cover.HandOver
	case kind == words.KindTune:
		return w.tuning(rec)
	case slices.Contains(words.BuildKinds(), kind):
		return w.building(kind, rec)
	}
	switch rec.GetState() {
	case fleetpb.GroupState_GROUP_STATE_LAUNCHING:
		if len(rec.GetReplicas()) == 0 {
			return cover.Place
		}
		return cover.Start
	case fleetpb.GroupState_GROUP_STATE_OPENING:
		if rec.GetOrigin() != nil {
			return cover.Load
		}
		return cover.Open
	case fleetpb.GroupState_GROUP_STATE_SEALING:
		return cover.Seal
	default:
		return cover.Purge
	}
}

// tuning is the step of a change of Raft options: the leader hands over before it is
// restarted, as the last one.
func (w *world) tuning(rec *fleetpb.Group) string {
	g, step := w.Groups[rec.GetId()], cover.Restart
	for _, r := range rec.GetReplicas() {
		h := w.Host(r.GetHostId())
		if h == nil || !r.GetVoter() || rules.SameRaft(h.RunsWith(replicas.KeyOf(g.ID, r.GetId())), rec.GetSpec().GetRaft()) {
			continue
		}
		if g.Lead().Host != h || len(g.Voters) == 1 {
			return cover.Restart
		}
		step = cover.HandOver
	}
	return step
}

// building is the step of an operation that builds a replica, or removes one.
func (w *world) building(kind string, rec *fleetpb.Group) string {
	g := w.Groups[rec.GetId()]
	for _, r := range rec.GetReplicas() {
		if r.GetVoter() || r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED {
			continue
		}
		p := g.Peer(r.GetId())
		switch {
		case g.Place(r.GetId()) == "":
			return cover.Add
		case p.Log == nil || !p.Ready:
			return cover.Join
		case p.Match < g.Commit-cluster.Kept/10:
			return cover.CatchUp
		case !r.GetMove() && len(g.Voters) >= int(rec.GetSpec().GetReplicas()):
			return cover.Remove
		}
		return cover.Promote
	}
	for _, r := range rec.GetReplicas() {
		at := g.Voters[r.GetReplaces()]
		moved := kind == words.KindMove || kind == words.KindPlace || kind == words.KindBalance
		if moved && r.GetMove() && at != "" && g.Lead().Host == w.Host(at) {
			return cover.HandOver
		}
	}
	if len(g.Voters) > int(rec.GetSpec().GetReplicas()) {
		return cover.Remove
	}
	return cover.Add
}

// followOperations notes how struck operations of a group ended.
func (w *world) followOperations(id ids.Group) {
	if len(w.struck) == 0 {
		return
	}
	v := w.Record.Freeze()
	for _, op := range slices.Sorted(maps.Keys(w.struck)) {
		o := v.Operation(op)
		if o != nil && (o.GetEndedUnixMs() == 0 || id != 0 && o.GetGroup() != uint64(id)) {
			continue
		}
		w.outcome(op, o.GetResult())
	}
}

func (w *world) outcome(op uint64, result string) {
	for _, at := range w.struck[op] {
		w.cover.Count(at, result)
	}
	delete(w.struck, op)
}

// closeBook counts what never ended.
func (w *world) closeBook() {
	for _, op := range slices.Sorted(maps.Keys(w.struck)) {
		w.outcome(op, "unfinished")
	}
}
