package api

import (
	"context"

	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/foresight"
	"github.com/drumline/drumline/drummer/planner"
	"github.com/drumline/drumline/drummer/status"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// ListOperations lists operations, newest first, with where those stand that run.
func (s *Service) ListOperations(ctx context.Context, r *drummerpb.ListOperationsRequest) (*drummerpb.ListOperationsResponse, error) {
	v, observed, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	resp := &drummerpb.ListOperationsResponse{Paused: v.Paused()}
	limit := pageSize(r.GetLimit())
	for o := range v.Operations() {
		if r.GetId() != 0 && o.GetId() != r.GetId() || r.GetKind() != "" && o.GetKind() != r.GetKind() || r.GetRunning() && o.GetEndedUnixMs() != 0 {
			continue
		}
		if len(resp.GetOperations()) == limit {
			resp.More = true
			break
		}
		resp.Operations = append(resp.Operations, status.Operation(v, observed, o))
	}
	if r.GetId() != 0 && len(resp.GetOperations()) == 0 {
		return nil, noOperation(r.GetId())
	}
	return resp, nil
}

func noOperation(id uint64) error {
	return fault.NotFound(fault.Operation, "no operation has the id %d, or its history is forgotten", id)
}

// CancelOperation gives an operation up, as far as that is safe.
func (s *Service) CancelOperation(ctx context.Context, r *drummerpb.CancelOperationRequest) (*drummerpb.CancelOperationResponse, error) {
	c, err := s.use()
	if err != nil {
		return nil, err
	}
	cmd := &fleetpb.Command{Op: &fleetpb.Command_CancelOperation{CancelOperation: &fleetpb.CancelOperation{Id: r.GetId(), Author: r.GetAuthor()}}}
	if _, err := ask(ctx, c, cmd); err != nil {
		return nil, err
	}
	list, err := s.ListOperations(ctx, &drummerpb.ListOperationsRequest{Id: r.GetId()})
	if err != nil {
		return nil, fault.Wrap(err, fault.UnknownOutcome, "it is cancelled; what became of it is not known: list the operations")
	}
	return &drummerpb.CancelOperationResponse{Operation: list.GetOperations()[0]}, nil
}

// PauseOperations stops or resumes new operations of a kind.
func (s *Service) PauseOperations(ctx context.Context, r *drummerpb.PauseOperationsRequest) (*drummerpb.PauseOperationsResponse, error) {
	if err := rules.CheckKind(r.GetKind()); err != nil {
		return nil, fault.New(fault.Invalid, "%v", err)
	}
	c, err := s.use()
	if err != nil {
		return nil, err
	}
	cmd := &fleetpb.Command{Op: &fleetpb.Command_Pause{Pause: &fleetpb.Pause{Kind: r.GetKind(), Resume: r.GetResume(), Author: r.GetAuthor()}}}
	if _, err := ask(ctx, c, cmd); err != nil {
		return nil, err
	}
	v, err := c.Record.View(ctx)
	if err != nil {
		return nil, asRead(err)
	}
	return &drummerpb.PauseOperationsResponse{Paused: v.Paused()}, nil
}

// ReleaseBrake lets the supervisor go on: the hosts that are gone now stay away.
func (s *Service) ReleaseBrake(ctx context.Context, r *drummerpb.ReleaseBrakeRequest) (*drummerpb.ReleaseBrakeResponse, error) {
	c, err := s.use()
	if err != nil {
		return nil, err
	}
	v, o, err := s.lookSettled(ctx)
	if err != nil {
		return nil, err
	}
	if !v.Brake().GetEngaged() {
		return nil, fault.New(fault.Conflict, "the brake is not on")
	}
	release := &fleetpb.SetBrake{Reason: "released", Author: r.GetAuthor(), Accepted: planner.Gone(planner.View{Fleet: v, Observed: &o.Observed})}
	if _, err := ask(ctx, c, &fleetpb.Command{Op: &fleetpb.Command_SetBrake{SetBrake: release}}); err != nil {
		return nil, err
	}
	if v, err = c.Record.View(ctx); err != nil {
		return nil, asRead(err)
	}
	return &drummerpb.ReleaseBrakeResponse{Brake: v.Brake()}, nil
}

// Plan tells what the supervisor would do, and changes nothing.
func (s *Service) Plan(ctx context.Context, r *drummerpb.PlanRequest) (*drummerpb.PlanResponse, error) {
	if len(r.GetSpecs()) > maxSpecs {
		return nil, fault.New(fault.Invalid, "%d specs in one call, at most %d are looked at", len(r.GetSpecs()), maxSpecs)
	}
	if len(r.GetAdded()) > rules.MaxHosts {
		return nil, fault.New(fault.Invalid, "%d hosts added, at most %d are looked at", len(r.GetAdded()), rules.MaxHosts)
	}
	v, o, err := s.lookSettled(ctx)
	if err != nil {
		return nil, err
	}
	change := foresight.Change{Specs: normalized(r.GetSpecs()), Policy: r.GetPolicy(), Added: r.GetAdded()}
	find := func(refs []string) (list []ids.Host, err error) {
		for _, ref := range refs {
			h, err := findHost(v, ref)
			if err != nil {
				return nil, err
			}
			list = append(list, ids.Host(h.GetId()))
		}
		return list, nil
	}
	if change.Without, err = find(r.GetWithout()); err != nil {
		return nil, err
	}
	if change.Drain, err = find(r.GetDrain()); err != nil {
		return nil, err
	}
	for _, spec := range change.Specs {
		if code, err := checkPossible(v, spec); err != nil {
			return nil, fault.New(asReason(code), "group %s: %v", statemachines.NameOf(spec), err)
		}
	}
	resp, err := foresight.Play(ctx, planner.View{Fleet: v, Observed: &o.Observed}, change)
	if err != nil {
		return nil, fault.New(fault.Conflict, "%v", err)
	}
	return resp, nil
}
