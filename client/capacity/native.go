package capacity

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// native is the wire of a Drumline cluster: tokens, serials, lengths in milliseconds, and
// a fault of one resource is its own.
type native struct{ at capacitypb.CapacityClient }

// refreshRequest puts asks on the wire.
func refreshRequest(client string, asks []ask) *capacitypb.RefreshRequest {
	req := &capacitypb.RefreshRequest{ClientId: client}
	for _, q := range asks {
		one := &capacitypb.Ask{
			Resource: q.name, Bands: []*capacitypb.Band{{Priority: q.priority, Clients: 1, Wants: q.wants}}, Serial: q.serial,
			Limited: true, // begin has seen to it
		}
		if q.has != nil {
			one.Has = &q.has.capacity
		}
		if q.token != (token{}) {
			one.Token = &capacitypb.Token{Generation: q.token.generation, N: q.token.n}
		}
		req.Asks = append(req.Asks, one)
	}
	return req
}

func (n native) refresh(ctx context.Context, client string, asks []ask) ([]grant, error) {
	resp, err := n.at.Refresh(ctx, refreshRequest(client, asks))
	if err != nil {
		return nil, err
	}
	grants := make([]grant, 0, len(asks))
	for i, g := range resp.GetGrants() {
		if i < len(asks) && g.GetResource() != "" && g.GetResource() != asks[i].name {
			return nil, fmt.Errorf("%w: %s was asked for, %s answered", errMissing, asks[i].name, g.GetResource())
		}
		grants = append(grants, granted(g))
	}
	return grants, nil
}

// granted takes an answer off the wire.
func granted(a *capacitypb.Granted) grant {
	if f := a.GetFault(); f != nil {
		return grant{err: faultError(f)}
	}
	g := a.GetGrant()
	if g.GetOutcome() != capacitypb.Outcome_OUTCOME_OK {
		return grant{err: outcomeError(g)}
	}
	safe := g.GetSafeCapacity()
	return grant{
		capacity: g.GetCapacity(), token: token{g.GetToken().GetGeneration(), g.GetToken().GetN()}, safe: &safe,
		length: millis(g.GetLeaseMs()), interval: millis(g.GetRefreshMs()), retry: millis(g.GetRetryMs()),
	}
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// faultError is the error of a resource that failed alone.
func faultError(f *hostpb.Fault) error {
	code := codes.Code(f.GetCode())
	if code == codes.OK {
		code = codes.Internal
	}
	return status.Error(code, f.GetText())
}

// outcomeError is the error of a request that the machine did not take.
func outcomeError(g *capacitypb.Grant) error {
	switch g.GetOutcome() {
	case capacitypb.Outcome_OUTCOME_INVALID:
		return status.Error(codes.InvalidArgument, g.GetDetail())
	case capacitypb.Outcome_OUTCOME_FULL:
		return status.Error(codes.ResourceExhausted, g.GetDetail())
	default:
		return status.Error(codes.Unavailable, fmt.Sprintf("%v: %s", g.GetOutcome(), g.GetDetail()))
	}
}

func (n native) release(ctx context.Context, client string, back surrender) error {
	_, err := n.at.Release(ctx, &capacitypb.ReleaseRequest{ClientId: client, Resources: back.names, Serial: back.serial})
	return err
}

// newWire speaks the native service, and Doorman's with a server that has no other.
func newWire(conn grpc.ClientConnInterface, now func() time.Time) wire {
	return &either{native: native{capacitypb.NewCapacityClient(conn)}, plain: newDoorman(conn, now)}
}
