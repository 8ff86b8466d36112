package capacity_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines/capacity"
)

func TestBadRequestsChangeNothing(t *testing.T) {
	r := divided(t, fair, 100)
	r.settled(wants("a", 10))
	before := r.summary()
	band := func(n int64, w float64) []*capacitypb.Band { return []*capacitypb.Band{{Clients: n, Wants: w}} }
	for name, q := range map[string]*capacitypb.Request{
		"no id":           {Bands: band(1, 1)},
		"long id":         {ClientId: strings.Repeat("x", capacity.MaxID+1), Bands: band(1, 1)},
		"no bands":        {ClientId: "b"},
		"negative":        {ClientId: "b", Bands: band(1, -1)},
		"not a number":    {ClientId: "b", Bands: band(1, math.NaN())},
		"infinite":        {ClientId: "b", Bands: band(1, math.Inf(1))},
		"no clients":      {ClientId: "b", Bands: band(0, 1)},
		"too many":        {ClientId: "b", Bands: band(capacity.MaxWeight+1, 1)},
		"too many in all": {ClientId: "b", Bands: []*capacitypb.Band{{Clients: capacity.MaxWeight}, {Priority: 1, Clients: 1}}},
		"negative has":    {ClientId: "b", Bands: band(1, 1), Has: proto.Float64(-1)},
		"has nan":         {ClientId: "b", Bands: band(1, 1), Has: proto.Float64(math.NaN())},
		"has infinite":    {ClientId: "b", Bands: band(1, 1), Has: proto.Float64(math.Inf(-1))},
	} {
		out := r.apply(decide(q, wants("a", 10)))
		require.Equal(t, capacitypb.Outcome_OUTCOME_OK, out.GetOutcome(), name)
		require.Equal(t, capacitypb.Outcome_OUTCOME_INVALID, out.GetGrants()[0].GetOutcome(), name)
		require.NotEmpty(t, out.GetGrants()[0].GetDetail(), name)
		same(t, 10.0, out.GetGrants()[1].GetCapacity(), "%s: the other request is answered", name)
		require.Nil(t, r.find("b"), name)
	}
	same(t, before.GetReserved(), r.summary().GetReserved())
}

func TestAnIDThatIsNotUTF8IsRefused(t *testing.T) {
	r := divided(t, fair, 100)
	data := encode(decide(wants("ab", 1)))
	at := strings.Index(string(data), "ab")
	data[at] = 0xff
	require.Equal(t, capacitypb.Outcome_OUTCOME_INVALID, r.applyBytes(data).GetGrants()[0].GetOutcome())
}

func TestBadDefinitionsAreRefused(t *testing.T) {
	change := func(f func(d *capacitypb.Definition)) *capacitypb.Definition {
		d := define(fair, 1)
		f(d)
		return d
	}
	for name, d := range map[string]*capacitypb.Definition{
		"none":             nil,
		"no capacity":      change(func(d *capacitypb.Definition) { d.Capacity = nil }),
		"capacity nan":     change(func(d *capacitypb.Definition) { d.Capacity = proto.Float64(math.NaN()) }),
		"safe infinite":    change(func(d *capacitypb.Definition) { d.SafeCapacity = proto.Float64(math.Inf(1)) }),
		"no algorithm":     change(func(d *capacitypb.Definition) { d.Algorithm = 0 }),
		"newer algorithm":  change(func(d *capacitypb.Definition) { d.Algorithm = 6 }),
		"no lease":         change(func(d *capacitypb.Definition) { d.LeaseLengthMs = 0 }),
		"endless lease":    change(func(d *capacitypb.Definition) { d.LeaseLengthMs = math.MaxInt64 }),
		"no refresh":       change(func(d *capacitypb.Definition) { d.RefreshIntervalMs = 0 }),
		"long refresh":     change(func(d *capacitypb.Definition) { d.RefreshIntervalMs = 60_001 }),
		"floor":            change(func(d *capacitypb.Definition) { d.Floors = []*capacitypb.Floor{{Capacity: -1}} }),
		"floors twice":     change(func(d *capacitypb.Definition) { d.Floors = []*capacitypb.Floor{{}, {}} }),
		"many floors":      change(func(d *capacitypb.Definition) { d.Floors = make([]*capacitypb.Floor, 65) }),
		"parent":           change(func(d *capacitypb.Definition) { d.Parent = "kv/x" }),
		"parent no group":  change(func(d *capacitypb.Definition) { d.Parent = "x" }),
		"long description": change(func(d *capacitypb.Definition) { d.Description = strings.Repeat("x", capacity.MaxText+1) }),
		"long parameter": change(func(d *capacitypb.Definition) {
			d.Parameters = []*capacitypb.Parameter{{Name: strings.Repeat("x", capacity.MaxWord+1)}}
		}),
		"many parameters": change(func(d *capacitypb.Definition) { d.Parameters = make([]*capacitypb.Parameter, 65) }),
		"too many":        change(func(d *capacitypb.Definition) { d.MaxClients = capacity.MaxClients + 1 }),
	} {
		t.Run(name, func(t *testing.T) {
			r := newResource(t)
			for i := range d.GetFloors() {
				if d.GetFloors()[i] == nil {
					d.Floors[i] = &capacitypb.Floor{Priority: int64(i)}
				}
			}
			for i := range d.GetParameters() {
				if d.GetParameters()[i] == nil {
					d.Parameters[i] = &capacitypb.Parameter{}
				}
			}
			require.Error(t, capacity.CheckDefinition(d))
			out := r.apply(configure(1, d, 0))
			require.Equal(t, capacitypb.Outcome_OUTCOME_INVALID, out.GetOutcome())
			require.NotEmpty(t, out.GetDetail())
			require.Zero(t, r.summary().GetRevision())
		})
	}
	r := newResource(t)
	require.Equal(t, capacitypb.Outcome_OUTCOME_INVALID, r.apply(configure(0, define(fair, 1), 0)).GetOutcome())
	require.Equal(t, capacitypb.Outcome_OUTCOME_INVALID, r.apply(configure(1, define(fair, 1), -1)).GetOutcome())
}

