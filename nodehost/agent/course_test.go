package agent

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func testCourse() *course {
	return &course{least: 50 * time.Millisecond, most: time.Second, configured: []string{"a", "b"}, learnt: []string{"b", "c"}}
}

func TestCourseGoesRound(t *testing.T) {
	c := testCourse()
	got := []string{}
	for range 7 {
		got = append(got, c.pick())
	}
	require.Equal(t, []string{"a", "b", "c", "a", "b", "c", "a"}, got)
}

func TestCourseFollowsRedirectsButNotForEver(t *testing.T) {
	c := testCourse()
	require.Equal(t, "a", c.pick())
	require.True(t, c.redirected("z"))
	require.Equal(t, "z", c.pick(), "also to one that nobody told of")
	require.False(t, c.redirected(""), "a drummer that knows no leader is no place to go at once")
	require.Equal(t, "b", c.pick())
	c.wait(0)
	for range maxHops {
		require.True(t, c.redirected("a"))
	}
	require.False(t, c.redirected("b"), "two that point at each other are not asked without a pause")
	require.Equal(t, "b", c.pick(), "after the pause it is still the best guess")
}

func TestCourseReturnsToItsLeaderFirst(t *testing.T) {
	c := testCourse()
	c.pick()
	c.welcomed("c")
	require.Equal(t, "c", c.pick())
	require.Equal(t, "b", c.pick())
}

func TestCoursePausesGrow(t *testing.T) {
	c := testCourse()
	want := []time.Duration{50, 100, 200, 400, 800, 1000, 1000}
	for _, w := range want {
		p := *c
		require.Equal(t, w*time.Millisecond/2, p.wait(0))
		require.Equal(t, w*time.Millisecond*3/4, c.wait(0.5), "spread over the upper half")
	}
	c.welcomed("a")
	require.Equal(t, 25*time.Millisecond, c.wait(0))
}
