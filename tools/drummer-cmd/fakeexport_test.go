package main

import (
	"context"
	"fmt"

	"github.com/drumline/drumline/drummer/export"
	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/loop"
	"github.com/drumline/drumline/drummer/planner"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// Export shows four hosts and three groups that are to be launched on them.
func (f *fake) Export(context.Context, *drummerpb.ExportRequest) (*drummerpb.ExportResponse, error) {
	if f.exports != "" {
		return &drummerpb.ExportResponse{Packed: []byte(f.exports)}, nil
	}
	record := fleet.New()
	o := &loop.Observed{UnixMs: 1790000000000, Observed: planner.Observed{Hosts: map[ids.Host]*planner.Host{}}}
	for i := range 4 {
		id := fmt.Sprintf("id-%d", i)
		record.Execute(&fleetpb.Command{AtUnixMs: 1, Op: &fleetpb.Command_RegisterHost{RegisterHost: &fleetpb.Host{
			Id: id, Name: fmt.Sprintf("host-%d", i), Region: "west", Api: "10.0.0.1:1", Raft: "10.0.0.1:2", BootEpoch: 1, Apps: []*fleetpb.App{{Name: "kv", Version: 2}},
		}}})
		o.Hosts[ids.Host(id)] = &planner.Host{Connected: true, Session: uint64(i) + 1}
	}
	wanted := &fleetpb.HostWanted{Weight: 200, Author: "somebody"}
	record.Execute(&fleetpb.Command{AtUnixMs: 2, Op: &fleetpb.Command_SetHost{SetHost: &fleetpb.SetHost{HostId: "id-1", Wanted: wanted}}})
	for _, name := range []string{"kv/orders", "kv/users", "kv/carts"} {
		record.Execute(&fleetpb.Command{AtUnixMs: 3, Op: &fleetpb.Command_CreateGroups{CreateGroups: &fleetpb.CreateGroups{
			Specs: []*fleetpb.Spec{{Name: name, App: "kv", Replicas: 3}},
		}}})
	}
	o.View = record.Freeze()
	e, err := export.Take(o)
	if err != nil {
		return nil, err
	}
	packed, err := export.Pack(e)
	return &drummerpb.ExportResponse{Packed: packed}, err
}
