package counter_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/statemachines/counter"
)

// state is all that a group knows of counters, in text.
func (w *world) state() string {
	var out []byte
	for _, key := range keys {
		for _, c := range w.get(key).GetCounters() {
			out = fmt.Appendf(out, "%q generation %d value %d\n", key, c.GetGeneration(), c.GetValue())
			slices.SortFunc(c.Slots, func(a, b *counterpb.Slot) int {
				return slices.Compare(encode(a.GetOrigin()), encode(b.GetOrigin()))
			})
			for _, s := range c.GetSlots() {
				out = fmt.Appendf(out, "  %x\n", encode(s))
			}
			for r := range counterpb.Resolution(6) {
				q := &counterpb.Windows{Key: key, Resolution: r}
				for _, x := range w.query(&counterpb.Query{Op: &counterpb.Query_Windows{Windows: q}}).GetWindows() {
					out = fmt.Appendf(out, "  %d+%d: %d %d\n", x.GetStartMs(), x.GetLengthMs(), x.GetAdded(), x.GetSubtracted())
				}
			}
		}
	}
	return string(out)
}

// take merges entries as if another group had sent them.
func (w *world) take(entries ...*counterpb.Entry) {
	w.must(merge(&counterpb.Merge{From: &counterpb.Origin{Region: "lax", Incarnation: 99}, Relayed: true, Entries: entries}))
}

// TestMergeLaws: whatever was merged in whatever order, how often, and by way of whom, the
// state is the same; and merging only ever lets it grow.
func TestMergeLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		entries := make([]*counterpb.Entry, rapid.IntRange(1, 12).Draw(t, "entries"))
		for i := range entries {
			entries[i] = randomEntry(r)
		}
		straight := newWorld(t, 1000, "nrt")
		straight.take(entries...)
		want := straight.state()

		shuffled := newWorld(t, 1001, "nrt")
		order := append(slices.Clone(entries), entries...)
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, e := range order {
			shuffled.take(e)
		}
		require.Equal(t, want, shuffled.state(), "commutative")
		straight.take(entries...)
		require.Equal(t, want, straight.state(), "idempotent")

		left, right, both := newWorld(t, 1002, "nrt"), newWorld(t, 1003, "nrt"), newWorld(t, 1004, "nrt")
		cut := rapid.IntRange(0, len(entries)).Draw(t, "cut")
		left.take(entries[:cut]...)
		right.take(entries[cut:]...)
		both.relay(right)
		both.relay(left)
		require.Equal(t, want, both.state(), "associative")
		both.reload()
		require.Equal(t, want, both.state())
	})
}

// TestMergingOnlyGrows: no number of a slot ever gets less, within a generation.
func TestMergingOnlyGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))
		w := newWorld(t, 1000, "nrt")
		had := map[string]*counterpb.Slot{}
		for range 20 {
			e := randomEntry(r)
			e.Generation, e.Deleted = 0, false
			for _, s := range e.GetSlots() {
				s.Generation = 0
			}
			w.take(e)
			for _, key := range keys {
				for _, c := range w.get(key).GetCounters() {
					for _, s := range c.GetSlots() {
						id := fmt.Sprint(key, s.GetOrigin())
						if old := had[id]; old != nil {
							require.GreaterOrEqual(t, s.GetAdded(), old.GetAdded())
							require.GreaterOrEqual(t, s.GetSubtracted(), old.GetSubtracted())
							require.GreaterOrEqual(t, s.GetBaseAdded(), old.GetBaseAdded())
						}
						had[id] = s
					}
				}
			}
		}
	})
}

// sea is the network between regions: it loses, repeats and reorders.
type sea struct {
	t       *rapid.T
	regions []*world
	afloat  []voyage
	acked   map[string]int64
	sealed  map[string]string
}

type voyage struct {
	to      int
	message []byte
}

// TestExchange: three regions that count while the sea between them loses, repeats and
// reorders come to the sum of what they acknowledged, and what was sealed stays.
func TestExchange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &sea{t: t, acked: map[string]int64{}, sealed: map[string]string{}}
		for i, region := range []string{"ord", "hkg", "ams"} {
			s.regions = append(s.regions, newWorld(t, uint64(1000+i), region))
		}
		s.settle() // they have heard of each other
		for range rapid.IntRange(10, 80).Draw(t, "steps") {
			s.step()
		}
		s.calm()
	})
}

