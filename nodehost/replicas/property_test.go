package replicas

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas/life"
)

// machine is a host in virtual time: a Core, a disk that commits or loses a turn
// as a whole, and a raft whose starts and destructions end, fail or are cut off by
// a crash, in any order.
type machine struct {
	t    *rapid.T
	core *Core
	disk Manifest
	now  time.Duration
	next uint64
	// work is the Start and Destroy effects under way.
	work []Effect
	// executing is the Execute effects under way.
	executing []Execute
	// data is what raft has on disk; burnt is what was destroyed.
	data, burnt map[Key]bool
	running     map[Key]bool
	// obeyed is the newest fence that anything was done for, generations by group.
	obeyed      Fence
	generations map[ids.Group]uint64
	orders      map[uint64]*drummerpb.Order
	booted      bool
}

func newMachine(t *rapid.T) *machine {
	m := &machine{
		t: t, disk: emptyManifest(), data: map[Key]bool{}, burnt: map[Key]bool{},
		generations: map[ids.Group]uint64{}, orders: map[uint64]*drummerpb.Order{},
	}
	m.restart()
	return m
}

func (m *machine) restart() {
	w := world{disk: m.disk}
	w.restart()
	m.core, m.work, m.executing, m.booted = w.core, nil, nil, false
	m.running = map[Key]bool{}
}

// step commits and performs, or crashes before the commit or between it and the rest.
func (m *machine) step(e Event) {
	effects := m.core.Step(e, m.now)
	crash := rapid.IntRange(0, 40).Draw(m.t, "crash")
	if crash == 0 {
		m.restart()
		return
	}
	for _, f := range effects {
		if s, ok := f.(Save); ok {
			m.disk.apply(s)
		}
	}
	if crash == 1 {
		m.restart()
		return
	}
	for _, f := range effects {
		m.perform(f)
	}
}

func (m *machine) perform(f Effect) {
	switch f := f.(type) {
	case Start:
		m.checkStart(f.Record.Key())
		m.work = append(m.work, f)
	case Destroy:
		require.Equal(m.t, life.Destroying, m.disk.Records[f.Key].Life)
		require.NotContains(m.t, m.work, f, "two destructions at once")
		m.work = append(m.work, f)
	case Retire:
		require.Equal(m.t, life.Retiring, m.disk.Records[f.Key].Life)
		m.work = append(m.work, f)
	case Execute:
		m.obey(f.Order)
		require.False(m.t, slices.ContainsFunc(m.executing, func(x Execute) bool { return x.Order.GetGroup() == f.Order.GetGroup() }))
		m.executing = append(m.executing, f)
	case Answer:
		if f.Result.GetOk() && f.Result.GetOrder() == m.next { // not one that waited
			m.obey(m.orders[f.Result.GetOrder()])
		}
	case Changed:
		if f.Gone {
			require.NotContains(m.t, m.disk.Records, f.Key, "gone is said only of what is gone")
			require.False(m.t, m.data[f.Key])
		}
	case Booted:
		require.False(m.t, m.booted, "the boot ends once")
		m.booted = true
	}
}

// checkStart is the safety of the room.
func (m *machine) checkStart(k Key) {
	r, ok := m.disk.Records[k]
	require.True(m.t, ok, "started without a record: %s", k)
	require.NotEqual(m.t, life.Destroying, r.Life)
	require.NotEqual(m.t, life.Retired, r.Life, "a retired replica is started")
	require.False(m.t, m.burnt[k], "a destroyed replica is started: %s", k)
	for other := range m.data {
		require.False(m.t, other.Group == k.Group && other != k, "%s starts beside the data of %s", k, other)
	}
	for _, w := range m.work {
		s, starts := w.(Start)
		require.False(m.t, starts && s.Record.Key() == k, "two starts of %s at once", k)
	}
}

func (m *machine) obey(o *drummerpb.Order) {
	f, g := Fence{o.GetIncarnation(), o.GetTerm()}, ids.Group(o.GetGroup())
	require.False(m.t, f.Before(m.obeyed), "an order of %v is obeyed after one of %v", f, m.obeyed)
	require.GreaterOrEqual(m.t, o.GetGeneration(), m.generations[g], "an older generation is obeyed")
}

// noteObeyed raises the bar, for an order whose obedience was committed.
func (m *machine) noteObeyed() {
	m.obeyed = m.disk.Fence
	for _, r := range m.disk.Records {
		m.generations[r.Group] = max(m.generations[r.Group], r.Generation)
	}
	for _, t := range m.disk.Tombstones {
		m.generations[t.Group] = max(m.generations[t.Group], t.Generation)
	}
}

func (m *machine) order(t *rapid.T) {
	m.next++
	k := key(1000+rapid.IntRange(0, 2).Draw(t, "group"), rapid.IntRange(1, 4).Draw(t, "replica"))
	body := rapid.SampledFrom([]orderOpt{launch, join, destroy, destroy, seal, retire}).Draw(t, "body")
	// mostly the newest, or hardly any order would be obeyed
	f := rapid.SampledFrom([]Fence{{1, 1}, {1, 2}, {2, 1}, {2, 4}, {2, 4}, {2, 4}, {2, 4}}).Draw(t, "fence")
	g := rapid.SampledFrom([]uint64{1, 2, 5, 5, 5, 5}).Draw(t, "generation")
	e := order(m.next, k, generation(g), fence(f.Incarnation, f.Term), body)
	m.orders[m.next] = e.Order
	m.step(e)
}

