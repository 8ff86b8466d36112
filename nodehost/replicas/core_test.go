package replicas

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas/life"
)

const me ids.Host = "host-me"

func testSelf() Self {
	return Self{Host: me, BootEpoch: 3, Batch: 4, ReadyAfter: 10 * time.Second, Apps: func(app string) error {
		if app != "kv" {
			return fmt.Errorf("unknown app %q", app)
		}
		return nil
	}}
}

func key(g, r int) Key { return Key{Group: ids.Group(g), Replica: ids.Replica(r)} }

// world is a Core, what a disk under it holds, and what it asked to be done.
type world struct {
	core *Core
	disk Manifest
	now  time.Duration
	// done is the effects besides Save, in order, as text.
	done  []string
	saves int // commits
	// unloaded are the groups whose last start was to load nothing.
	unloaded map[int]bool
	// program is the version of the next process.
	program string
}

func emptyManifest() Manifest {
	return Manifest{Records: map[Key]Record{}, Tombstones: map[Key]Tombstone{}}
}

func newWorld() *world {
	w := &world{disk: emptyManifest()}
	w.restart()
	return w
}

// restart makes a new Core from the disk, as a new process would.
func (w *world) restart() {
	m := emptyManifest()
	m.Fence, m.Marker = w.disk.Fence, append([]Key(nil), w.disk.Marker...)
	for k, r := range w.disk.Records {
		m.Records[k] = r
	}
	for k, t := range w.disk.Tombstones {
		m.Tombstones[k] = t
	}
	self := testSelf()
	self.Program = w.program
	w.core, w.done, w.unloaded = New(self, m), nil, map[int]bool{}
}

func (w *world) step(events ...Event) *world {
	for _, e := range events {
		effects := w.core.Step(e, w.now)
		saved := false
		for _, f := range effects {
			if s, ok := f.(Save); ok {
				w.disk.apply(s)
				saved = true
				continue
			}
			w.done = append(w.done, describe(f))
			if s, ok := f.(Start); ok {
				w.unloaded[int(s.Record.Group)] = s.Record.Unloaded
			}
		}
		if saved {
			w.saves++
		}
	}
	return w
}

func describe(e Effect) string {
	switch e := e.(type) {
	case Start:
		if e.Again {
			return "start " + e.Record.Key().String() + " again"
		}
		return "start " + e.Record.Key().String()
	case Destroy:
		return "destroy " + e.Key.String()
	case Execute:
		return fmt.Sprintf("execute %d", e.Order.GetId())
	case Answer:
		switch r := e.Result; {
		case r == nil:
			return fmt.Sprintf("drop #%d", e.Token)
		case r.GetOk():
			return fmt.Sprintf("ok %d", r.GetOrder())
		case r.GetRefused():
			return fmt.Sprintf("refused %d: %s", r.GetOrder(), r.GetDetail())
		default:
			return fmt.Sprintf("later %d: %s", r.GetOrder(), r.GetDetail())
		}
	case Changed:
		if e.Gone {
			return "gone " + e.Key.String()
		}
		return ""
	case Go:
		return fmt.Sprintf("go %d", e.Token)
	case Booted:
		return "booted"
	}
	return fmt.Sprintf("%T", e)
}

// take returns what was done since the last take, without the plain changes.
func (w *world) take() []string {
	out := []string{}
	for _, d := range w.done {
		if d != "" {
			out = append(out, d)
		}
	}
	w.done = nil
	return out
}

type orderOpt func(*drummerpb.Order)

func order(id uint64, k Key, opts ...orderOpt) Ordered {
	o := &drummerpb.Order{
		Id: id, Incarnation: 1, Term: 5, HostId: string(me), BootEpoch: 3,
		Group: uint64(k.Group), Replica: uint64(k.Replica), Generation: 10,
	}
	for _, opt := range opts {
		opt(o)
	}
	return Ordered{Token: id, Order: o}
}

func launch(o *drummerpb.Order) {
	o.Body = &drummerpb.Order_Start{Start: &drummerpb.Start{
		Name: "kv/a", App: "kv",
		InitialMembers: map[uint64]string{o.GetReplica(): string(me), 901: "h2", 902: "h3"},
	}}
}

