package exchange_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/nodehost/counters/exchange"
	"github.com/drumline/drumline/nodehost/duty"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/counter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errCut = errors.New("the sea is wide")

// world is the groups of all regions, and which of them cannot be reached.
type world struct {
	mu       sync.Mutex
	machines map[string]*counter.Machine // guarded by mu
	names    []string                    // guarded by mu, by number less 1000
	all      []*counter.Machine          // guarded by mu, by number less 1000
	cut      map[string]bool             // guarded by mu: regions that answer nobody but themselves
	proposed int                         // guarded by mu: by the exchange
	// afloat is how many changes were told to a region that it has not proposed, by the two
	// regions; guarded by mu.
	afloat map[[2]string]int
	// told is the bytes of answers that crossed the sea with changes in them, and idle the
	// longest without; guarded by mu.
	told, idle int
	// crossed, guarded by mu, is the bytes of all answers to a region from others.
	crossed map[string]int
	// most is the most that was afloat between two regions at a time; guarded by mu.
	most int
	// severs, guarded by mu, is a region that is cut off when something of it was merged.
	severs string
	// pace is how often as fast as real time goes.
	pace  time.Duration
	began time.Time
	// rosters, guarded by mu, are told of groups that are made.
	rosters []*duty.Roster
}

func newWorld(regions ...string) *world {
	w := &world{machines: map[string]*counter.Machine{}, cut: map[string]bool{}, afloat: map[[2]string]int{}, crossed: map[string]int{}, pace: 1, began: time.Now()}
	for _, r := range regions {
		w.found(in(r))
	}
	return w
}

// in is the full name of a region's group.
func in(region string) string { return statemachines.NameIn("counter/hits", region) }

// found makes a group anew.
func (w *world) found(name string) {
	w.mu.Lock()
	id := uint64(1000 + len(w.names))
	w.machines[name] = counter.New(statemachines.Group{ID: id, Name: name})
	w.names, w.all = append(w.names, name), append(w.all, w.machines[name])
	rosters, last := slices.Clone(w.rosters), id
	w.mu.Unlock()
	for _, r := range rosters {
		observe(r, last)
	}
}

// observe tells a roster of all groups up to the last one.
func observe(r *duty.Roster, last uint64) {
	for g := uint64(1000); g <= last; g++ {
		r.Observe(raft.Event{Kind: raft.EventServing, Group: ids.Group(g)})
	}
}

func (w *world) now() time.Time { return w.began.Add(w.pace * time.Since(w.began)) }

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// host is a region's host: it leads the group of its region.
type host struct {
	*world
	region string
}

func (h host) reach(name string) (*counter.Machine, error) {
	if _, region := statemachines.CutRegion(name); region != h.region && (h.cut[region] || h.cut[h.region]) {
		return nil, errCut
	}
	if m := h.machines[name]; m != nil {
		return m, nil
	}
	return nil, errCut
}

func (h host) Read(_ context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, err := h.reach(statemachines.NameOf(req.GetGroup()))
	if err != nil {
		return nil, err
	}
	data, err := m.Query(req.GetQuery())
	if _, region := statemachines.CutRegion(statemachines.NameOf(req.GetGroup())); err == nil && region != h.region {
		h.crossed[h.region] += len(data)
		h.weigh(data)
		h.float(region, data)
	}
	return &hostpb.ReadResponse{Data: data}, err
}

// float notes what the region is told by another; mu is held.
func (h host) float(from string, data []byte) {
	a := &counterpb.Answer{}
	if err := proto.Unmarshal(data, a); err == nil && !a.GetExport().GetRelayed() {
		h.afloat[[2]string{h.region, from}] += len(a.GetExport().GetEntries())
		h.most = max(h.most, h.afloat[[2]string{h.region, from}])
	}
}

// weigh notes what crosses the sea; mu is held.
func (w *world) weigh(data []byte) {
	a := &counterpb.Answer{}
	if err := proto.Unmarshal(data, a); err == nil && len(a.GetExport().GetEntries()) > 0 {
		w.told += len(data)
		return
	}
	w.idle = max(w.idle, len(data))
}

func (h host) ProposeOwn(_ context.Context, g ids.Group, cmd []byte) (statemachines.Result, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.proposed++
	c := &counterpb.Command{}
	if err := proto.Unmarshal(cmd, c); err == nil && c.GetMerge() != nil {
		from := c.GetMerge().GetFrom().GetRegion()
		h.afloat[[2]string{h.region, from}] = 0
		if from == h.severs && len(c.GetMerge().GetEntries()) > 0 {
			h.cut[from] = true
		}
	}
	result := make([]statemachines.Result, 1)
	h.all[g-1000].Apply([]statemachines.Command{{Version: counter.Version, Data: cmd}}, result)
	return result[0], nil
}

