package change

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/drumline/drumline/drummer/fleet/drummers"
	"github.com/drumline/drumline/drummer/fleet/versions"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

const (
	member  = fleetpb.DrummerState_DRUMMER_STATE_MEMBER
	joining = fleetpb.DrummerState_DRUMMER_STATE_JOINING
	leaving = fleetpb.DrummerState_DRUMMER_STATE_LEAVING
)

// listOf makes drummers with numbers from 1.
func listOf(states ...fleetpb.DrummerState) drummers.List {
	l := drummers.List{Next: uint64(len(states)) + 1}
	for i, s := range states {
		l.All = append(l.All, &fleetpb.Drummer{Number: uint64(i) + 1, HostId: "h", Api: "a", State: s})
	}
	return l
}

// seen are drummers that answer, vote and have caught up.
func seen(numbers ...uint64) map[uint64]Sight {
	m := map[uint64]Sight{}
	for _, n := range numbers {
		m[n] = Sight{Proven: true, Voter: true}
	}
	return m
}

func TestSteps(t *testing.T) {
	three := []uint64{1, 2, 3}
	replacing := listOf(member, member, member, joining)
	replacing.All[3].Replaces = 3
	observer := map[uint64]Sight{1: {Proven: true, Voter: true}, 2: {Voter: true}, 3: {Voter: true}, 4: {}}
	caughtUp := map[uint64]Sight{1: {Proven: true, Voter: true}, 2: {Voter: true}, 4: {Proven: true}}
	unaware := map[uint64]Sight{1: {Proven: true, Voter: true}, 2: {Voter: true}, 4: {Proven: true, Voter: false}}
	for name, c := range map[string]struct {
		scene Scene
		want  Step
	}{
		"a newcomer is no member yet":        {Scene{Self: 1, List: listOf(member, member, member, joining), Voters: three, Seen: seen(1, 2, 3)}, Step{Kind: Observe, Number: 4}},
		"it does not answer":                 {Scene{Self: 1, List: listOf(member, member, member, joining), Voters: three, Observers: []uint64{4}, Seen: seen(1, 2, 3)}, Step{Kind: Wait, Number: 4}},
		"it copies":                          {Scene{Self: 1, List: listOf(member, member, member, joining), Voters: three, Observers: []uint64{4}, Seen: observer}, Step{Kind: Wait, Number: 4}},
		"it has caught up":                   {Scene{Self: 1, List: listOf(member, member, member, joining), Voters: three, Observers: []uint64{4}, Seen: seen(1, 2, 3, 4)}, Step{Kind: Promote, Number: 4}},
		"two of four would not do":           {Scene{Self: 1, List: listOf(member, member, member, joining), Voters: three, Observers: []uint64{4}, Seen: seen(1, 4)}, Step{Kind: Wait, Number: 4}},
		"a dead one is removed first":        {Scene{Self: 1, List: replacing, Voters: three, Observers: []uint64{4}, Seen: caughtUp}, Step{Kind: Remove, Number: 3}},
		"then the record forgets it":         {Scene{Self: 1, List: replacing, Voters: []uint64{1, 2}, Observers: []uint64{4}, Removed: []uint64{3}, Seen: caughtUp}, Step{Kind: Gone, Number: 3}},
		"a live one stays until the vote":    {Scene{Self: 1, List: replacing, Voters: three, Observers: []uint64{4}, Seen: seen(1, 2, 3, 4)}, Step{Kind: Promote, Number: 4}},
		"the newcomer must know of its vote": {Scene{Self: 1, List: replacing, Voters: []uint64{1, 2, 3, 4}, Seen: unaware}, Step{Kind: Wait, Number: 4}},
		"then the old one goes":              {Scene{Self: 1, List: replacing, Voters: []uint64{1, 2, 3, 4}, Seen: seen(1, 2, 3, 4)}, Step{Kind: Remove, Number: 3}},
		"the replaced leader hands over":     {Scene{Self: 3, List: replacing, Voters: []uint64{1, 2, 3, 4}, Seen: seen(1, 2, 3, 4)}, Step{Kind: HandOver, Number: 1}},
		"it votes":                           {Scene{Self: 1, List: listOf(member, member, member, joining), Voters: []uint64{1, 2, 3, 4}, Seen: seen(1, 2, 3, 4)}, Step{Kind: Joined, Number: 4}},
		"its number is spent":                {Scene{Self: 1, List: listOf(member, member, member, joining), Voters: three, Removed: []uint64{4}, Seen: seen(1, 2, 3)}, Step{Kind: Gone, Number: 4}},
		"one leaves":                         {Scene{Self: 1, List: listOf(member, member, leaving), Voters: three, Seen: seen(1, 2)}, Step{Kind: Remove, Number: 3}},
		"the rest would be too few":          {Scene{Self: 1, List: listOf(member, member, leaving), Voters: three, Seen: seen(1, 3)}, Step{Kind: Wait, Number: 3}},
		"one that never came leaves":         {Scene{Self: 1, List: listOf(member, member, member, leaving), Voters: three, Seen: seen(1)}, Step{Kind: Remove, Number: 4}},
		"the leader leaves":                  {Scene{Self: 3, List: listOf(member, member, leaving), Voters: three, Seen: seen(1, 2, 3)}, Step{Kind: HandOver, Number: 1}},
		"the last one stays":                 {Scene{Self: 1, List: listOf(leaving), Voters: []uint64{1}, Seen: seen(1)}, Step{Kind: Wait, Number: 1}},
		"it has left":                        {Scene{Self: 1, List: listOf(member, member, leaving), Voters: []uint64{1, 2}, Removed: []uint64{3}, Seen: seen(1, 2)}, Step{Kind: Gone, Number: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := Next(c.scene)
			require.True(t, ok)
			require.NotEmpty(t, got.Why)
			got.Why = ""
			require.Equal(t, c.want, got)
		})
	}
	_, ok := Next(Scene{Self: 1, List: listOf(member, member, member), Voters: three})
	require.False(t, ok)
}