func join(o *drummerpb.Order) {
	o.Body = &drummerpb.Order_Start{Start: &drummerpb.Start{Name: "kv/a", App: "kv", Join: true}}
}

func destroy(o *drummerpb.Order) {
	o.Body = &drummerpb.Order_Destroy{Destroy: &drummerpb.Destroy{}}
}

func seal(o *drummerpb.Order) { o.Body = &drummerpb.Order_Seal{Seal: &drummerpb.Seal{}} }

func generation(n uint64) orderOpt { return func(o *drummerpb.Order) { o.Generation = n } }

func fence(incarnation, term uint64) orderOpt {
	return func(o *drummerpb.Order) { o.Incarnation, o.Term = incarnation, term }
}

func state(t *testing.T, w *world, k Key) string {
	t.Helper()
	l, ok := w.core.Look(k)
	require.True(t, ok)
	return strings.TrimPrefix(l.State.String(), "REPLICA_STATE_")
}

func TestStartIsSavedBeforeItRuns(t *testing.T) {
	w := newWorld().step(Boot{})
	require.Equal(t, []string{"booted"}, w.take())

	effects := w.core.Step(order(1, key(1000, 7), launch), 0)
	_, first := effects[0].(Save)
	require.True(t, first)
	for _, e := range effects {
		if s, ok := e.(Save); ok {
			w.disk.apply(s)
		}
	}
	require.Equal(t, life.Starting, w.disk.Records[key(1000, 7)].Life)
	require.Equal(t, Fence{1, 5}, w.disk.Fence)

	w.step(order(2, key(1000, 7), launch))
	require.Equal(t, []string{"ok 2"}, w.take(), "a second one is done already")
	w.step(Started{Key: key(1000, 7)}, Up{key(1000, 7)})
	require.Equal(t, []string{"ok 1"}, w.take())
	require.Equal(t, life.Running, w.disk.Records[key(1000, 7)].Life)
	require.Equal(t, "OK", state(t, w, key(1000, 7)))
}

func TestOrdersThatAreRefused(t *testing.T) {
	k := key(1000, 7)
	for name, c := range map[string]struct {
		order Ordered
		want  string
	}{
		"another host":     {order(1, k, launch, func(o *drummerpb.Order) { o.HostId = "other" }), `refused 1: the order is for host "other"`},
		"another boot":     {order(1, k, launch, func(o *drummerpb.Order) { o.BootEpoch = 2 }), "refused 1: the order is for boot 2"},
		"older term":       {order(1, k, launch, fence(1, 3)), "refused 1: the order is of incarnation 1 term 3"},
		"older record":     {order(1, k, launch, fence(0, 9)), "refused 1: the order is of incarnation 0 term 9"},
		"older generation": {order(1, key(2000, 1), seal, generation(9)), "refused 1: the order is of generation 9 of group 2000"},
		"buried group":     {order(1, key(3000, 2), join, generation(9)), "refused 1: the order is of generation 9 of group 3000"},
		"no body":          {order(1, k), "refused 1: the order says nothing"},
		"drummers' group":  {order(1, key(1, 7), launch), "refused 1: group 1 replica 7 is no replica of the fleet"},
		"no replica":       {order(1, key(1000, 0), launch), "refused 1: group 1000 replica 0"},
		"unknown app": {order(1, k, launch, func(o *drummerpb.Order) {
			o.GetStart().Name, o.GetStart().App = "zip/a", "zip"
		}), `refused 1: unknown app "zip"`},
		"app is not the name's": {order(1, k, launch, func(o *drummerpb.Order) { o.GetStart().App = "zip" }), `refused 1: group "kv/a" is of app "kv"`},
		"bad name":              {order(1, k, launch, func(o *drummerpb.Order) { o.GetStart().Name = "kv" }), "refused 1: invalid name"},
		"not a member": {order(1, k, launch, func(o *drummerpb.Order) {
			o.GetStart().InitialMembers[7] = "h9"
		}), "refused 1: the initial members do not have replica 7 on this host"},
		"no members": {order(1, k, launch, func(o *drummerpb.Order) { o.GetStart().InitialMembers = nil }), "refused 1: the initial members"},
		"two on one host": {order(1, k, launch, func(o *drummerpb.Order) {
			o.GetStart().InitialMembers[902] = "h2"
		}), "refused 1: initial members 901 and 902 are on the same host"},
		"member without host": {order(1, k, launch, func(o *drummerpb.Order) {
			o.GetStart().InitialMembers[902] = ""
		}), "refused 1: an initial member has no number or no host"},
		"destroyed here": {order(1, key(3000, 1), join), "refused 1: replica 3000.1 was destroyed here"},
		"group is here":  {order(1, key(2000, 2), join), "later 1: replica 2000.1 of the same group is still here"},
		"not here":       {order(1, k, seal), "later 1: replica 1000.7 is not here"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.disk.Fence = Fence{1, 4}
			w.disk.Records[key(2000, 1)] = Record{Group: 2000, Replica: 1, Name: "kv/b", Life: life.Running, Generation: 10}
			w.disk.Tombstones[key(3000, 1)] = Tombstone{Group: 3000, Replica: 1, Generation: 10, Sequence: 1}
			before := len(w.disk.Records)
			w.restart()
			w.step(c.order)
			got := w.take()
			require.Len(t, got, 1)
			require.True(t, strings.HasPrefix(got[0], c.want), "got %q", got[0])
			require.Len(t, w.disk.Records, before, "a refused order changes nothing")
		})
	}
}

