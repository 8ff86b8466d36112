package route_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/nodehost/route"
)

func many(name string, items ...string) route.Many {
	m := route.Many{Group: named(name)}
	for _, i := range items {
		m.Items = append(m.Items, []byte(i))
	}
	return m
}

func TestManyGoThroughAnyHost(t *testing.T) {
	w := newWorld(t, "a", "b", "c", "d")
	g := w.add(&group{id: 1000, name: "kv/x", voters: []ids.Host{"a", "b", "c"}, leader: "a"})
	for _, via := range []ids.Host{"a", "b", "d"} {
		out, where := w.hosts[via].router.ProposeMany(t.Context(), many("kv/x", "1", "2", "3"))
		require.Len(t, out, 3)
		for i, o := range out {
			require.NoError(t, o.Err)
			require.Equal(t, string([]byte{'1' + byte(i)}), string(o.Result.Data))
		}
		require.Equal(t, "a", where.GetLeaderHost(), "through %s", via)
		out, _ = w.hosts[via].router.ReadMany(t.Context(), many("kv/x", "p", "q"))
		require.Len(t, out, 2)
		require.NoError(t, out[1].Err)
		bounded := many("kv/x", "p", "q")
		bounded.Room = 1
		out, _ = w.hosts[via].router.ReadMany(t.Context(), bounded)
		require.Len(t, out, 1)
	}
	require.Len(t, w.commands(g), 9)
}

func TestManyRepeatOnlyWhatIsNotSettled(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	g := &group{id: 1000, name: "kv/x", voters: []ids.Host{"a", "b", "c"}, leader: "a"}
	var mu sync.Mutex
	tries := map[string]int{}
	g.onPropose = func(_ context.Context, cmd string) error {
		mu.Lock()
		defer mu.Unlock()
		tries[cmd]++
		switch {
		case cmd == "unknown":
			return fault.New(fault.UnknownOutcome, "nobody knows")
		case cmd == "later" && tries[cmd] < 3:
			return fault.New(fault.NoQuorum, "not now")
		}
		return nil
	}
	w.add(g)
	for _, via := range []ids.Host{"a", "b"} {
		clear(tries)
		m := many("kv/x", "now", "unknown", "later")
		m.Items = append(m.Items, make([]byte, raft.MaxCommand+1))
		out, _ := w.hosts[via].router.ProposeMany(t.Context(), m)
		require.NoError(t, out[0].Err)
		requireReason(t, out[1].Err, fault.UnknownOutcome)
		require.NoError(t, out[2].Err)
		requireReason(t, out[3].Err, fault.TooLarge)
		require.Equal(t, map[string]int{"now": 1, "unknown": 1, "later": 3}, tries, "through %s", via)
	}
}

func TestManyThatCannotBeDone(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.add(&group{id: 1000, name: "kv/x", voters: []ids.Host{"a"}})
	_ = endsWith(t, fault.NoQuorum, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		out, where := w.hosts["a"].router.ProposeMany(ctx, many("kv/x", "1", "2"))
		require.Nil(t, where)
		requireReason(t, out[1].Err, fault.ReasonOf(out[0].Err))
		return out[0].Err
	})
	out, _ := w.hosts["b"].router.ProposeMany(t.Context(), many("kv/none", "1", "2"))
	requireReason(t, out[1].Err, fault.GroupNotFound)
	out, _ = w.hosts["a"].router.ProposeMany(t.Context(), many("kv/x", make([]string, route.MaxItems+1)...))
	requireReason(t, out[0].Err, fault.TooLarge)
	large := route.Many{Group: named("kv/x"), Items: [][]byte{nil, make([]byte, raft.MaxCommand+1)}}
	out, _ = w.hosts["a"].router.ReadMany(t.Context(), large)
	requireReason(t, out[0].Err, fault.TooLarge)
}

// A command that may be applied twice is proposed again when nobody knows what became
// of it, also when the host that has it does not answer at all.
func TestManyThatMayBeRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a", "b", "c")
	g := &group{id: 1000, name: "kv/x", voters: []ids.Host{"a", "b", "c"}, leader: "a"}
	var mu sync.Mutex
	tries := map[string]int{}
	g.onPropose = func(ctx context.Context, cmd string) error {
		mu.Lock()
		tries[cmd]++
		n := tries[cmd]
		mu.Unlock()
		switch {
		case cmd == "unknown" && n < 3:
			return fault.New(fault.UnknownOutcome, "nobody knows")
		case cmd == "hangs" && n == 1:
			<-ctx.Done()
			return fault.Wrap(ctx.Err(), fault.UnknownOutcome, "it hung")
		}
		return nil
	}
	w.add(g)
	for _, via := range []ids.Host{"a", "b"} {
		for _, cmd := range []string{"unknown", "hangs"} {
			require.Eventually(t, func() bool { // a busy machine may have no time left for another try, or cut one off that was done
				mu.Lock()
				clear(tries)
				mu.Unlock()
				m := many("kv/x", "now", cmd)
				m.Repeatable = true
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				out, _ := w.hosts[via].router.ProposeMany(ctx, m)
				mu.Lock()
				defer mu.Unlock()
				return out[0].Err == nil && out[1].Err == nil && tries["now"] == 1 // what is settled stays settled
			}, time.Minute, time.Millisecond, "%s through %s", cmd, via)
		}
	}
}

