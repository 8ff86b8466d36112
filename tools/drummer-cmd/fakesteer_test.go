package main

import (
	"context"
	"slices"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// hostOf finds a host by its name, the one that is not lost.
func (f *fake) hostOf(name string) *drummerpb.HostInfo {
	for _, h := range f.hosts {
		if h.GetHost().GetName() == name && h.GetState() != "lost" {
			return h
		}
	}
	return nil
}

func (f *fake) ChangeHost(_ context.Context, req *drummerpb.ChangeHostRequest) (*drummerpb.ChangeHostResponse, error) {
	h := f.hostOf(req.GetHost())
	if h == nil {
		return nil, refuseAbout("host", hostpb.Reason_REASON_GROUP_NOT_FOUND, "no host "+req.GetHost())
	}
	resp := &drummerpb.ChangeHostResponse{Host: h}
	if req.GetVerb() == "decommission" && h.GetState() == "down" {
		resp.Blockers, resp.BlockersTotal = []string{"group kv/a: it has no quorum"}, 1
		if !req.GetForce() && !req.GetDryRun() {
			return nil, refuse(hostpb.Reason_REASON_CONFLICT, "it would not come to its end for 1 of its groups")
		}
	}
	if req.GetDryRun() {
		return resp, nil
	}
	h.Duty = req.GetVerb() + " as asked"
	if req.GetVerb() == "drain" || req.GetVerb() == "decommission" {
		h.Duty, h.Replicas, h.Leaders, resp.Operation = "draining", 0, 0, 12
		f.drained = h
	}
	if req.GetVerb() == "remove" {
		resp.Host = nil
		f.hosts = slices.DeleteFunc(f.hosts, func(o *drummerpb.HostInfo) bool { return o == h })
	}
	return resp, nil
}

func (f *fake) ShapeGroups(_ context.Context, req *drummerpb.ShapeGroupsRequest) (*drummerpb.ShapeGroupsResponse, error) {
	resp := &drummerpb.ShapeGroupsResponse{}
	for _, s := range req.GetSpecs() {
		g := f.byName(s.GetName())
		item := &fleetpb.ItemResult{Name: s.GetName(), Id: g.GetId(), Code: fleetpb.Code_CODE_OK}
		if s.GetReplicas()%2 == 0 {
			item.Code, item.Detail = fleetpb.Code_CODE_INVALID, "want 1, 3, 5 or 7"
		} else if slices.Contains(s.GetRequire(), "disk=gold") {
			item.Code, item.Detail = fleetpb.Code_CODE_CONFLICT, "no host has the labels"
		} else if !req.GetDryRun() {
			g.Want, g.Regions, g.Spec = s.GetReplicas(), s.GetRegions(), s
		}
		resp.Items = append(resp.Items, item)
	}
	return resp, nil
}

func (f *fake) MoveReplica(_ context.Context, req *drummerpb.MoveReplicaRequest) (*drummerpb.MoveReplicaResponse, error) {
	if f.hostOf(req.GetTo()) == nil {
		return nil, refuseAbout("host", hostpb.Reason_REASON_GROUP_NOT_FOUND, "no host "+req.GetTo())
	}
	return &drummerpb.MoveReplicaResponse{Operation: 13}, nil
}

func (f *fake) TransferLeader(_ context.Context, req *drummerpb.TransferLeaderRequest) (*drummerpb.TransferLeaderResponse, error) {
	if req.GetTo() == "" {
		return &drummerpb.TransferLeaderResponse{}, nil
	}
	return &drummerpb.TransferLeaderResponse{Operation: 14}, nil
}

func someOperations() []*fleetpb.Operation {
	return []*fleetpb.Operation{
		{Id: 8, Kind: "drain", Host: "h2", HostName: "host-2", Author: "ann", StartedUnixMs: 1790000000123, DeadlineUnixMs: 1790000060123},
		{Id: 7, Kind: "move", Group: 1000, GroupName: "kv/a", Reason: "asked for", StartedUnixMs: 1780000000000, EndedUnixMs: 1780000001000, Result: "done", Steps: []string{"replica 7 runs", "replica 7 has a vote"}},
	}
}

func (f *fake) ListOperations(_ context.Context, req *drummerpb.ListOperationsRequest) (*drummerpb.ListOperationsResponse, error) {
	list := slices.DeleteFunc(someOperations(), func(o *fleetpb.Operation) bool {
		return req.GetRunning() && o.GetEndedUnixMs() != 0 || req.GetId() != 0 && o.GetId() != req.GetId()
	})
	if len(list) == 0 {
		return nil, refuseAbout("operation", hostpb.Reason_REASON_GROUP_NOT_FOUND, "no such operation")
	}
	return &drummerpb.ListOperationsResponse{Operations: list, Paused: f.paused}, nil
}

func (f *fake) CancelOperation(_ context.Context, req *drummerpb.CancelOperationRequest) (*drummerpb.CancelOperationResponse, error) {
	if req.GetId() != 8 {
		return nil, refuse(hostpb.Reason_REASON_CONFLICT, "it has ended")
	}
	o := someOperations()[0]
	o.EndedUnixMs, o.Result = 1790000001000, "cancelled by "+req.GetAuthor()
	return &drummerpb.CancelOperationResponse{Operation: o}, nil
}

func (f *fake) PauseOperations(_ context.Context, req *drummerpb.PauseOperationsRequest) (*drummerpb.PauseOperationsResponse, error) {
	f.paused = slices.DeleteFunc(f.paused, func(k string) bool { return k == req.GetKind() })
	if !req.GetResume() {
		f.paused = append(f.paused, req.GetKind())
	}
	return &drummerpb.PauseOperationsResponse{Paused: f.paused}, nil
}

func (f *fake) ReleaseBrake(context.Context, *drummerpb.ReleaseBrakeRequest) (*drummerpb.ReleaseBrakeResponse, error) {
	return &drummerpb.ReleaseBrakeResponse{Brake: &fleetpb.Brake{Accepted: []string{"h2"}}}, nil
}

func (f *fake) Plan(_ context.Context, req *drummerpb.PlanRequest) (*drummerpb.PlanResponse, error) {
	resp := &drummerpb.PlanResponse{Hosts: []*drummerpb.PlanHost{{Host: "host-1", Before: 3, After: 3}}}
	for _, h := range req.GetAdded() {
		resp.Hosts = append(resp.Hosts, &drummerpb.PlanHost{Host: h.GetName() + " in " + h.GetRegion() + " " + h.GetZone(), After: 2})
	}
	if len(req.GetWithout()) > 0 {
		resp.Steps = []*drummerpb.PlanStep{{Kind: "add", Group: "kv/a", Host: "host-1", Why: "host host-2 is lost"}}
		resp.StepsTotal, resp.Moves = 1, 1
		resp.Open = []*drummerpb.PlanOpen{{Group: "kv/b", Reason: "it needs 1 more host"}}
		resp.Hosts[0].After = 4
	}
	return resp, nil
}

// explainOther answers for a host or an operation.
func (f *fake) explainOther(req *drummerpb.ExplainRequest) (*drummerpb.ExplainResponse, error) {
	if req.GetOperation() != 0 {
		return &drummerpb.ExplainResponse{Reasons: []string{"it waits its turn"}, Operations: someOperations()[:1]}, nil
	}
	h := f.hostOf(req.GetHost())
	if h == nil {
		return nil, refuseAbout("host", hostpb.Reason_REASON_GROUP_NOT_FOUND, "no host "+req.GetHost())
	}
	return &drummerpb.ExplainResponse{Host: h, Reasons: []string{"3 replicas are still on it"}, Operations: someOperations()[:1]}, nil
}
