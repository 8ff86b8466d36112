package capacity_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/capacity"
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

func TestANegativeCapacityIsNone(t *testing.T) {
	r := divided(t, fair, -5)
	require.Zero(t, r.ask(wants("a", 1)).GetCapacity())
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
