package api

import (
	"cmp"
	"context"
	"strconv"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/loop"
	"github.com/drumline/drumline/drummer/status"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// Locate tells where a group is. A group that there is not is GroupNotFound, one
// that is launched NotOpen (ask again), one that is deleted Sealed. The first use of a
// name makes its group first, if a template says so.
func (s *Service) Locate(ctx context.Context, r *hostpb.LocateRequest) (*hostpb.LocateResponse, error) {
	ref := r.GetGroup()
	if ref.GetName() == "" && ref.GetId() == 0 {
		return nil, fault.New(fault.Invalid, "say which group: its name or its number")
	}
	if ref.GetName() != "" {
		if err := checkName(ref); err != nil {
			return nil, err
		}
	}
	if wantsFirstUse(r) {
		if err := s.make(ctx, ref); err != nil {
			return nil, err
		}
	}
	v, o, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	g, err := resolve(v, ref)
	if err != nil {
		return nil, err
	}
	if err := servesNow(g); err != nil {
		return nil, err
	}
	return &hostpb.LocateResponse{Location: location(v, o, g)}, nil
}

// resolve finds the group that a name, a number or both mean.
func resolve(v *fleet.View, ref *hostpb.GroupRef) (*fleetpb.Group, error) {
	if ref.GetId() == 0 {
		return find(v, ref)
	}
	g := v.Group(ids.Group(ref.GetId()))
	if g == nil {
		return nil, noGroup(cmp.Or(statemachines.NameOf(ref), strconv.FormatUint(ref.GetId(), 10)))
	}
	own := g.GetSpec()
	if ref.GetName() != "" && ref.GetName() != own.GetName() || ref.GetRegion() != "" && ref.GetRegion() != own.GetRegion() {
		return nil, fault.New(fault.Invalid, "group %d is %s, not %s: name and number must agree", g.GetId(), statemachines.NameOf(own), statemachines.NameOf(ref)).InGroup(statemachines.NameOf(ref))
	}
	return g, nil
}

// servesNow tells why a group can't be used in its state, or nil.
func servesNow(g *fleetpb.Group) error {
	name := words.Full(g)
	switch g.GetState() {
	case fleetpb.GroupState_GROUP_STATE_OPEN:
		return nil
	case fleetpb.GroupState_GROUP_STATE_LAUNCHING, fleetpb.GroupState_GROUP_STATE_OPENING:
		return fault.New(fault.NotOpen, "group %s is being launched: try again in a moment", name).InGroup(name)
	case fleetpb.GroupState_GROUP_STATE_SEALING:
		return fault.New(fault.Sealed, "group %s is being deleted", name).InGroup(name)
	case fleetpb.GroupState_GROUP_STATE_PURGING:
		return fault.New(fault.Sealed, "group %s with number %d was deleted; its name may have a new group", name, g.GetId()).InGroup(name)
	case fleetpb.GroupState_GROUP_STATE_RETIRED:
		return fault.New(fault.Sealed, "group %s with number %d is banned: another group has its name", name, g.GetId()).InGroup(name)
	case fleetpb.GroupState_GROUP_STATE_UNSPECIFIED:
	}
	return fault.New(fault.Internal, "group %s is in state %s", name, g.GetState())
}

// location of an open group: its members by the record, its leader as reported.
func location(v *fleet.View, o *loop.Observed, g *fleetpb.Group) *hostpb.Location {
	l := &hostpb.Location{Name: g.GetSpec().GetName(), Region: g.GetSpec().GetRegion(), Id: g.GetId(), Version: g.GetGeneration()}
	leader := uint64(0)
	for _, r := range status.GroupInfo(v, o, ids.Group(g.GetId())).GetReplicas() {
		if r.GetLeader() {
			leader = r.GetId()
		}
	}
	for _, r := range g.GetReplicas() {
		if r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED {
			continue
		}
		h := v.Host(ids.Host(r.GetHostId()))
		l.Members = append(l.Members, &hostpb.Member{
			Replica: r.GetId(), HostId: r.GetHostId(), HostName: h.GetName(), Api: h.GetApi(), Observer: !r.GetVoter(),
		})
		if r.GetId() == leader {
			l.LeaderHost, l.LeaderApi = r.GetHostId(), h.GetApi()
		}
	}
	return l
}

// Servers lists drummers and hosts. While no drummer leads, it answers from what
// this one has.
func (s *Service) Servers(context.Context, *hostpb.ServersRequest) (*hostpb.ServersResponse, error) {
	c, err := s.use()
	if err != nil {
		return nil, err
	}
	v, err := c.Record.LocalView()
	if err != nil {
		return nil, asRead(err)
	}
	servers := c.Peers.Servers()
	for h := range v.Hosts() {
		if !h.GetLost() {
			servers = append(servers, &hostpb.Server{Kind: "nodehost", Id: h.GetId(), Name: h.GetName(), Api: h.GetApi(), Region: h.GetRegion()})
		}
	}
	return &hostpb.ServersResponse{Servers: servers}, nil
}
