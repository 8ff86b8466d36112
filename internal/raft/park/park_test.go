package park

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/internal/ids"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func voters(n int) map[ids.Replica]ids.Host {
	out := make(map[ids.Replica]ids.Host, n)
	for i := range n {
		out[ids.Replica(i+1)] = ids.Host('a' + rune(i))
	}
	return out
}

func TestLot(t *testing.T) {
	l := NewLot()
	require.Nil(t, l.Get(7))
	r := &Record{Replica: 2, Name: "kv/x"}
	r.SetVoters(voters(3))
	l.Put(7, r)
	require.Equal(t, voters(3), l.Get(7).Voters())
	require.Empty(t, (&Record{}).Voters())
	require.LessOrEqual(t, unsafe.Sizeof(Record{}), uintptr(128), "or each is an object of its own")
	for _, n := range []int{0, 1, inRecord, inRecord + 2, 1} {
		r.SetVoters(voters(n))
		require.Equal(t, voters(n), r.Voters())
	}
	require.Equal(t, voters(3), l.Get(7).Voters(), "it is a copy")
	l.Remove(7)
	l.Remove(7)
	require.Nil(t, l.Get(7))
}

func TestCrewIsBoundedAndShares(t *testing.T) {
	var now, most, did atomic.Int32
	hold := make(chan struct{})
	c := NewCrew(3, func(ids.Group) error {
		most.Store(max(most.Load(), now.Add(1)))
		<-hold
		now.Add(-1)
		did.Add(1)
		return nil
	})
	jobs := make([]*Job, 0, 20)
	for g := range ids.Group(10) {
		jobs = append(jobs, c.Ask(g, g%2 == 0), c.Ask(g, g%3 == 0))
	}
	for i := 0; i < len(jobs); i += 2 {
		require.Same(t, jobs[i], jobs[i+1])
	}
	close(hold)
	for _, j := range jobs {
		<-j.Done
	}
	require.LessOrEqual(t, most.Load(), int32(3))
	require.Equal(t, int32(10), did.Load())
	again := c.Ask(3, false)
	<-again.Done
	require.NotSame(t, jobs[6], again, "what is done is done anew")
	c.Close()
}

// Whom a caller waits for comes before whom only a peer needs, also when asked later.
func TestCrewDoesTheUrgentFirst(t *testing.T) {
	var mu sync.Mutex
	var order []ids.Group
	begun, hold := make(chan struct{}), make(chan struct{})
	c := NewCrew(1, func(g ids.Group) error {
		if g == 0 {
			close(begun)
			<-hold
		}
		mu.Lock()
		defer mu.Unlock()
		order = append(order, g)
		return nil
	})
	c.Ask(0, false)
	<-begun
	for g := ids.Group(1); g <= 5; g++ {
		c.Ask(g, false)
	}
	urgent := []*Job{c.Ask(4, true), c.Ask(9, true), c.Ask(4, true)}
	last := c.Ask(5, false)
	close(hold)
	for _, j := range append(urgent, last) {
		<-j.Done
	}
	c.Close()
	require.Equal(t, []ids.Group{0, 4, 9, 1, 2, 3, 5}, order)
}

func TestCrewCloses(t *testing.T) {
	broken := errors.New("broken")
	begun, hold := make(chan struct{}), make(chan struct{})
	c := NewCrew(1, func(ids.Group) error { close(begun); <-hold; return broken })
	first, second := c.Ask(1, true), c.Ask(2, true)
	<-begun
	go close(hold)
	c.Close()
	<-first.Done
	<-second.Done
	require.ErrorIs(t, first.Err, broken)
	require.ErrorIs(t, second.Err, ErrClosed)
	late := c.Ask(3, true)
	<-late.Done
	require.ErrorIs(t, late.Err, ErrClosed)
}

