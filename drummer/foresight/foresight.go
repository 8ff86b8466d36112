// Package foresight tells what the supervisor would do: it plays the planner's own plans
// to their end on a copy of the record and of what is observed, where every host obeys at
// once and every group has a leader while a quorum of it is up. Nothing is ordered and
// nothing is proposed to the real record.
//
// It is the same planner that supervises, so what it shows is what would happen if
// nothing else did.
package foresight

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/planner"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// Bounds of what is told and of how far is looked.
const (
	maxSteps  = 10_000
	maxOpen   = 1_000
	maxRounds = 20_000
)

// Change is what is supposed beside the present.
type Change struct {
	// Without are hosts that are taken for lost, Drain hosts that shall be emptied.
	Without, Drain []ids.Host
	// Added are empty hosts that come: their names, regions, zones, labels and weights count.
	Added []*fleetpb.Host
	// Specs of groups that are launched or changed.
	Specs []*fleetpb.Spec
	// Policy in force; nil leaves it.
	Policy *fleetpb.Policy
}

// Play plays the plans to their end, or until ctx ends, which Unfinished then tells. An
// error says which part of the change the record refuses.
func Play(ctx context.Context, v planner.View, c Change) (*drummerpb.PlanResponse, error) {
	w := newWorld(v)
	before := w.loads()
	if err := w.suppose(c); err != nil {
		return nil, err
	}
	r := w.play(ctx)
	after := w.loads()
	for h := range w.record.Freeze().Hosts() {
		r.Hosts = append(r.Hosts, &drummerpb.PlanHost{Host: h.GetName(), Before: before[h.GetId()], After: after[h.GetId()]})
	}
	slices.SortStableFunc(r.Hosts, func(a, b *drummerpb.PlanHost) int { return cmp.Compare(a.GetHost(), b.GetHost()) })
	return r, nil
}

// suppose makes the change.
func (w *world) suppose(c Change) error {
	if c.Policy != nil {
		if err := w.apply(&fleetpb.Command{Op: &fleetpb.Command_SetPolicy{SetPolicy: c.Policy}}); err != nil {
			return err
		}
	}
	for _, h := range c.Added {
		if err := w.add(h); err != nil {
			return err
		}
	}
	for _, id := range c.Without {
		if err := w.apply(&fleetpb.Command{Op: &fleetpb.Command_HostLost{HostLost: &fleetpb.HostLost{HostId: string(id)}}}); err != nil {
			return err
		}
		w.host(string(id)).State, w.host(string(id)).Connected = planner.Lost, false
	}
	for _, id := range c.Drain {
		wanted := &fleetpb.HostWanted{Duty: fleetpb.HostDuty_HOST_DUTY_DRAINING, Weight: w.record.Freeze().Host(id).GetWanted().GetWeight()}
		if err := w.apply(&fleetpb.Command{Op: &fleetpb.Command_SetHost{SetHost: &fleetpb.SetHost{HostId: string(id), Wanted: wanted}}}); err != nil {
			return err
		}
	}
	for _, spec := range c.Specs {
		one := []*fleetpb.Spec{spec}
		cmd := &fleetpb.Command{Op: &fleetpb.Command_ShapeGroups{ShapeGroups: &fleetpb.ShapeGroups{Specs: one}}}
		if w.record.Freeze().ByName(statemachines.NameOf(spec)) == nil {
			cmd = &fleetpb.Command{Op: &fleetpb.Command_CreateGroups{CreateGroups: &fleetpb.CreateGroups{Specs: one}}}
		}
		if err := w.apply(cmd); err != nil {
			return err
		}
	}
	return nil
}

// play plans and obeys until nothing more is planned.
func (w *world) play(ctx context.Context) *drummerpb.PlanResponse {
	r := &drummerpb.PlanResponse{}
	for round := 0; ; round++ {
		if ctx.Err() != nil || round == maxRounds {
			r.Unfinished = true
			return r
		}
		view := w.record.Freeze()
		plan := planner.Plan(planner.View{Fleet: view, Observed: w.seen})
		done := 0
		for i := range plan.Actions {
			a := &plan.Actions[i]
			w.tell(r, view, a)
			if w.enact(a) {
				done++
			}
		}
		if w.elect() || done > 0 {
			continue
		}
		w.open(r, view, plan.Reasons)
		return r
	}
}

// tell notes what people want to know of an action.
func (w *world) tell(r *drummerpb.PlanResponse, view *fleet.View, a *planner.Action) {
	step := func(kind, host string) {
		if r.StepsTotal++; len(r.GetSteps()) < maxSteps {
			spec := view.Group(a.Group).GetSpec()
			r.Steps = append(r.Steps, &drummerpb.PlanStep{
				Kind: kind, Group: spec.GetName(), Region: spec.GetRegion(), Host: view.Host(ids.Host(host)).GetName(), Why: a.Why,
			})
		}
	}
	if change := a.Order.GetChange(); change != nil {
		switch change.GetKind() {
		case drummerpb.ChangeKind_CHANGE_KIND_PROMOTE:
			step("promote", change.GetHostId())
		case drummerpb.ChangeKind_CHANGE_KIND_REMOVE:
			step("remove", change.GetHostId())
		case drummerpb.ChangeKind_CHANGE_KIND_UNSPECIFIED, drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER: // parts of an addition
		}
		return
	}
	if to := a.Order.GetTransfer().GetTo(); to != 0 {
		for _, m := range view.Group(a.Group).GetReplicas() {
			if m.GetId() == to {
				step("transfer", m.GetHostId())
			}
		}
		return
	}
	switch op := a.Command.GetOp().(type) {
	case *fleetpb.Command_Place:
		for _, h := range op.Place.GetHostIds() {
			step("launch", h)
		}
	case *fleetpb.Command_AddReplica:
		r.Moves++
		step("add", op.AddReplica.GetHostId())
	case *fleetpb.Command_SetBrake:
		step("brake", "")
	}
}

// open lists the groups that would stay as they are not wanted.
func (w *world) open(r *drummerpb.PlanResponse, view *fleet.View, reasons map[ids.Group][]string) {
	for g := range view.Groups() {
		list := reasons[ids.Group(g.GetId())]
		if len(list) > 0 && len(r.GetOpen()) < maxOpen {
			r.Open = append(r.Open, &drummerpb.PlanOpen{Group: g.GetSpec().GetName(), Region: g.GetSpec().GetRegion(), Reason: list[len(list)-1]})
		}
	}
}

// loads counts the members on each host.
func (w *world) loads() map[string]uint32 {
	n := map[string]uint32{}
	for g := range w.record.Freeze().Groups() {
		for _, r := range g.GetReplicas() {
			if r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED {
				n[r.GetHostId()]++
			}
		}
	}
	return n
}

// refusal is a result of the record that is not good.
func refusal(r *fleetpb.Result) error {
	if r.GetCode() == fleetpb.Code_CODE_OK {
		return nil
	}
	return fmt.Errorf("the record refuses it: %s", r.GetDetail())
}