// finish ends one effect under way, well or badly.
func (m *machine) finish(t *rapid.T) {
	if len(m.work) == 0 {
		t.Skip("nothing under way")
	}
	i := rapid.IntRange(0, len(m.work)-1).Draw(t, "which")
	f := m.work[i]
	m.work = slices.Delete(m.work, i, i+1)
	fails := rapid.IntRange(0, 3).Draw(t, "fails") == 0
	switch f := f.(type) {
	case Start:
		k := f.Record.Key()
		m.data[k] = true // also a failed start may leave some
		if fails {
			m.step(Started{k, "failed"})
			return
		}
		m.running[k] = true
		m.step(Started{Key: k})
	case Retire:
		if fails {
			m.step(RetireEnded{Key: f.Key, Err: "failed"})
			return
		}
		require.True(m.t, m.running[f.Key], "what is retired runs")
		delete(m.running, f.Key)
		m.step(RetireEnded{Key: f.Key, Applied: 3})
	case Destroy:
		if fails {
			m.step(Destroyed{f.Key, "failed"})
			return
		}
		delete(m.data, f.Key)
		delete(m.running, f.Key)
		m.burnt[f.Key] = true
		m.step(Destroyed{Key: f.Key})
	}
}

func (m *machine) ready(t *rapid.T) {
	for _, k := range m.core.Keys() {
		if m.running[k] && rapid.Bool().Draw(t, "ready") {
			m.step(Up{k})
			return
		}
	}
	t.Skip("nothing runs")
}

func (m *machine) execute(t *rapid.T) {
	if len(m.executing) == 0 {
		t.Skip("nothing executes")
	}
	x := m.executing[0]
	m.executing = m.executing[1:]
	m.step(Executed{x.Token, x.Order, &drummerpb.OrderResult{Order: x.Order.GetId()}})
}

// check is what holds between any two steps.
func (m *machine) check(*rapid.T) {
	m.noteObeyed()
	groups := map[ids.Group]Key{}
	for k := range m.disk.Records {
		other, twice := groups[k.Group]
		require.False(m.t, twice, "two replicas of a group in the manifest: %s and %s", k, other)
		groups[k.Group] = k
	}
	for k := range m.data {
		require.Contains(m.t, m.disk.Records, k, "data without a record")
	}
}

// settle lets everything go well, and looks whether the host gets where it should.
func (m *machine) settle() {
	m.restart()
	events := []Event{Boot{}}
	for round := 0; len(events) > 0 && round < 1000; round++ {
		e := events[0]
		events = events[1:]
		for _, f := range m.core.Step(e, m.now) {
			switch f := f.(type) {
			case Save:
				m.disk.apply(f)
			case Start:
				events = append(events, Started{Key: f.Record.Key()}, Up{f.Record.Key()})
			case Destroy:
				events = append(events, Destroyed{Key: f.Key})
			case Retire:
				events = append(events, RetireEnded{Key: f.Key, Applied: 3})
			case Booted:
				m.booted = true
			}
		}
	}
	require.True(m.t, m.booted, "the boot ends")
	require.Empty(m.t, m.disk.Marker)
	for _, k := range m.core.Keys() {
		l, _ := m.core.Look(k)
		want := drummerpb.ReplicaState_REPLICA_STATE_OK
		switch {
		case l.Record.Life == life.Retired:
			want = drummerpb.ReplicaState_REPLICA_STATE_RETIRED
		case l.Record.Crashes >= maxCrashes:
			want = drummerpb.ReplicaState_REPLICA_STATE_DOWN
		}
		require.Equal(m.t, want, l.State, "%+v", l)
	}
	for _, r := range m.disk.Records {
		require.NotEqual(m.t, life.Destroying, r.Life, "destructions end")
	}
}

func TestAnyOrderOfThingsIsSafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		t.Repeat(map[string]func(*rapid.T){
			"boot":    func(*rapid.T) { m.step(Boot{}) },
			"order":   m.order,
			"order 2": m.order,
			"order 3": m.order,
			"finish":  m.finish,
			"end":     m.finish,
			"ready":   m.ready,
			"execute": m.execute,
			"tick":    func(*rapid.T) { m.now += 700 * time.Millisecond; m.step(Tick{}) },
			"late":    func(*rapid.T) { m.now += time.Minute; m.step(Tick{}) },
			"fell": func(t *rapid.T) {
				m.step(Fell{key(1000+rapid.IntRange(0, 2).Draw(t, "group"), rapid.IntRange(1, 4).Draw(t, "replica"))})
			},
			"kill": func(*rapid.T) { m.restart() },
			"":     m.check,
		})
		m.settle()
	})
}
