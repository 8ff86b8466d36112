package capacity_test

import (
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/capacity"
)

// resource is a Machine with a clock, driven as a leader would.
type resource struct {
	t        require.TestingT
	m        *capacity.Machine
	now      time.Duration // of the lease clock
	lead     uint64
	revision uint64
}

func newResource(t require.TestingT) *resource {
	return &resource{t: t, m: capacity.New(), now: time.Second, lead: 1}
}

// divided makes a resource of that capacity and algorithm, leases of 60 s.
func divided(t require.TestingT, a capacitypb.Algorithm, c float64) *resource {
	r := newResource(t)
	r.configure(define(a, c))
	return r
}

func define(a capacitypb.Algorithm, c float64) *capacitypb.Definition {
	return &capacitypb.Definition{Algorithm: a, Capacity: &c, LeaseLengthMs: 60_000, RefreshIntervalMs: 15_000}
}

func (r *resource) apply(c *capacitypb.Command) *capacitypb.Result {
	return r.applyBytes(encode(c))
}

func (r *resource) applyBytes(data []byte) *capacitypb.Result {
	results := make([]statemachines.Result, 1)
	r.m.Apply([]statemachines.Command{{Index: 5, Time: int64(r.now), Lead: r.lead, Version: 1, Data: data}}, results)
	out := &capacitypb.Result{}
	require.NoError(r.t, proto.Unmarshal(results[0].Data, out))
	require.Equal(r.t, results[0].Value, out.GetRevision())
	return out
}

func (r *resource) configure(d *capacitypb.Definition) {
	r.revision++
	out := r.apply(configure(r.revision, d, 0))
	require.Equal(r.t, capacitypb.Outcome_OUTCOME_OK, out.GetOutcome(), out.GetDetail())
	require.Equal(r.t, r.revision, out.GetRevision())
}

func configure(revision uint64, d *capacitypb.Definition, learning int64) *capacitypb.Command {
	return &capacitypb.Command{Op: &capacitypb.Command_Configure{
		Configure: &capacitypb.Configure{Revision: revision, Definition: d, LearningMs: learning},
	}}
}

func decide(requests ...*capacitypb.Request) *capacitypb.Command {
	return &capacitypb.Command{Op: &capacitypb.Command_Decide{Decide: &capacitypb.Decide{Requests: requests}}}
}

// wants is a plain client's request.
func wants(id string, w float64) *capacitypb.Request {
	return &capacitypb.Request{ClientId: id, Bands: []*capacitypb.Band{{Clients: 1, Wants: w}}}
}

// ask asks for one client and gives it the answer.
func (r *resource) ask(q *capacitypb.Request) *capacitypb.Grant {
	out := r.apply(decide(q))
	require.Equal(r.t, capacitypb.Outcome_OUTCOME_OK, out.GetOutcome(), out.GetDetail())
	require.Len(r.t, out.GetGrants(), 1)
	return out.GetGrants()[0]
}

// known asks for a client that shows its newest answer, g.
func known(q *capacitypb.Request, g *capacitypb.Grant) *capacitypb.Request {
	q.Token, q.Has = g.GetToken(), &g.Capacity
	return q
}

func (r *resource) confirm(id string, g *capacitypb.Grant) {
	out := r.apply(&capacitypb.Command{Op: &capacitypb.Command_Confirm{Confirm: &capacitypb.Confirm{
		Receipts: []*capacitypb.Receipt{{ClientId: id, Token: g.GetToken()}},
	}}})
	require.Equal(r.t, capacitypb.Outcome_OUTCOME_OK, out.GetOutcome(), out.GetDetail())
}

// settled asks and confirms at once.
func (r *resource) settled(q *capacitypb.Request) float64 {
	g := r.ask(q)
	require.Equal(r.t, capacitypb.Outcome_OUTCOME_OK, g.GetOutcome(), g.GetDetail())
	r.confirm(q.GetClientId(), g)
	return g.GetCapacity()
}

func (r *resource) release(ids ...string) {
	out := r.apply(&capacitypb.Command{Op: &capacitypb.Command_Release{Release: &capacitypb.Release{ClientIds: ids}}})
	require.Equal(r.t, capacitypb.Outcome_OUTCOME_OK, out.GetOutcome(), out.GetDetail())
}

func (r *resource) query(q *capacitypb.Query) *capacitypb.Answer {
	data, err := r.m.Query(encode(q))
	require.NoError(r.t, err)
	a := &capacitypb.Answer{}
	require.NoError(r.t, proto.Unmarshal(data, a))
	return a
}

func (r *resource) summary() *capacitypb.Summary {
	return r.query(&capacitypb.Query{Op: &capacitypb.Query_Describe{Describe: &capacitypb.Describe{}}}).GetSummary()
}

func (r *resource) find(id string) *capacitypb.Holder {
	h := r.query(&capacitypb.Query{Op: &capacitypb.Query_Find{Find: &capacitypb.Find{ClientId: id}}}).GetHolders()
	if len(h) == 0 {
		return nil
	}
	return h[0]
}

const (
	none         = capacitypb.Algorithm_ALGORITHM_NONE
	static       = capacitypb.Algorithm_ALGORITHM_STATIC
	proportional = capacitypb.Algorithm_ALGORITHM_PROPORTIONAL_SHARE
	fair         = capacitypb.Algorithm_ALGORITHM_FAIR_SHARE
	priority     = capacitypb.Algorithm_ALGORITHM_PRIORITY
)

// same compares numbers to the last bit.
func same(t require.TestingT, want, got float64, msg ...any) {
	require.InDelta(t, want, got, 0, msg...)
}