// town is drummers whose group obeys Raft's rules at once.
type town struct {
	list                       drummers.List
	voters, observers, removed []uint64
	alive                      map[uint64]bool
	leader                     uint64
}

func (w *town) execute(c *fleetpb.Command) *fleetpb.Result {
	next, result, _, _ := w.list.Execute(c, versions.Newest)
	w.list = next
	return result
}

func (w *town) quorum(voters []uint64) bool {
	n := 0
	for _, v := range voters {
		if w.alive[v] {
			n++
		}
	}
	return n > len(voters)/2
}

func (w *town) scene() Scene {
	s := Scene{Self: w.leader, List: w.list, Voters: slices.Clone(w.voters), Observers: w.observers, Removed: w.removed, Seen: map[uint64]Sight{}}
	for _, d := range w.list.All {
		if n := d.GetNumber(); w.alive[n] {
			s.Seen[n] = Sight{Proven: slices.Contains(w.observers, n) || slices.Contains(w.voters, n), Voter: slices.Contains(w.voters, n)}
		}
	}
	return s
}

// obey does a step; it reports what Raft or the record would refuse.
func (w *town) obey(s Step) string {
	drop := func(list []uint64) []uint64 {
		return slices.DeleteFunc(slices.Clone(list), func(n uint64) bool { return n == s.Number })
	}
	switch s.Kind {
	case Observe:
		if slices.Contains(w.removed, s.Number) {
			return "a number is used twice"
		}
		w.observers = append(slices.Clone(w.observers), s.Number)
	case Promote:
		w.observers, w.voters = drop(w.observers), append(slices.Clone(w.voters), s.Number)
	case Remove:
		if s.Number == w.leader {
			return "the leader removes itself"
		}
		w.observers, w.voters, w.removed = drop(w.observers), drop(w.voters), append(slices.Clone(w.removed), s.Number)
	case HandOver:
		if !w.alive[s.Number] || !slices.Contains(w.voters, s.Number) {
			return "a dead drummer is to lead"
		}
		w.leader = s.Number
	case Joined, Gone:
		r := w.execute(&fleetpb.Command{Op: &fleetpb.Command_DrummerSettled{DrummerSettled: &fleetpb.DrummerSettled{Number: s.Number, Gone: s.Kind == Gone}}})
		if r.GetCode() != fleetpb.Code_CODE_OK {
			return r.GetDetail()
		}
	}
	return ""
}

