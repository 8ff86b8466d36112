// Package holders is clients that hold leases of capacity, and refresh them as fast as they
// are told to: what bench loads a fleet with.
package holders

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	doormanpb "github.com/drumline/drumline/drummerpb/doorman"
	"github.com/drumline/drumline/tools/bench/measure"
)

// holder is a client, with what it holds of each resource.
type holder struct {
	id     string
	busy   atomic.Bool
	serial uint64
	held   []held
}

// held is a client's last answer for a resource.
type held struct {
	lease *doormanpb.Lease
	token *capacitypb.Token
}

// Protocols that clients speak: Doorman's, or our own.
const (
	Doorman = "doorman"
	Native  = "native"
)

// PerClient is the capacity for each client of a resource, which want up to twice as much
// and more than that together: the algorithms have something to divide.
const PerClient = 5

// Crowd is all clients of some resources. A client is used by one caller at a time.
type Crowd struct {
	// Names of the resources.
	Names   []string
	native  bool
	holders []holder
	next    atomic.Uint64
}

// New makes the clients of a run, which speak one protocol.
func New(r measure.Request, protocol string) *Crowd {
	c := &Crowd{native: protocol == Native, holders: make([]holder, r.Clients)}
	for i := range r.Each {
		c.Names = append(c.Names, fmt.Sprintf("%s-%d-%d-%d-%s", r.Algorithm, r.Clients, r.Each, i, protocol))
	}
	for i := range c.holders {
		c.holders[i].id, c.holders[i].held = fmt.Sprintf("client-%d", i), make([]held, r.Each)
	}
	return c
}

// pick chooses the next client: all take turns.
func (c *Crowd) pick() *holder {
	for {
		h := &c.holders[c.next.Add(1)%uint64(len(c.holders))]
		if h.busy.CompareAndSwap(false, true) {
			return h
		}
	}
}

// Refresh has the next client refresh its leases.
func (c *Crowd) Refresh(ctx context.Context, at *grpc.ClientConn) error {
	h := c.pick()
	defer h.busy.Store(false)
	if c.native {
		return c.refreshNative(ctx, at, h)
	}
	return c.refreshDoorman(ctx, at, h)
}

// fillers is how many clients take their first leases at a time.
const fillers = 128

// Use makes the resources and has every client take a lease, twice: the second time all
// that wants something is known.
func (c *Crowd) Use(ctx context.Context, lines []*grpc.ClientConn) error {
	for err := c.Refresh(ctx, lines[0]); err != nil; err = c.Refresh(ctx, lines[0]) {
		measure.Pause(ctx, 100*time.Millisecond)
		if ctx.Err() != nil {
			return fmt.Errorf("first use of %s: %w", c.Names[0], err)
		}
	}
	var wg sync.WaitGroup
	errs := make([]error, fillers)
	for i := range fillers {
		wg.Go(func() {
			for n := i; n < 2*len(c.holders) && errs[i] == nil; n += fillers {
				errs[i] = c.Refresh(ctx, lines[n%len(lines)])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// wants draws what a client wants of a resource.
func wants() float64 { return 1 + rand.Float64()*2*PerClient }

// refreshDoorman refreshes a client's leases as the original's clients do.
func (c *Crowd) refreshDoorman(ctx context.Context, at *grpc.ClientConn, h *holder) error {
	req := &doormanpb.GetCapacityRequest{ClientId: &h.id, Resource: make([]*doormanpb.ResourceRequest, len(c.Names))}
	for i, name := range c.Names {
		req.Resource[i] = &doormanpb.ResourceRequest{
			ResourceId: &name, Priority: proto.Int64(0), Wants: proto.Float64(wants()), Has: h.held[i].lease,
		}
	}
	resp, err := doormanpb.NewCapacityClient(at).GetCapacity(ctx, req)
	if err != nil {
		return err
	}
	if len(resp.GetResponse()) != len(c.Names) {
		return fmt.Errorf("%d answers for %d resources", len(resp.GetResponse()), len(c.Names))
	}
	for i, r := range resp.GetResponse() {
		h.held[i].lease = r.GetGets()
	}
	return nil
}

// refreshNative refreshes them as our own clients do.
func (c *Crowd) refreshNative(ctx context.Context, at *grpc.ClientConn, h *holder) error {
	h.serial = max(h.serial+1, uint64(time.Now().UnixMicro()))
	req := &capacitypb.RefreshRequest{ClientId: h.id, Asks: make([]*capacitypb.Ask, len(c.Names))}
	for i, name := range c.Names {
		req.Asks[i] = &capacitypb.Ask{
			Resource: name, Bands: []*capacitypb.Band{{Clients: 1, Wants: wants()}}, Token: h.held[i].token, Serial: h.serial, Limited: true,
		}
	}
	resp, err := capacitypb.NewCapacityClient(at).Refresh(ctx, req)
	if err != nil {
		return err
	}
	if len(resp.GetGrants()) != len(c.Names) {
		return fmt.Errorf("%d answers for %d resources", len(resp.GetGrants()), len(c.Names))
	}
	for i, g := range resp.GetGrants() {
		if g.GetFault() != nil || g.GetGrant().GetOutcome() != capacitypb.Outcome_OUTCOME_OK {
			return fmt.Errorf("no lease of %s: %v", c.Names[i], g)
		}
		h.held[i].token = g.GetGrant().GetToken()
	}
	return nil
}
