package counter_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/counter"
)

// keptFor is how long graves are kept in these tests, in milliseconds.
const keptFor = 10_000

func forget(regions ...string) *counterpb.Command {
	return &counterpb.Command{Op: &counterpb.Command_Forget{Forget: &counterpb.Forget{Regions: regions}}}
}

// threeRegions are regions that have heard of each other and forget soon.
func threeRegions(t require.TestingT) []*world {
	var all []*world
	for i, region := range []string{"ord", "hkg", "ams"} {
		w := newWorld(t, uint64(1000+i), region)
		w.configure(&counterpb.Settings{ForgetMs: keptFor})
		all = append(all, w)
	}
	hearAll(all)
	return all
}

// hearAll lets everybody hear from everybody until nothing is new.
func hearAll(all []*world) {
	for range 3 {
		for _, to := range all {
			for _, from := range all {
				if to != from {
					to.pull(from)
				}
			}
		}
	}
}

func pass(all []*world, ms uint64) {
	for _, w := range all {
		w.now += ms
	}
}

func (w *world) keys() uint64 { return w.status().GetKeys() }

func (w *world) forgets() {
	w.must(forget("ord", "hkg", "ams"))
}

// TestForgottenWhenAllHaveHeard: a trace goes when its time is over and all regions have
// told of the delete themselves, not before.
func TestForgottenWhenAllHaveHeard(t *testing.T) {
	all := threeRegions(t)
	ord, hkg, ams := all[0], all[1], all[2]
	ord.must(add("a", 5))
	hearAll(all)
	hkg.must(remove("a"))
	require.EqualValues(t, 1, hkg.status().GetGraves())
	require.Zero(t, hkg.status().GetForgetAtMs(), "nobody has told of it")
	pass(all, keptFor)
	hkg.forgets()
	require.EqualValues(t, 1, hkg.keys())

	ord.pull(hkg)
	ams.pull(hkg)
	hkg.pull(ord)
	hkg.forgets()
	require.EqualValues(t, 1, hkg.keys(), "ams has not told of it")
	hkg.pull(ams)
	require.NotZero(t, hkg.status().GetForgetAtMs())
	require.Equal(t, counterpb.Outcome_OUTCOME_NOT_FOUND, hkg.do(forget("ord", "hkg", "ams", "nrt")).GetOutcome(), "nobody has heard of nrt")
	require.EqualValues(t, 1, hkg.keys())
	hkg.forgets()
	require.Zero(t, hkg.keys())
	require.Zero(t, hkg.status().GetGraves())

	ord.pull(ams)
	ams.pull(ord)
	ord.forgets()
	require.EqualValues(t, 1, ord.keys(), "it is younger there")
	pass(all, keptFor)
	for _, w := range all {
		w.forgets()
		require.Zero(t, w.keys())
		w.reload()
	}
}

// TestCountedAgainWhileOthersRemember: what is counted anew is never taken for what was
// deleted, whoever remembers the delete and whoever does not.
func TestCountedAgainWhileOthersRemember(t *testing.T) {
	all := threeRegions(t)
	ord, hkg, ams := all[0], all[1], all[2]
	for generation := range 3 {
		ord.must(add("a", 5))
		hearAll(all)
		hkg.must(remove("a"))
		hearAll(all)
		pass(all, keptFor)
		ord.forgets()
		require.Zero(t, ord.keys())
		ord.must(add("a", 3)) // forgot
		hkg.must(add("a", 2)) // remembers
		require.EqualValues(t, 3, ord.value("a"))
		require.EqualValues(t, 2, hkg.value("a"))
		ord.relay(ams) // who remembers, too, and tells of it
		require.EqualValues(t, 3, ord.value("a"))
		hearAll(all)
		for _, w := range all {
			require.EqualValues(t, 5, w.value("a"), "generation %d", generation)
			w.reload()
		}
		ams.must(remove("a"))
		hearAll(all)
		for _, w := range all {
			require.False(t, w.get("a").GetFound())
		}
		pass(all, keptFor)
		for _, w := range all {
			w.forgets()
			require.Zero(t, w.keys())
		}
	}
}