// regions are those that have a group of the name.
func (h host) regions(_ context.Context, name string) ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, n := range h.names {
		if base, region := statemachines.CutRegion(n); base == name && !slices.Contains(out, region) {
			out = append(out, region)
		}
	}
	return out, nil
}

func (h host) Status(g ids.Group) (raft.Status, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := h.names[g-1000]
	_, region := statemachines.CutRegion(name)
	newest := h.all[g-1000] == h.machines[name]
	return raft.Status{Group: g, Name: name, Term: uint64(g), Serving: region == h.region && newest, Opened: true, Version: counter.Version}, true
}

// start lets a region exchange until the test ends.
func (w *world) start(t *testing.T, region string) *exchange.Exchange {
	t.Helper()
	h := host{w, region}
	x := exchange.New(exchange.Options{Router: h, Raft: h, Regions: h.regions, Every: 2 * time.Millisecond, Now: w.now})
	roster := duty.New(duty.Options{Raft: h}, x.Task())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		roster.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	w.mu.Lock()
	w.rosters = append(w.rosters, roster)
	last := uint64(999 + len(w.names))
	w.mu.Unlock()
	observe(roster, last)
	return x
}

func (w *world) add(t *testing.T, region string, amount int64) {
	t.Helper()
	w.addTo(t, region, "", amount)
}

func (w *world) addTo(t *testing.T, region, key string, amount int64) {
	t.Helper()
	w.do(t, region, &counterpb.Command{Op: &counterpb.Command_Add{Add: &counterpb.Add{Key: key, Amount: amount}}, NowMs: uint64(w.now().UnixMilli())})
}

func (w *world) do(t *testing.T, region string, c *counterpb.Command) {
	t.Helper()
	cmd, err := proto.Marshal(c)
	require.NoError(t, err)
	w.set(func() {
		w.machines[in(region)].Apply([]statemachines.Command{{Version: counter.Version, Data: cmd}}, make([]statemachines.Result, 1))
	})
}

func (w *world) get(t *testing.T, region string) *counterpb.Answer {
	t.Helper()
	return w.getKey(t, region, "")
}

// valueOf is the value of a counter, 0 if there is none.
func (w *world) valueOf(t *testing.T, region, key string) int64 {
	t.Helper()
	a := w.getKey(t, region, key)
	if !a.GetFound() {
		return 0
	}
	return a.GetCounters()[0].GetValue()
}

func (w *world) getKey(t *testing.T, region, key string) *counterpb.Answer {
	t.Helper()
	return w.query(t, region, &counterpb.Query{Op: &counterpb.Query_Get{Get: &counterpb.Get{Key: key}}})
}

// query asks a region's group itself.
func (w *world) query(t *testing.T, region string, q *counterpb.Query) *counterpb.Answer {
	t.Helper()
	query, err := proto.Marshal(q)
	require.NoError(t, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	data, err := w.machines[in(region)].Query(query)
	require.NoError(t, err)
	a := &counterpb.Answer{}
	require.NoError(t, proto.Unmarshal(data, a))
	return a
}

// agree waits until regions have a value.
func (w *world) agree(t *testing.T, value int64, regions ...string) {
	t.Helper()
	for _, r := range regions {
		require.Eventually(t, func() bool {
			a := w.get(t, r)
			return a.GetFound() && a.GetCounters()[0].GetValue() == value
		}, 30*time.Second, 5*time.Millisecond, "region %s", r)
	}
}

// TestRegionsAgree: all come to the sum, also after one was cut off, and after one was
// founded anew; and when nothing is counted nothing is proposed.
func TestRegionsAgree(t *testing.T) {
	w := newWorld("ord", "hkg", "ams")
	x := w.start(t, "ord")
	w.start(t, "hkg")
	w.start(t, "ams")
	w.add(t, "ord", 3)
	w.add(t, "hkg", 4)
	w.add(t, "ams", 5)
	w.agree(t, 12, "ord", "hkg", "ams")
	for _, r := range w.get(t, "ord").GetGroup().GetRegions() {
		require.Contains(t, []string{"ord", "hkg", "ams"}, r.GetOrigin().GetRegion())
	}
	w.set(func() { w.cut["ams"] = true })
	w.add(t, "ams", 10)
	w.add(t, "ord", 1)
	w.agree(t, 13, "ord", "hkg")
	w.agree(t, 22, "ams")
	w.set(func() { w.cut["ams"] = false })
	w.agree(t, 23, "ord", "hkg", "ams")
	w.found(in("hkg"))
	w.add(t, "hkg", 1)
	w.agree(t, 24, "ord", "ams")
	w.agree(t, 24, "hkg")

	w.quiet(t)
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(x))
	n, err := testutil.GatherAndCount(registry)
	require.NoError(t, err)
	require.GreaterOrEqual(t, n, 3+2*3)
}