// What was proposed again and again without a word from its leader may have been applied;
// a request of its own is repeated like one of many, and so is one under a session.
func TestWhatWasRepeatedInVainMayBeApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a", "b", "c")
	g := &group{id: 1000, name: "kv/x", voters: []ids.Host{"a", "b", "c"}, leader: "a"}
	var tries atomic.Int64
	g.onPropose = func(ctx context.Context, cmd string) error {
		if tries.Add(1); cmd == "once" && tries.Load() > 1 {
			return nil
		}
		<-ctx.Done()
		return fault.Wrap(ctx.Err(), fault.UnknownOutcome, "it hung")
	}
	w.add(g)
	for i, via := range []ids.Host{"a", "b", "a", "b"} {
		req := func(cmd string) *hostpb.ProposeRequest {
			if i < 2 {
				return &hostpb.ProposeRequest{Group: named("kv/x"), Command: []byte(cmd), Repeatable: true}
			}
			return &hostpb.ProposeRequest{Session: &hostpb.Session{Group: 1000, Client: 77, Series: 1}, Command: []byte(cmd)}
		}
		err := endsWith(t, fault.UnknownOutcome, func() error {
			tries.Store(0)
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			defer cancel()
			_, err := w.hosts[via].router.Propose(ctx, req("never"))
			if tries.Load() < 2 {
				return fault.New(fault.Deadline, "one try took all the time")
			}
			return err
		})
		require.ErrorContains(t, err, "an earlier try may have been applied")
		require.Eventually(t, func() bool { // a busy machine may have no time left for the second
			tries.Store(0)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, err := w.hosts[via].router.Propose(ctx, req("once"))
			return err == nil && tries.Load() == 2
		}, time.Minute, time.Millisecond)
	}
}

// A leader that says only at the end of each try that it is not ready yet is asked as long as
// there is time: that a try was cut off does not tell how long the next one takes.
func TestALeaderThatIsNotReadyIsAskedToTheEnd(t *testing.T) {
	w := newWorld(t, "a", "b")
	var tries atomic.Int32
	g := &group{id: 1000, name: "kv/x", voters: []ids.Host{"a"}, leader: "a"}
	g.onPropose = func(ctx context.Context, cmd string) error {
		if tries.Add(1); cmd == "in time" && tries.Load() > 2 {
			return nil
		}
		<-ctx.Done()
		return fault.New(fault.NotOpen, "it asks its parent")
	}
	w.add(g)
	propose := func(cmd string) error {
		tries.Store(0)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := w.hosts["b"].router.Propose(ctx, &hostpb.ProposeRequest{Group: named("kv/x"), Command: []byte(cmd), Repeatable: true})
		return err
	}
	require.Eventually(t, func() bool { return propose("in time") == nil }, time.Minute, time.Millisecond)
	err := endsWith(t, fault.NotOpen, func() error { return propose("never") })
	require.ErrorContains(t, err, "it asks its parent", "what the leader said, no guess")
}

// What Prepare adds is added by the leader's host, whichever was asked; what it refuses
// for a while is tried again.
func TestTheLeadersHostPreparesCommands(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	g := w.add(&group{id: 1000, name: "kv/x", voters: []ids.Host{"a", "b", "c"}, leader: "a"})
	w.prepare = func(h ids.Host, asked ids.Group, cmds [][]byte) ([][]byte, error) {
		require.Equal(t, g.id, asked)
		if w.refusals++; w.refusals%2 == 1 {
			return nil, fault.New(fault.NotOpen, "not now")
		}
		var out [][]byte
		for _, c := range cmds {
			out = append(out, append([]byte(h+":"), c...))
		}
		return out, nil
	}
	for _, via := range []ids.Host{"a", "b"} {
		out, _ := w.hosts[via].router.ProposeMany(t.Context(), many("kv/x", "1", "2"))
		require.NoError(t, out[1].Err)
		_, err := w.hosts[via].router.Propose(t.Context(), &hostpb.ProposeRequest{Group: named("kv/x"), Command: []byte("3")})
		require.NoError(t, err)
	}
	require.Equal(t, []string{"a:1", "a:2", "a:3", "a:1", "a:2", "a:3"}, w.commands(g))
}
