package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// far lies between the numbers that administrators jump to: clients do not get so far, so
// no number comes twice, and no tail of an old range is the last by chance.
const far = 1_000_000

// BeginSequences starts clients of families of dense sequences, who take ranges, give
// tails back and look where a sequence is, and administrators who let it jump. All calls
// that change something are sent until there is an answer, and count once. The caller
// ends them with Finish.
func BeginSequences(ctx context.Context, service sequencepb.SequenceClient, l Load) *Workload {
	return begin(ctx, &counts{service: service, clients: map[desk]*counter{}}, l)
}

// verb is what a client asked of a sequence.
type verb int

const (
	verbNext verb = iota
	verbGiveBack
	verbJump
	verbDescribe
)

// request is a call, and reply its answer; nil when there was none.
type request struct {
	verb verb
	// count of numbers that are asked for, or given back.
	count uint64
	// first number of the range whose tail is given back, or the one to jump to; behind
	// is the one behind that range.
	first, behind int64
}

type reply struct {
	// found is false when there was no such sequence yet.
	found bool
	// first number granted, or the one that comes next.
	first int64
	// count of numbers that were granted, or taken back.
	count uint64
}

// counting is the state of a sequence: whether it was used, and what comes next.
type counting struct {
	made bool
	next int64
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
}

// model: each range begins where the last one ended.
func (*counts) model() porcupine.Model {
	return porcupine.Model{
		Init:              func() any { return counting{next: 1} },
		Step:              func(state, in, out any) (bool, any) { return step(state.(counting), in.(request), out) },
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v: %+v", in, out) },
	}
}

// step is a call at one instant: whether it can have had that answer, and what is then.
func step(s counting, q request, out any) (bool, counting) {
	r, answered := out.(reply)
	before := s
	switch q.verb {
	case verbNext:
		s = counting{true, s.next + int64(q.count)}
		return !answered || r == reply{true, before.next, q.count}, s
	case verbGiveBack:
		if q.behind != s.next {
			return !answered || r == reply{true, 0, 0}, s
		}
		s.next -= int64(q.count)
		return !answered || r == reply{true, 0, q.count}, s
	case verbJump:
		if s.made {
			s.next = q.first
		}
		return !answered || r.found == before.made, s
	case verbDescribe:
		return !answered || r.found == s.made && (!s.made || r.first == s.next), s
	}
	return false, s
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
	switch dice := rand.IntN(20); {
	case dice < 5 && held.part == p && k.who != nil && held.count > 0:
		k.held = held // until it is given back
		unused := 1 + rand.Uint64N(held.count)
		return request{verb: verbGiveBack, count: unused, first: held.first, behind: held.first + int64(held.count)}
	case dice < 7:
		return request{verb: verbJump, first: far * c.jumps.Add(1)}
	case dice < 11:
		return request{verb: verbDescribe}
	}
	return request{verb: verbNext, count: 1 + rand.Uint64N(5)}
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
	}
	next := &sequencepb.Next{Key: p.Key, Count: q.count}
	return c.service.Next(ctx, &sequencepb.NextRequest{Group: p.Group, Caller: by, Next: next})
}

// read is the model's reply in a result.
func (k *counter) read(p *Part, q request, r *sequencepb.Result) (reply, bool) {
	switch r.GetOutcome() { //nolint:exhaustive // the others say that nothing is known
	case sequencepb.Outcome_OUTCOME_OK:
		if q.verb == verbNext {
			g := r.GetGrant()
			k.held.part, k.held.serial = p, k.serial
			k.held.request = request{first: g.GetFirst(), count: g.GetCount()}
			return reply{true, g.GetFirst(), g.GetCount()}, true
		}
		if q.verb == verbGiveBack {
			return reply{true, 0, r.GetReturned()}, true
		}
		return reply{found: true}, true
	case sequencepb.Outcome_OUTCOME_NOT_LAST:
		return reply{found: true}, q.verb == verbGiveBack
	case sequencepb.Outcome_OUTCOME_NOT_FOUND:
		return reply{}, q.verb == verbJump
	}
	return reply{}, false
}

func (c *counts) describe(ctx context.Context, p *Part) (reply, bool) {
	r, err := c.service.Describe(ctx, &sequencepb.DescribeRequest{Group: p.Group, Describe: &sequencepb.Describe{Key: p.Key}})
	return reply{found: r.GetFound(), first: r.GetInfo().GetNext()}, err == nil
}

func (c *counts) last(ctx context.Context, p *Part) (operation, error) {
	r, err := c.service.Describe(ctx, &sequencepb.DescribeRequest{Group: p.Group, Describe: &sequencepb.Describe{Key: p.Key}})
	return operation{in: request{verb: verbDescribe}, out: reply{found: r.GetFound(), first: r.GetInfo().GetNext()}}, err
}
