package main

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

// holders is all clients of some resources. A client is used by one caller at a time.
type holders struct {
	names   []string
	via     string
	holders []holder
	next    atomic.Uint64
}

func newHolders(r measure.Request) *holders {
	c := &holders{via: r.Via, holders: make([]holder, r.Clients)}
	for i := range r.Each {
		c.names = append(c.names, fmt.Sprintf("%s-%d-%d-%d-%s", r.Algorithm, r.Clients, r.Each, i, protocol(r.Via)))
	}
	for i := range c.holders {
		c.holders[i].id, c.holders[i].held = fmt.Sprintf("client-%d", i), make([]held, r.Each)
	}
	return c
}

// protocol names what the clients of a road speak: each keeps to one.
func protocol(via string) string {
	if via == viaNative {
		return via
	}
	return viaDoorman
}

// pick chooses the next client: all take turns.
func (c *holders) pick() *holder {
	for {
		h := &c.holders[c.next.Add(1)%uint64(len(c.holders))]
		if h.busy.CompareAndSwap(false, true) {
			return h
		}
	}
}

// fillers is how many clients take their first leases at a time.
const fillers = 128

// use makes the resources and has every client take a lease, twice: the second time all
// that wants something is known.
func (c *holders) use(ctx context.Context, l *leases) error {
	lines, err := l.connect(ctx, viaAnyHost, c.names[0])
	if err != nil {
		return err
	}
	call := c.doorman
	if c.via == viaNative {
		call = c.native
	}
	var last error
	err = every(ctx, quickPoll, func() bool {
		last = call(ctx, lines[0], c.pick())
		return last == nil
	}, func() string { return "first use of " + c.names[0] })
	if err != nil {
		return errors.Join(err, last)
	}
	var wg sync.WaitGroup
	errs := make([]error, fillers)
	for i := range fillers {
		wg.Go(func() {
			for n := i; n < 2*len(c.holders) && errs[i] == nil; n += fillers {
				errs[i] = call(ctx, lines[n%len(lines)], c.pick())
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// wants draws what a client wants of a resource.
func wants() float64 { return 1 + rand.Float64()*2*perClient }

// doorman refreshes a client's leases as the original's clients do.
func (c *holders) doorman(ctx context.Context, at *grpc.ClientConn, h *holder) error {
	defer h.busy.Store(false)
	req := &doormanpb.GetCapacityRequest{ClientId: &h.id, Resource: make([]*doormanpb.ResourceRequest, len(c.names))}
	for i, name := range c.names {
		req.Resource[i] = &doormanpb.ResourceRequest{
			ResourceId: &name, Priority: proto.Int64(0), Wants: proto.Float64(wants()), Has: h.held[i].lease,
		}
	}
	resp, err := doormanpb.NewCapacityClient(at).GetCapacity(ctx, req)
	if err != nil {
		return err
	}
	if len(resp.GetResponse()) != len(c.names) {
		return fmt.Errorf("%d answers for %d resources", len(resp.GetResponse()), len(c.names))
	}
	for i, r := range resp.GetResponse() {
		h.held[i].lease = r.GetGets()
	}
	return nil
}

// native refreshes them as our own clients do.
func (c *holders) native(ctx context.Context, at *grpc.ClientConn, h *holder) error {
	defer h.busy.Store(false)
	h.serial = max(h.serial+1, uint64(time.Now().UnixMicro()))
	req := &capacitypb.RefreshRequest{ClientId: h.id, Asks: make([]*capacitypb.Ask, len(c.names))}
	for i, name := range c.names {
		req.Asks[i] = &capacitypb.Ask{
			Resource: name, Bands: []*capacitypb.Band{{Clients: 1, Wants: wants()}}, Token: h.held[i].token, Serial: h.serial, Limited: true,
		}
	}
	resp, err := capacitypb.NewCapacityClient(at).Refresh(ctx, req)
	if err != nil {
		return err
	}
	if len(resp.GetGrants()) != len(c.names) {
		return fmt.Errorf("%d answers for %d resources", len(resp.GetGrants()), len(c.names))
	}
	for i, g := range resp.GetGrants() {
		if g.GetFault() != nil || g.GetGrant().GetOutcome() != capacitypb.Outcome_OUTCOME_OK {
			return fmt.Errorf("no lease of %s: %v", c.names[i], g)
		}
		h.held[i].token = g.GetGrant().GetToken()
	}
	return nil
}
