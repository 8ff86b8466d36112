package capacity

import (
	"context"
	"errors"
	"time"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	doormanpb "github.com/drumline/drumline/drummerpb/doorman"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/capacity/desk"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/nodehost/route/refs"
)

// doorman serves the original's clients and servers.
type doorman struct {
	doormanpb.UnimplementedCapacityServer
	*Service
}

// Discovery says that this host is the master: it answers for every resource.
func (d *doorman) Discovery(context.Context, *doormanpb.DiscoveryRequest) (*doormanpb.DiscoveryResponse, error) {
	return &doormanpb.DiscoveryResponse{Mastership: &doormanpb.Mastership{MasterAddress: new(d.o.Advertise)}, IsMaster: new(true)}, nil
}

// GetCapacity leases for a client.
func (d *doorman) GetCapacity(ctx context.Context, req *doormanpb.GetCapacityRequest) (resp *doormanpb.GetCapacityResponse, err error) {
	arrived := time.Now()
	defer func() { d.calls.count("GetCapacity", arrived, err) }()
	asks := asksOfClient(req)
	answers, err := d.whole(ctx, req.GetClientId(), asks)
	if err != nil {
		return nil, err
	}
	return &doormanpb.GetCapacityResponse{Response: responsesTo(asks, answers, arrived)}, nil
}

// leased is what a client is told of a resource, with all that it points to: the answers to a
// request are one piece of memory.
type leased struct {
	response       doormanpb.ResourceResponse
	lease          doormanpb.Lease
	ends, refresh  int64
	capacity, safe float64
}

// responsesTo puts grants on the original's wire.
func responsesTo(asks []ask, grants []*capacitypb.Grant, arrived time.Time) []*doormanpb.ResourceResponse {
	out, room := make([]*doormanpb.ResourceResponse, len(asks)), make([]leased, len(asks))
	for i, g := range grants {
		l := &room[i]
		l.ends, l.refresh = ends(g, arrived), refreshOf(g)
		l.capacity, l.safe = g.GetCapacity(), g.GetSafeCapacity()
		l.lease.ExpiryTime, l.lease.RefreshInterval, l.lease.Capacity = &l.ends, &l.refresh, &l.capacity
		l.response.ResourceId, l.response.Gets, l.response.SafeCapacity = &asks[i].resource, &l.lease, &l.safe
		out[i] = &l.response
	}
	return out
}

// GetServerCapacity leases for a server of the original, for its clients.
func (d *doorman) GetServerCapacity(ctx context.Context, req *doormanpb.GetServerCapacityRequest) (resp *doormanpb.GetServerCapacityResponse, err error) {
	arrived := time.Now()
	defer func() { d.calls.count("GetServerCapacity", arrived, err) }()
	asks := asksOfServer(req)
	answers, err := d.whole(ctx, req.GetServerId(), asks)
	if err != nil {
		return nil, err
	}
	resp = &doormanpb.GetServerCapacityResponse{Response: make([]*doormanpb.ServerCapacityResourceResponse, len(asks))}
	errs := make([]error, len(asks))
	each(split(len(asks), func(i int) string { return asks[i].resource }), func(sh share) {
		about, err := d.o.describe(ctx, sh.group)
		for _, i := range sh.places {
			errs[i] = err
			resp.Response[i] = &doormanpb.ServerCapacityResourceResponse{ResourceId: new(sh.resource), Gets: leaseOf(answers[i], arrived)}
			instruct(resp.Response[i], about.GetSummary().GetDefinition())
		}
	})
	return resp, errors.Join(errs...)
}

// instruct tells a server how to divide what it was given, as the resource's definition
// has it. A safe capacity that is not configured stays away: it is the server's to divide.
func instruct(r *doormanpb.ServerCapacityResourceResponse, def *capacitypb.Definition) {
	r.Algorithm, r.SafeCapacity = algorithmOf(def), def.SafeCapacity //nolint:protogetter // absent is not 0
}

// ReleaseCapacity gives a client's leases back. Resources that do not exist are ignored.
func (d *doorman) ReleaseCapacity(ctx context.Context, req *doormanpb.ReleaseCapacityRequest) (resp *doormanpb.ReleaseCapacityResponse, err error) {
	defer func(arrived time.Time) { d.calls.count("ReleaseCapacity", arrived, err) }(time.Now())
	if err := checkClient(req.GetClientId()); err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	over := d.partings.begin(req.GetClientId(), req.GetResourceId())
	defer over()
	for i, err := range d.release(ctx, &capacitypb.Release{ClientIds: []string{req.GetClientId()}}, req.GetResourceId()) {
		// What no group can be called does not exist: Doorman's own client, when it is
		// closed, adds an empty name for each resource.
		if err != nil && !fault.Is(err, fault.GroupNotFound) && checkResource(req.GetResourceId()[i]) == nil {
			return nil, err
		}
	}
	return &doormanpb.ReleaseCapacityResponse{}, nil
}