// quiet waits until nothing is proposed any more: windows end some time after the last
// change.
func (w *world) quiet(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return !w.get(t, "ord").GetGroup().GetUnsealed() }, 30*time.Second, 20*time.Millisecond)
	last, since := -1, time.Now()
	require.Eventually(t, func() bool {
		now := 0
		w.set(func() { now = w.proposed })
		if now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > max(1500*time.Millisecond/w.pace, 500*time.Millisecond) // many rounds, and longer than windows take to end
	}, 60*time.Second, 5*time.Millisecond)
}

// TestALostRegionIsNoUnrest: who is gone is asked for again and again, and nothing is
// proposed for that; what others heard of it last still gets around.
func TestALostRegionIsNoUnrest(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld("ord", "hkg", "ams")
	w.pace = 100 // the quiet time is many looks at what others counted
	for _, r := range []string{"ord", "hkg", "ams"} {
		w.start(t, r)
		w.add(t, r, 1)
	}
	w.agree(t, 3, "ord", "hkg", "ams")
	w.set(func() { w.cut["ord"] = true })
	w.add(t, "ams", 10)
	w.agree(t, 13, "hkg")
	w.set(func() { w.cut["ord"], w.cut["ams"] = false, true })
	w.agree(t, 13, "ord")
	w.quiet(t)
	w.do(t, "ord", &counterpb.Command{Op: &counterpb.Command_Retire{Retire: &counterpb.Retire{Region: "ams"}}})
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(w.get(t, "hkg").GetGroup().GetRegions(), (*counterpb.Region).GetRetired)
	}, 30*time.Second, 5*time.Millisecond, "hkg hears that ams is over")
	w.quiet(t)
	w.agree(t, 13, "ord", "hkg")
}

// TestOnlyChangesCrossTheSea: what travels depends on what changed, not on how much there is.
func TestOnlyChangesCrossTheSea(t *testing.T) {
	w := newWorld("ord", "hkg")
	const keys = 3000
	for i := range keys {
		w.addTo(t, "ord", fmt.Sprint("key", i), 1)
	}
	w.start(t, "ord")
	require.Eventually(t, func() bool { return w.get(t, "ord").GetGroup().GetOrigin().GetRegion() == "ord" }, 30*time.Second, 5*time.Millisecond, "before, its pages are asked for in vain")
	w.start(t, "hkg")
	w.add(t, "ord", 1)
	w.agree(t, 1, "hkg")
	require.Eventually(t, func() bool { return w.get(t, "hkg").GetGroup().GetKeys() == keys+1 }, 30*time.Second, 5*time.Millisecond)
	all := 0
	w.set(func() { all, w.told = w.told, 0 })
	require.Greater(t, all, keys*20)
	w.set(func() { require.LessOrEqual(t, w.most, 500, "a page is proposed before the next is asked for") })
	w.addTo(t, "ord", "key7", 1)
	w.add(t, "ord", 1)
	w.agree(t, 2, "hkg")
	w.quiet(t)
	w.set(func() {
		require.Positive(t, w.told)
		require.Less(t, w.told, 2000, "two changes travelled")
		require.Less(t, w.idle, 1000, "an answer without changes")
	})
}

// TestWhatIsMissingIsFound: a group that believes to have all that a sibling counted, and
// has not, finds out and asks for all of it.
func TestWhatIsMissingIsFound(t *testing.T) {
	w := newWorld("ord", "hkg")
	w.pace = 100 // a minute between two looks
	const keys = 1200
	for i := range keys {
		w.addTo(t, "ord", fmt.Sprint("key", i), 1)
	}
	w.add(t, "ord", 3)
	w.start(t, "ord")
	require.Eventually(t, func() bool { return w.get(t, "ord").GetGroup().GetOrigin().GetRegion() == "ord" }, 30*time.Second, 5*time.Millisecond)
	ord := w.get(t, "ord").GetGroup()
	w.do(t, "hkg", &counterpb.Command{Op: &counterpb.Command_Settle{Settle: &counterpb.Settle{Region: "hkg"}}})
	w.do(t, "hkg", &counterpb.Command{Op: &counterpb.Command_Merge{Merge: &counterpb.Merge{From: ord.GetOrigin(), Upto: ord.GetVersion(), WallMs: ord.GetWallMs()}}})
	x := w.start(t, "hkg")
	w.agree(t, 3, "hkg")
	require.Eventually(t, func() bool { return w.get(t, "hkg").GetGroup().GetKeys() == keys+1 }, 30*time.Second, 5*time.Millisecond)
	require.Positive(t, metric(t, x, "drumline_counter_exchange_diverged_total"))
}