func TestFenceSurvivesARestart(t *testing.T) {
	w := newWorld().step(Boot{}, order(1, key(1000, 7), launch, fence(2, 1)))
	w.restart()
	w.step(Boot{}, order(2, key(1001, 8), launch, fence(1, 99)))
	require.Contains(t, w.take()[1], "refused 2: the order is of incarnation 1")
	w.step(Welcomed{Fence{2, 7}, nil}, order(3, key(1001, 8), launch, fence(2, 6)))
	require.Contains(t, w.take()[0], "refused 3", "a welcome of a newer term deposes the older one")
}

func TestDestroyLeavesNothingButATombstone(t *testing.T) {
	k := key(1000, 7)
	w := newWorld().step(Boot{}, order(1, k, launch), Started{Key: k}, Up{k})
	w.take()
	w.step(order(2, k, destroy))
	require.Equal(t, []string{"destroy 1000.7"}, w.take())
	require.Equal(t, life.Destroying, w.disk.Records[k].Life)
	require.Equal(t, "REMOVING", state(t, w, k))

	w.step(order(3, k, launch), order(4, k, seal))
	got := w.take()
	require.Contains(t, got[0], "refused 3")
	require.Contains(t, got[1], "refused 4")

	// the process dies in the middle
	w.restart()
	w.step(Boot{})
	require.Equal(t, []string{"destroy 1000.7", "booted"}, w.take())
	w.step(Destroyed{Key: k, Err: "busy"})
	w.now += time.Second
	w.step(Tick{})
	require.Equal(t, []string{"destroy 1000.7"}, w.take())
	w.step(order(5, k, destroy), Destroyed{Key: k})
	require.Equal(t, []string{"ok 5", "gone 1000.7"}, w.take())
	require.Empty(t, w.disk.Records)

	w.restart()
	w.step(Boot{}, order(6, k, launch))
	require.Contains(t, w.take()[1], "refused 6: replica 1000.7 was destroyed here")
	w.step(order(7, key(1000, 8), join, generation(11)))
	require.Equal(t, []string{"start 1000.8"}, w.take(), "another replica of the group may come")
}

func TestDestroyBeforeItsStartArrives(t *testing.T) {
	k := key(1000, 7)
	w := newWorld().step(Boot{}, order(1, k, destroy), order(2, k, destroy), order(3, k, launch))
	got := w.take()
	require.Equal(t, []string{"booted", "ok 1", "gone 1000.7", "ok 2", "gone 1000.7"}, got[:5])
	require.Contains(t, got[5], "refused 3")
}