func TestRise(t *testing.T) {
	three := View{Self: 2, Ready: true, Voters: voters(3)}
	with := func(v View, change func(*View)) View { change(&v); return v }
	for name, c := range map[string]struct {
		asked bool
		view  View
		up    map[ids.Replica]ids.Replica
		ticks int
		want  Action
	}{
		"before it is ready it calls": {
			view: with(three, func(v *View) { v.Ready = false }), want: Action{Call: []ids.Replica{1, 3}},
		},
		"alone it calls, and does not stand": {asked: true, view: three, want: Action{Call: []ids.Replica{1, 3}}},
		"with a quorum up it stands": {
			asked: true, view: three, up: map[ids.Replica]ids.Replica{3: 0}, want: Action{Call: []ids.Replica{1, 3}, Stand: true},
		},
		"for its peer's sake it is modest": {
			view: three, up: map[ids.Replica]ids.Replica{3: 0}, want: Action{Call: []ids.Replica{1, 3}},
		},
		"but not for ever": {
			view: three, up: map[ids.Replica]ids.Replica{1: 0, 3: 0}, ticks: modesty + 2, want: Action{Stand: true},
		},
		"it believes a peer's word of a leader": {
			asked: true, view: three, up: map[ids.Replica]ids.Replica{3: 1}, ticks: doubt - 1, want: Action{Call: []ids.Replica{1}},
		},
		"for a while": {
			asked: true, view: three, up: map[ids.Replica]ids.Replica{3: 1}, ticks: doubt, want: Action{Call: []ids.Replica{1}, Stand: true},
		},
		"and a leader's own for longer": {
			asked: true, view: three, up: map[ids.Replica]ids.Replica{3: 3}, ticks: doubt, want: Action{Call: []ids.Replica{1}},
		},
		"that it led itself counts for nothing": {
			asked: true, view: three, up: map[ids.Replica]ids.Replica{3: 2}, want: Action{Call: []ids.Replica{1, 3}, Stand: true},
		},
		"a stranger is no voter": {
			asked: true, view: three, up: map[ids.Replica]ids.Replica{9: 0}, want: Action{Call: []ids.Replica{1, 3}},
		},
		"an observer only calls": {
			asked: true, view: with(three, func(v *View) { v.Self, v.Observer = 9, true }), up: map[ids.Replica]ids.Replica{1: 0, 2: 0},
			want: Action{Call: []ids.Replica{1, 2, 3}},
		},
		"a group of one needs nobody": {
			asked: true, view: View{Self: 1, Ready: true, Voters: voters(1)}, want: Action{Stand: true},
		},
		"who knows no voters waits": {asked: true, view: View{Self: 1, Ready: true}, want: Action{}},
		"with a leader it is done": {
			view: with(three, func(v *View) { v.Leader = 3 }), want: Action{Done: true},
		},
		"without hope, too": {view: three, ticks: 21, want: Action{Done: true}},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewRise(c.asked)
			for range c.ticks {
				r.Tick(c.view)
				r.announced = true
			}
			if c.ticks > 0 {
				r.nextCall = c.ticks
			}
			for id, leader := range c.up {
				r.Heard(id, leader)
			}
			a := r.Next(c.view, 20)
			if c.ticks > 0 && len(c.want.Call) == 0 {
				a.Call = nil // not the point
			}
			if len(a.Call) == 0 {
				a.Call = nil
			}
			require.Equal(t, c.want, a)
		})
	}
}

// After a candidature that came to nothing it gives the others time.
func TestRiseStandsAgainLater(t *testing.T) {
	v := View{Self: 1, Ready: true, Term: 5, Voters: voters(3)}
	r := NewRise(true)
	r.Heard(2, 0)
	require.True(t, r.Next(v, 100).Stand)
	require.False(t, r.Next(v, 100).Stand, "within a tick")
	r.Tick(v)
	require.True(t, r.Next(v, 100).Stand, "nothing came of it: dragonboat was not ready to")
	v.Term++
	r.Tick(v)
	var stood []int
	for i := range 12 {
		if r.Next(v, 100).Stand {
			stood = append(stood, i)
		}
		r.Tick(v)
	}
	require.Equal(t, again, stood[0])
}

