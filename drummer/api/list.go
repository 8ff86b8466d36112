package api

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/status"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// maxPage is the size of a page, at most and by default.
const maxPage = 1000

// pageSize is the size that a request's limit means.
func pageSize(limit uint32) int {
	if limit == 0 || limit > maxPage {
		return maxPage
	}
	return int(limit)
}

// ListGroups lists groups by name and number, tombstones included: a name that was
// deleted and created again is there twice until the old replicas' data is gone.
func (s *Service) ListGroups(ctx context.Context, r *drummerpb.ListGroupsRequest) (*drummerpb.ListGroupsResponse, error) {
	if longest := max(len(r.GetPrefix()), len(r.GetAfter()), len(r.GetAfterRegion()), len(r.GetName())); longest > statemachines.MaxGroupName {
		return nil, fault.New(fault.Invalid, "name, prefix and after are names of groups or parts of them: at most %d bytes", statemachines.MaxGroupName)
	}
	if r.GetAfterId() != 0 && r.GetAfter() == "" {
		return nil, fault.New(fault.Invalid, "after_id goes with after: take both from the last group of the page before")
	}
	v, o, err := s.lookSettled(ctx)
	if err != nil {
		return nil, err
	}
	page, more := pageOf(v, r, pageSize(r.GetLimit()))
	resp := &drummerpb.ListGroupsResponse{More: more}
	for _, k := range page {
		resp.Groups = append(resp.Groups, status.GroupInfo(v, o, ids.Group(k.id)))
	}
	return resp, nil
}

// key orders groups in a list.
type key struct {
	name, region string
	id           uint64
}

func keyOf(g *fleetpb.Group) key {
	return key{g.GetSpec().GetName(), g.GetSpec().GetRegion(), g.GetId()}
}

func (k key) compare(other key) int {
	return cmp.Or(strings.Compare(k.name, other.name), strings.Compare(k.region, other.region), cmp.Compare(k.id, other.id))
}

// pageOf returns the keys of the page that r asks for, and whether more follow. It
// merges the live groups, which the record has by name, with the tombstones.
func pageOf(v *fleet.View, r *drummerpb.ListGroupsRequest, size int) (page []key, more bool) {
	after := key{r.GetAfter(), r.GetAfterRegion(), r.GetAfterId()}
	if after.name != "" && after.id == 0 {
		after.region, after.id = utterly, ^uint64(0) // all groups of that name were seen
	}
	prefix := cmp.Or(r.GetName(), r.GetPrefix())
	wanted := func(k key) bool {
		very := r.GetName() == "" || r.GetName() == k.name
		return very && strings.HasPrefix(k.name, prefix) && (after.name == "" || k.compare(after) > 0)
	}
	for g := range v.Groups() {
		k := keyOf(g)
		if words.Nameless(g) && wanted(k) {
			page = append(page, k)
		}
	}
	left := size + 1 // the one too many says that more follow
	for k := range liveFrom(v, after.name, prefix) {
		if left == 0 {
			break
		}
		if wanted(k) {
			page = append(page, k)
			left--
		}
	}
	slices.SortFunc(page, key.compare)
	if len(page) > size {
		return page[:size], true
	}
	return page, false
}

// liveFrom gives the live groups with the prefix, by name and region, beginning with those
// that are called after.
func liveFrom(v *fleet.View, after, prefix string) iter.Seq[key] {
	return func(yield func(key) bool) {
		if g := v.ByName(after); g != nil && !yield(keyOf(g)) {
			return // which GroupsByName leaves out
		}
		for g := range v.GroupsByName(max(after, before(prefix))) {
			k := keyOf(g)
			beyond := k.name > prefix && !strings.HasPrefix(k.name, prefix)
			if beyond || !yield(k) {
				return
			}
		}
	}
}

// utterly comes after every region.
const utterly = "\xff"

// before is a text that no name lies between and the prefix; GroupsByName begins
// after it.
func before(prefix string) string {
	if prefix == "" {
		return ""
	}
	return prefix[:len(prefix)-1]
}

// explainOther tells why a host or an operation is as it is.
func (s *Service) explainOther(ctx context.Context, r *drummerpb.ExplainRequest) (*drummerpb.ExplainResponse, error) {
	if r.GetName() != "" || r.GetHost() != "" && r.GetOperation() != 0 {
		return nil, fault.New(fault.Invalid, "say which group, which host or which operation: one of them")
	}
	v, o, err := s.lookSettled(ctx)
	if err != nil {
		return nil, err
	}
	if r.GetHost() == "" {
		if resp := status.ExplainOperation(v, o, r.GetOperation()); resp != nil {
			return resp, nil
		}
		return nil, noOperation(r.GetOperation())
	}
	h, err := findHost(v, r.GetHost())
	if err != nil {
		return nil, err
	}
	return status.ExplainHost(v, o, ids.Host(h.GetId())), nil
}

// Explain tells why a group, a host or an operation is as it is.
func (s *Service) Explain(ctx context.Context, r *drummerpb.ExplainRequest) (*drummerpb.ExplainResponse, error) {
	if r.GetHost() != "" || r.GetOperation() != 0 {
		return s.explainOther(ctx, r)
	}
	if err := checkName(r); err != nil {
		return nil, err
	}
	v, o, err := s.lookSettled(ctx)
	if err != nil {
		return nil, err
	}
	g, err := find(v, r)
	if err != nil {
		return nil, err
	}
	return status.Explain(v, o, g), nil
}

// ListHosts lists all hosts.
func (s *Service) ListHosts(ctx context.Context, r *drummerpb.ListHostsRequest) (*drummerpb.ListHostsResponse, error) {
	v, o, err := s.lookSettled(ctx)
	if err != nil {
		return nil, err
	}
	resp := &drummerpb.ListHostsResponse{Hosts: status.HostInfos(v, o)}
	if r.GetGossip() && s.o.Members != nil {
		resp.Members = s.o.Members()
	}
	return resp, nil
}

// Status sums the cluster up.
func (s *Service) Status(ctx context.Context, _ *drummerpb.StatusRequest) (*drummerpb.StatusResponse, error) {
	v, o, err := s.lookSettled(ctx)
	if err != nil {
		return nil, err
	}
	resp := status.Summary(v, o)
	resp.Deployment, resp.Leader, resp.Term = s.o.Deployment, s.o.Name, o.Term
	return resp, nil
}

// ListEvents lists the events kept, oldest first.
func (s *Service) ListEvents(ctx context.Context, r *drummerpb.ListEventsRequest) (*drummerpb.ListEventsResponse, error) {
	v, _, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	events, more := v.Events(r.GetAfter(), pageSize(r.GetLimit()))
	return &drummerpb.ListEventsResponse{Events: events, More: more}, nil
}
