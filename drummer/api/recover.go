package api

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drumline/drumline/drummer/api/survivors"
	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/words"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

const (
	// defaultMargin is how many numbers sequences skip after a loss unless somebody says
	// better; cloneMargin is what a clone skips, which loses nothing.
	defaultMargin = 1_000_000
	cloneMargin   = 1
	// lookPatience bounds the question to a host how far its replicas are.
	lookPatience = 3 * time.Second
	// looksPerCall is what a host answers in one call.
	looksPerCall = 1000
	// loadsAtOnce bounds the recoveries that are proposed beside each other.
	loadsAtOnce = 16
)

// RecoverGroups brings groups back that have lost their quorum: from the survivor that has
// applied most, under a new number. A dry run shows what would be done.
func (s *Service) RecoverGroups(ctx context.Context, r *drummerpb.RecoverGroupsRequest) (*drummerpb.RecoverGroupsResponse, error) {
	if (len(r.GetNames()) == 0) != r.GetAllLost() || len(r.GetNames()) > maxSpecs {
		return nil, fault.New(fault.Invalid, "name 1 to %d groups, or ask for all that are lost", maxSpecs)
	}
	if n := len(r.GetRegions()); n > 0 && n != len(r.GetNames()) {
		return nil, fault.New(fault.Invalid, "%d regions for %d names: give one for each, or none", n, len(r.GetNames()))
	}
	c, err := s.use()
	if err != nil {
		return nil, err
	}
	v, o, err := s.lookSettled(ctx)
	if err != nil {
		return nil, err
	}
	var cases []*survivors.Case
	if r.GetAllLost() {
		for _, name := range survivors.Lost(v, o) {
			cases = append(cases, survivors.Of(v, o, name))
		}
	}
	for i, name := range r.GetNames() {
		ref := &fleetpb.Spec{Name: name}
		if len(r.GetRegions()) > 0 {
			ref.Region = r.GetRegions()[i]
		}
		if err := checkName(ref); err != nil {
			return nil, err
		}
		if g, err := find(v, ref); err == nil {
			ref = g.GetSpec()
		} else if fault.Is(err, fault.Invalid) {
			return nil, err
		}
		cases = append(cases, survivors.Of(v, o, statemachines.NameOf(ref)))
	}
	looks := s.lookAround(ctx, v, cases)
	for _, k := range cases {
		k.Judge(looks, survivors.Wish{From: r.GetFrom(), OnlyDown: r.GetAllLost()})
	}
	if !r.GetDryRun() {
		s.recoverAll(ctx, c, cases, cmpMargin(r.GetMargin()))
	}
	resp := &drummerpb.RecoverGroupsResponse{}
	for _, k := range cases {
		resp.Items = append(resp.Items, k.Answer)
	}
	return resp, nil
}

func cmpMargin(m uint64) uint64 {
	if m == 0 {
		return defaultMargin
	}
	return m
}