// peer is a replica of a simulated cluster.
type peer struct {
	mu    sync.Mutex
	view  View
	stood int
	risen chan struct{}
	elect func(p *peer)
}

func (p *peer) View() View {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.view
}

func (p *peer) Stand() {
	p.mu.Lock()
	p.stood++
	p.mu.Unlock()
	p.elect(p)
}

func (p *peer) Risen() { close(p.risen) }

func (p *peer) set(change func(*View)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.view)
}

// Three hosts whose replicas are all unloaded: one is called, and the group comes back
// within a tick, though one host is dead.
func TestVigilsBringAGroupBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tick = 100 * time.Millisecond
		ctx, cancel := context.WithCancel(t.Context())
		peers := map[ids.Host]*peer{}
		vigils := map[ids.Host]*Vigil{}
		load := func(h ids.Host, asked bool) {
			vigils[h].Watch(7, peers[h], asked)
			peers[h].set(func(v *View) { v.Ready = true })
			vigils[h].Stir(7)
		}
		var mu sync.Mutex
		loaded := map[ids.Host]bool{"a": true}
		send := func(_ context.Context, to ids.Host, calls []Call) {
			mu.Lock()
			defer mu.Unlock()
			for _, c := range calls {
				switch v := vigils[to]; {
				case to == "c": // dead
				case !loaded[to]:
					loaded[to] = true
					load(to, false)
				case c.Up:
					v.Heard(c)
				}
			}
		}
		elect := func(p *peer) {
			self := p.View().Self
			for h, other := range peers {
				other.set(func(v *View) { v.Leader, v.Term = self, 2 })
				vigils[h].Stir(7)
			}
		}
		var work sync.WaitGroup
		for id, h := range voters(3) {
			peers[h] = &peer{view: View{Self: id, Voters: voters(3)}, risen: make(chan struct{}), elect: elect}
			vigils[h] = NewVigil(tick, 20, send)
		}
		for _, v := range vigils {
			work.Go(func() { v.Run(ctx) })
		}
		began := time.Now()
		load("a", true)
		<-peers["a"].risen
		<-peers["b"].risen
		require.LessOrEqual(t, time.Since(began), tick)
		require.Equal(t, 1, peers["a"].stood)
		require.Zero(t, peers["b"].stood)
		cancel()
		work.Wait()
	})
}

func TestVigilGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var sent atomic.Int32
		v := NewVigil(100*time.Millisecond, 20, func(context.Context, ids.Host, []Call) { sent.Add(1) })
		var work sync.WaitGroup
		work.Go(func() { v.Run(ctx) })
		p := &peer{view: View{Self: 1, Ready: true, Voters: voters(3)}, risen: make(chan struct{})}
		v.Watch(7, p, true)
		v.Ask(7)
		began := time.Now()
		<-p.risen
		require.InDelta(t, 2.1, time.Since(began).Seconds(), 0.11)
		require.Less(t, sent.Load(), int32(20), "calls are made at ever longer intervals")
		require.Zero(t, p.stood)

		q := &peer{view: View{Self: 1, Ready: true, Voters: voters(3)}, risen: make(chan struct{})}
		v.Watch(8, q, true)
		v.Drop(8, p) // another one
		v.Drop(8, q)
		v.Ask(8)
		v.Heard(Call{Group: 8, From: 2, Up: true})
		synctest.Wait()
		select {
		case <-q.risen:
			t.Error("a stopped replica rose")
		default:
		}
		v.Post("b", Call{Group: 8})
		synctest.Wait()
		cancel()
		work.Wait()
	})
}

func TestRanksDiffer(t *testing.T) {
	var ranks []int
	for id := range voters(5) {
		ranks = append(ranks, rankOf(View{Self: id, Voters: voters(5)}))
	}
	slices.Sort(ranks)
	require.Equal(t, []int{0, 1, 2, 3, 4}, ranks)
}
