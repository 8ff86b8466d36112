package route_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
)

// templated makes groups kv/... on host a, in the state given, and refuses all others.
func (w *world) templated(state string) {
	next := ids.Group(100)
	w.change(func() {
		w.template = func(name string) (*group, error) {
			if !strings.HasPrefix(name, "kv/") {
				return nil, fault.New(fault.GroupNotFound, "there is no group %s, and no template matches the name", name)
			}
			next++
			return &group{id: next, name: name, voters: []ids.Host{"a"}, leader: "a", state: state}, nil
		}
	})
}

func TestTheFirstUseOfANameMakesItsGroup(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.templated("open")
	resp, err := w.propose("b", named("kv/new"), "x", 10*time.Second)
	require.NoError(t, err)
	require.Equal(t, "kv/new", resp.GetLeader().GetName())
	_, err = w.read("b", named("kv/read"), 10*time.Second)
	require.True(t, fault.Is(err, fault.GroupNotFound), "a read is no use: %v", err)
	require.ErrorContains(t, err, "a read makes no group")
	require.Zero(t, w.used("kv/read"))
	_, err = w.propose("b", named("kv/new"), "y", 10*time.Second)
	require.NoError(t, err)
	require.Equal(t, 1, w.used("kv/new"), "once known it is like any other")
}

func TestACrowdMakesAGroupOnce(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.templated("open")
	begun := time.Now()
	var crowd sync.WaitGroup
	for n := range 200 {
		crowd.Go(func() {
			_, err := w.propose("b", named("kv/new"), fmt.Sprint(n), 20*time.Second)
			require.NoError(t, err)
		})
	}
	crowd.Wait()
	require.Equal(t, 1, w.used("kv/new"))
	require.LessOrEqual(t, w.asked(), 2+int(time.Since(begun)/time.Second))
	require.Len(t, w.commands(w.groups[101]), 200)
}

func TestAFirstUseWaitsForItsGroup(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.templated("launching")
	done := make(chan error, 1)
	go func() {
		_, err := w.propose("b", named("kv/slow"), "x", 20*time.Second)
		done <- err
	}()
	require.Eventually(t, func() bool { return w.used("kv/slow") > 1 }, ample, time.Millisecond, "it is asked for until it is open")
	w.change(func() { w.groups[101].state = "open" })
	require.NoError(t, <-done)

	_ = endsWith(t, fault.NotOpen, func() error { _, err := w.propose("b", named("kv/never"), "x", 300*time.Millisecond); return err })
}

func TestNamesThatNothingMakes(t *testing.T) {
	w := newWorld(t, "a")
	w.templated("open")
	begun := time.Now()
	for range 20 {
		_, err := w.propose("a", named("board/x"), "x", 10*time.Second)
		requireReason(t, err, fault.GroupNotFound)
		require.ErrorContains(t, err, "no template matches the name")
	}
	require.LessOrEqual(t, w.used("board/x"), 2+int(time.Since(begun)/time.Second), "the answer is kept for a second")
	_, err := w.propose("a", numbered(7), "x", 10*time.Second)
	requireReason(t, err, fault.GroupNotFound)
	_, err = w.hosts["a"].router.Locate(t.Context(), named("kv/looked-for"))
	requireReason(t, err, fault.GroupNotFound)
	require.Zero(t, w.used("kv/looked-for"), "to look for a group is not to use it")
	_, err = w.propose("a", named("kv/looked-for"), "x", 10*time.Second)
	require.NoError(t, err, "what was said to one who looked does not hold for one who uses")

	w.change(func() {
		w.template = func(string) (*group, error) { return nil, fault.New(fault.Limit, "there are too many") }
	})
	begun = time.Now()
	for range 20 {
		_, err = w.propose("a", named("kv/more"), "x", 10*time.Second)
		requireReason(t, err, fault.Limit)
	}
	require.LessOrEqual(t, w.used("kv/more"), 2+int(time.Since(begun)/time.Second))
}

func TestANameWhoseGroupIsGoneIsUsedAnew(t *testing.T) {
	w := newWorld(t, "a", "b")
	old := w.add(&group{id: 7, name: "kv/x", voters: []ids.Host{"a"}, leader: "a"})
	_, err := w.propose("b", named("kv/x"), "1", 10*time.Second)
	require.NoError(t, err)
	w.templated("open")
	w.change(func() { old.state = "sealed" })
	_, err = w.propose("b", named("kv/x"), "2", 10*time.Second)
	requireReason(t, err, fault.Sealed)
	w.change(func() { delete(w.groups, 7) })
	require.Eventually(t, func() bool {
		resp, err := w.propose("b", named("kv/x"), "3", 10*time.Second)
		return err == nil && resp.GetLeader().GetId() == 101
	}, 10*time.Second, 10*time.Millisecond)
}

func TestFirstUsesWhileNoDrummerAnswers(t *testing.T) {
	w := newWorld(t, "a")
	w.templated("open")
	w.change(func() { w.drummers = false })
	err := endsWith(t, fault.Unavailable, func() error { _, err := w.propose("a", named("kv/new"), "x", 500*time.Millisecond); return err })
	require.ErrorContains(t, err, "no drummer tells it")
	w.change(func() { w.drummers = true })
	_, err = w.propose("a", named("kv/new"), "x", 10*time.Second)
	require.NoError(t, err)
}

// TestManyNamesAtOnce: names that nobody has are asked for in bounded numbers, and do
// not keep others from their answers.
func TestManyNamesAtOnce(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.templated("launching")
	w.add(&group{id: 7, name: "kv/known", voters: []ids.Host{"a"}, leader: "a"})
	var crowd sync.WaitGroup
	for n := range 300 {
		crowd.Go(func() {
			_, err := w.propose("b", named(fmt.Sprintf("kv/slow-%d", n)), "x", time.Second)
			require.Contains(t, []fault.Reason{fault.NotOpen, fault.Unavailable}, fault.ReasonOf(err), "%v", err)
		})
	}
	_, err := w.propose("b", named("kv/known"), "x", 10*time.Second)
	require.NoError(t, err)
	crowd.Wait()
}
