package api

import (
	"context"
	"time"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/words"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// openPatience is how long a first use waits for its group to be open before it is told to ask
// again: less than hosts wait for one drummer, more than a launch takes when all is well.
const openPatience = 800 * time.Millisecond

// make makes the group of a name by a template, if there is none, and waits a moment
// until it is open. Names that no template allows cost no proposal.
func (s *Service) make(ctx context.Context, ref *hostpb.GroupRef) error {
	c, v, err := s.lookAtRecord(ctx)
	if err != nil {
		return err
	}
	name := statemachines.NameOf(ref)
	switch g, err := find(v, ref); {
	case err != nil && !fault.Is(err, fault.GroupNotFound):
		return err
	case g != nil:
		name = words.Full(g) // of the only region that has one
		if g.GetState() == fleetpb.GroupState_GROUP_STATE_OPEN {
			return nil
		}
	}
	item, spec := fleet.CheckFirstUse(v, name)
	if spec != nil {
		cmd := &fleetpb.Command{Op: &fleetpb.Command_FirstUse{FirstUse: &fleetpb.FirstUse{Names: []string{ref.GetName()}, Region: ref.GetRegion()}}}
		result, err := c.Record.Propose(ctx, cmd)
		if err != nil {
			return again(err)
		}
		if len(result.GetItems()) != 1 {
			return refused(cmd, result)
		}
		item = result.GetItems()[0]
	}
	switch item.GetCode() { //nolint:exhaustive // the others are refusals like any
	case fleetpb.Code_CODE_OK:
		return awaitOpen(ctx, c.Record, name)
	case fleetpb.Code_CODE_CONFLICT:
		return fault.New(fault.Sealed, "%s", item.GetDetail()).InGroup(name)
	case fleetpb.Code_CODE_NOT_FOUND:
		return fault.New(fault.GroupNotFound, "%s", item.GetDetail()).InGroup(name)
	case fleetpb.Code_CODE_LIMIT:
		return fault.New(fault.Limit, "%s", item.GetDetail()).InGroup(name)
	}
	return refused(nil, &fleetpb.Result{Code: item.GetCode(), Detail: item.GetDetail()})
}

// awaitOpen waits until the group is open in this replica's record, or patience ends:
// what is said then is Locate's.
func awaitOpen(ctx context.Context, r Record, name string) error {
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	v, err := r.LocalView()
	if err != nil {
		return asRead(err)
	}
	// It may be opened between the look and the wait, so there is another look after that.
	opened, leave := r.Opened(ids.Group(v.ByName(name).GetId()))
	defer leave()
	if v, err = r.LocalView(); err != nil {
		return asRead(err)
	}
	if v.ByName(name).GetState() == fleetpb.GroupState_GROUP_STATE_OPEN {
		return nil
	}
	select {
	case <-opened:
	case <-ctx.Done():
	}
	return nil
}

// wantsFirstUse tells whether a question may make the group that it names.
func wantsFirstUse(r *hostpb.LocateRequest) bool {
	return r.GetFirstUse() && r.GetGroup().GetId() == 0
}
