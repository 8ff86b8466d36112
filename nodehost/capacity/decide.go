package capacity

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/wait"
	"github.com/drumline/drumline/nodehost/capacity/desk"
	"github.com/drumline/drumline/nodehost/route/refs"
)

// How one request is worked off.
const (
	// defaultDeadline is for callers who have none.
	defaultDeadline = 10 * time.Second
	// groupsAtOnce bounds the groups that one request is proposed to at a time.
	groupsAtOnce = 64
	// A new group gets its definition right after it is opened.
	firstPause, longPause = 5 * time.Millisecond, 100 * time.Millisecond
)

// answer is what became of one ask.
type answer struct {
	grant *capacitypb.Grant
	err   error
}

// share is the part of a request that concerns one resource.
type share struct {
	resource, group string
	// places of the entries in the request, ascending.
	places []int
}

// split sorts a request by resource, in the order of their first entries.
func split(n int, resource func(int) string) []share {
	if n == 1 {
		name := resource(0)
		return []share{{resource: name, group: groupOf(name), places: []int{0}}}
	}
	shares := make([]share, 0, n)
	at := make(map[string]int, n)
	room := make([]int, n) // nearly always each resource is named once
	for i := range n {
		name := resource(i)
		if k, known := at[name]; known {
			shares[k].places = append(shares[k].places, i)
			continue
		}
		at[name] = len(shares)
		room[i] = i
		shares = append(shares, share{resource: name, group: groupOf(name), places: room[i : i+1 : i+1]})
	}
	return shares
}

// bounded gives a context without a deadline the default one.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, defaultDeadline)
}

// Margins that a call keeps of its caller's deadline, so that an answer that says what is
// wrong still finds somebody who listens.
const (
	leastMargin = 5 * time.Millisecond
	mostMargin  = 250 * time.Millisecond
	marginPart  = 20
)

// inTime ends a little before a context that has a deadline.
func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	margin := min(max(time.Until(end)/marginPart, leastMargin), mostMargin)
	return context.WithDeadline(ctx, end.Add(-margin))
}

// each runs do for every share, several at a time.
func each(shares []share, do func(share)) {
	if len(shares) == 1 {
		do(shares[0])
		return
	}
	var g errgroup.Group
	g.SetLimit(groupsAtOnce)
	for _, sh := range shares {
		g.Go(func() error {
			do(sh)
			return nil
		})
	}
	_ = g.Wait() // there are no errors
}

// exist finds every resource, and makes the groups of those that are used for the first
// time: the first that does not exist and may not is the fault of the whole. Names that no
// template makes, as far as this host knows, are looked for first: then none is made for a
// request that is refused for one of them.
func (s *Service) exist(ctx context.Context, shares []share) error {
	var strange, fresh []share
	for _, sh := range shares {
		switch {
		case s.o.Router.Knows(sh.group):
		case s.o.Makes(sh.group):
			fresh = append(fresh, sh)
		default:
			strange = append(strange, sh)
		}
	}
	if err := s.find(ctx, strange); err != nil {
		return err
	}
	return s.find(ctx, fresh)
}

// find finds resources, and returns the fault of the first that is not there.
func (s *Service) find(ctx context.Context, shares []share) error {
	if len(shares) == 0 {
		return nil
	}
	var mu sync.Mutex
	found := make(map[string]error, len(shares))
	each(shares, func(sh share) {
		_, err := s.o.Router.Find(ctx, refs.Of(sh.group))
		mu.Lock()
		defer mu.Unlock()
		found[sh.resource] = err
	})
	for _, sh := range shares {
		if err := found[sh.resource]; err != nil {
			return s.explain(sh.resource, err)
		}
	}
	return nil
}

// living says whether a group exists that is not to be made, or nil.
func (s *Service) living(ctx context.Context, resource string) error {
	if s.o.Router.Knows(groupOf(resource)) {
		return nil
	}
	_, err := s.o.Router.Locate(ctx, refs.Of(groupOf(resource)))
	return s.explain(resource, err)
}

// explain says of a group that does not exist what that means for a resource.
func (s *Service) explain(resource string, err error) error {
	if !fault.Is(err, fault.GroupNotFound) {
		return err
	}
	return fault.Wrap(err, fault.GroupNotFound,
		"there is no resource %q, and no template that makes it on first use: see drummer-cmd capacity config show", resource).InGroup(groupOf(resource))
}