func TestLimitsOfClientsAndPriorities(t *testing.T) {
	d := define(fair, 100)
	d.MaxClients = 2
	r := newResource(t)
	r.configure(d)
	r.ask(wants("a", 1))
	r.ask(wants("b", 1))
	g := r.ask(wants("c", 1))
	require.Equal(t, capacitypb.Outcome_OUTCOME_FULL, g.GetOutcome())
	require.Contains(t, g.GetDetail(), "max_clients")
	same(t, 1.0, r.ask(wants("a", 1)).GetCapacity(), "those who are there go on")
	r.release("b")
	same(t, 1.0, r.ask(wants("c", 1)).GetCapacity())

	r = divided(t, fair, 100)
	q := &capacitypb.Request{ClientId: "server"}
	for p := range int64(capacity.MaxBands) {
		q.Bands = append(q.Bands, &capacitypb.Band{Priority: p, Clients: 1, Wants: 1})
	}
	same(t, 64.0, r.ask(q).GetCapacity())
	one := &capacitypb.Request{ClientId: "a", Bands: []*capacitypb.Band{{Priority: 64, Clients: 1}}}
	require.Equal(t, capacitypb.Outcome_OUTCOME_FULL, r.ask(one).GetOutcome())
	q.Bands = q.Bands[1:]
	r.ask(q)
	require.Equal(t, capacitypb.Outcome_OUTCOME_OK, r.ask(one).GetOutcome(), "a priority that nobody uses is forgotten")
}

func TestCommandsThatCannotBeReadAreRefusedWhole(t *testing.T) {
	r := divided(t, fair, 100)
	two := append(encode(decide(wants("a", 1))), encode(decide(wants("b", 1)))...)
	newer := append([]byte{0x0a, 0x04, 0x12, 0x02, 0x08, 0x01}, 0)[:6]
	for name, data := range map[string][]byte{
		"empty": nil, "two operations": two, "unknown operation": {0x7a, 0}, "wrong type": {0x08, 1},
		"unknown field": newer, "cut": encode(decide(wants("abc", 1)))[:7],
	} {
		out := r.applyBytes(data)
		require.Equal(t, capacitypb.Outcome_OUTCOME_INVALID, out.GetOutcome(), name)
		require.NotEmpty(t, out.GetDetail(), name)
		require.Zero(t, r.summary().GetHolders(), name)
	}
}

func TestMessagesThatAreNoneOfOursAreRefused(t *testing.T) {
	r := divided(t, fair, 100)
	many := &capacitypb.Release{}
	for range capacity.MaxRequests + 1 {
		many.ClientIds = append(many.ClientIds, "a")
	}
	crowd := &capacitypb.Decide{Requests: make([]*capacitypb.Request, capacity.MaxRequests+1)}
	for i := range crowd.Requests {
		crowd.Requests[i] = wants("a", 1)
	}
	for name, data := range map[string][]byte{
		"a release of nobody":        encode(&capacitypb.Command{Op: &capacitypb.Command_Release{Release: &capacitypb.Release{ClientIds: []string{""}}}}),
		"a release of too many":      encode(&capacitypb.Command{Op: &capacitypb.Command_Release{Release: many}}),
		"too many requests":          encode(&capacitypb.Command{Op: &capacitypb.Command_Decide{Decide: crowd}}),
		"a newer field of configure": {0x1a, 0x02, 0x20, 0x01},
		"a newer field of a lease":   {0x22, 0x02, 0x28, 0x01},
		"a newer field of a receipt": {0x2a, 0x04, 0x0a, 0x02, 0x18, 0x01},
		"a group in a request":       {0x0a, 0x04, 0x0a, 0x02, 0x0b, 0x0c},
		"a lease that never was":     encode(&capacitypb.Command{Op: &capacitypb.Command_ParentLease{ParentLease: &capacitypb.ParentLease{Expires: -1}}}),
		"a lease of nan":             encode(&capacitypb.Command{Op: &capacitypb.Command_ParentLease{ParentLease: &capacitypb.ParentLease{Capacity: math.NaN()}}}),
	} {
		out := r.applyBytes(data)
		require.Equal(t, capacitypb.Outcome_OUTCOME_INVALID, out.GetOutcome(), name)
		require.NotEmpty(t, out.GetDetail(), name)
	}
	far := r.query(&capacitypb.Query{Op: &capacitypb.Query_List{List: &capacitypb.List{After: 1 << 60}}})
	require.Empty(t, far.GetHolders())
}
