package api

import (
	"context"
	"maps"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/loop"
	"github.com/drumline/drumline/drummer/planner"
	"github.com/drumline/drumline/drummer/status"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
)

// maxBlockers bounds the sentences about what blocks a drain.
const maxBlockers = 100

// maxMaintenance is how long a maintenance may be announced for.
const maxMaintenance = 30 * 24 * time.Hour

// ChangeHost says what is wanted of a host. A drain and a decommission that something
// blocks are refused, with what blocks them, unless they are forced.
func (s *Service) ChangeHost(ctx context.Context, r *drummerpb.ChangeHostRequest) (*drummerpb.ChangeHostResponse, error) {
	c, err := s.use()
	if err != nil {
		return nil, err
	}
	v, o, err := s.lookSettled(ctx)
	if err != nil {
		return nil, err
	}
	h, err := findHost(v, r.GetHost())
	if err != nil {
		return nil, err
	}
	resp := &drummerpb.ChangeHostResponse{Host: status.HostInfo(v, o, ids.Host(h.GetId()))}
	cmd, err := hostCommand(h, r, o.UnixMs)
	if err != nil {
		return nil, err
	}
	if words.Leaves(cmd.GetSetHost().GetWanted().GetDuty()) && cmd.GetSetHost().GetWanted().GetDuty() != h.GetWanted().GetDuty() {
		list, total := planner.Blockers(planner.View{Fleet: v, Observed: &o.Observed}, ids.Host(h.GetId()), maxBlockers)
		resp.Blockers, resp.BlockersTotal = list, uint32(total)
		if total > 0 && !r.GetForce() && !r.GetDryRun() {
			return nil, fault.New(fault.Conflict, "it would not come to its end for %d of its groups, like %s: see --dry-run, or force it", total, list[0])
		}
	}
	if r.GetDryRun() {
		if result := fleet.Fork(v).Execute(cmd); result.GetCode() != fleetpb.Code_CODE_OK {
			return nil, refused(cmd, result)
		}
		return resp, nil
	}
	if _, err := ask(ctx, c, cmd); err != nil {
		return nil, err
	}
	return s.changed(ctx, h, o, resp)
}

// changed looks at the host as it is after the change.
func (s *Service) changed(ctx context.Context, h *fleetpb.Host, o *loop.Observed, resp *drummerpb.ChangeHostResponse) (*drummerpb.ChangeHostResponse, error) {
	v, _, err := s.look(ctx)
	if err != nil {
		return nil, fault.Wrap(err, fault.UnknownOutcome, "it is done; what became of it is not known: list the hosts")
	}
	resp.Host = status.HostInfo(v, maintained(o, v.Host(ids.Host(h.GetId()))), ids.Host(h.GetId()))
	resp.Operation = resp.GetHost().GetHost().GetWanted().GetOperation()
	return resp, nil
}

// maintained is what was observed, but for what the loop has not looked at yet: whether the
// host is in maintenance now.
func maintained(o *loop.Observed, h *fleetpb.Host) *loop.Observed {
	now, seen := *o, *o.Host(ids.Host(h.GetId()))
	seen.Maintained = h.GetWanted().GetMaintenanceUntilUnixMs() > o.UnixMs
	now.Hosts = maps.Clone(o.Hosts)
	if now.Hosts == nil {
		now.Hosts = map[ids.Host]*planner.Host{}
	}
	now.Hosts[ids.Host(h.GetId())] = &seen
	return &now
}

// hostCommand makes the record's command of a request.
func hostCommand(h *fleetpb.Host, r *drummerpb.ChangeHostRequest, now int64) (*fleetpb.Command, error) {
	wanted := &fleetpb.HostWanted{}
	if h.GetWanted() != nil {
		wanted = proto.CloneOf(h.GetWanted())
	}
	wanted.Reason, wanted.Author = r.GetReason(), r.GetAuthor()
	switch r.GetVerb() {
	case "cordon":
		wanted.Duty = fleetpb.HostDuty_HOST_DUTY_CORDONED
	case "uncordon":
		wanted.Duty, wanted.MaintenanceUntilUnixMs = fleetpb.HostDuty_HOST_DUTY_UNSPECIFIED, 0
	case "drain":
		wanted.Duty = fleetpb.HostDuty_HOST_DUTY_DRAINING
	case "decommission":
		wanted.Duty = fleetpb.HostDuty_HOST_DUTY_LEAVING
	case "maintenance":
		if d := r.GetForMs(); d <= 0 || d > maxMaintenance.Milliseconds() {
			return nil, fault.New(fault.Invalid, "a maintenance of %d s: say for how long, from 1 ms to %d days; uncordon ends it", d/1000, maxMaintenance/(24*time.Hour))
		}
		wanted.MaintenanceUntilUnixMs = now + r.GetForMs()
	case "weight":
		if r.GetWeight() == 0 {
			return nil, fault.New(fault.Invalid, "a weight of 0: say how many percent of an ordinary host's share it gets; cordon it to give it nothing")
		}
		wanted.Weight = r.GetWeight()
	case "remove":
		return &fleetpb.Command{Op: &fleetpb.Command_RemoveHost{RemoveHost: &fleetpb.RemoveHost{HostId: h.GetId(), Force: r.GetForce(), Author: r.GetAuthor()}}}, nil
	default:
		return nil, fault.New(fault.Invalid, "verb %q is not known: use cordon, uncordon, drain, maintenance, decommission, remove or weight", r.GetVerb())
	}
	return &fleetpb.Command{Op: &fleetpb.Command_SetHost{SetHost: &fleetpb.SetHost{HostId: h.GetId(), Wanted: wanted}}}, nil
}

