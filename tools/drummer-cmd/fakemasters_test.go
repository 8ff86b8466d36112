package main

import (
	"context"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
)

// crew is the drummers of the fake: the record and the handlers are real, the drummers
// themselves are said to be as a test wants them. Each look makes a change go one step on.
type crew struct {
	c     *configured
	looks int
}

func newCrew(c *configured) *crew {
	found := &fleetpb.FoundDrummers{}
	for i, name := range []string{"drummer-1", "drummer-2", "drummer-3"} {
		found.Drummers = append(found.Drummers, &fleetpb.Drummer{
			Number: uint64(i) + 1, HostId: "d" + name[len(name)-1:], Name: name, Region: "west", Api: name + ":9121", Raft: name + ":9122",
		})
	}
	c.machine.Execute(&fleetpb.Command{Op: &fleetpb.Command_FoundDrummers{FoundDrummers: found}})
	return &crew{c: c}
}

// Inspect finds a drummer that waits at new:9121, and drummer 2 at its own address.
func (m *crew) Inspect(_ context.Context, address string) (*drummerpb.MeetResponse, error) {
	switch address {
	case "new:9121":
		return &drummerpb.MeetResponse{Self: &fleetpb.Drummer{HostId: "dn", Name: "drummer-4", Region: "east", Api: address, Raft: "new:9122"}}, nil
	case "stray:9121":
		return &drummerpb.MeetResponse{Self: &fleetpb.Drummer{HostId: "ds", Name: "stray", Number: 2, Api: address, Raft: "stray:9122"}}, nil
	}
	return nil, fault.New(fault.Conflict, "no drummer answers at %s: start one there", address)
}

// Describe says that drummer 3 is away.
func (m *crew) Describe(_ context.Context, list []*fleetpb.Drummer) *drummerpb.ListDrummersResponse {
	resp := &drummerpb.ListDrummersResponse{}
	for _, d := range list {
		i := &drummerpb.DrummerInfo{Drummer: d, Role: "follower", Answers: true, Lag: d.GetNumber() - 1}
		switch {
		case d.GetNumber() == 1:
			i.Role = "leader"
		case d.GetNumber() == 3:
			i.Role, i.Answers, i.Detail = "none", false, "it does not answer"
		}
		resp.Drummers = append(resp.Drummers, i)
	}
	if p := m.c.machine.Freeze().Drummers().Pending(); p != nil {
		resp.Step = p.GetName() + ": it copies the record"
		if m.looks++; m.looks%2 == 0 {
			gone := p.GetState() == fleetpb.DrummerState_DRUMMER_STATE_LEAVING
			m.c.machine.Execute(&fleetpb.Command{Op: &fleetpb.Command_DrummerSettled{DrummerSettled: &fleetpb.DrummerSettled{Number: p.GetNumber(), Gone: gone}}})
		}
	}
	return resp
}

func (f *fake) AddDrummer(ctx context.Context, r *drummerpb.AddDrummerRequest) (*drummerpb.DrummerResponse, error) {
	return f.configured.AddDrummer(ctx, r)
}

func (f *fake) RemoveDrummer(ctx context.Context, r *drummerpb.RemoveDrummerRequest) (*drummerpb.DrummerResponse, error) {
	return f.configured.RemoveDrummer(ctx, r)
}

func (f *fake) ListDrummers(ctx context.Context, r *drummerpb.ListDrummersRequest) (*drummerpb.ListDrummersResponse, error) {
	return f.configured.ListDrummers(ctx, r)
}
