package counter_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/counter"
)

// newSea is three regions that have heard of each other.
func newSea(t *rapid.T) *sea {
	s := &sea{t: t, acked: map[string]int64{}, sealed: map[string]string{}}
	for i, region := range []string{"ord", "hkg", "ams"} {
		s.regions = append(s.regions, newWorld(t, uint64(1000+i), region))
	}
	s.settle()
	return s
}

// same demands that all regions know the same.
func (s *sea) same() {
	s.settle()
	s.settle() // a reset that one told another
	for i, w := range s.regions {
		require.Equal(s.t, s.regions[0].state(), w.state(), "region %d", i)
	}
}

// TestResetsWhileTheyExchange: resets take off what their region knows, in any order, late,
// lost and repeated. In the end all agree, no sealed window has changed, and of what was
// counted after all had heard of the last reset nothing is missing.
func TestResetsWhileTheyExchange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSea(t)
		for range rapid.IntRange(10, 60).Draw(t, "steps") {
			s.step()
			if rapid.IntRange(0, 9).Draw(t, "resets") == 0 {
				s.regions[rapid.IntRange(0, 2).Draw(t, "resetter")].do(reset(rapid.SampledFrom(keys).Draw(t, "reset")))
			}
		}
		s.same()
		for _, key := range keys {
			s.regions[0].do(reset(key))
			require.Zero(t, s.regions[0].value(key), "all that was counted is known here")
			s.regions[1].must(add(key, 3))
		}
		s.same()
		for _, key := range keys {
			require.EqualValues(t, 3, s.regions[2].value(key), "key %q", key)
		}
	})
}

// TestNewLivesWhileTheyExchange: regions lose what they counted since a snapshot and live
// again as others, while messages are late, lost and repeated. All come to the same, nothing
// is counted twice, and at most what nobody else had heard of is missing.
func TestNewLivesWhileTheyExchange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSea(t)
		type saved struct {
			state []byte
			acked map[string]int64 // by its region alone, since then
		}
		old := make([]saved, len(s.regions))
		for i, w := range s.regions {
			old[i] = saved{snapshotOf(t, w.m), map[string]int64{}}
		}
		lost := map[string]int64{}
		for step := range rapid.IntRange(10, 60).Draw(t, "steps") {
			i := rapid.IntRange(0, 2).Draw(t, "region")
			w := s.regions[i]
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				old[i] = saved{snapshotOf(t, w.m), map[string]int64{}}
			case 1:
				w.again(old[i].state, uint64(step+1))
				for key, n := range old[i].acked {
					lost[key] += n
				}
				old[i] = saved{snapshotOf(t, w.m), map[string]int64{}}
			case 2, 3, 4:
				key, amount := rapid.SampledFrom(keys).Draw(t, "key"), rapid.Int64Range(1, 5).Draw(t, "amount")
				w.must(add(key, amount))
				s.acked[key] += amount
				old[i].acked[key] += amount
			default:
				s.sail(i)
			}
		}
		for range 2 {
			s.settle()
			for _, to := range s.regions {
				for _, from := range s.regions {
					if to != from {
						to.relay(from)
					}
				}
			}
		}
		for i, w := range s.regions {
			for key, acked := range s.acked {
				require.Equal(t, s.regions[0].value(key), w.value(key), "key %q in region %d", key, i)
				require.LessOrEqual(t, w.value(key), acked, "key %q", key)
				require.GreaterOrEqual(t, w.value(key), acked-lost[key], "key %q", key)
			}
		}
	})
}

// sail has a region ask another one, or take in what arrives.
func (s *sea) sail(i int) {
	if len(s.afloat) > 0 && rapid.Bool().Draw(s.t, "arrives") {
		at := rapid.IntRange(0, len(s.afloat)-1).Draw(s.t, "which")
		s.regions[s.afloat[at].to].raw(s.afloat[at].message)
		s.afloat = append(s.afloat[:at], s.afloat[at+1:]...)
		return
	}
	from := s.regions[(i+rapid.IntRange(1, 2).Draw(s.t, "from"))%3]
	g, _ := s.regions[i].next(from, rapid.Uint32Range(1, 3).Draw(s.t, "limit"))
	if rapid.Bool().Draw(s.t, "relayed") {
		g, _ = from.export(&counterpb.Export{Relayed: true})
	}
	for range rapid.IntRange(0, 2).Draw(s.t, "copies") {
		s.afloat = append(s.afloat, voyage{i, encode(merge(g))})
	}
}