// decide has the asks decided and returns an answer to each, in their order. Those of one
// resource are decided in their order. A group that is new is waited for until it has its
// definition.
func (s *Service) decide(ctx context.Context, asks []ask, shares []share) []answer {
	ctx, cancel := inTime(ctx)
	defer cancel()
	out := make([]answer, len(asks))
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		s.decideOnce(ctx, asks, shares, out)
		var again []share
		for _, sh := range shares {
			if unready(sh.resource, out[sh.places[0]]) != nil {
				again = append(again, sh)
			}
		}
		if len(again) == 0 {
			return out
		}
		shares = again
		if !rest(ctx, pause/2+rand.N(pause/2)) { //nolint:gosec // jitter, no secret
			for _, sh := range again {
				err := unready(sh.resource, out[sh.places[0]])
				for _, i := range sh.places {
					out[i] = answer{err: err}
				}
			}
			return out
		}
	}
}

// unready says why the group cannot decide yet, or nil.
func unready(resource string, a answer) error {
	switch a.grant.GetOutcome() { //nolint:exhaustive // the others are answers
	case capacitypb.Outcome_OUTCOME_NOT_CONFIGURED:
		return fault.New(fault.NotOpen, "resource %q has no definition yet: try again, or apply a configuration with a template for it (drummer-cmd capacity config apply)",
			resource).InGroup(groupOf(resource))
	case capacitypb.Outcome_OUTCOME_NOT_READY:
		return fault.New(fault.NotOpen, "resource %q does not know yet what it holds of its parent: try again shortly", resource).InGroup(groupOf(resource))
	}
	return nil
}

// rest waits, if something can be tried behind that.
func rest(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < 2*d+longPause {
		return false
	}
	return wait.For(ctx, d)
}

// decideOnce takes what concerns each resource to its desk, and fills in the answers.
func (s *Service) decideOnce(ctx context.Context, asks []ask, shares []share, out []answer) {
	jobs := make([]desk.Job, len(shares))
	requests := make([]*capacitypb.Request, 0, len(asks))
	for k, sh := range shares {
		first := len(requests)
		for _, at := range sh.places {
			requests = append(requests, asks[at].request)
		}
		jobs[k] = desk.Job{Group: sh.group, Ask: requests[first:len(requests):len(requests)]}
	}
	s.desks.Do(ctx, jobs)
	for k, sh := range shares {
		err := s.explain(sh.resource, jobs[k].Err)
		for i, at := range sh.places {
			if err != nil {
				out[at] = answer{err: err}
				continue
			}
			out[at] = settle(sh.resource, jobs[k].Answer[i])
		}
	}
}

// settle makes a fault of a grant that is none.
func settle(resource string, g *capacitypb.Grant) answer {
	switch g.GetOutcome() {
	case capacitypb.Outcome_OUTCOME_INVALID:
		return answer{err: fault.New(fault.Invalid, "resource %q: %s", resource, g.GetDetail()).InGroup(groupOf(resource))}
	case capacitypb.Outcome_OUTCOME_FULL:
		return answer{err: fault.New(fault.Busy, "resource %q: %s", resource, g.GetDetail()).InGroup(groupOf(resource))}
	case capacitypb.Outcome_OUTCOME_UNSPECIFIED:
		return answer{err: fault.New(fault.Internal, "resource %q gave an answer without an outcome", resource).InGroup(groupOf(resource))}
	default:
		return answer{grant: g}
	}
}

// pack encodes a command. Every string in it was checked to be UTF-8, which is all that
// can fail: a command that cannot be packed is an empty one, which the machine refuses.
func pack(c *capacitypb.Command) []byte {
	data, err := proto.Marshal(c)
	if err != nil {
		return nil
	}
	return data
}

// describing is the query for a resource's summary.
func describing() []byte {
	return packQuery(&capacitypb.Query{Op: &capacitypb.Query_Describe{Describe: &capacitypb.Describe{}}})
}

// packQuery encodes a query, as pack does a command.
func packQuery(q *capacitypb.Query) []byte {
	data, err := proto.Marshal(q)
	if err != nil {
		return nil
	}
	return data
}

// describe sums up a resource, given its group's name.
func (o Options) describe(ctx context.Context, group string) (*capacitypb.Answer, error) {
	return o.read(ctx, group, describing())
}

// read asks a resource's machine, given its group's name.
func (o Options) read(ctx context.Context, group string, query []byte) (*capacitypb.Answer, error) {
	resp, err := o.Router.Read(ctx, &hostpb.ReadRequest{Group: refs.Of(group), Query: query})
	if err != nil {
		return nil, err
	}
	return answerOf(group, resp.GetData())
}

// answerOf decodes what a machine answered to a query.
func answerOf(group string, data []byte) (*capacitypb.Answer, error) {
	a := &capacitypb.Answer{}
	if err := proto.Unmarshal(data, a); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "group %s gave an answer that is none of app capacity", group).InGroup(group)
	}
	return a, nil
}
