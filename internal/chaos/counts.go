package chaos

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// far lies between the numbers that administrators jump to: clients do not get so far, so
// no number comes twice, and no tail of an old range is the last by chance.
const far = 1_000_000

// BeginSequences starts clients of families of dense sequences, who take ranges, give
// tails back and look where a sequence is, and administrators who let it jump, drop it and
// make it anew. All calls that change something are sent until there is an answer, and
// count once. The caller ends them with Finish.
func BeginSequences(ctx context.Context, service sequencepb.SequenceClient, l Load) *Workload {
	return begin(ctx, &counts{service: service, clients: map[desk]*counter{}}, l)
}

// counts is sequences; it knows the clients that it has opened.
type counts struct {
	service sequencepb.SequenceClient
	jumps   atomic.Int64

	mu      sync.Mutex
	clients map[desk]*counter // guarded by mu; each is used by one goroutine
}

// desk is one client of one group.
type desk struct {
	group  string
	client int
}

// counter is what a client knows of itself.
type counter struct {
	who    *sequencepb.Client
	serial uint64
	// held is the range whose tail it may give back.
	held struct {
		part   *Part
		serial uint64
		request
	}
	// seen is the incarnation that its newest range of a part is of.
	seen struct {
		part        *Part
		incarnation uint64
	}
}

func (c *counts) operate(ctx context.Context, p *Part, client, _ int) operation {
	k := c.counter(p.Group, client)
	q := k.choose(p, c)
	o := operation{in: q, changes: q.verb != verbDescribe, outcome: unknown}
	if k.who == nil && o.changes {
		who, err := c.open(ctx, p.Group)
		if err != nil {
			o.outcome = notApplied
			return o
		}
		k.who, k.serial = who, 0
	}
	if out, ok := c.call(ctx, p, k, q); ok {
		o.out, o.outcome = out, acknowledged
	} else {
		k.who = nil // whatever becomes of it, the next one is another client's
	}
	return o
}

// counter finds a client, or makes one.
func (c *counts) counter(group string, client int) *counter {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := desk{group, client}
	if c.clients[at] == nil {
		c.clients[at] = &counter{}
	}
	return c.clients[at]
}

// choose says what a client does next.
func (k *counter) choose(p *Part, c *counts) request {
	held := k.held
	k.held.part = nil
	switch dice := rand.IntN(80); {
	case dice < 20 && held.part == p && k.who != nil && held.count > 0:
		k.held = held // until it is given back
		unused := 1 + rand.Uint64N(held.count)
		return request{verb: verbGiveBack, count: unused, first: held.first, behind: held.first + int64(held.count), of: held.of}
	case dice < 28:
		return request{verb: verbJump, first: far * c.jumps.Add(1)}
	case dice < 31:
		return request{verb: verbDrop}
	case dice < 34:
		return request{verb: verbCreate, first: far * c.jumps.Add(1)}
	case dice < 50:
		return request{verb: verbDescribe}
	}
	q := request{verb: verbNext, count: 1 + rand.Uint64N(5)}
	if k.seen.part == p && rand.IntN(2) == 0 {
		q.of = k.seen.incarnation // and nothing of another one
	}
	return q
}

// open opens a client.
func (c *counts) open(ctx context.Context, group string) (*sequencepb.Client, error) {
	r, err := c.service.Open(ctx, &sequencepb.OpenRequest{Group: group})
	return r.GetClient(), err
}

// call makes a call until it has an answer; false when there was none in time, or one
// that says that nothing is known.
func (c *counts) call(ctx context.Context, p *Part, k *counter, q request) (reply, bool) {
	if q.verb == verbDescribe {
		return c.describe(ctx, p)
	}
	k.serial++
	caller := &sequencepb.Caller{Client: k.who, Serial: k.serial, Settled: k.serial - 1}
	if k.held.part != nil {
		caller.Settled = k.held.serial - 1
	}
	for {
		r, err := c.send(ctx, p, caller, q, k.held.serial)
		if err == nil {
			k.held.part = nil
			return k.read(p, q, r)
		}
		pause := time.NewTimer(10 * time.Millisecond)
		select {
		case <-ctx.Done():
			pause.Stop()
			k.held.part = nil
			return reply{}, false
		case <-pause.C:
		}
	}
}

