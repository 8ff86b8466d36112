package capacity

import (
	"context"
	"slices"
	"time"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/statemachines"
)

// native serves this project's clients.
type native struct {
	capacitypb.UnimplementedCapacityServer
	*Service
}

// Refresh leases for a client. What is wrong with the request refuses it whole; what is
// wrong with a resource concerns no other.
func (n *native) Refresh(ctx context.Context, req *capacitypb.RefreshRequest) (resp *capacitypb.RefreshResponse, err error) {
	defer func(arrived time.Time) { n.calls.count("Refresh", arrived, err) }(time.Now())
	asks := asksOf(req)
	if err := check(req.GetClientId(), asks); err != nil || len(asks) == 0 {
		return &capacitypb.RefreshResponse{}, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	answers := n.decide(ctx, asks, split(len(asks), func(i int) string { return asks[i].full() }))
	resp = &capacitypb.RefreshResponse{Grants: make([]*capacitypb.Granted, len(asks))}
	for i, a := range answers {
		resp.Grants[i] = &capacitypb.Granted{Resource: asks[i].resource, Grant: a.grant, Fault: serve.ItemFault(a.err)}
	}
	return resp, nil
}

// Confirm hands on which answers a client has. It may be repeated: an older receipt says
// nothing new.
func (n *native) Confirm(ctx context.Context, req *capacitypb.ConfirmRequest) (resp *capacitypb.ConfirmResponse, err error) {
	defer func(arrived time.Time) { n.calls.count("Confirm", arrived, err) }(time.Now())
	receipts := req.GetReceipts()
	if err := n.checkMany(req.GetClientId(), len(receipts)); err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	errs := make([]error, len(receipts))
	each(split(len(receipts), func(i int) string { return statemachines.NameIn(receipts[i].GetResource(), receipts[i].GetRegion()) }), func(sh share) {
		c := &capacitypb.Confirm{}
		for _, i := range sh.places {
			c.Receipts = append(c.Receipts, &capacitypb.Receipt{ClientId: req.GetClientId(), Token: receipts[i].GetToken()})
		}
		err := n.act(ctx, sh.resource, pack(&capacitypb.Command{Op: &capacitypb.Command_Confirm{Confirm: c}}))
		for _, i := range sh.places {
			errs[i] = err
		}
	})
	return &capacitypb.ConfirmResponse{Faults: faultsOf(errs)}, nil
}

// Release gives a client's leases back.
func (n *native) Release(ctx context.Context, req *capacitypb.ReleaseRequest) (resp *capacitypb.ReleaseResponse, err error) {
	defer func(arrived time.Time) { n.calls.count("Release", arrived, err) }(time.Now())
	if err := n.checkMany(req.GetClientId(), len(req.GetResources())); err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	what := &capacitypb.Release{ClientIds: []string{req.GetClientId()}, Serial: req.GetSerial()}
	return &capacitypb.ReleaseResponse{Faults: faultsOf(n.release(ctx, what, resourcesOf(req)))}, nil
}

// resourcesOf are the full names of what is given back.
func resourcesOf(req *capacitypb.ReleaseRequest) []string {
	names := slices.Clone(req.GetResources())
	for i, region := range req.GetRegions()[:min(len(names), len(req.GetRegions()))] {
		names[i] = statemachines.NameIn(names[i], region)
	}
	return names
}

// checkMany checks what is common to the calls that name resources only.
func (n *native) checkMany(client string, entries int) error {
	if entries > maxAsks {
		return fault.New(fault.TooLarge, "the request has %d entries, at most %d are allowed", entries, maxAsks)
	}
	return checkClient(client)
}

// faultsOf puts errors on the wire; an empty fault says that there is none.
func faultsOf(errs []error) []*hostpb.Fault {
	out := make([]*hostpb.Fault, len(errs))
	for i, err := range errs {
		if out[i] = serve.ItemFault(err); out[i] == nil {
			out[i] = &hostpb.Fault{}
		}
	}
	return out
}