// metric is the first of that name, 0 if there is none yet.
func metric(t *testing.T, x *exchange.Exchange, name string) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(x))
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue() // it is one of them
		}
	}
	return 0
}

// TestGravesWaitUntilARegionIsRetired: while a region is not heard what was deleted is not
// forgotten, and the metric shows it. A region that is retired is waited for no more, though
// its group is still there.
func TestGravesWaitUntilARegionIsRetired(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld("ord", "hkg", "ams")
	w.pace = 100
	const forget = 10 * time.Second
	w.do(t, "ord", &counterpb.Command{Op: &counterpb.Command_Configure{Configure: &counterpb.Configure{Revision: 1, Settings: &counterpb.Settings{ForgetMs: uint64(forget.Milliseconds())}}}})
	x := w.start(t, "ord")
	w.start(t, "hkg") // which remembers for an hour, so ord hears from it in time
	w.start(t, "ams")
	w.addTo(t, "ord", "gone", 1)
	for _, r := range []string{"ord", "hkg", "ams"} {
		require.Eventually(t, func() bool { return w.valueOf(t, r, "gone") == 1 }, 30*time.Second, 5*time.Millisecond, r)
	}
	lives := func(r *counterpb.Region) bool { return r.GetOrigin().GetRegion() == "ams" }
	require.Eventually(t, func() bool { return slices.ContainsFunc(w.get(t, "ord").GetGroup().GetRegions(), lives) }, 30*time.Second, 5*time.Millisecond)
	w.set(func() { w.cut["ams"] = true })
	deleted := w.now()
	w.do(t, "ord", &counterpb.Command{Op: &counterpb.Command_Delete{Delete: &counterpb.Delete{Key: "gone"}}, NowMs: uint64(deleted.UnixMilli())})
	graves := func() float64 { return metric(t, x, "drumline_counter_graves") }
	require.Eventually(t, func() bool { return graves() == 1 && w.now().Sub(deleted) > 3*forget }, 30*time.Second, 5*time.Millisecond)
	require.EqualValues(t, 1, w.get(t, "ord").GetGroup().GetGraves(), "ams may have it")
	w.do(t, "ord", &counterpb.Command{Op: &counterpb.Command_Retire{Retire: &counterpb.Retire{Region: "ams"}}})
	require.Eventually(t, func() bool { return w.get(t, "ord").GetGroup().GetGraves() == 0 && graves() == 0 }, 30*time.Second, 5*time.Millisecond)
}

// TestDeletedKeysAreForgotten: when all regions have heard of the delete and some time has
// passed. While one cannot be heard the others keep the traces, and propose nothing for it.
func TestDeletedKeysAreForgotten(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld("ord", "hkg", "ams")
	w.pace = 100
	// Who is not heard for so long is never heard of what the other forgot: it is longer
	// than a busy machine makes one wait.
	const forgetMS = 250_000
	for _, r := range []string{"ord", "hkg", "ams"} {
		w.do(t, r, &counterpb.Command{Op: &counterpb.Command_Configure{Configure: &counterpb.Configure{Revision: 1, Settings: &counterpb.Settings{ForgetMs: forgetMS}}}})
		w.start(t, r)
	}
	keys := func(r string) uint64 { return w.get(t, r).GetGroup().GetKeys() }
	await := func(n uint64, regions ...string) {
		t.Helper()
		for _, r := range regions {
			require.Eventually(t, func() bool { return keys(r) == n }, 30*time.Second, 5*time.Millisecond, "region %s has %d keys, want %d", r, keys(r), n)
		}
	}
	for i := range 20 {
		w.addTo(t, "ord", fmt.Sprint("key", i), 1)
	}
	await(20, "ord", "hkg", "ams")
	w.set(func() { w.cut["ams"] = true })
	for i := range 20 {
		w.do(t, "hkg", &counterpb.Command{Op: &counterpb.Command_Delete{Delete: &counterpb.Delete{Key: fmt.Sprint("key", i)}}, NowMs: uint64(w.now().UnixMilli())})
	}
	require.Eventually(t, func() bool { return w.get(t, "ord").GetGroup().GetGraves() == 20 }, 30*time.Second, 5*time.Millisecond)
	w.quiet(t)
	require.EqualValues(t, 20, keys("ord"), "ams has not heard of it")
	w.set(func() { w.cut["ams"] = false })
	await(0, "ord", "hkg", "ams")
	w.addTo(t, "ams", "key7", 2)
	w.addTo(t, "ord", "key7", 3)
	await(1, "ord", "hkg", "ams")
	for _, r := range []string{"ord", "hkg", "ams"} {
		require.Eventually(t, func() bool { return w.valueOf(t, r, "key7") == 5 }, 30*time.Second, 5*time.Millisecond)
	}
}
