package api

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/api/keep"
	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/words"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/statemachines"
)

const (
	// maxSpecs bounds one call.
	maxSpecs = 1000
	// chunkSpecs and chunkBytes bound one command of the record's log, so that no
	// entry is large and others get their turn in between.
	chunkSpecs = 200
	chunkBytes = 128 << 10
)

// CreateGroups sets the policy, if there is one, and defines the groups. Each spec
// is answered on its own; what exists already with the same spec is fine, so a call
// whose outcome is unknown is safe to repeat.
func (s *Service) CreateGroups(ctx context.Context, r *drummerpb.CreateGroupsRequest) (*drummerpb.CreateGroupsResponse, error) {
	if err := checkCreate(r); err != nil {
		return nil, err
	}
	c, err := s.use()
	if err != nil {
		return nil, err
	}
	specs := normalized(r.GetSpecs())
	if r.GetDryRun() {
		return s.dryRun(ctx, specs)
	}
	if r.GetPolicy() != nil {
		cmd := &fleetpb.Command{Op: &fleetpb.Command_SetPolicy{SetPolicy: r.GetPolicy()}}
		if _, err := ask(ctx, c, cmd); err != nil {
			return nil, err
		}
	}
	return define(ctx, c, specs)
}

// define proposes the good specs in chunks and puts the answers into their places.
func define(ctx context.Context, c *Cluster, specs []*fleetpb.Spec) (*drummerpb.CreateGroupsResponse, error) {
	resp := &drummerpb.CreateGroupsResponse{Items: make([]*fleetpb.ItemResult, len(specs))}
	v, err := c.Record.View(ctx)
	if err != nil {
		return nil, asRead(err)
	}
	good, places := sift(v, specs, resp.Items)
	for len(good) > 0 {
		n := chunk(good)
		cmd := &fleetpb.Command{Op: &fleetpb.Command_CreateGroups{CreateGroups: &fleetpb.CreateGroups{Specs: good[:n]}}}
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

// checkPossible says what is wrong with a spec: in itself, which is invalid, or with its rules
// on the hosts that there are, which is a conflict: with other hosts it would do.
func checkPossible(v *fleet.View, spec *fleetpb.Spec) (fleetpb.Code, error) {
	if err := rules.CheckSpec(spec); err != nil {
		return fleetpb.Code_CODE_INVALID, err
	}
	if g := v.ByName(statemachines.NameOf(spec)); g != nil && proto.Equal(g.GetSpec(), spec) {
		return fleetpb.Code_CODE_OK, nil // it is so already
	}
	if err := keep.Possible(v, spec); err != nil {
		return fleetpb.Code_CODE_CONFLICT, err
	}
	return fleetpb.Code_CODE_OK, nil
}

// sift answers the specs that are wrong in themselves or impossible, without the record.
func sift(v *fleet.View, specs []*fleetpb.Spec, items []*fleetpb.ItemResult) (good []*fleetpb.Spec, places []int) {
	for i, spec := range specs {
		if code, err := checkPossible(v, spec); err != nil {
			items[i] = refusedItem(spec, code, err.Error())
			continue
		}
		good, places = append(good, spec), append(places, i)
	}
	return good, places
}

// refusedItem bounds what it repeats of the request.
func refusedItem(spec *fleetpb.Spec, code fleetpb.Code, why string) *fleetpb.ItemResult {
	return &fleetpb.ItemResult{Name: bounded(spec.GetName()), Region: bounded(spec.GetRegion()), Code: code, Detail: why}
}

func bounded(text string) string {
	if len(text) > statemachines.MaxGroupName {
		return strings.ToValidUTF8(text[:statemachines.MaxGroupName], "")
	}
	return text
}

// chunk is how many specs go into the next command.
func chunk(specs []*fleetpb.Spec) int {
	size := 0
	for i, spec := range specs[:min(len(specs), chunkSpecs)] {
		if size += proto.Size(spec); i > 0 && size > chunkBytes {
			return i
		}
	}
	return min(len(specs), chunkSpecs)
}

// dryRun says what would be answered now, and what would keep a launch waiting.
func (s *Service) dryRun(ctx context.Context, specs []*fleetpb.Spec) (*drummerpb.CreateGroupsResponse, error) {
	v, _, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	resp := &drummerpb.CreateGroupsResponse{}
	first := map[string]*fleetpb.Spec{}
	for _, spec := range specs {
		item := fleet.CheckCreate(v, spec)
		if code, err := checkPossible(v, spec); err != nil {
			resp.Items = append(resp.Items, refusedItem(spec, code, err.Error()))
			continue
		}
		if item.GetCode() == fleetpb.Code_CODE_INVALID {
			resp.Items = append(resp.Items, refusedItem(spec, item.GetCode(), item.GetDetail()))
			continue
		}
		full := statemachines.NameOf(spec)
		if other := first[full]; other != nil && !proto.Equal(other, spec) {
			item.Code, item.Detail = fleetpb.Code_CODE_EXISTS, "this request has the name twice, with different specs"
		} else if item.GetCode() == fleetpb.Code_CODE_OK && item.GetId() == 0 && !known(v, spec.GetApp()) {
			item.Detail = "no host knows the app " + spec.GetApp() + ": the group would wait for one"
		}
		first[full] = spec
		resp.Items = append(resp.Items, item)
	}
	return resp, nil
}

func known(v *fleet.View, app string) bool {
	for h := range v.Hosts() {
		if !h.GetLost() && rules.VersionOf(h, app) > 0 {
			return true
		}
	}
	return false
}

// checkCreate refuses a request as a whole.
func checkCreate(r *drummerpb.CreateGroupsRequest) error {
	if len(r.GetSpecs()) == 0 && r.GetPolicy() == nil {
		return fault.New(fault.Invalid, "nothing to create: give at least one spec or a policy")
	}
	if len(r.GetSpecs()) > maxSpecs {
		return fault.New(fault.Invalid, "%d specs in one call, at most %d are allowed: send several calls", len(r.GetSpecs()), maxSpecs)
	}
	if r.GetPolicy() != nil {
		if err := rules.CheckPolicy(rules.FillPolicy(r.GetPolicy())); err != nil {
			return fault.New(fault.Invalid, "policy: %v", err)
		}
	}
	return nil
}

// normalized copies the specs into the record's form: the app spelt out, the
// regions sorted, the replicas of a region's group in that region.
func normalized(specs []*fleetpb.Spec) []*fleetpb.Spec {
	out := make([]*fleetpb.Spec, len(specs))
	for i, spec := range specs {
		n := proto.CloneOf(spec)
		if n == nil {
			n = &fleetpb.Spec{}
		}
		slices.Sort(n.GetRequire())
		slices.Sort(n.GetForbid())
		if n.App == "" {
			n.App, _, _ = strings.Cut(n.GetName(), "/")
		}
		slices.SortStableFunc(n.Regions, func(a, b *fleetpb.RegionCount) int { return strings.Compare(a.GetRegion(), b.GetRegion()) })
		out[i] = rules.Settle(n)
	}
	return out
}

// DeleteGroup begins a deletion; one that has begun already is answered the same.
func (s *Service) DeleteGroup(ctx context.Context, r *drummerpb.DeleteGroupRequest) (*drummerpb.DeleteGroupResponse, error) {
	if err := checkName(r); err != nil {
		return nil, err
	}
	c, v, err := s.lookAtRecord(ctx)
	if err != nil {
		return nil, err
	}
	g, err := find(v, r)
	if err != nil {
		return nil, err
	}
	cmd := &fleetpb.Command{Op: &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{
		Name: g.GetSpec().GetName(), Region: g.GetSpec().GetRegion(), Force: r.GetForce(),
	}}}
	result, err := c.Record.Propose(ctx, cmd)
	if err != nil {
		return nil, again(err)
	}
	if result.GetCode() == fleetpb.Code_CODE_NOT_FOUND {
		return nil, noGroup(words.Full(g))
	}
	if result.GetCode() != fleetpb.Code_CODE_OK || len(result.GetItems()) != 1 {
		return nil, refused(cmd, result)
	}
	return &drummerpb.DeleteGroupResponse{Id: result.GetItems()[0].GetId()}, nil
}

// ask proposes a command and returns the record's answer; a refusal is an error. An error says
// why, and not what was asked for: who asked knows that, and says it in front.
func ask(ctx context.Context, c *Cluster, cmd *fleetpb.Command) (*fleetpb.Result, error) {
	result, err := c.Record.Propose(ctx, cmd)
	switch {
	case err != nil:
		return nil, again(err)
	case result.GetCode() != fleetpb.Code_CODE_OK:
		return nil, refused(cmd, result)
	}
	return result, nil
}

// again says how to go on after a proposal without an answer.
func again(err error) error {
	switch {
	case fault.Is(err, fault.NotLeader), fault.Is(err, fault.NotOpen):
		return fault.Wrap(err, fault.NotSupervisor, "this drummer lost the lead; try again")
	case fault.Is(err, fault.UnknownOutcome):
		return fault.Wrap(err, fault.UnknownOutcome, "the outcome is unknown; it is safe to ask for the same again")
	}
	return err
}

// refused is the record's refusal of a command as a fault.
func refused(cmd *fleetpb.Command, r *fleetpb.Result) error {
	if r.GetCode() == fleetpb.Code_CODE_NOT_FOUND {
		return fault.NotFound(subject(cmd), "%s", r.GetDetail())
	}
	return fault.New(asReason(r.GetCode()), "%s", r.GetDetail())
}

// asReason is the class of a refusal.
func asReason(c fleetpb.Code) fault.Reason {
	reason, known := map[fleetpb.Code]fault.Reason{
		fleetpb.Code_CODE_INVALID: fault.Invalid, fleetpb.Code_CODE_NOT_FOUND: fault.GroupNotFound, fleetpb.Code_CODE_EXISTS: fault.Exists,
		fleetpb.Code_CODE_CONFLICT: fault.Conflict, fleetpb.Code_CODE_LIMIT: fault.Limit,
	}[c]
	if !known {
		return fault.Internal
	}
	return reason
}

// subject is what a command is about when it is no group: that is what it may not find.
func subject(cmd *fleetpb.Command) string {
	if cmd.GetLoadGroup().GetOrigin().GetKind() == fleetpb.OriginKind_ORIGIN_KIND_RESTORE {
		return fault.Host // the one that has the state
	}
	switch cmd.GetOp().(type) {
	case *fleetpb.Command_SetHost, *fleetpb.Command_RemoveHost:
		return fault.Host
	case *fleetpb.Command_CancelOperation:
		return fault.Operation
	case *fleetpb.Command_AddDrummer, *fleetpb.Command_RemoveDrummer:
		return fault.Drummer
	}
	return ""
}