// TestAGraveThatNobodyTellsOf: a region that is heard and hears nobody for longer than graves
// are kept has one that the others dropped meanwhile. It stays until the counter is counted on
// and deleted again, which any region may do.
func TestAGraveThatNobodyTellsOf(t *testing.T) {
	all := threeRegions(t)
	ord, hkg, ams := all[0], all[1], all[2]
	ord.must(add("a", 5))
	hearAll(all)
	hkg.must(remove("a"))
	for range 2 { // nobody tells hkg
		ord.pull(hkg)
		ams.pull(hkg)
		ord.pull(ams)
		ams.pull(ord)
	}
	pass(all, keptFor)
	for _, w := range all {
		w.forgets()
	}
	hearAll(all)
	hkg.forgets()
	require.Equal(t, []uint64{0, 1, 0}, []uint64{ord.status().GetGraves(), hkg.status().GetGraves(), ams.status().GetGraves()})
	ord.must(add("a", 1))
	ord.must(remove("a"))
	hearAll(all)
	pass(all, keptFor)
	for _, w := range all {
		w.forgets()
		require.Zero(t, w.keys())
		w.reload()
	}
}

// TestALateMergeBringsNothingBack: one that was under way when all forgot.
func TestALateMergeBringsNothingBack(t *testing.T) {
	all := threeRegions(t)
	ord, hkg := all[0], all[1]
	ord.must(add("a", 5))
	hearAll(all)
	direct, _ := ord.export(&counterpb.Export{})
	relayed, _ := ord.export(&counterpb.Export{Relayed: true})
	require.NotEmpty(t, direct.GetEntries())
	hkg.must(add("a", 1))
	hearAll(all)
	byWay, _ := ord.export(&counterpb.Export{Relayed: true})
	require.NotEmpty(t, byWay.GetEntries())
	hkg.must(remove("a"))
	hearAll(all)
	pass(all, keptFor)
	for _, w := range all {
		w.forgets()
	}
	require.Equal(t, okay, hkg.do(merge(direct)).GetOutcome())
	for _, g := range []*counterpb.Merge{relayed, byWay} {
		require.Equal(t, counterpb.Outcome_OUTCOME_CONFLICT, hkg.do(merge(g)).GetOutcome(), "it is to be asked for again")
	}
	require.Zero(t, hkg.keys())
	require.Zero(t, hkg.value("a"))
	direct.Anew = true // a digest found that something was missing
	hkg.must(merge(direct))
	require.EqualValues(t, 5, hkg.value("a"))
}

// TestARegionThatIsGoneKeepsTraces until it is retired.
func TestARegionThatIsGoneKeepsTraces(t *testing.T) {
	all := threeRegions(t)
	ord, hkg := all[0], all[1]
	ord.must(add("a", 5))
	hearAll(all)
	ord.must(remove("a"))
	hearAll(all[:2])
	pass(all, 100*keptFor)
	hkg.forgets()
	require.EqualValues(t, 1, hkg.keys())
	hkg.must(retire("ams"))
	hkg.must(forget("ord", "hkg"))
	require.Zero(t, hkg.keys())
}

// TestAloneItForgetsByItself: a group that shares its counters with no other.
func TestAloneItForgetsByItself(t *testing.T) {
	w := newWorld(t, 1000, "")
	w.configure(&counterpb.Settings{ForgetMs: keptFor, MaxKeys: 2})
	for range 5 {
		w.must(add("a", 1))
		w.must(add("b", 1))
		w.must(remove("a"))
		w.must(remove("b"))
		require.Equal(t, counterpb.Outcome_OUTCOME_FULL, w.do(add("c", 1)).GetOutcome())
		w.now += keptFor
		w.must(add("a", 7))
		require.EqualValues(t, 7, w.value("a"))
		w.must(remove("a"))
		require.EqualValues(t, 1, w.keys(), "b is forgotten")
		w.reload()
	}
}