func (s *sea) step() {
	i := rapid.IntRange(0, 2).Draw(s.t, "region")
	w := s.regions[i]
	switch rapid.IntRange(0, 8).Draw(s.t, "what") {
	case 0:
		w.now += rapid.Uint64Range(1, 1500).Draw(s.t, "pass")
	case 1, 2, 3:
		s.count(w)
	case 4, 5:
		from := (i + rapid.IntRange(1, 2).Draw(s.t, "from")) % 3
		g, _ := w.next(s.regions[from], rapid.Uint32Range(1, 3).Draw(s.t, "limit"))
		for range rapid.IntRange(0, 2).Draw(s.t, "copies") {
			s.afloat = append(s.afloat, voyage{i, encode(merge(g))})
		}
	case 6, 7:
		if len(s.afloat) > 0 {
			at := rapid.IntRange(0, len(s.afloat)-1).Draw(s.t, "arrives")
			s.regions[s.afloat[at].to].raw(s.afloat[at].message)
			s.afloat = slices.Delete(s.afloat, at, at+1)
		}
	default:
		w.reload()
	}
	for i := range s.regions {
		s.watch(i)
	}
}

// count lets a region add or subtract something.
func (s *sea) count(w *world) {
	key, amount := rapid.SampledFrom(keys).Draw(s.t, "key"), rapid.Int64Range(-5, 5).Draw(s.t, "amount")
	w.must(add(key, amount))
	s.acked[key] += amount
}

// watch sees that sealed windows stay as they are.
func (s *sea) watch(i int) {
	for _, x := range s.regions[i].windows(counterpb.Resolution_RESOLUTION_SECOND) {
		id, now := fmt.Sprint(i, x.GetStartMs()), fmt.Sprint(x.GetAdded(), x.GetSubtracted())
		if was, there := s.sealed[id]; there {
			require.Equal(s.t, was, now, "a sealed window changed")
			require.True(s.t, x.GetSealed())
		}
		if x.GetSealed() {
			s.sealed[id] = now
		}
	}
}

// settle lets everybody hear from everybody.
func (s *sea) settle() {
	for _, to := range s.regions {
		for _, from := range s.regions {
			if to != from {
				to.pull(from)
			}
		}
	}
}

// calm ends all trouble and compares.
func (s *sea) calm() {
	s.settle()
	for i, w := range s.regions {
		require.Equal(s.t, s.regions[0].state(), w.state(), "region %d", i)
		for key, want := range s.acked {
			require.Equal(s.t, want, w.value(key), "key %q in region %d", key, i)
		}
		for r := range counterpb.Resolution(5) {
			sum := int64(0)
			for _, x := range w.windows(r + 1) {
				sum += int64(x.GetAdded()) - int64(x.GetSubtracted())
			}
			require.Equal(s.t, s.acked[""], sum, "the sum of windows of resolution %d is the total", r+1)
		}
		require.Zero(s.t, w.status().GetForged())
		for _, other := range s.regions {
			there := other.digest(nil)
			require.Equal(s.t, there.GetSum(), w.digest(there.GetFrom()).GetSum(), "the digest of what another counted is its own")
		}
	}
}

// TestADigestTellsWhatDiffers: of each number of a slot, and of its key.
func TestADigestTellsWhatDiffers(t *testing.T) {
	sums := map[uint64]bool{}
	for _, commands := range [][]*counterpb.Command{
		{}, {add("", 1)}, {add("a", 1)}, {add("a", 2)}, {add("a", 2), add("a", -1)}, {add("a", 1), add("b", 1)},
	} {
		w := newWorld(t, 1000, "ord")
		for _, c := range commands {
			w.must(c)
		}
		d := w.digest(nil)
		sums[d.GetSum()] = true
		require.Equal(t, w.status().GetVersion(), d.GetUpto())
		if len(commands) > 0 {
			w.must(reset(commands[0].GetAdd().GetKey()))
			require.Equal(t, d.GetSum(), w.digest(nil).GetSum(), "all regions take off in all slots")
		}
	}
	require.Len(t, sums, 6)
}

// TestASealedWindowStaysUntilItGoes: also when the clock of a region is ahead, so that its part
// of a window is dropped before those of others are.
func TestASealedWindowStaysUntilItGoes(t *testing.T) {
	ord, hkg := newWorld(t, 1000, "ord"), newWorld(t, 1001, "hkg")
	hkg.now += 5000
	for _, w := range []*world{ord, hkg} {
		w.configure(&counterpb.Settings{Keep: []*counterpb.Keep{{Resolution: counterpb.Resolution_RESOLUTION_SECOND, Windows: 10}}})
	}
	sealed := map[uint64]uint64{}
	for range 40 {
		for _, w := range []*world{ord, hkg} {
			w.now += 1000
			w.must(add("", 1))
		}
		ord.pull(hkg)
		hkg.pull(ord)
		for _, w := range []*world{ord, hkg} {
			for _, x := range w.windows(counterpb.Resolution_RESOLUTION_SECOND) {
				was, there := sealed[x.GetStartMs()]
				require.True(t, !there || was == x.GetAdded(), "the window of %d was %d and is %d", x.GetStartMs(), was, x.GetAdded())
				if x.GetSealed() {
					sealed[x.GetStartMs()] = x.GetAdded()
				}
			}
		}
	}
	require.Greater(t, len(sealed), 30)
}