func TestDestroyWaitsForAStartUnderWay(t *testing.T) {
	k := key(1000, 7)
	w := newWorld().step(Boot{}, order(1, k, launch), order(2, k, destroy))
	require.Equal(t, []string{"booted", "start 1000.7"}, w.take())
	w.step(Up{k}, Started{Key: k})
	require.Equal(t, []string{"later 1: ", "destroy 1000.7"}, w.take())
	w.step(Destroyed{Key: k})
	require.Equal(t, []string{"ok 2", "gone 1000.7"}, w.take())
}

func TestFailedStartIsTriedAgain(t *testing.T) {
	k := key(1000, 7)
	w := newWorld().step(Boot{}, order(1, k, launch), Started{Key: k, Err: "no space"})
	require.Equal(t, []string{"booted", "start 1000.7", "later 1: no space"}, w.take())
	require.Equal(t, "DOWN", state(t, w, k))
	var pauses []time.Duration
	for range 7 {
		begun := w.now
		for len(w.step(Tick{}).take()) == 0 {
			w.now += 500 * time.Millisecond
		}
		pauses = append(pauses, w.now-begun)
		w.step(Started{Key: k, Err: "no space"})
	}
	require.Equal(t, []time.Duration{1e9, 2e9, 4e9, 8e9, 16e9, 30e9, 30e9}, pauses)
}

func TestOneOrderAtATimeForAGroup(t *testing.T) {
	k := key(1000, 7)
	w := newWorld().step(Boot{}, order(1, k, launch), Started{Key: k}, Up{k})
	w.take()
	two := order(2, k, seal)
	w.step(two, Ordered{9, two.Order}, order(3, k, seal))
	require.Equal(t, []string{"execute 2", "drop #9", "later 3: order 2 of this group is being obeyed"}, w.take())
	w.step(Executed{2, two.Order, &drummerpb.OrderResult{Order: 2, Ok: true}}, order(4, k, seal, generation(12)))
	require.Equal(t, []string{"ok 2", "execute 4"}, w.take())
	require.Equal(t, uint64(12), w.disk.Records[k].Generation)
}

func TestAReplicaThatStoppedByItselfStaysDown(t *testing.T) {
	k := key(1000, 7)
	w := newWorld().step(Boot{}, order(1, k, launch), Started{Key: k}, Up{k}, Fell{k})
	w.take()
	require.Equal(t, "DOWN", state(t, w, k))
	w.now += time.Hour
	require.Empty(t, w.step(Tick{}).take())
}

// manifestOf has replicas 1000.1, 1001.1 … all running.
func manifestOf(n int) *world {
	w := newWorld()
	for i := range n {
		k := key(1000+i, 1)
		w.disk.Records[k] = Record{Group: k.Group, Replica: k.Replica, Name: "kv/a", Life: life.Running}
	}
	w.restart()
	return w
}

func TestBootStartsThroughAWindowBehindTheMarker(t *testing.T) {
	w := manifestOf(6)
	require.Equal(t, Progress{}, w.core.Progress())
	w.step(Boot{})
	require.Equal(t, []string{"start 1000.1", "start 1001.1", "start 1002.1", "start 1003.1"}, w.take())
	require.Len(t, w.disk.Marker, 4)
	require.Equal(t, Progress{Begun: true, Total: 6}, w.core.Progress())
	w.step(Started{Key: key(1000, 1)}, Up{key(1000, 1)})
	require.Empty(t, w.take(), "more than half of the window is taken")
	w.step(Started{Key: key(1002, 1)}, Up{key(1002, 1)})
	require.Equal(t, []string{"start 1004.1", "start 1005.1"}, w.take())
	require.Equal(t, []Key{key(1001, 1), key(1003, 1), key(1004, 1), key(1005, 1)}, w.disk.Marker)
	require.Equal(t, Progress{Begun: true, Total: 6, Through: 2}, w.core.Progress())
	w.step(Started{Key: key(1004, 1), Err: "broken"}, Up{key(1005, 1)}, Started{Key: key(1005, 1)})
	w.step(Up{key(1001, 1)})
	require.Empty(t, w.take())
	w.step(Up{key(1003, 1)})
	require.Equal(t, []string{"booted"}, w.take())
	require.Empty(t, w.disk.Marker)
	require.Equal(t, 3, w.saves, "one commit for half a window and one at the end")
	require.Equal(t, "DOWN", state(t, w, key(1004, 1)))
	require.Equal(t, Progress{Begun: true, Done: true, Total: 6, Through: 6}, w.core.Progress())
}