// lookAround asks every host that may have a survivor how far it is. A host that does not
// answer is not there.
func (s *Service) lookAround(ctx context.Context, v *fleet.View, cases []*survivors.Case) survivors.Looks {
	groups := map[ids.Host][]uint64{}
	for _, k := range cases {
		for _, h := range k.Hosts() {
			groups[h] = append(groups[h], k.Answer.GetId())
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	found := survivors.Looks{}
	for h, wanted := range groups {
		all.Go(func() {
			looks, ok := s.lookAt(ctx, v.Host(h).GetApi(), wanted)
			mu.Lock()
			defer mu.Unlock()
			if ok {
				found[h] = looks
			}
		})
	}
	all.Wait()
	return found
}

func (s *Service) lookAt(ctx context.Context, api string, groups []uint64) (map[uint64]*statepb.Look, bool) {
	found := map[uint64]*statepb.Look{}
	conn, err := s.o.Dial.Dial(ctx, api)
	if err != nil {
		return nil, false
	}
	for part := range slices.Chunk(groups, looksPerCall) {
		resp, err := statepb.NewStatesClient(conn).Look(ctx, &statepb.LookRequest{Groups: part})
		if err != nil {
			return nil, false
		}
		for _, l := range resp.GetLooks() {
			found[l.GetGroup()] = l
		}
	}
	return found, true
}

// recoverAll proposes the recoveries that nothing speaks against.
func (s *Service) recoverAll(ctx context.Context, c *Cluster, cases []*survivors.Case, margin uint64) {
	var all errgroup.Group
	all.SetLimit(loadsAtOnce)
	for _, k := range cases {
		if k.Answer.GetCode() != fleetpb.Code_CODE_OK {
			continue
		}
		all.Go(func() error {
			id, err := load(ctx, c, k.Command(margin))
			if err != nil {
				k.Answer.Code, k.Answer.Detail = fleetpb.Code_CODE_CONFLICT, err.Error()
			}
			k.Answer.Heir = id
			return nil
		})
	}
	_ = all.Wait() // each has its answer
}

// load proposes a group with a first state and returns its number.
func load(ctx context.Context, c *Cluster, l *fleetpb.LoadGroup) (uint64, error) {
	result, err := ask(ctx, c, &fleetpb.Command{Op: &fleetpb.Command_LoadGroup{LoadGroup: l}})
	if err != nil {
		return 0, err
	}
	if len(result.GetItems()) != 1 {
		return 0, fault.New(fault.Internal, "the record does not say which group it is")
	}
	return result.GetItems()[0].GetId(), nil
}

// RestoreGroup makes a group of a state that was staged on a host.
func (s *Service) RestoreGroup(ctx context.Context, r *drummerpb.RestoreGroupRequest) (*drummerpb.LoadGroupResponse, error) {
	c, err := s.use()
	if err != nil {
		return nil, err
	}
	v, err := c.Record.View(ctx)
	if err != nil {
		return nil, asRead(err)
	}
	l := &fleetpb.LoadGroup{
		Spec: normalized([]*fleetpb.Spec{r.GetSpec()})[0], Reason: "restored from a file",
		Origin: &fleetpb.Origin{
			Kind: fleetpb.OriginKind_ORIGIN_KIND_RESTORE, Staged: r.GetStaged(), HostId: r.GetHostId(), Margin: cmpMargin(r.GetMargin()),
		},
	}
	if r.GetReplace() {
		l.Replaces = v.ByName(statemachines.NameOf(l.GetSpec())).GetId()
	}
	id, err := load(ctx, c, l)
	return &drummerpb.LoadGroupResponse{Id: id}, err
}

// CloneGroup makes a group with the state that another one has now.
func (s *Service) CloneGroup(ctx context.Context, r *drummerpb.CloneGroupRequest) (*drummerpb.LoadGroupResponse, error) {
	c, err := s.use()
	if err != nil {
		return nil, err
	}
	v, err := c.Record.View(ctx)
	if err != nil {
		return nil, asRead(err)
	}
	from, err := find(v, r)
	if err != nil {
		return nil, err
	}
	spec := normalized([]*fleetpb.Spec{from.GetSpec()})[0]
	spec.Name, spec.Region = r.GetTo(), r.GetToRegion()
	if r.GetReplicas() != 0 && r.GetReplicas() != spec.GetReplicas() {
		spec.Replicas, spec.Regions = r.GetReplicas(), nil
	}
	id, err := load(ctx, c, &fleetpb.LoadGroup{
		Spec: rules.Settle(spec), Reason: "a clone of " + words.Full(from),
		Origin: &fleetpb.Origin{Kind: fleetpb.OriginKind_ORIGIN_KIND_CLONE, Group: from.GetId(), Margin: cloneMargin},
	})
	return &drummerpb.LoadGroupResponse{Id: id}, err
}

// PurgeGroups lets the data of banned groups go.
func (s *Service) PurgeGroups(ctx context.Context, r *drummerpb.PurgeGroupsRequest) (*drummerpb.PurgeGroupsResponse, error) {
	c, err := s.use()
	if err != nil {
		return nil, err
	}
	if len(r.GetIds()) == 0 || len(r.GetIds()) > maxSpecs {
		return nil, fault.New(fault.Invalid, "give the numbers of 1 to %d retired groups", maxSpecs)
	}
	resp := &drummerpb.PurgeGroupsResponse{}
	for _, id := range r.GetIds() {
		cmd := &fleetpb.Command{Op: &fleetpb.Command_PurgeRetired{PurgeRetired: &fleetpb.PurgeRetired{Group: id}}}
		result, err := c.Record.Propose(ctx, cmd)
		if err != nil {
			return nil, again(err)
		}
		resp.Items = append(resp.Items, &fleetpb.ItemResult{Id: id, Code: result.GetCode(), Detail: strings.TrimSpace(result.GetDetail())})
	}
	return resp, nil
}
