package brake_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/drummer/planner/brake"
)

func TestNeeded(t *testing.T) {
	s := func(seconds int, name, region string) brake.Host {
		return brake.Host{Name: name, Region: region, Silent: time.Duration(seconds) * time.Second}
	}
	rule := brake.Rule{Percent: 40, Window: time.Minute}
	for _, c := range []struct {
		what string
		all  map[string]int
		gone []brake.Host
		want string
	}{
		{"nobody", map[string]int{"r": 5}, nil, ""},
		{"one is never many", map[string]int{"r": 1}, []brake.Host{s(9, "a", "r")}, ""},
		{"two of five are 40 percent, and not more", map[string]int{"r": 5}, []brake.Host{s(9, "a", "r"), s(9, "b", "r")}, ""},
		{"two of four", map[string]int{"r": 4}, []brake.Host{s(9, "b", "r"), s(9, "a", "r")}, "2 of 4 hosts vanished within 1m0s: a, b"},
		{"one after the other", map[string]int{"r": 4}, []brake.Host{s(99, "b", "r"), s(9, "a", "r")}, ""},
		{"a region of three", map[string]int{"r": 3, "s": 9}, []brake.Host{s(9, "a", "r"), s(8, "b", "r"), s(7, "c", "r")}, `all 3 hosts of region "r" vanished within 1m0s`},
		{"a region of two", map[string]int{"r": 2, "s": 9}, []brake.Host{s(9, "a", "r"), s(8, "b", "r")}, ""},
		{"a region but for one", map[string]int{"r": 4, "s": 9}, []brake.Host{s(9, "a", "r"), s(8, "b", "r"), s(7, "c", "r")}, ""},
	} {
		require.Equal(t, c.want, rule.Needed(c.all, c.gone), c.what)
	}
}

func TestManyAreNotAllNamed(t *testing.T) {
	var gone []brake.Host
	for i := range 14 {
		gone = append(gone, brake.Host{Name: string(rune('a' + i)), Region: "r"})
	}
	text := brake.Rule{Percent: 40, Window: time.Minute}.Needed(map[string]int{"r": 20}, gone)
	require.True(t, strings.HasSuffix(text, "a, b, c, d, e, f, g, h, i, j and 4 more"), text)
}