// again lets a region live again from an old state, in a group of another number.
func (w *world) again(state []byte, generation uint64) {
	region := w.status().GetOrigin().GetRegion()
	w.id += 1000
	w.m = counter.New(statemachines.Group{ID: w.id, Name: "counter/test"})
	require.NoError(w.t, w.m.Restore(bytes.NewReader(state)))
	w.m.Recovered(generation)
	w.must(&counterpb.Command{Op: &counterpb.Command_Settle{Settle: &counterpb.Settle{Region: region}}})
}

// TestStamped: a command has the time of its group's leader and no other, and what cannot be
// read is refused as it was.
func TestStamped(t *testing.T) {
	for _, said := range []uint64{0, 5, 1<<43 - 1} {
		c := add("a", 3)
		c.NowMs = said
		got := &counterpb.Command{}
		require.NoError(t, proto.Unmarshal(counter.Stamped(encode(c), start), got))
		require.EqualValues(t, start, got.GetNowMs())
		require.True(t, proto.Equal(c.GetAdd(), got.GetAdd()))
	}
	w := newWorld(t, 1000, "ord")
	for _, bad := range [][]byte{nil, {0xff}, {0x5a, 1, 1}, {0x0a, 200}, append(encode(add("a", 1)), 0x58), append(encode(add("a", 1)), encode(add("a", 1))...)} {
		require.Equal(t, counterpb.Outcome_OUTCOME_INVALID, w.raw(bad).GetOutcome(), "%x", bad)
		require.Equal(t, counterpb.Outcome_OUTCOME_INVALID, w.raw(counter.Stamped(bad, start)).GetOutcome(), "%x", bad)
	}
}

// TestWhatChangesAgainBetweenPagesIsToldWhole: a page tells of a counter all that its group
// ever changed, also what it changed before pages that the counter was not in.
func TestWhatChangesAgainBetweenPagesIsToldWhole(t *testing.T) {
	ord, hkg, ams := newWorld(t, 1000, "ord"), newWorld(t, 1001, "hkg"), newWorld(t, 1002, "ams")
	ord.must(add("x", 5))
	hkg.pull(ord)
	hkg.must(reset("x")) // of what ord counted
	hkg.must(add("y", 7))
	hkg.must(add("a", 1))
	hkg.must(add("b", 1))
	hkg.must(add("x", 1))
	hkg.must(reset("y"))
	hkg.must(reset("y")) // which changes no slot
	ams.pull(hkg)        // two at a time
	ams.pull(ord)
	for key, want := range map[string]int64{"x": 1, "y": 0, "a": 1, "b": 1} {
		require.True(t, ams.get(key).GetFound(), "key %q", key)
		require.Equal(t, want, ams.value(key), "key %q", key)
	}
}

// TestAResetOfARegionThatIsGoneGetsAround: also what it took off of those that live, and tell
// of themselves.
func TestAResetOfARegionThatIsGoneGetsAround(t *testing.T) {
	ord, hkg, ams := newWorld(t, 1000, "ord"), newWorld(t, 1001, "hkg"), newWorld(t, 1002, "ams")
	ord.must(add("", 5))
	hkg.must(add("", 3))
	for _, from := range []*world{ord, hkg} {
		ams.pull(from)
	}
	ord.pull(hkg)
	hkg.pull(ord)
	ams.must(reset(""))
	hkg.pull(ams) // and nobody hears of ams again
	require.Zero(t, hkg.value(""))
	ask := &counterpb.Export{Relayed: true, Skip: []*counterpb.Origin{ord.status().GetOrigin(), hkg.status().GetOrigin()}}
	g, _ := hkg.export(ask)
	ord.must(merge(g))
	require.Zero(t, ord.value(""))
	ord.must(add("", 1))
	hkg.pull(ord)
	require.EqualValues(t, 1, ord.value(""))
	require.EqualValues(t, 1, hkg.value(""))
	ask.After = g.GetUpto()
	g, _ = hkg.export(ask)
	require.Len(t, g.GetEntries(), 1, "what changed since, of a counter that was reset")
	ask.After = g.GetUpto()
	g, _ = hkg.export(ask)
	require.Empty(t, g.GetEntries(), "and nothing when nothing did")
	ask.After, ask.Skip = 0, append(ask.Skip, ams.status().GetOrigin())
	g, _ = hkg.export(ask)
	require.Empty(t, g.GetEntries(), "nor when all can be asked themselves")
}