// TestTracesOfBeforeAreForgotten: a group of behaviour version 1 forgets nothing, and what
// only a later one understands it refuses. What it kept goes when it is raised.
func TestTracesOfBeforeAreForgotten(t *testing.T) {
	one := func(w *world, c *counterpb.Command) counterpb.Outcome {
		c.NowMs = w.now
		results := make([]statemachines.Result, 1)
		w.m.Apply([]statemachines.Command{{Version: 1, Data: encode(c)}}, results)
		r := &counterpb.Result{}
		require.NoError(t, proto.Unmarshal(results[0].Data, r))
		return r.GetOutcome()
	}
	w := &world{t: t, id: 1000, m: counter.New(statemachines.Group{ID: 1000, Name: "counter/test"}), now: start}
	for _, key := range []string{"b", "a"} {
		require.Equal(t, okay, one(w, add(key, 1)))
		require.Equal(t, okay, one(w, remove(key)))
	}
	invalid := counterpb.Outcome_OUTCOME_INVALID
	require.Equal(t, invalid, one(w, forget()))
	require.Equal(t, invalid, one(w, &counterpb.Command{Op: &counterpb.Command_Configure{Configure: &counterpb.Configure{Revision: 1, Settings: &counterpb.Settings{ForgetMs: keptFor}}}}))
	from := &counterpb.Origin{Region: "lax", Incarnation: 99}
	require.Equal(t, invalid, one(w, merge(&counterpb.Merge{From: from, Entries: []*counterpb.Entry{{Slots: []*counterpb.Slot{{Origin: from, Added: 1, Generation: 1}}}}})))
	w.reload()
	w.configure(&counterpb.Settings{ForgetMs: keptFor})
	w.must(forget())
	require.EqualValues(t, 2, w.keys(), "others have to hear of it first")
	w.reload()
	w.now += keptFor
	w.must(forget())
	require.Zero(t, w.keys())
}

// TestDeletesAndForgetting: regions count, delete and forget while what they tell each other
// is late, lost and repeated. In the end all agree; what is counted after a delete that all
// have heard of is counted, whoever has forgotten it; and nothing is kept for ever.
func TestDeletesAndForgetting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &sea{t: t, acked: map[string]int64{}, sealed: map[string]string{}, regions: threeRegions(t)}
		for range rapid.IntRange(10, 80).Draw(t, "steps") {
			s.deleteStep()
		}
		hearAll(s.regions)
		s.agreed()
		had := map[string]int64{}
		for _, key := range keys {
			had[key] = s.regions[0].value(key)
		}
		pass(s.regions, keptFor)
		for _, w := range s.regions {
			if rapid.Bool().Draw(t, "forgets") {
				w.forgets()
			}
		}
		for _, w := range s.regions {
			for _, key := range keys {
				w.must(add(key, 1))
			}
		}
		hearAll(s.regions)
		s.agreed()
		for _, key := range keys {
			require.Equal(t, had[key]+3, s.regions[0].value(key), "key %q", key)
		}
		for _, key := range keys {
			s.regions[1].must(remove(key))
		}
		hearAll(s.regions)
		pass(s.regions, keptFor)
		for i, w := range s.regions {
			w.forgets()
			require.Zero(t, w.keys(), "region %d", i)
			w.reload()
		}
	})
}

// deleteStep is a step in which counters come and go.
func (s *sea) deleteStep() {
	i := rapid.IntRange(0, 2).Draw(s.t, "region")
	w := s.regions[i]
	key := rapid.SampledFrom(keys).Draw(s.t, "key")
	switch rapid.IntRange(0, 9).Draw(s.t, "what") {
	case 0:
		pass(s.regions, rapid.Uint64Range(1, keptFor).Draw(s.t, "pass"))
	case 1:
		w.forgets()
	case 2:
		w.do(remove(key))
	case 3, 4:
		w.must(add(key, 1))
	case 5, 6, 7:
		from := (i + rapid.IntRange(1, 2).Draw(s.t, "from")) % 3
		g, _ := w.next(s.regions[from], rapid.Uint32Range(1, 9).Draw(s.t, "limit"))
		w.must(merge(g))
		for range rapid.IntRange(0, 2).Draw(s.t, "copies") { // which come late
			s.afloat = append(s.afloat, voyage{i, encode(merge(g))})
		}
	case 8:
		if len(s.afloat) > 0 {
			at := rapid.IntRange(0, len(s.afloat)-1).Draw(s.t, "arrives")
			s.regions[s.afloat[at].to].raw(s.afloat[at].message)
		}
	default:
		w.reload()
	}
}

// agreed sees that all regions have the same counters at the same values.
func (s *sea) agreed() {
	tell := func(w *world) (out string) {
		for _, key := range keys {
			out += fmt.Sprintf("%q %v %d\n", key, w.get(key).GetFound(), w.value(key))
		}
		return out
	}
	for i, w := range s.regions {
		require.Equal(s.t, tell(s.regions[0]), tell(w), "region %d", i)
	}
}