// What was unloaded stays so over a restart, costs no commit, and one that may have
// ended the process is loaded, alone.
func TestWhatSleptIsNotLoadedAtBoot(t *testing.T) {
	asleep := func(self Self) *world {
		w := manifestOf(7)
		for i := range 7 {
			w.step(Boot{}, Started{Key: key(1000+i, 1)}, Up{key(1000+i, 1)})
		}
		for i := range 6 {
			w.step(Slept{key(1000+i, 1), true})
		}
		bad := w.disk.Records[key(1005, 1)]
		bad.Suspect = true
		w.disk.Records[key(1005, 1)] = bad
		w.core, w.done, w.saves = New(self, w.disk), nil, 0
		return w
	}
	self := testSelf()
	self.Unloads = true
	w := asleep(self).step(Boot{})
	require.Equal(t, []Key(nil), w.disk.Marker)
	for i := range 5 {
		w.step(Started{Key: key(1000+i, 1)}, Up{key(1000+i, 1)})
	}
	require.Equal(t, []Key{key(1006, 1)}, w.disk.Marker)
	w.step(Started{Key: key(1006, 1)}, Up{key(1006, 1)})
	require.Equal(t, []Key{key(1005, 1)}, w.disk.Marker)
	require.False(t, w.unloaded[1005])
	require.True(t, w.unloaded[1004])
	w.step(Started{Key: key(1005, 1)}, Up{key(1005, 1)})
	require.Contains(t, w.take(), "booted")
	require.Equal(t, 3, w.saves, "one for each that was loaded, and the end")
	require.False(t, w.disk.Records[key(1005, 1)].Unloaded)
	require.True(t, w.disk.Records[key(1000, 1)].Unloaded)

	w.step(Slept{key(1000, 1), false})
	require.False(t, w.disk.Records[key(1000, 1)].Unloaded)
	w.step(Slept{key(1000, 1), false}, Slept{key(2000, 1), true})
	require.Empty(t, w.take(), "no news")

	w = asleep(testSelf()).step(Boot{}) // of a host that unloads nothing any more
	require.Len(t, w.disk.Marker, 4)
	require.NotContains(t, slices.Collect(maps.Values(w.unloaded)), true)
}

func TestAReplicaThatKillsTheProcessIsKeptDown(t *testing.T) {
	w := manifestOf(6)
	bad := key(1002, 1)
	run := func() (crashed bool) {
		w.restart()
		for queue := []Event{Boot{}}; len(queue) > 0; queue = queue[1:] {
			w.step(queue[0])
			for _, d := range w.take() {
				var k Key
				if n, _ := fmt.Sscanf(d, "start %d.%d", &k.Group, &k.Replica); n != 2 {
					continue
				}
				if k == bad {
					return true
				}
				queue = append(queue, Started{Key: k}, Up{k})
			}
		}
		return false
	}
	crashes := 0
	for run() {
		crashes++
		require.Less(t, crashes, 10)
	}
	require.Equal(t, 3, crashes, "once in a batch, twice alone")
	for _, k := range w.core.Keys() {
		want := "OK"
		if k == bad {
			want = "DOWN"
		}
		require.Equal(t, want, state(t, w, k), k)
	}
	l, _ := w.core.Look(bad)
	require.Contains(t, l.Detail, "kept down")
	require.False(t, w.disk.Records[key(1000, 1)].Suspect, "the others are cleared")
	w.step(order(1, bad, destroy), Destroyed{Key: bad})
	require.Equal(t, []string{"destroy 1002.1", "ok 1", "gone 1002.1"}, w.take())
}