// TestAPageFitsIntoACommand: however many windows there are to tell, when a region was cut off
// for long or is new. Otherwise it would be asked for again and again, and never merged.
func TestAPageFitsIntoACommand(t *testing.T) {
	const keys, fits = 600, 1 << 20
	ord, hkg, ams := newWorld(t, 1000, "ord"), newWorld(t, 1001, "hkg"), newWorld(t, 1002, "ams")
	cmds := make([]statemachines.Command, keys)
	for range 130 {
		ord.now += 61_000
		for i := range cmds {
			c := add(fmt.Sprint("key", i), 1_000_000)
			c.NowMs = ord.now
			cmds[i] = statemachines.Command{Version: counter.Version, Data: encode(c)}
		}
		ord.m.Apply(cmds, make([]statemachines.Result, keys))
	}
	pages := 0
	for more := true; more; pages++ {
		var g *counterpb.Merge
		g, more = hkg.next(ord, 0)
		require.Less(t, len(encode(merge(g))), fits)
		hkg.must(merge(g))
	}
	require.Greater(t, pages, 3)
	require.EqualValues(t, keys, hkg.status().GetKeys())
	ask := &counterpb.Export{Relayed: true}
	for more := true; more; {
		a := hkg.query(&counterpb.Query{Op: &counterpb.Query_Export{Export: ask}})
		require.Less(t, len(encode(merge(a.GetExport()))), fits)
		ams.must(merge(a.GetExport()))
		more, ask.AfterKey = a.GetMore(), proto.String(a.GetAfterKey())
	}
	minute := &counterpb.Query{Op: &counterpb.Query_Windows{Windows: &counterpb.Windows{Key: "key7", Resolution: counterpb.Resolution_RESOLUTION_MINUTE}}}
	require.Greater(t, len(ord.query(minute).GetWindows()), 110)
	for _, w := range []*world{hkg, ams} {
		require.EqualValues(t, 130_000_000, w.value("key599"))
		require.Len(t, w.query(minute).GetWindows(), len(ord.query(minute).GetWindows()))
	}
}

// TestMoreWindowsThanTravel: of those that are too many for an entry the finest and oldest stay
// where they were counted.
func TestMoreWindowsThanTravel(t *testing.T) {
	const most = 10_000
	ord, hkg := newWorld(t, 1000, "ord"), newWorld(t, 1001, "hkg")
	for _, w := range []*world{ord, hkg} {
		s := &counterpb.Settings{}
		for r := range counterpb.Resolution(5) {
			s.Keep = append(s.Keep, &counterpb.Keep{Resolution: r + 1, Windows: most})
		}
		w.configure(s)
	}
	for range 12_000 {
		ord.now += 10_000
		ord.must(add("", 1))
	}
	g, _ := hkg.next(ord, 0)
	require.Less(t, len(encode(merge(g))), 1<<20)
	hkg.must(merge(g))
	for r, want := range []int{0, 0, 2000, 34, 2} {
		there, here := len(ord.windows(counterpb.Resolution(r+1))), len(hkg.windows(counterpb.Resolution(r+1)))
		require.LessOrEqual(t, here, there)
		require.GreaterOrEqual(t, here, want, "resolution %d", r+1)
	}
	require.EqualValues(t, 12_000, hkg.value(""))
}
