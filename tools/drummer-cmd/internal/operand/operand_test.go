package operand_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/operand"
)

func TestWrong(t *testing.T) {
	for _, c := range []struct {
		usage string
		texts []string
		want  string
	}{
		{"GROUP|HOST|OPERATION", []string{""}, "GROUP|HOST|OPERATION is empty: write one, like kv/demo or host-1 or 42"},
		{"NAME [HOST]", []string{"kv/a", ""}, "HOST is empty: write one, like host-1"},
		{"FILE|DIR...", []string{"a", "b", ""}, "FILE|DIR is empty: write one"},
		{"[NAME...]", []string{""}, "NAME is empty: write one, like app/name"},
		{"GROUP [DATA]", []string{"", ""}, "GROUP is empty: write one, like kv/demo"},
		{"GROUP [DATA]", []string{"kv/a", ""}, ""},
		{"GROUP KEY [VALUE]", []string{"kv/a", "k", ""}, ""},
		{"GROUP KEY [VALUE]", []string{"kv/a", "", ""}, "KEY is empty: write one"},
		{"[GROUP [PREFIX]]", []string{"kv/a", ""}, ""},
		{"[PREFIX]", []string{""}, ""},
		{"[WORD...]", []string{"", ""}, ""},
		{"NAME", nil, ""},
		{"CLIENT RESOURCE WANTS", []string{"me", "\xff", "1"}, "RESOURCE is not UTF-8: write one, like fair"},
		{"[PREFIX]", []string{"\xff"}, "PREFIX is not UTF-8: write one"},
		{"[GROUP [PREFIX]]", []string{"kv/a", "\xff"}, ""},
		{"GROUP KEY [VALUE]", []string{"kv/a", "\xff", "\xff"}, ""},
		{"FILE|DIR...", []string{"a", "\xff"}, ""},
		{"", []string{""}, ""},
	} {
		require.Equal(t, c.want, operand.Wrong(c.usage, c.texts), "%s %q", c.usage, c.texts)
	}
}