// A damaged replica that sleeps ends the process when it is used. Nobody else has to use
// it again to find that out.
func TestASleeperThatKillsTheProcessIsKeptDown(t *testing.T) {
	w := manifestOf(3)
	self := testSelf()
	self.Unloads = true
	restart := func() {
		w.restart()
		w.core = New(self, w.disk)
		w.step(Boot{}, Started{Key: key(1000, 1)}, Up{key(1000, 1)}, Started{Key: key(1002, 1)}, Up{key(1002, 1)})
	}
	restart()
	bad := key(1001, 1)
	for i := range 3 {
		w.step(Started{Key: key(1000+i, 1)}, Up{key(1000+i, 1)}, Slept{key(1000+i, 1), true})
	}
	w.take()
	w.step(Loads{Key: key(1000, 1), Token: 7})
	require.Equal(t, []string{"go 7"}, w.take())
	require.True(t, w.disk.Records[key(1000, 1)].Suspect)
	w.step(Slept{key(1000, 1), false}, Up{key(1000, 1)}, Up{key(1000, 1)})
	require.False(t, w.disk.Records[key(1000, 1)].Suspect, "it is up")
	w.step(Loads{Key: key(9000, 1), Token: 8}, Loads{Key: bad, Token: 9})
	require.Equal(t, []string{"go 8", "go 9"}, w.take())
	for range 2 { // the loading ends the process, and each start does
		restart()
		require.Equal(t, []Key{bad}, w.disk.Marker)
		require.False(t, w.unloaded[1001], "it is loaded to find out")
	}
	restart()
	l, _ := w.core.Look(bad)
	require.True(t, l.KeptDown)
	require.Equal(t, "OK", state(t, w, key(1002, 1)))
}

func TestALateReplicaKeepsNobodyDown(t *testing.T) {
	w := manifestOf(6).step(Boot{})
	w.step(Started{Key: key(1000, 1)}, Up{key(1000, 1)})
	w.take()
	w.now += 10 * time.Second
	w.step(Tick{})
	require.Equal(t, []string{"start 1004.1", "start 1005.1"}, w.take())
	require.Equal(t, "STARTING", state(t, w, key(1003, 1)))
}

func TestAnOrderedStartThatWasCutShortStartsAlone(t *testing.T) {
	w := manifestOf(3)
	r := w.disk.Records[key(1000, 1)]
	r.Life = life.Starting
	w.disk.Records[key(1000, 1)] = r
	w.restart()
	w.step(Boot{})
	require.Equal(t, []string{"start 1001.1", "start 1002.1"}, w.take())
	for i := 1; i < 3; i++ {
		w.step(Started{Key: key(1000+i, 1)}, Up{key(1000+i, 1)})
	}
	require.Equal(t, []string{"start 1000.1"}, w.take())
	require.Equal(t, []Key{key(1000, 1)}, w.disk.Marker)
}

func TestTombstonesAreBounded(t *testing.T) {
	self := testSelf()
	self.Tombstones = 3
	w := newWorld()
	w.core = New(self, emptyManifest())
	for i := range 5 {
		w.step(order(uint64(i+1), key(1000+i, 1), destroy))
	}
	require.Len(t, w.disk.Tombstones, 3)
	require.Contains(t, w.disk.Tombstones, key(1004, 1))
	require.NotContains(t, w.disk.Tombstones, key(1001, 1))
}

// apply is what the disk does with a Save.
func (m *Manifest) apply(s Save) {
	switch {
	case s.Record != nil:
		m.Records[s.Record.Key()] = *s.Record
	case s.Drop != nil:
		delete(m.Records, *s.Drop)
	case s.Tombstone != nil:
		m.Tombstones[s.Tombstone.Key()] = *s.Tombstone
	case s.Forget != nil:
		delete(m.Tombstones, *s.Forget)
	case s.Fence != nil:
		m.Fence = *s.Fence
	case s.Marker != nil:
		m.Marker = append([]Key(nil), *s.Marker...)
	}
}
