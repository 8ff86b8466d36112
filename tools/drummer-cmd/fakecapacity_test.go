package main

import (
	"context"
	"strings"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/statemachines"
)

// leaseFake is the capacity service of the fake: real machines whose clock stands still.
type leaseFake struct {
	capacitypb.UnimplementedCapacityServer
	f *fake
}

// command lets a resource's machine obey.
func (l *leaseFake) command(resource string, cmd *capacitypb.Command) (*capacitypb.Result, *hostpb.Fault) {
	m, err := l.f.machine("capacity/"+resource, 0)
	if err != nil {
		return nil, &hostpb.Fault{Reason: hostpb.Reason_REASON_GROUP_NOT_FOUND, Text: "there is no resource " + resource, Code: 5}
	}
	data, err := proto.Marshal(cmd)
	if err != nil {
		return nil, &hostpb.Fault{Reason: hostpb.Reason_REASON_INVALID, Text: err.Error(), Code: 3}
	}
	res := &capacitypb.Result{}
	if err := proto.Unmarshal(l.f.apply(m, data).Data, res); err != nil {
		return nil, &hostpb.Fault{Reason: hostpb.Reason_REASON_INTERNAL, Text: err.Error(), Code: 13}
	}
	return res, nil
}

func (l *leaseFake) Refresh(_ context.Context, req *capacitypb.RefreshRequest) (*capacitypb.RefreshResponse, error) {
	resp := &capacitypb.RefreshResponse{}
	for _, a := range req.GetAsks() {
		one := &capacitypb.Request{
			ClientId: req.GetClientId(), Bands: a.GetBands(), Has: a.Has, Token: a.GetToken(), Serial: a.GetSerial(), Limited: a.GetLimited(), //nolint:protogetter // absent is not 0
		}
		res, f := l.command(statemachines.NameIn(a.GetResource(), a.GetRegion()), &capacitypb.Command{Op: &capacitypb.Command_Decide{Decide: &capacitypb.Decide{Requests: []*capacitypb.Request{one}}}})
		g := &capacitypb.Granted{Resource: a.GetResource(), Fault: f}
		if f == nil {
			g.Grant = res.GetGrants()[0]
		}
		resp.Grants = append(resp.Grants, g)
	}
	return resp, nil
}

func (l *leaseFake) Confirm(_ context.Context, req *capacitypb.ConfirmRequest) (*capacitypb.ConfirmResponse, error) {
	return &capacitypb.ConfirmResponse{Faults: make([]*hostpb.Fault, len(req.GetReceipts()))}, nil
}

func (l *leaseFake) Release(_ context.Context, req *capacitypb.ReleaseRequest) (*capacitypb.ReleaseResponse, error) {
	resp := &capacitypb.ReleaseResponse{}
	for i, r := range req.GetResources() {
		if i < len(req.GetRegions()) {
			r = statemachines.NameIn(r, req.GetRegions()[i])
		}
		_, f := l.command(r, &capacitypb.Command{Op: &capacitypb.Command_Release{Release: &capacitypb.Release{ClientIds: []string{req.GetClientId()}}}})
		if f == nil {
			f = &hostpb.Fault{}
		}
		resp.Faults = append(resp.Faults, f)
	}
	return resp, nil
}

// define gives a resource of the fake a definition.
func (f *fake) define(t require.TestingT, resource, algorithm string, capacity float64) {
	def := &capacitypb.Definition{
		Algorithm: capacitypb.Algorithm(capacitypb.Algorithm_value["ALGORITHM_"+strings.ToUpper(algorithm)]), Capacity: new(capacity),
		LeaseLengthMs: 15_000, RefreshIntervalMs: 5_000, SafeCapacity: new(10.0),
	}
	if f.byName("capacity/"+resource) == nil {
		f.add("capacity/"+resource, "ok")
	}
	res, fault := (&leaseFake{f: f}).command(resource, &capacitypb.Command{Op: &capacitypb.Command_Configure{Configure: &capacitypb.Configure{Revision: 3, Definition: def}}})
	require.Nil(t, fault)
	require.Equal(t, capacitypb.Outcome_OUTCOME_OK, res.GetOutcome(), res.GetDetail())
}
