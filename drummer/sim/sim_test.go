package sim

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/drummer/sim/cover"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(1500)
	goleak.VerifyTestMain(m)
}

// schedules of the quick tests. make sim runs fifty times as many.
const schedules = 2000

// TestSchedules is the promise of the whole supervisor: no schedule breaks any of what
// check.go and settle.go demand.
func TestSchedules(t *testing.T) {
	t.Parallel()
	covered, faults := cover.Table{}, 0
	var bad []*Outcome
	take := func(o *Outcome) bool {
		covered.Add(o.Coverage)
		faults += o.Setup.Faults
		if len(o.Violations) > 0 {
			bad = append(bad, o)
		}
		return len(bad) < 3
	}
	Many(Setup{Seed: 1, Blows: -1}, schedules*7/10/slower, runtime.GOMAXPROCS(0), take)
	Many(Setup{Seed: 2001}, schedules*3/10/slower, runtime.GOMAXPROCS(0), take)
	t.Log("\n" + covered.Summary(Kinds()))
	for _, o := range bad {
		short := Shrink(o.Setup, 100)
		t.Errorf("seed %d: %s\nshortest: %s\n%s", o.Setup.Seed, o.Violations[0], short.Setup.Command(), strings.Join(short.Violations, "\n"))
	}
	require.GreaterOrEqual(t, faults, 10*schedules/slower)
	require.Empty(t, covered.Strange(Kinds()), "rows that cannot be")
	if slower == 1 { // a few dozen schedules need not reach every row
		require.Empty(t, covered.Empty(Kinds()), "rows that no schedule reached")
	}
}

// What schedules found, shrunk. Each was a bug of the real code, or of the simulator.
func TestFoundBefore(t *testing.T) {
	t.Parallel()
	for what, s := range map[string]Setup{
		"an old change order that ran out let a second one go beside a newer":    {Seed: 1014, Hosts: 7, Groups: 60, Faults: 18, Wishes: -1, Blows: -1, Keep: []int{0, 1, 2, 3, 4}},
		"a drummer that never learnt that it leads no more proposed for ever":    {Seed: 1142, Hosts: 4, Groups: 1, Faults: 10, Wishes: -1, Blows: -1, Keep: []int{1, 3, 4}},
		"an observer was taken back while a voter was away, which is no danger":  {Seed: 86, Wishes: -1, Blows: -1},
		"replicas without data were told to stop for ever, though they cannot":   {Seed: 147, Hosts: 6, Groups: 1, Faults: 15, Wishes: -1, Blows: 3, Keep: []int{15}},
		"a disk was destroyed just behind the decision to remove another voter":  {Seed: 1525, Wishes: -1, Blows: -1},
		"a host that flapped kept a replica of a group without a quorum down":    {Seed: 322332, Hosts: 10, Groups: 1, Faults: 13, Wishes: 1, Blows: 3, Keep: []int{2, 15}},
		"a replica that is kept down was replaced, and its host was gone again":  {Seed: 321655, Hosts: 7, Groups: 28, Faults: 23, Wishes: 12, Blows: 3, Keep: []int{0, 2, 3, 5, 6, 18, 21, 22, 25, 33, 34, 35, 36}},
		"a drained host was replaced under its name, its drain never ended":      {Seed: 321605, Hosts: 9, Groups: 2, Faults: 23, Wishes: 11, Blows: 3, Keep: []int{3, 6, 30, 36}},
		"the last source of a recovery was kept down, and retired without data":  {Seed: 322897, Hosts: 3, Groups: 2, Faults: 16, Wishes: 9, Blows: 3, Keep: []int{6, 8, 9, 25, 26, 27}},
		"a leader that was deposed without knowing it led for ever in its eyes":  {Seed: 312267, Hosts: 5, Groups: 19, Faults: 17, Wishes: 10, Blows: 4, Keep: []int{0, 1, 2, 3, 5, 6, 29}},
		"a proof that lay half a minute on its way let another voter be removed": {Seed: 16093, Hosts: 5, Groups: 2, Faults: 18, Wishes: 10, Blows: 1, Keep: []int{3, 7, 9, 23}},
		"a host that stood still restarted a voter by a tuning from before that": {Seed: 9026, Hosts: 3, Groups: 6, Faults: 17, Wishes: 9, Blows: -1, Keep: []int{12, 15, 17, 23}},
		"a host that stood still removed a voter by an order from before that":   {Seed: 13123, Hosts: 3, Groups: 6, Faults: 16, Wishes: 6, Blows: -1, Keep: []int{0, 1, 2, 3, 4, 20}},
		"whom a newcomer replaced was gone, and the newcomer was to leave again": {Seed: 34382, Hosts: 5, Groups: 2, Faults: 24, Wishes: 6, Blows: 3, Keep: []int{17, 18, 25, 28, 29, 30, 31, 32}},
		"a vote that the record had not heard of was counted as being built":     {Seed: 37521, Hosts: 8, Groups: 24, Faults: 24, Wishes: 5, Blows: -1, Keep: []int{0, 2, 3, 4}},
		"a newcomer whose data was destroyed was counted as being built":         {Seed: 22464, Hosts: 4, Groups: 48, Faults: 24, Wishes: 12, Blows: 3, Keep: []int{0, 1, 2, 3, 4, 5, 29, 36, 38}},
		"a host stood still between an order and the change that it asked for":   {Seed: 62419, Hosts: 4, Groups: 28, Faults: 17, Wishes: 1, Blows: 2, Keep: []int{0, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 15, 19}},
		"what was committed leapt ahead of a slow disk that was up to date":      {Seed: 86665, Hosts: 8, Groups: 25, Faults: 15, Wishes: 9, Blows: -1, Keep: []int{0, 2, 4, 5, 18}},
		"the copy was lost that a recovered group was to be loaded from":         {Seed: 54852, Hosts: 5, Groups: 23, Faults: 10, Wishes: 10, Blows: 3, Keep: []int{1, 2, 3, 4, 10, 12, 13, 17, 18, 19, 20, 21}},
		"a leader did not know of the second vote, which was lost at once":       {Seed: 61085, Hosts: 3, Groups: 1, Faults: 17, Wishes: 11, Blows: -1, Keep: []int{0, 1, 2, 3, 4, 24}},
		"a newcomer's disk was lost between its vote and the end of its join":    {Seed: 82054, Hosts: 7, Groups: 3, Faults: 16, Wishes: 12, Blows: 3, Keep: []int{1, 2, 3, 5, 6, 7, 9, 10, 11, 12, 14, 15, 21, 22, 23, 25, 26, 28, 29, 30}},
		"a group that was being removed had a replica restarted":                 {Seed: 39298, Hosts: 12, Groups: 2, Faults: 17, Wishes: 8, Blows: -1, Keep: []int{0, 1, 2, 6, 7, 8, 24}},
		"a host that stood still answered an order that it heard a second time":  {Seed: 201327, Hosts: 6, Groups: 4, Faults: 11, Wishes: 11, Blows: -1, Errands: 6, Keep: []int{0, 1, 2, 3, 4, 6, 12, 14, 17, 22, 23, 24, 25, 26}},
	} {
		s.Errands = or(s.Errands, -1)
		require.Empty(t, Run(s).Violations, what)
	}
}

