package main

import (
	"context"
	"io"

	"google.golang.org/grpc"

	"github.com/drumline/drumline/drummer/fleet"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/statefile"
)

// RecoverGroups brings back those that the fake lists as unavailable.
func (f *fake) RecoverGroups(_ context.Context, req *drummerpb.RecoverGroupsRequest) (*drummerpb.RecoverGroupsResponse, error) {
	names := req.GetNames()
	for _, g := range f.groups {
		if req.GetAllLost() && g.GetState() == "unavailable" {
			names = append(names, g.GetName())
		}
	}
	resp := &drummerpb.RecoverGroupsResponse{}
	for _, name := range names {
		item := &drummerpb.Recovery{Name: name, Code: fleetpb.Code_CODE_OK, Voters: 3, UnheardQuorum: name == "kv/heard"}
		switch g := f.byName(name); {
		case g == nil:
			item.Code, item.Detail = fleetpb.Code_CODE_NOT_FOUND, "no group has that name"
		case g.GetState() != "unavailable":
			item.Id, item.Code, item.Detail = g.GetId(), fleetpb.Code_CODE_CONFLICT, "it has a quorum"
		default:
			item.Id = g.GetId()
			item.Survivors = []*drummerpb.Survivor{{Replica: 3, Host: "host-1", Heard: true, Applied: 42, Furthest: true}, {Replica: 4, Host: "host-2"}}
			if !req.GetDryRun() {
				item.Heir = f.replace(name)
			}
		}
		resp.Items = append(resp.Items, item)
	}
	return resp, nil
}

// replace bans the group that has a name, and gives it to another.
func (f *fake) replace(name string) uint64 {
	if g := f.byName(name); g != nil {
		g.State = "retired"
	}
	return f.add(name, "ok").GetId()
}

func (f *fake) RestoreGroup(_ context.Context, req *drummerpb.RestoreGroupRequest) (*drummerpb.LoadGroupResponse, error) {
	if f.byName(req.GetSpec().GetName()) != nil && !req.GetReplace() {
		return nil, refuse(hostpb.Reason_REASON_CONFLICT, "the name is taken")
	}
	return &drummerpb.LoadGroupResponse{Id: f.replace(req.GetSpec().GetName())}, nil
}

func (f *fake) CloneGroup(_ context.Context, req *drummerpb.CloneGroupRequest) (*drummerpb.LoadGroupResponse, error) {
	switch {
	case f.byName(req.GetName()) == nil:
		return nil, refuse(hostpb.Reason_REASON_GROUP_NOT_FOUND, "no group "+req.GetName())
	case f.byName(req.GetTo()) != nil:
		return nil, refuse(hostpb.Reason_REASON_CONFLICT, "the name is taken")
	}
	return &drummerpb.LoadGroupResponse{Id: f.add(req.GetTo(), "ok").GetId()}, nil
}

// PurgeGroups keeps what a replica of a group named "kept" left.
func (f *fake) PurgeGroups(_ context.Context, req *drummerpb.PurgeGroupsRequest) (*drummerpb.PurgeGroupsResponse, error) {
	resp := &drummerpb.PurgeGroupsResponse{}
	for _, id := range req.GetIds() {
		item := &fleetpb.ItemResult{Id: id, Code: fleetpb.Code_CODE_OK}
		for _, g := range f.groups {
			if g.GetId() == id && g.GetName() == "kv/kept" {
				item.Code, item.Detail = fleetpb.Code_CODE_CONFLICT, "its heir has not opened yet"
			}
		}
		resp.Items = append(resp.Items, item)
	}
	return resp, nil
}

// statesFake is the hosts' service of states, and the drummers'.
type statesFake struct {
	statepb.UnimplementedStatesServer
	f *fake
}

// Read sends the record of nobody, or a group's state: its name.
func (s *statesFake) Read(req *statepb.ReadRequest, stream grpc.ServerStreamingServer[statepb.Piece]) error {
	if req.GetGroup() == uint64(ids.DrummerGroup) {
		w, err := statefile.NewWriter(&statepb.Header{Name: "fleet", Group: req.GetGroup(), Fleet: "fl-1", Applied: 9}, stream.Send)
		if err != nil {
			return err
		}
		view := fleet.New().Snapshot()
		defer view.Close()
		if _, err := view.WriteTo(w); err != nil {
			return err
		}
		return w.Close()
	}
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	for _, g := range s.f.groups {
		if g.GetId() != req.GetGroup() {
			continue
		}
		w, err := statefile.NewWriter(&statepb.Header{Name: g.GetName(), App: g.GetApp(), Group: g.GetId(), Applied: 7, Version: 1}, stream.Send)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, "the state of "+g.GetName()); err != nil {
			return err
		}
		return w.Close()
	}
	return refuse(hostpb.Reason_REASON_GROUP_NOT_FOUND, "no such group")
}

func (s *statesFake) Stage(stream grpc.ClientStreamingServer[statepb.Piece, statepb.StageResponse]) error {
	if _, err := statefile.Copy(stream.Recv, func(*statepb.Piece) error { return nil }); err != nil {
		return err
	}
	return stream.SendAndClose(&statepb.StageResponse{Staged: "st-1", HostId: "h1"})
}

func (s *statesFake) TakeInventory(_ *statepb.InventoryRequest, stream grpc.ServerStreamingServer[statepb.Inventory]) error {
	return stream.Send(&statepb.Inventory{
		Host:       &fleetpb.Host{Id: "h1", Name: "host-1", Region: "east", Api: s.f.address, Raft: "127.0.0.1:9222", BootEpoch: 3, Apps: []*fleetpb.App{{Name: "kv", Version: 1}}},
		Deployment: "test", Fleet: "fl-1", Incarnation: 2,
	})
}
