package template_test

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/drumline/drumline/config/template"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

func templates(matches ...string) []*fleetpb.Template {
	list := make([]*fleetpb.Template, len(matches))
	for i, m := range matches {
		list[i] = &fleetpb.Template{Match: m}
	}
	return list
}

// TestFind has the public vectors of Doorman's matching.
func TestFind(t *testing.T) {
	list := templates("db*", "db-main", "db-?", "svc.[a-c]*", "svc.*", "team/*/x", `lit\*`, "[^z]9", "*")
	const none = "\x00"
	for name, want := range map[string]string{
		"db": "db*", "db-main": "db-main", "db-1": "db*", "DB-1": "*", "svc.alpha": "svc.[a-c]*", "svc.delta": "svc.*",
		"svc.": "svc.*", "team/a/x": "team/*/x", "team/a/b/x": none, "lit*": `lit\*`, "litX": "*", "a9": "[^z]9",
		"z9": "*", "": "*", "*": "*", "db*": "db*", "db/1": none, "x/y": none,
	} {
		found := template.Find(list, name)
		if want == none {
			require.Nil(t, found, name)
			continue
		}
		require.NotNil(t, found, name)
		require.Equal(t, want, found.GetMatch(), name)
	}
}

func TestTheVeryTextWinsOverGlobs(t *testing.T) {
	list := templates("*", "a[b", "a?c")
	require.Equal(t, "a[b", template.Find(list, "a[b").GetMatch(), "literal, though no glob")
	require.Equal(t, "a?c", template.Find(list, "a?c").GetMatch())
	require.Equal(t, "*", template.Find(list, "abc").GetMatch())
}

func TestHint(t *testing.T) {
	for _, c := range []struct{ matches, name, want string }{
		{"*", "plain", ""},
		{"*", "a/b", `"*" does not match it, because * and ? stand for no slash: a template "*/*" would, in front of "*", which comes last`},
		{"x* *", "a/b/c", `"*" does not match it, because * and ? stand for no slash: a template "*/*/*" would, in front of "*", which comes last`},
		{"db-*-eu", "db-a/b-eu", `"db-*-eu" does not match it, because * and ? stand for no slash: a template "db-*/*-eu" would`},
		{"team/*", "team/a/b", `"team/*" does not match it, because * and ? stand for no slash: a template "team/*/*" would`},
		{"*x*", "a/xb/c", `"*x*" does not match it, because * and ? stand for no slash`},
		{"a?b", "a/b", `"a?b" does not match it, because * and ? stand for no slash`},
		{"db* svc", "team/a", ""},
		{"[a db", "x/y", ""},
	} {
		require.Equal(t, c.want, template.Hint(templates(strings.Fields(c.matches)...), c.name), "%s of %s", c.name, c.matches)
	}
}

// TestHintsAreTrue: a glob that a hint names matches, and there is a hint only for names that
// nothing matches for the sake of their slashes.
func TestHintsAreTrue(t *testing.T) {
	glob, text := rapid.StringMatching(`[ab/*?]{0,6}`), rapid.StringMatching(`[ab/]{0,8}`)
	rapid.Check(t, func(t *rapid.T) {
		match, name := glob.Draw(t, "match"), text.Draw(t, "name")
		if template.Find(templates(match), name) != nil {
			t.Skip("it matches")
		}
		hint := template.Hint(templates(match), name)
		flat := strings.NewReplacer("/", "_")
		require.Equal(t, template.Find(templates(flat.Replace(match)), flat.Replace(name)) != nil && strings.Contains(name, "/"), hint != "")
		if _, better, ok := strings.Cut(hint, "a template "); ok {
			better, _, _ = strings.Cut(better, " would")
			better, err := strconv.Unquote(better)
			require.NoError(t, err)
			require.NotNil(t, template.Find(templates(better), name))
		}
	})
}

func TestOf(t *testing.T) {
	c := &fleetpb.Configuration{App: "capacity", Templates: templates("team/*", "*")}
	require.Equal(t, "team/*", template.Of(c, "capacity/team/db").GetMatch())
	require.Equal(t, "*", template.Of(c, "capacity/db").GetMatch())
	require.Nil(t, template.Of(c, "sequence/db"))
	require.Nil(t, template.Of(c, "capacity"))
	require.Nil(t, template.Of(nil, "capacity/db"))
}

func TestCheck(t *testing.T) {
	for _, bad := range []string{"[a", "foo[", `x\`, "[*-]", "[]", "a[b-]c"} {
		require.ErrorContains(t, template.Check(bad), "is no glob", bad)
	}
	for _, good := range []string{"", "*", "a/*/b", "[a-c]*", "[^x]", `lit\*`, "Ünï?"} {
		require.NoError(t, template.Check(good), good)
	}
}

// TestFindAgreesWithTheOriginal: the original's two passes over filepath.Match.
func TestFindAgreesWithTheOriginal(t *testing.T) {
	text := rapid.StringMatching(`[ab/*?\[\]^\\-]{0,6}`)
	rapid.Check(t, func(t *rapid.T) {
		matches, name := rapid.SliceOfN(text, 0, 6).Draw(t, "matches"), text.Draw(t, "name")
		want := -1
		for i := len(matches) - 1; i >= 0; i-- {
			if ok, err := filepath.Match(matches[i], name); ok && err == nil {
				want = i
			}
		}
		for i := len(matches) - 1; i >= 0; i-- {
			if matches[i] == name {
				want = i
			}
		}
		list := templates(matches...)
		if want < 0 {
			require.Nil(t, template.Find(list, name))
		} else {
			require.Same(t, list[want], template.Find(list, name))
		}
	})
}
