package capacity_test

import (
	"math"
	"strings"
	"testing"
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

func TestAMachineWithoutDefinitionSaysSo(t *testing.T) {
	r := newResource(t)
	require.Equal(t, capacitypb.Outcome_OUTCOME_NOT_CONFIGURED, r.apply(decide(wants("a", 1))).GetOutcome())
	require.Equal(t, capacitypb.Outcome_OUTCOME_OK, r.apply(decide()).GetOutcome(), "time may pass")
	require.Zero(t, r.summary().GetRevision())
	r.release("a")
}

func TestRevisionsOnlyGrow(t *testing.T) {
	r := divided(t, fair, 100)
	r.configure(define(fair, 200))
	out := r.apply(configure(1, define(fair, 1), 0))
	require.Equal(t, capacitypb.Outcome_OUTCOME_OK, out.GetOutcome())
	require.EqualValues(t, 2, out.GetRevision())
	same(t, 200.0, r.summary().GetCapacity())
}

// The answer that takes capacity away may be lost: it is given to others only when
// the client has shown that it knows.
func TestCapacityTakenStaysReservedUntilTheClientKnows(t *testing.T) {
	r := divided(t, fair, 100)
	big := r.ask(wants("big", 100))
	same(t, 100.0, big.GetCapacity())
	require.Zero(t, r.ask(wants("new", 100)).GetCapacity())

	r.now += 15 * time.Second
	less := r.ask(known(wants("big", 100), big))
	same(t, 50.0, less.GetCapacity())
	require.EqualValues(t, 200, less.GetRetryMs(), "somebody waits for the receipt")
	waits := r.ask(wants("new", 100))
	require.Zero(t, waits.GetCapacity(), "big may not have heard of it")
	require.EqualValues(t, 3750, waits.GetRetryMs())
	same(t, 100.0, r.find("big").GetReserved())

	again := r.ask(known(wants("big", 100), big))
	same(t, 50.0, again.GetCapacity(), "big shows the old token: the answer was lost")
	same(t, 100.0, r.find("big").GetReserved())

	r.now += time.Second
	shown := r.ask(known(wants("big", 100), again))
	same(t, 50.0, shown.GetCapacity())
	require.Zero(t, shown.GetRetryMs())
	same(t, 50.0, r.ask(wants("new", 100)).GetCapacity())
}

func TestCapacityTakenIsFreeWhenTheOlderLeaseEnds(t *testing.T) {
	r := divided(t, fair, 100)
	big := r.ask(wants("big", 100)) // until 61 s
	r.ask(wants("new", 100))
	r.now += 50 * time.Second
	r.ask(known(wants("big", 100), big))
	r.now = 61 * time.Second
	require.Zero(t, r.ask(wants("new", 100)).GetCapacity(), "its last instant still counts")
	r.now++
	same(t, 50.0, r.ask(wants("new", 100)).GetCapacity())
	same(t, 50.0, r.find("big").GetReserved())
}

// Clients of the original know no tokens; what they have shows what they know.
func TestTheNewestAnswerAsWhatAClientHasIsAReceipt(t *testing.T) {
	r := divided(t, proportional, 100)
	has := func(id string, w, h float64) *capacitypb.Request {
		q := wants(id, w)
		q.Has = &h
		return q
	}
	r.ask(wants("big", 100))
	r.ask(wants("new", 100))
	same(t, 50.0, r.ask(has("big", 100, 100)).GetCapacity())
	require.Zero(t, r.ask(has("new", 100, 0)).GetCapacity())
	r.ask(has("big", 100, 49))
	require.Zero(t, r.ask(has("new", 100, 0)).GetCapacity(), "49 is not what it was answered")
	r.ask(has("big", 100, 50))
	same(t, 50.0, r.ask(has("new", 100, 0)).GetCapacity())
}

// Our clients limit themselves before they ask for less, so what they stop using
// is free at once; others go on until they read the answer.
func TestALimitedClientFreesCapacityAtOnce(t *testing.T) {
	for name, limited := range map[string]bool{"limited": true, "not": false} {
		t.Run(name, func(t *testing.T) {
			r := divided(t, fair, 100)
			big := r.ask(wants("big", 100))
			less := known(wants("big", 20), big)
			less.Limited = limited
			same(t, 20.0, r.ask(less).GetCapacity())
			want := 0.0
			if limited {
				want = 80
			}
			same(t, want, r.ask(wants("new", 80)).GetCapacity())
		})
	}
}

func TestALimitedClientThatMissedAnAnswerFreesNothing(t *testing.T) {
	r := divided(t, fair, 100)
	first := r.ask(wants("a", 10))
	r.ask(known(wants("a", 100), first)) // lost
	less := known(wants("a", 5), first)
	less.Limited = true
	same(t, 5.0, r.ask(less).GetCapacity())
	same(t, 100.0, r.find("a").GetReserved())
}

func TestManyLostAnswersReserveTheMost(t *testing.T) {
	r := divided(t, fair, 100)
	first := r.ask(wants("a", 90))
	for w := 80.0; w > 0; w -= 10 {
		r.now += time.Second
		same(t, w, r.ask(known(wants("a", w), first)).GetCapacity())
	}
	same(t, 90.0, r.find("a").GetReserved())
	last := r.find("a")
	r.ask(known(wants("a", 5), &capacitypb.Grant{Capacity: 10, Token: last.GetToken()}))
	same(t, 10.0, r.find("a").GetReserved())
}

func TestARepeatedRequestGetsTheSameAnswer(t *testing.T) {
	r := divided(t, fair, 100)
	q := wants("a", 60)
	q.Serial = 7
	first := r.ask(q)
	r.ask(wants("b", 100))
	r.now += 10 * time.Second
	second := r.ask(q)
	require.Equal(t, first.GetToken().GetN(), second.GetToken().GetN())
	same(t, 60.0, second.GetCapacity())
	require.EqualValues(t, 50_000, second.GetLeaseMs(), "of the lease that it was given then")
	late := known(wants("a", 60), second)
	late.Serial = 6
	require.Equal(t, capacitypb.Outcome_OUTCOME_STALE, r.ask(late).GetOutcome())
	q.Serial = 8
	same(t, 50.0, r.ask(q).GetCapacity())
	q.Serial = 1
	g := r.ask(q)
	require.Equal(t, capacitypb.Outcome_OUTCOME_OK, g.GetOutcome(), "a client that began anew has no token")
	same(t, 60, r.find("a").GetReserved(), "the one before may still run")
}

func TestALowerCapacityIsReachedAsLeasesAreRefreshed(t *testing.T) {
	for _, a := range []capacitypb.Algorithm{proportional, fair, priority} {
		r := divided(t, a, 90)
		for _, id := range []string{"a", "b", "c"} {
			same(t, 30.0, r.settled(wants(id, 30)))
		}
		r.configure(define(a, 30))
		require.Zero(t, r.settled(wants("a", 30)), "%v: b and c still use more than there is", a)
		require.Zero(t, r.settled(wants("b", 30)))
		same(t, 10.0, r.settled(wants("c", 30)))
		same(t, 10.0, r.settled(wants("a", 30)))
		same(t, 10.0, r.settled(wants("b", 30)))
	}
}

func TestPriorities(t *testing.T) {
	r := divided(t, priority, 100)
	at := func(id string, p int64, n int64, w float64) *capacitypb.Request {
		return &capacitypb.Request{ClientId: id, Bands: []*capacitypb.Band{{Priority: p, Clients: n, Wants: w}}}
	}
	settle := func() (high, mid, low float64) {
		for range 3 {
			low = r.settled(at("low", 0, 1, 50))
			mid = r.settled(at("mid", 1, 1, 40))
			r.settled(at("mid2", 1, 2, 400))
			high = r.settled(at("high", 2, 1, 70))
		}
		return high, mid, low
	}
	high, mid, low := settle()
	require.Equal(t, []float64{70, 10, 0}, []float64{high, mid, low})
	d := define(priority, 100)
	d.Floors = []*capacitypb.Floor{{Priority: 0, Capacity: 6}, {Priority: 1, Capacity: 9}, {Priority: 5, Capacity: 1000}}
	r.configure(d)
	high, mid, low = settle()
	require.Equal(t, []float64{70, 8, 6}, []float64{high, mid, low}, "low has its floor, mid a third of what is left")
	s := r.summary()
	require.Len(t, s.GetBands(), 3)
	require.EqualValues(t, 2, s.GetBands()[0].GetPriority())
	require.Nil(t, s.GetBands()[0].Level)
	same(t, 8.0, s.GetBands()[1].GetLevel())
	same(t, 6.0, s.GetBands()[2].GetLevel())
}

func TestAServerAsksForSeveralBands(t *testing.T) {
	r := divided(t, priority, 100)
	server := &capacitypb.Request{ClientId: "server", Bands: []*capacitypb.Band{
		{Priority: 0, Clients: 10, Wants: 500}, {Priority: 3, Clients: 2, Wants: 60},
	}}
	same(t, 100.0, r.settled(server))
	same(t, 0.0, r.settled(&capacitypb.Request{ClientId: "c", Bands: []*capacitypb.Band{{Priority: 3, Clients: 1, Wants: 90}}}))
	require.InDelta(t, 60.0, r.settled(server), 1e-12, "60 of band 3, nothing of band 0")
	require.InDelta(t, 40.0, r.settled(&capacitypb.Request{ClientId: "c", Bands: []*capacitypb.Band{{Priority: 3, Clients: 1, Wants: 90}}}), 1e-12)
}

func TestBandsOfOnePriorityAreAddedUp(t *testing.T) {
	r := divided(t, priority, 100)
	r.ask(&capacitypb.Request{ClientId: "s", Bands: []*capacitypb.Band{
		{Priority: 1, Clients: 2, Wants: 5}, {Priority: 3, Clients: 1, Wants: 7}, {Priority: 1, Clients: 4, Wants: 6},
	}})
	bands := r.find("s").GetBands()
	require.Len(t, bands, 2)
	require.EqualValues(t, 3, bands[0].GetPriority())
	require.EqualValues(t, 6, bands[1].GetClients())
	same(t, 11, bands[1].GetWants())
}

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

func TestANegativeCapacityIsNone(t *testing.T) {
	r := divided(t, fair, -5)
	require.Zero(t, r.ask(wants("a", 1)).GetCapacity())
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

func TestLearning(t *testing.T) {
	r := newResource(t)
	r.apply(configure(1, define(static, 10), 20_000))
	q := wants("a", 90)
	q.Has = proto.Float64(25)
	g := r.ask(q)
	same(t, 25.0, g.GetCapacity())
	require.True(t, g.GetLearning())
	require.Zero(t, r.ask(wants("new", 5)).GetCapacity())
	r.apply(configure(2, define(static, 12), 20_000))
	r.now += 20*time.Second - 1
	require.True(t, r.ask(q).GetLearning())
	r.now++
	g = r.ask(q)
	require.False(t, g.GetLearning())
	same(t, 12.0, g.GetCapacity())
}

func TestSafeCapacity(t *testing.T) {
	r := divided(t, fair, 90)
	same(t, 90.0, r.ask(wants("a", 1)).GetSafeCapacity())
	q := &capacitypb.Request{ClientId: "s", Bands: []*capacitypb.Band{{Clients: 8, Wants: 1}}}
	same(t, 10.0, r.ask(q).GetSafeCapacity())
	d := define(fair, 90)
	d.SafeCapacity = proto.Float64(-1)
	r.configure(d)
	same(t, -1.0, r.ask(q).GetSafeCapacity())
}

func (r *resource) parent(capacity float64, expires time.Duration, safe float64) capacitypb.Outcome {
	return r.apply(&capacitypb.Command{Op: &capacitypb.Command_ParentLease{ParentLease: &capacitypb.ParentLease{
		Capacity: capacity, Expires: int64(expires), Lead: r.lead, SafeShare: safe,
	}}}).GetOutcome()
}

func TestAChildLeasesWhatItsParentLeasedIt(t *testing.T) {
	r := newResource(t)
	d := define(fair, 0)
	d.Capacity, d.Parent = nil, "capacity/parent"
	require.Equal(t, capacitypb.Outcome_OUTCOME_NOT_CONFIGURED, r.parent(1, 0, 0))
	r.configure(d)
	require.Equal(t, capacitypb.Outcome_OUTCOME_NOT_READY, r.apply(decide(wants("a", 100))).GetOutcome())
	require.Equal(t, capacitypb.Outcome_OUTCOME_OK, r.parent(0, 31*time.Second, 8))
	require.EqualValues(t, 3750, r.ask(wants("a", 100)).GetRetryMs(), "the parent may give more in a moment")
	require.Equal(t, capacitypb.Outcome_OUTCOME_OK, r.parent(80, 31*time.Second, 8))
	g := r.ask(wants("a", 100))
	same(t, 80.0, g.GetCapacity())
	require.EqualValues(t, 30_000, g.GetLeaseMs(), "no longer than the parent's")
	require.EqualValues(t, 15_000, g.GetRefreshMs())
	r.now = 31 * time.Second
	same(t, 80.0, r.ask(known(wants("a", 100), g)).GetCapacity())
	r.now++
	same(t, 8.0, r.ask(wants("a", 100)).GetCapacity(), "the parent's lease has ended: the safe share")
	require.Equal(t, capacitypb.Outcome_OUTCOME_OK, r.parent(80, 99*time.Second, 8))
	same(t, 80.0, r.ask(wants("a", 100)).GetCapacity())

	// A new leader knows nothing of the lease, and says so first.
	r.lead = 9
	require.Equal(t, capacitypb.Outcome_OUTCOME_NOT_READY, r.apply(decide(wants("a", 100))).GetOutcome())
	stale := &capacitypb.ParentLease{Capacity: 80, Expires: int64(99 * time.Second), Lead: 1}
	require.Equal(t, capacitypb.Outcome_OUTCOME_STALE,
		r.apply(&capacitypb.Command{Op: &capacitypb.Command_ParentLease{ParentLease: stale}}).GetOutcome())
	require.Equal(t, capacitypb.Outcome_OUTCOME_OK, r.parent(0, 0, 8))
	require.Zero(t, r.ask(wants("b", 8)).GetCapacity(), "a may still use what the leader before gave it")
	same(t, 4.0, r.settled(wants("a", 100)))
	same(t, 4.0, r.ask(wants("b", 8)).GetCapacity())
}

func TestRecoveredHoldsBackOneLongestLease(t *testing.T) {
	r := divided(t, fair, 100)
	a := r.ask(wants("a", 60))
	d := define(fair, 100)
	d.LeaseLengthMs = 30_000
	r.configure(d)
	r.now = 500 * time.Hour
	r.ask(wants("b", 10))
	r.m.Recovered(7)
	r.now = time.Second // the new group's clock
	g := r.ask(wants("c", 20))
	require.Zero(t, g.GetCapacity(), "nobody knows what was granted in the end")
	require.EqualValues(t, 7, g.GetToken().GetGeneration())
	require.Nil(t, r.find("a"), "its lease had ended before")
	b := known(wants("b", 50), &capacitypb.Grant{Capacity: 10, Token: a.GetToken()})
	same(t, 10.0, r.ask(b).GetCapacity(), "who holds a lease keeps it")
	r.now = 61*time.Second - 1
	require.Zero(t, r.ask(wants("c", 20)).GetCapacity(), "the longest lease was 60 s")
	r.now += 30 * time.Second
	same(t, 20.0, r.ask(wants("c", 20)).GetCapacity())
}

func TestListingPages(t *testing.T) {
	r := divided(t, fair, 100)
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		r.ask(wants(id, 1))
	}
	r.release("b")
	var ids []string
	list := &capacitypb.List{Limit: 2}
	for {
		a := r.query(&capacitypb.Query{Op: &capacitypb.Query_List{List: list}})
		for _, h := range a.GetHolders() {
			ids = append(ids, h.GetClientId())
		}
		if a.GetNext() == 0 {
			break
		}
		list.After = a.GetNext()
	}
	require.Equal(t, []string{"a", "c", "d", "e"}, ids)
	r.ask(wants("f", 1))
	require.Equal(t, "f", r.query(&capacitypb.Query{Op: &capacitypb.Query_List{List: &capacitypb.List{After: 1, Limit: 1}}}).GetHolders()[0].GetClientId())
	for _, q := range []*capacitypb.Query{
		{}, {Op: &capacitypb.Query_List{List: &capacitypb.List{Limit: capacity.MaxPage + 1}}}, {Op: &capacitypb.Query_Find{Find: &capacitypb.Find{}}},
	} {
		_, err := r.m.Query(encode(q))
		require.ErrorIs(t, err, statemachines.ErrInvalidQuery)
		require.Error(t, capacity.CheckQuery(q))
	}
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

// same compares numbers to the last bit.
func same(t require.TestingT, want, got float64, msg ...any) {
	require.InDelta(t, want, got, 0, msg...)
}

// Clients that come and go all the time leave moments behind; they are swept out,
// and leases end all the same.
func TestManyShortStays(t *testing.T) {
	r := divided(t, fair, 100)
	r.ask(wants("stays", 10))
	for i := range 3000 {
		r.now += time.Millisecond
		r.ask(wants("guest", float64(i%7)))
		r.release("guest")
	}
	last := r.ask(wants("guest", 5))
	same(t, 5, last.GetCapacity())
	r.now = 61*time.Second + 1
	r.apply(decide())
	require.Nil(t, r.find("stays"))
	require.NotNil(t, r.find("guest"))
	r.now += 4 * time.Second
	r.apply(decide())
	require.Zero(t, r.summary().GetHolders())
	require.Zero(t, r.summary().GetReserved())
}

// A client that gave its share back and asked again uses its new lease: a release that
// was held up on its way must not give that to another.
func TestALateReleaseTakesNoNewerLease(t *testing.T) {
	r := divided(t, fair, 100)
	asks := func(serial uint64) *capacitypb.Request {
		q := wants("a", 60)
		q.Serial = serial
		return q
	}
	release := func(serial uint64) {
		what := &capacitypb.Release{ClientIds: []string{"a"}, Serial: serial}
		out := r.apply(&capacitypb.Command{Op: &capacitypb.Command_Release{Release: what}})
		require.Equal(t, capacitypb.Outcome_OUTCOME_OK, out.GetOutcome(), out.GetDetail())
	}
	require.InDelta(t, 60, r.settled(asks(7)), 1e-9)
	require.InDelta(t, 60, r.settled(asks(9)), 1e-9) // the release, 8, is still on its way
	release(8)
	require.NotNil(t, r.find("a"))
	require.InDelta(t, 40, r.settled(wants("b", 100)), 1e-9)
	release(10)
	require.Nil(t, r.find("a"))
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
