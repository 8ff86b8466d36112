package shell

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// book grants whatever is asked.
type book map[[2]string]float64

func (b book) Get(_ context.Context, client, resource string, wants float64) error {
	if wants < 0 {
		return errors.New("want a number that is not negative")
	}
	b[[2]string{client, resource}] = wants
	return nil
}

func (b book) Release(_ context.Context, client, resource string) error {
	delete(b, [2]string{client, resource})
	return nil
}

func (b book) Holdings() []Holding {
	var out []Holding
	for k, v := range b {
		out = append(out, Holding{Client: k[0], Resource: k[1], Capacity: v})
	}
	return out
}

func (b book) Masters() map[string]string {
	out := map[string]string{}
	for k := range b {
		out[k[0]] = "127.0.0.1:1"
	}
	return out
}

func run(t *testing.T, lines ...string) (out, errs string) {
	t.Helper()
	var o, e strings.Builder
	s := &Shell{Leaser: book{}, Out: &o, Err: &e}
	require.NoError(t, s.Run(t.Context(), Script(strings.NewReader(strings.Join(lines, "\n")))))
	return o.String(), e.String()
}

func TestASession(t *testing.T) {
	out, errs := run(t,
		"get b fair 1000", "", `get "big one" 'a b' 25.454545454545457`, "get a proportional 1e3", "get gone fair 1", "release gone fair",
		"show", "master", "quit", "show")
	require.Equal(t, `client: "big one"
resource: "a b"
capacity: 25.454545454545457

client: "b"
resource: "fair"
capacity: 1000

client: "a"
resource: "proportional"
capacity: 1000

a: 127.0.0.1:1
b: 127.0.0.1:1
big one: 127.0.0.1:1
`, out)
	require.Empty(t, errs)
}

func TestMistakesAreSaid(t *testing.T) {
	for line, want := range map[string]string{
		"get a":        "ERROR: get takes CLIENT RESOURCE CAPACITY",
		"get a b x":    `ERROR: "x" is no capacity`,
		"get a b -1":   "ERROR: want a number that is not negative",
		"release a":    "ERROR: release takes CLIENT RESOURCE",
		"show all":     "ERROR: show takes no arguments",
		"dance":        `ERROR: unrecognised command "dance"`,
		`get "a`:       "ERROR: a quote has no end",
		`get a\`:       "ERROR: a quote has no end",
		"get \xff b 1": "ERROR: the line is not UTF-8",
		"help":         "release CLIENT RESOURCE",
	} {
		out, errs := run(t, line)
		require.Empty(t, out, line)
		require.Contains(t, errs, want, line)
	}
}

func TestALineThatIsTooLong(t *testing.T) {
	s := &Shell{Leaser: book{}, Out: io.Discard, Err: io.Discard}
	err := s.Run(t.Context(), Script(strings.NewReader(strings.Repeat("x", 70_000))))
	require.ErrorContains(t, err, "a line has more than 65536 bytes")
}

func TestEveryWordSurvivesQuoting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringOf(rapid.SampledFrom([]rune(`ab'"\ é	`))), 1, 4).Draw(t, "words")
		var line []string
		for _, w := range words {
			line = append(line, quoted(w))
		}
		got, err := Split(strings.Join(line, "  "))
		require.NoError(t, err)
		require.Equal(t, words, got)
	})
}

func TestCompletion(t *testing.T) {
	known := []Holding{{Client: "b", Resource: "fair"}, {Client: "a a", Resource: "fair"}}
	require.Contains(t, Complete("", known), "release")
	require.Contains(t, Complete("re", known), "release")
	require.Equal(t, []string{`"a a"`, "b"}, Complete("get ", known))
	require.Equal(t, []string{"fair"}, Complete("release b f", known))
	require.Empty(t, Complete("get b fair ", known))
	require.Empty(t, Complete("show ", known))
}

func TestTheHistoryFileIsMadeForItsUser(t *testing.T) {
	name := filepath.Join(t.TempDir(), "deep", "history")
	require.NotNil(t, Terminal(name, book{}))
	require.FileExists(t, name)
}
