package route_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	out, where := w.hosts["a"].router.ProposeMany(ctx, many("kv/x", "1", "2"))
	require.Nil(t, where)
	for _, o := range out {
		requireReason(t, o.Err, fault.NoQuorum)
	}
	out, _ = w.hosts["b"].router.ProposeMany(t.Context(), many("kv/none", "1", "2"))
	requireReason(t, out[1].Err, fault.GroupNotFound)
	out, _ = w.hosts["a"].router.ProposeMany(t.Context(), many("kv/x", make([]string, route.MaxItems+1)...))
	requireReason(t, out[0].Err, fault.TooLarge)
	large := route.Many{Group: named("kv/x"), Items: [][]byte{nil, make([]byte, raft.MaxCommand+1)}}
	out, _ = w.hosts["a"].router.ReadMany(t.Context(), large)
	requireReason(t, out[0].Err, fault.TooLarge)
}