// Whatever people want and whichever drummers die and come back, no step ever takes the
// quorum that answers away, and a change comes to its end once all answer.
func TestTheQuorumIsNeverTakenAway(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{1, 3, 5}).Draw(t, "drummers")
		w := &town{alive: map[uint64]bool{}, leader: 1, list: listOf(slices.Repeat([]fleetpb.DrummerState{member}, size)...)}
		for i, d := range w.list.All {
			d.HostId, d.Name = string(rune('a'+i)), string(rune('a'+i))
			w.voters = append(w.voters, d.GetNumber())
			w.alive[d.GetNumber()] = true
		}
		fresh := 0
		pick := func(list []uint64, label string) uint64 { return rapid.SampledFrom(list).Draw(t, label) }
		step := func() bool {
			if !w.alive[w.leader] || !slices.Contains(w.voters, w.leader) {
				for _, v := range w.voters {
					if w.alive[v] {
						w.leader = v
					}
				}
			}
			if !w.quorum(w.voters) {
				return false
			}
			s, ok := Next(w.scene())
			if !ok {
				return false
			}
			if wrong := w.obey(s); wrong != "" {
				t.Fatalf("%+v: %s", s, wrong)
			}
			if !w.quorum(w.voters) {
				t.Fatalf("%+v takes the quorum away: voters %v, alive %v", s, w.voters, w.alive)
			}
			return s.Kind != Wait
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(*rapid.T) {
				fresh++
				name := "n" + string(rune('a'+fresh%26)) + string(rune('a'+fresh/26))
				d := &fleetpb.Drummer{HostId: name, Name: name, Api: name, Raft: name}
				if rapid.Bool().Draw(t, "replace") {
					d.Replaces = pick(w.voters, "old")
				}
				if r := w.execute(&fleetpb.Command{Op: &fleetpb.Command_AddDrummer{AddDrummer: &fleetpb.AddDrummer{Drummer: d}}}); r.GetCode() == fleetpb.Code_CODE_OK {
					w.alive[r.GetItems()[0].GetId()] = true
				}
			},
			"remove": func(*rapid.T) {
				d := rapid.SampledFrom(w.list.All).Draw(t, "who")
				w.execute(&fleetpb.Command{Op: &fleetpb.Command_RemoveDrummer{RemoveDrummer: &fleetpb.RemoveDrummer{Number: d.GetNumber()}}})
			},
			"die": func(*rapid.T) {
				n := pick(w.voters, "victim")
				w.alive[n] = false
				if !w.quorum(w.voters) { // more than the promise is about
					w.alive[n] = true
				}
			},
			"return": func(*rapid.T) { w.alive[pick(w.voters, "who")] = true },
			"step":   func(*rapid.T) { step() },
		})
		for _, d := range w.list.All {
			w.alive[d.GetNumber()] = true
		}
		for range 20 {
			step()
		}
		if p := w.list.Pending(); p != nil && len(w.voters) > 1 {
			t.Fatalf("%v never ends: %+v", p, w)
		}
		if w.list.Pending() != nil {
			return
		}
		var listed []uint64
		for _, d := range w.list.All {
			listed = append(listed, d.GetNumber())
		}
		if votes := slices.Sorted(slices.Values(w.voters)); !slices.Equal(votes, listed) {
			t.Fatalf("%v vote, and the record lists %v", votes, listed)
		}
	})
}
