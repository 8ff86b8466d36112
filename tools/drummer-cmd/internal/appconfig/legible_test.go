package appconfig_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/appconfig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLegible(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"a: 1\n":                       "a: 1\n",
		"a: 1":                         "a: 1\n",
		"a: 1\r\nb:\t2\r\n":            "a: 1\nb:\t2\n",
		"# caf\u00e9\u00a0\u4e16\n":    "# caf\u00e9\\u00a0\u4e16\n",
		"# \x1b[31mred\x07 \u202egf\n": "# \\x1b[31mred\\a \\u202egf\n",
	} {
		require.Equal(t, want, string(appconfig.Legible([]byte(text))), "%q", text)
	}
}