// TestOnlyChangesTravel: what was said once is not said again.
func TestOnlyChangesTravel(t *testing.T) {
	ord, hkg := newWorld(t, 1000, "ord"), newWorld(t, 1001, "hkg")
	for i := range 2500 {
		ord.must(add(fmt.Sprint("key", i), 1))
	}
	for pages, more := 0, true; more; pages++ {
		require.Less(t, pages, 3)
		var g *counterpb.Merge
		g, more = hkg.next(ord, 0)
		hkg.must(merge(g))
	}
	require.EqualValues(t, 2500, hkg.status().GetKeys())
	ord.must(add("key77", 5))
	g, more := hkg.next(ord, 0)
	require.False(t, more)
	require.Len(t, g.GetEntries(), 1)
	require.Less(t, len(encode(g)), 300)
	hkg.must(merge(g))
	require.EqualValues(t, 6, hkg.value("key77"))
	g, _ = hkg.next(ord, 0)
	require.Empty(t, g.GetEntries())
	g, _ = ord.next(hkg, 0)
	require.Empty(t, g.GetEntries(), "what hkg heard from ord is not hkg's to tell")
}

func TestAGroupsOwnSlotIsItsOwn(t *testing.T) {
	w := newWorld(t, 1000, "ord")
	w.must(add("", 3))
	self := w.status().GetOrigin()
	w.take(&counterpb.Entry{Slots: []*counterpb.Slot{{Origin: self, Added: 1_000_000}}})
	require.EqualValues(t, 3, w.value(""))
	require.EqualValues(t, 1, w.status().GetForged())
	require.Equal(t, counterpb.Outcome_OUTCOME_RETIRED, w.do(merge(&counterpb.Merge{From: self})).GetOutcome())
}

// TestLostDisks: a region that lost everything begins anew, and neither life hides the other.
func TestLostDisks(t *testing.T) {
	ord, hkg := newWorld(t, 1000, "ord"), newWorld(t, 1001, "hkg")
	ord.must(add("", 10))
	hkg.must(add("", 100))
	ord.pull(hkg)
	hkg = newWorld(t, 1002, "hkg")
	hkg.must(add("", 1))
	ord.pull(hkg)
	require.EqualValues(t, 111, ord.value(""), "the new count is seen at once")
	hkg.pull(ord)
	hkg.relay(ord)
	require.EqualValues(t, 111, hkg.value(""), "the old one is kept by others")
	var past []string
	for _, r := range ord.status().GetRegions() {
		if r.GetPast() {
			past = append(past, r.GetOrigin().GetRegion())
		}
	}
	require.Equal(t, []string{"hkg"}, past)
}

// TestRecovered: a group that lives again counts as another origin; what it had counted is
// kept, and what others know better comes back.
func TestRecovered(t *testing.T) {
	ord, hkg := newWorld(t, 1000, "ord"), newWorld(t, 1001, "hkg")
	hkg.must(add("", 5))
	old := snapshotOf(t, hkg.m)
	hkg.must(add("", 2))
	ord.pull(hkg)
	hkg = newWorld(t, 1002, "")
	require.NoError(t, hkg.m.Restore(newReader(old)))
	before := hkg.status().GetOrigin()
	hkg.m.Recovered(7)
	hkg.must(&counterpb.Command{Op: &counterpb.Command_Settle{Settle: &counterpb.Settle{Region: "hkg"}}})
	require.False(t, proto.Equal(before, hkg.status().GetOrigin()))
	require.EqualValues(t, 5, hkg.value(""))
	hkg.must(add("", 1))
	hkg.relay(ord)
	require.EqualValues(t, 8, hkg.value(""))
	ord.pull(hkg)
	require.EqualValues(t, 8, ord.value(""))
	hkg.reload()
	hkg.m.Recovered(7)
	hkg.must(add("", 1))
	require.EqualValues(t, 9, hkg.value(""), "twice with one generation is twice another origin")
	hkg.reload()
}

