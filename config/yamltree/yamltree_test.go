package yamltree_test

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/config/yamltree"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWhatPeopleWriteIsParsed(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":     "",
		"a list":      "- 1\n- {a: [b, {c: d}]}\n- - - x\n",
		"many":        strings.Repeat("- {a: [1, 2], b: {c: d}}\n", 5000),
		"in brackets": strings.Repeat("[", 64) + strings.Repeat("]", 64),
		"in quotes":   `a: "` + strings.Repeat("[", 200) + `"` + "\nb: '" + strings.Repeat("{", 200) + "'\n# " + strings.Repeat("[", 200),
		"twice":       "a: 1\na: 2\n",
	} {
		file, err := yamltree.Parse([]byte(text), 0)
		require.NoError(t, err, name)
		require.NotEmpty(t, file.Docs, name)
	}
	file, err := yamltree.Parse([]byte("\ufeffa: 1"), 0)
	require.NoError(t, err)
	require.Equal(t, "a: 1\n", file.String())
	_, err = yamltree.Parse([]byte("a: [1"), 0)
	var at yaml.Error
	require.ErrorAs(t, err, &at)
}

// Whatever is nested too deep is refused at once, and in little memory.
func TestWhatIsTooDeepIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"lists":         strings.Repeat("[", 65) + strings.Repeat("]", 65),
		"maps":          strings.Repeat("{a: ", 9000),
		"entries":       strings.Repeat("- ", 9000) + "x",
		"keys":          strings.Repeat("? ", 9000) + "x",
		"in an entry":   "a:\n- b: " + strings.Repeat("[", 9000),
		"entries in it": strings.Repeat("[", 40) + strings.Repeat("- ", 40),
	} {
		_, err := yamltree.Parse([]byte(text), 0)
		require.ErrorContains(t, err, "nested deeper than 64 levels", name)
		var at yaml.Error
		require.ErrorAs(t, err, &at, name)
		require.NotNil(t, at.GetToken(), name)
	}
	_, err := yamltree.Parse([]byte(strings.Repeat("[", 1<<20)), 0)
	require.ErrorContains(t, err, "more than 10000 brackets are open at once")
}