// whole answers all of a request or nothing.
func (d *doorman) whole(ctx context.Context, client string, asks []ask) ([]*capacitypb.Grant, error) {
	if err := check(client, asks); err != nil || len(asks) == 0 {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	d.partings.await(ctx, client, asks)
	shares := split(len(asks), func(i int) string { return asks[i].resource })
	if len(shares) > 1 { // one alone is found when it is proposed to
		if err := d.exist(ctx, shares); err != nil {
			return nil, err
		}
	}
	grants := make([]*capacitypb.Grant, len(asks))
	for i, a := range d.decide(ctx, asks, shares) {
		if a.err != nil {
			return nil, a.err
		}
		grants[i] = a.grant
	}
	return grants, nil
}

// release gives back what a client holds of some resources and returns what became of
// each. It is not repeated when nobody knows: the client may hold a new lease by then.
func (s *Service) release(ctx context.Context, what *capacitypb.Release, resources []string) []error {
	out := make([]error, len(resources))
	cmd := pack(&capacitypb.Command{Op: &capacitypb.Command_Release{Release: what}})
	each(split(len(resources), func(i int) string { return resources[i] }), func(sh share) {
		err := s.act(ctx, sh.resource, cmd)
		for _, i := range sh.places {
			out[i] = err
		}
	})
	return out
}

// act proposes one command to a resource that exists; none is made for it.
func (s *Service) act(ctx context.Context, resource string, cmd []byte) error {
	if err := checkFull(resource); err != nil {
		return err
	}
	if err := s.living(ctx, resource); err != nil {
		return err
	}
	group := groupOf(resource)
	outcomes, _ := s.o.Router.ProposeMany(ctx, route.Many{Group: refs.Of(group), Items: [][]byte{cmd}})
	_, err := desk.ResultOf(group, outcomes[0])
	return s.explain(resource, err)
}

// leaseOf is a grant on the original's wire.
func leaseOf(g *capacitypb.Grant, arrived time.Time) *doormanpb.Lease {
	return &doormanpb.Lease{ExpiryTime: new(ends(g, arrived)), RefreshInterval: new(refreshOf(g)), Capacity: new(g.GetCapacity())}
}

// ends is when a lease ends on the original's wire. It counts from the arrival of the
// request, by this host's clock, and its seconds are whole ones: rounded down, so that it
// never ends later than it was granted for.
func ends(g *capacitypb.Grant, arrived time.Time) int64 {
	return arrived.Add(time.Duration(g.GetLeaseMs()) * time.Millisecond).Unix()
}

// refreshOf is after how many seconds to ask again.
func refreshOf(g *capacitypb.Grant) int64 { return max(g.GetRefreshMs()/1000, 1) }

// algorithmOf is a definition's algorithm on the original's wire. PRIORITY is unknown
// there; a server divides one band, or several as if they were one, by FAIR_SHARE.
func algorithmOf(def *capacitypb.Definition) *doormanpb.Algorithm {
	kind := map[capacitypb.Algorithm]doormanpb.Algorithm_Kind{
		capacitypb.Algorithm_ALGORITHM_NONE:               doormanpb.Algorithm_NO_ALGORITHM,
		capacitypb.Algorithm_ALGORITHM_STATIC:             doormanpb.Algorithm_STATIC,
		capacitypb.Algorithm_ALGORITHM_PROPORTIONAL_SHARE: doormanpb.Algorithm_PROPORTIONAL_SHARE,
		capacitypb.Algorithm_ALGORITHM_FAIR_SHARE:         doormanpb.Algorithm_FAIR_SHARE,
		capacitypb.Algorithm_ALGORITHM_PRIORITY:           doormanpb.Algorithm_FAIR_SHARE,
	}[def.GetAlgorithm()]
	out := &doormanpb.Algorithm{
		Kind: &kind, LeaseLength: new(max(def.GetLeaseLengthMs()/1000, 1)), RefreshInterval: new(max(def.GetRefreshIntervalMs()/1000, 1)),
	}
	for _, p := range def.GetParameters() {
		out.Parameters = append(out.Parameters, &doormanpb.NamedParameter{Name: new(p.GetName()), Value: new(p.GetValue())})
	}
	if def.LearningModeMs != nil { //nolint:protogetter // absent is not 0
		out.LearningModeDuration = new(def.GetLearningModeMs() / 1000)
	}
	return out
}