func TestSameSeedSameHistory(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 8; seed++ {
		a, b := Run(Setup{Seed: seed}), Run(Setup{Seed: seed, Story: seed%4 == 0})
		require.Equal(t, a.Hash, b.Hash, "seed %d", seed)
		require.Equal(t, a.Steps, b.Steps)
		require.NotEqual(t, a.Hash, Run(Setup{Seed: seed + 1}).Hash)
	}
}

// A run that breaks a promise is shrunk to one that still does, and says how to see it.
func TestShrink(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	broken := func(s Setup) *Outcome { // whenever fault 7 strikes five hosts or more
		n.Add(1)
		o := &Outcome{Setup: s, Faults: make([]Fault, 12)}
		o.Setup.Hosts, o.Setup.Groups, o.Setup.Faults = or(s.Hosts, 9), or(s.Groups, 30), 12
		for i := range o.Faults {
			if (s.Keep == nil || contains(s.Keep, i)) && i == 7 && o.Setup.Hosts >= 5 {
				o.Violations = []string{"broken"}
			}
		}
		return o
	}
	o := shrink(Setup{Seed: 4}, 100, broken)
	require.Equal(t, []string{"broken"}, o.Violations)
	require.Equal(t, []int{7}, o.Setup.Keep)
	require.Equal(t, 5, o.Setup.Hosts)
	require.Equal(t, 1, o.Setup.Groups)
	require.Equal(t, "drummer-cmd simulate --seed 4 --schedules 1 --hosts 5 --groups 1 --faults 12 --wishes=-1 --blows=-1 --errands=-1 --keep 7", o.Setup.Command())
	require.LessOrEqual(t, n.Load(), int64(101))
	require.Empty(t, shrink(Setup{Seed: 4, Keep: []int{1}}, 100, broken).Violations, "nothing to shrink")
}

func contains(list []int, n int) bool {
	return strings.Contains(fmt.Sprint(list), fmt.Sprint(n))
}

// Each kind of fault does something, and what it does can be ended.
func TestEveryKindOfFault(t *testing.T) {
	t.Parallel()
	for _, k := range Kinds() {
		t.Run(k, func(t *testing.T) {
			w := newCluster(3, 5)
			w.create(spec("kv/a", 3), spec("kv/b", 3))
			w.rest(t)
			before := w.Book.Hash
			for pick := uint64(0); pick < 4; pick++ {
				w.hit(Fault{Kind: k, Pick: pick*64 + pick, For: w.DownAfter * 2})
				w.Run(w.Virtual()+w.DownAfter*3, nil)
			}
			require.NotEqual(t, before, w.Book.Hash)
			w.heal()
			w.converge()
			require.Empty(t, w.Book.Violations)
		})
	}
}
