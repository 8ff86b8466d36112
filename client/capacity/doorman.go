package capacity

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	doormanpb "github.com/drumline/drumline/drummerpb/doorman"
)

// plain is the wire of an original Doorman. It is poorer: a lease ends at an instant of
// the server's wall clock, which had better agree with this machine's, and one unknown
// resource may refuse the whole request.
type plain struct {
	at  doormanpb.CapacityClient
	now func() time.Time // the wall clock
}

func newDoorman(conn grpc.ClientConnInterface, now func() time.Time) plain {
	return plain{at: doormanpb.NewCapacityClient(conn), now: now}
}

func (p plain) refresh(ctx context.Context, client string, asks []ask) ([]grant, error) {
	req := &doormanpb.GetCapacityRequest{ClientId: &client}
	for _, q := range asks {
		one := &doormanpb.ResourceRequest{ResourceId: &q.name, Priority: &q.priority, Wants: &q.wants}
		if q.has != nil {
			interval := int64(q.has.interval / time.Second)
			one.Has = &doormanpb.Lease{ExpiryTime: &q.has.expiry, RefreshInterval: &interval, Capacity: &q.has.capacity}
		}
		req.Resource = append(req.Resource, one)
	}
	sent := p.now()
	resp, err := p.at.GetCapacity(ctx, req)
	if err != nil {
		return nil, err
	}
	if m := resp.GetMastership(); m != nil {
		return nil, notMaster(m)
	}
	byName := make(map[string]*doormanpb.ResourceResponse, len(asks))
	for _, r := range resp.GetResponse() { // in any order
		byName[r.GetResourceId()] = r
	}
	grants := make([]grant, 0, len(asks))
	for _, q := range asks {
		grants = append(grants, leaseOf(byName[q.name], sent))
	}
	return grants, nil
}

// notMaster is the error of an original server that is not the master; it is not followed.
func notMaster(m *doormanpb.Mastership) error {
	if m.GetMasterAddress() == "" {
		return status.Error(codes.Unavailable, "the server is not the master and knows none")
	}
	return status.Error(codes.Unavailable, "the server is not the master: connect to "+m.GetMasterAddress())
}

// leaseOf takes an answer off the wire. The request was sent at that time.
func leaseOf(r *doormanpb.ResourceResponse, sent time.Time) grant {
	if r == nil {
		return grant{err: errMissing}
	}
	l := r.GetGets()
	end := time.Unix(l.GetExpiryTime(), 0)
	g := grant{
		capacity: l.GetCapacity(), safe: r.SafeCapacity, expiry: l.GetExpiryTime(),
		length: end.Sub(sent.Round(0)), interval: time.Duration(min(l.GetRefreshInterval(), math.MaxInt32)) * time.Second,
	}
	if g.length <= 0 {
		g.err = fmt.Errorf("the lease ended at %v, before it was asked for: the clocks of server and client differ", end)
	}
	return g
}

func (p plain) release(ctx context.Context, client string, back surrender) error {
	_, err := p.at.ReleaseCapacity(ctx, &doormanpb.ReleaseCapacityRequest{ClientId: proto.String(client), ResourceId: back.names})
	return err
}

// either is the native wire until a server turns out not to have it.
type either struct {
	native native
	plain  plain
	old    atomic.Bool // the server has Doorman's service only
}

func (e *either) refresh(ctx context.Context, client string, asks []ask) ([]grant, error) {
	if e.old.Load() {
		return e.plain.refresh(ctx, client, asks)
	}
	grants, err := e.native.refresh(ctx, client, asks)
	if !unimplemented(err) {
		return grants, err
	}
	grants, plainErr := e.plain.refresh(ctx, client, asks)
	if unimplemented(plainErr) {
		return nil, errors.Join(err, plainErr)
	}
	e.old.Store(true)
	return grants, plainErr
}

func (e *either) release(ctx context.Context, client string, back surrender) error {
	if e.old.Load() {
		return e.plain.release(ctx, client, back)
	}
	return e.native.release(ctx, client, back)
}

// unimplemented tells whether the server does not have the service.
func unimplemented(err error) bool { return status.Code(err) == codes.Unimplemented }
