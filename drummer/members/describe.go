package members

import (
	"context"
	"sync"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// Describe meets the drummers of a list, which the caller has read in the record, and says
// how they are, for people; on the one that leads.
func (m *Members) Describe(ctx context.Context, list []*fleetpb.Drummer) *drummerpb.ListDrummersResponse {
	m.mu.Lock()
	step, c := m.step, m.cluster
	m.mu.Unlock()
	resp := &drummerpb.ListDrummersResponse{Step: step, Drummers: make([]*drummerpb.DrummerInfo, len(list))}
	if c == nil {
		return resp
	}
	here, _ := c.Group.Status(ids.DrummerGroup)
	var wg sync.WaitGroup
	for i, d := range list {
		wg.Go(func() { resp.Drummers[i] = m.describe(ctx, d, here.Applied, uint64(here.Leader)) })
	}
	wg.Wait()
	return resp
}

// describe says how one drummer is; applied is how far the one that asks is.
func (m *Members) describe(ctx context.Context, d *fleetpb.Drummer, applied, leader uint64) *drummerpb.DrummerInfo {
	info := &drummerpb.DrummerInfo{Drummer: d, Role: "none"}
	met := m.answer()
	if d.GetHostId() != m.o.Self.GetHostId() {
		var err error
		if met, err = m.ask(ctx, d.GetApi(), m.question()); err != nil {
			info.Detail = "it does not answer"
			return info
		}
	}
	switch {
	case met.GetSelf().GetHostId() != d.GetHostId():
		info.Detail = "another data directory answers at its address: its disk is lost, replace it"
		return info
	case met.GetSelf().GetNumber() == 0:
		info.Detail = "it waits for its number"
	case !met.GetRunning():
		info.Detail = "its replica does not run yet"
	}
	info.Answers = met.GetRunning()
	if info.Lag = applied - met.GetApplied(); met.GetApplied() > applied { // it is ahead of what this one has seen
		info.Lag = 0
	}
	switch {
	case !met.GetRunning():
	case met.GetObserver():
		info.Role = "observer"
	case d.GetNumber() == leader:
		info.Role = "leader"
	default:
		info.Role = "follower"
	}
	return info
}