func TestRetire(t *testing.T) {
	ord, hkg, ams := newWorld(t, 1000, "ord"), newWorld(t, 1001, "hkg"), newWorld(t, 1002, "ams")
	hkg.must(add("", 4))
	ord.pull(hkg)
	require.Equal(t, counterpb.Outcome_OUTCOME_RETIRED, ord.do(retire("ord")).GetOutcome())
	require.Equal(t, counterpb.Outcome_OUTCOME_NOT_FOUND, ord.do(retire("nrt")).GetOutcome())
	ord.must(retire("hkg"))
	require.EqualValues(t, 4, ord.value(""), "what it counted stays")
	hkg.must(add("", 1))
	g, _ := ord.next(hkg, 0)
	require.Equal(t, counterpb.Outcome_OUTCOME_RETIRED, ord.do(merge(g)).GetOutcome())
	require.EqualValues(t, 4, ord.value(""))
	ams.pull(ord)
	ams.relay(ord)
	require.EqualValues(t, 4, ams.value(""))
	g, _ = ams.next(hkg, 0)
	require.Equal(t, counterpb.Outcome_OUTCOME_RETIRED, ams.do(merge(g)).GetOutcome(), "others refuse it, too")
	// The region is alive after all: it hears that it is over, and counts on as another.
	hkg.pull(ord)
	hkg.must(add("", 2))
	ord.pull(hkg)
	ord.relay(hkg)
	require.EqualValues(t, 7, ord.value(""))
	require.EqualValues(t, 7, hkg.value(""))
}

// TestARetiredRegionsWindowsGo: two numbers stay of it, and its windows for as long as windows
// are kept.
func TestARetiredRegionsWindowsGo(t *testing.T) {
	ord, hkg := newWorld(t, 1000, "ord"), newWorld(t, 1001, "hkg")
	for range 200 {
		hkg.now += 1000
		hkg.must(add("", 1))
	}
	ord.pull(hkg)
	ord.must(retire("hkg"))
	kept := func() (n int) {
		g, _ := ord.export(&counterpb.Export{Relayed: true})
		for _, s := range g.GetEntries()[0].GetSlots() {
			if s.GetOrigin().GetRegion() == "hkg" {
				require.EqualValues(t, 200, s.GetAdded())
				n += len(s.GetWindows())
			}
		}
		return n
	}
	require.Greater(t, kept(), 120)
	ord.now = hkg.now + 60*86_400_000
	ord.must(add("", 1))
	require.Zero(t, kept())
	require.EqualValues(t, 201, ord.value(""))
	ord.reload()
	require.EqualValues(t, 201, ord.value(""))
}

// TestClientsTellNothingOfOthers: what only hosts may propose is theirs.
func TestClientsTellNothingOfOthers(t *testing.T) {
	owns := counter.App().Owns
	for _, cmd := range []*counterpb.Command{
		merge(&counterpb.Merge{From: &counterpb.Origin{Region: "ord", Incarnation: 1}}),
		{Op: &counterpb.Command_Settle{Settle: &counterpb.Settle{Region: "ord"}}},
		{Op: &counterpb.Command_Configure{Configure: &counterpb.Configure{Revision: 1}}},
		{Op: &counterpb.Command_Tick{Tick: &counterpb.Tick{}}},
	} {
		require.True(t, owns(encode(cmd)), "%v", cmd)
		require.True(t, owns(append(encode(add("", 1)), encode(cmd)...)), "behind another: %v", cmd)
	}
	for _, cmd := range []*counterpb.Command{add("a", 1), retire("ord"), {Op: &counterpb.Command_Reset_{Reset_: &counterpb.Reset{}}}} {
		require.False(t, owns(encode(cmd)), "%v", cmd)
	}
}

// TestRetiredWhileTheyExchange: regions retire one that goes on counting, while they hear of
// it at different times. All that live come to the same, nothing that it counted is lost or
// doubled, and it goes on as another.
func TestRetiredWhileTheyExchange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &sea{t: t, acked: map[string]int64{}, sealed: map[string]string{}}
		for i, region := range []string{"ord", "hkg", "ams"} {
			s.regions = append(s.regions, newWorld(t, uint64(1000+i), region))
		}
		s.settle()
		over := rapid.IntRange(0, 30).Draw(t, "retired at")
		for i := range 40 {
			w := s.regions[rapid.IntRange(0, 2).Draw(t, "region")]
			w.must(add("", 1))
			s.acked[""]++
			if i == over {
				s.regions[0].must(retire("ams"))
			}
			to, from := s.regions[rapid.IntRange(0, 2).Draw(t, "to")], s.regions[rapid.IntRange(0, 2).Draw(t, "from")]
			if to != from {
				g, _ := to.next(from, 0)
				to.do(merge(g)) // the retired one is refused
			}
		}
		for range 3 { // they hear of it, then of what it counted before it heard
			for _, to := range s.regions {
				for _, from := range s.regions {
					if to != from {
						g, _ := to.next(from, 0)
						to.do(merge(g))
						g, _ = from.export(&counterpb.Export{Relayed: true})
						to.do(merge(g))
					}
				}
			}
		}
		for i, w := range s.regions {
			require.Equal(t, s.acked[""], w.value(""), "region %d", i)
		}
	})
}