// send makes a call that changes something, once.
func (c *counts) send(ctx context.Context, p *Part, by *sequencepb.Caller, q request, held uint64) (*sequencepb.Result, error) {
	switch q.verb {
	case verbGiveBack:
		back := &sequencepb.GiveBack{Key: p.Key, Serial: held, Unused: q.count}
		return c.service.GiveBack(ctx, &sequencepb.GiveBackRequest{Group: p.Group, Caller: by, GiveBack: back})
	case verbJump:
		if q.first/far%2 == 0 { // both words for it
			again := &sequencepb.Restart{Key: p.Key, With: proto.Int64(q.first)}
			return c.service.Restart(ctx, &sequencepb.RestartRequest{Group: p.Group, Caller: by, Restart: again})
		}
		set := &sequencepb.Set{Key: p.Key, Next: proto.Int64(q.first)}
		return c.service.Set(ctx, &sequencepb.SetRequest{Group: p.Group, Caller: by, Set: set})
	case verbDrop:
		return c.service.Drop(ctx, &sequencepb.DropRequest{Group: p.Group, Caller: by, Drop: &sequencepb.Drop{Key: p.Key}})
	case verbCreate:
		create := &sequencepb.Create{Key: p.Key, Definition: &sequencepb.Definition{Start: proto.Int64(q.first)}}
		return c.service.Create(ctx, &sequencepb.CreateRequest{Group: p.Group, Caller: by, Create: create})
	}
	next := &sequencepb.Next{Key: p.Key, Count: q.count, Incarnation: q.of}
	return c.service.Next(ctx, &sequencepb.NextRequest{Group: p.Group, Caller: by, Next: next})
}

// read is the model's reply in a result; false when it says that nothing is known.
func (k *counter) read(p *Part, q request, r *sequencepb.Result) (reply, bool) {
	switch r.GetOutcome() { //nolint:exhaustive // the others say that nothing is known
	case sequencepb.Outcome_OUTCOME_OK:
		return k.done(p, q, r), true
	case sequencepb.Outcome_OUTCOME_NOT_LAST:
		return reply{found: true}, q.verb == verbGiveBack
	case sequencepb.Outcome_OUTCOME_NOT_FOUND:
		return reply{}, q.verb == verbJump || q.verb == verbDrop || q.verb == verbGiveBack
	case sequencepb.Outcome_OUTCOME_EXISTS:
		return reply{found: true}, q.verb == verbCreate
	case sequencepb.Outcome_OUTCOME_INCARNATION:
		k.seen.part = nil
		return reply{found: true, other: true}, q.verb == verbNext
	}
	return reply{}, false
}

// done is the model's reply when it was done.
func (k *counter) done(p *Part, q request, r *sequencepb.Result) reply {
	switch q.verb { //nolint:exhaustive // the others have nothing to tell but that
	case verbNext:
		g := r.GetGrant()
		k.held.part, k.held.serial = p, k.serial
		k.held.request = request{first: g.GetFirst(), count: g.GetCount(), of: g.GetIncarnation()}
		k.seen.part, k.seen.incarnation = p, g.GetIncarnation()
		return reply{found: true, first: g.GetFirst(), count: g.GetCount(), of: g.GetIncarnation()}
	case verbGiveBack:
		return reply{found: true, count: r.GetReturned()}
	case verbCreate:
		return reply{of: r.GetIncarnation()}
	}
	return reply{found: true}
}

func (c *counts) describe(ctx context.Context, p *Part) (reply, bool) {
	o, err := c.last(ctx, p)
	out, _ := o.out.(reply)
	return out, err == nil
}

func (c *counts) last(ctx context.Context, p *Part) (operation, error) {
	r, err := c.service.Describe(ctx, &sequencepb.DescribeRequest{Group: p.Group, Describe: &sequencepb.Describe{Key: p.Key}})
	out := reply{found: r.GetFound(), first: r.GetInfo().GetNext(), of: r.GetInfo().GetIncarnation()}
	return operation{in: request{verb: verbDescribe}, out: out}, err
}