// ShapeGroups changes what is wanted of groups. Each spec is answered on its own.
func (s *Service) ShapeGroups(ctx context.Context, r *drummerpb.ShapeGroupsRequest) (*drummerpb.ShapeGroupsResponse, error) {
	if n := len(r.GetSpecs()); n == 0 || n > maxSpecs {
		return nil, fault.New(fault.Invalid, "%d specs in one call: 1 to %d are allowed", n, maxSpecs)
	}
	c, err := s.use()
	if err != nil {
		return nil, err
	}
	v, err := c.Record.View(ctx)
	if err != nil {
		return nil, asRead(err)
	}
	specs := normalized(r.GetSpecs())
	resp := &drummerpb.ShapeGroupsResponse{Items: make([]*fleetpb.ItemResult, len(specs))}
	good, places := sift(v, specs, resp.Items)
	if r.GetDryRun() {
		for i, spec := range good {
			resp.Items[places[i]] = fleet.CheckShape(v, spec)
		}
		return resp, nil
	}
	for len(good) > 0 {
		n := chunk(good)
		cmd := &fleetpb.Command{Op: &fleetpb.Command_ShapeGroups{ShapeGroups: &fleetpb.ShapeGroups{Specs: good[:n], Author: r.GetAuthor()}}}
		result, err := c.Record.Propose(ctx, cmd)
		if err != nil {
			return nil, again(err)
		}
		if len(result.GetItems()) != n {
			return nil, refused(cmd, result)
		}
		for i, item := range result.GetItems() {
			resp.Items[places[i]] = item
		}
		good, places = good[n:], places[n:]
	}
	return resp, nil
}

// MoveReplica moves one replica of a group by hand.
func (s *Service) MoveReplica(ctx context.Context, r *drummerpb.MoveReplicaRequest) (*drummerpb.MoveReplicaResponse, error) {
	v, o, err := s.lookSettled(ctx)
	if err != nil {
		return nil, err
	}
	g, err := find(v, r)
	if err != nil {
		return nil, err
	}
	from, to, err := ends(v, r)
	if err != nil {
		return nil, err
	}
	view := planner.View{Fleet: v, Observed: &o.Observed}
	replica, err := planner.CheckMove(view, g, ids.Host(from.GetId()), ids.Host(to.GetId()))
	if err != nil {
		return nil, fault.New(fault.Conflict, "from host %s to host %s: %v", from.GetName(), to.GetName(), err)
	}
	if r.GetDryRun() {
		return &drummerpb.MoveReplicaResponse{}, nil
	}
	add := &fleetpb.AddReplica{
		Group: g.GetId(), Generation: g.GetGeneration(), HostId: to.GetId(), Replaces: uint64(replica),
		Kind: words.KindMove, Move: true, Author: r.GetAuthor(), Reason: "somebody wants it on host " + to.GetName() + " instead of " + from.GetName(),
	}
	cmd := &fleetpb.Command{Op: &fleetpb.Command_AddReplica{AddReplica: add}}
	op, err := s.operate(ctx, cmd, g)
	return &drummerpb.MoveReplicaResponse{Operation: op}, err
}

// ends finds the two hosts of a move.
func ends(v *fleet.View, r *drummerpb.MoveReplicaRequest) (from, to *fleetpb.Host, err error) {
	if from, err = findHost(v, r.GetFrom()); err != nil {
		return nil, nil, err
	}
	if to, err = findHost(v, r.GetTo()); err == nil && to == from {
		return nil, nil, fault.New(fault.Invalid, "from host %s to itself: name another host", from.GetName())
	}
	return from, to, err
}

// findHost finds a host by its name or id.
func findHost(v *fleet.View, ref string) (*fleetpb.Host, error) {
	if h := status.FindHost(v, ref); h != nil {
		return h, nil
	}
	return nil, fault.NotFound(fault.Host, "no host has the name or id %q", ref)
}

// operate proposes a change of a group and returns the operation that it has then.
func (s *Service) operate(ctx context.Context, cmd *fleetpb.Command, g *fleetpb.Group) (uint64, error) {
	c, err := s.use()
	if err != nil {
		return 0, err
	}
	if _, err := ask(ctx, c, cmd); err != nil {
		return 0, err
	}
	v, _, err := s.look(ctx)
	if err != nil {
		return 0, fault.Wrap(err, fault.UnknownOutcome, "it has begun; what became of it is not known: list the operations")
	}
	return v.ByName(words.Full(g)).GetOperation(), nil
}

// TransferLeader says where a group's leader shall be from now on.
func (s *Service) TransferLeader(ctx context.Context, r *drummerpb.TransferLeaderRequest) (*drummerpb.TransferLeaderResponse, error) {
	v, _, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	g, err := find(v, r)
	if err != nil {
		return nil, err
	}
	prefer := &fleetpb.PreferLeader{Name: g.GetSpec().GetName(), Region: g.GetSpec().GetRegion(), Author: r.GetAuthor()}
	if r.GetTo() != "" {
		h, err := findHost(v, r.GetTo())
		if err != nil {
			return nil, err
		}
		for _, m := range g.GetReplicas() {
			if m.GetHostId() == h.GetId() && m.GetVoter() {
				prefer.Replica = m.GetId()
			}
		}
		if prefer.GetReplica() == 0 {
			return nil, fault.New(fault.Conflict, "host %s has no voter of group %s: move one there first", h.GetName(), words.Full(g))
		}
	}
	cmd := &fleetpb.Command{Op: &fleetpb.Command_PreferLeader{PreferLeader: prefer}}
	op, err := s.operate(ctx, cmd, g)
	return &drummerpb.TransferLeaderResponse{Operation: op}, err
}
