package config

import (
	"bytes"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

func ask(t *testing.T, args []string, env ...string) (code int, done bool, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code, done = NodeHostCommand(args, env, &o, &e)
	return code, done, o.String(), e.String()
}

func TestCommandLeavesRunningToTheServer(t *testing.T) {
	for _, args := range [][]string{nil, {"--config", "x.yaml"}, {"--region", "east"}} {
		_, done, out, errOut := ask(t, args)
		require.False(t, done)
		require.Empty(t, out+errOut)
	}
}

func TestConfigCheck(t *testing.T) {
	good, bad := write(t, minimal), write(t, minimal+"tcik: 1s\n")
	code, done, out, _ := ask(t, []string{"config", "check", good})
	require.True(t, done)
	require.Equal(t, ExitOK, code)
	require.Equal(t, "configuration is valid\n", out)

	code, _, _, errOut := ask(t, []string{"config", "check", bad})
	require.Equal(t, ExitUsage, code)
	require.Contains(t, errOut, `c.yaml:5:1: unknown key "tcik"; did you mean "tick"?`)

	code, _, _, errOut = ask(t, []string{"config", "check", good, "--tick", "0s"})
	require.Equal(t, ExitUsage, code)
	require.Contains(t, errOut, "nodehost: tick: is out of range")

	code, _, _, errOut = ask(t, []string{"config", "chekc"})
	require.Equal(t, ExitUsage, code)
	require.Contains(t, errOut, `unknown command "config chekc"`)
}

// What show prints is a file that gives the same configuration.
func TestConfigShowRoundTrip(t *testing.T) {
	file := write(t, minimal+"labels: {disk: ssd}\ntls: {}\nboot_grace: 90s\n")
	for _, args := range [][]string{{"config", "show", "--config", file}, {"config", "show", "--origin", "--config", file}} {
		code, _, out, errOut := ask(t, args)
		require.Equal(t, ExitOK, code, errOut)
		want, err := LoadNodeHost([]string{"--config", file}, nil)
		require.NoError(t, err)
		got, err := LoadNodeHost([]string{"--config", write(t, out)}, nil)
		require.NoError(t, err, out)
		require.Empty(t, got.TLS)
		require.Equal(t, want, got)
	}
}

func TestConfigShowOrigin(t *testing.T) {
	file := write(t, minimal)
	_, _, out, _ := ask(t, []string{"config", "show", "--zone", "b", "--origin", "--config", file}, "NODEHOST_TICK=1s")
	for _, want := range []string{
		"name: host-1 # " + file + ":1:7\n",
		"# " + file + ":4:11\ndrummers:\n",
		"zone: b # flag --zone\n",
		"tick: 1s # environment NODEHOST_TICK\n",
		"region: \"\" # default\n",
		"  level: info # default\n",
	} {
		require.Contains(t, out, want)
	}
}

func TestConfigShowSaysWhatIsWrongAfterShowingIt(t *testing.T) {
	code, _, out, errOut := ask(t, []string{"config", "show"})
	require.Equal(t, ExitUsage, code)
	var c NodeHost
	require.NoError(t, yaml.Unmarshal([]byte(out), &c))
	require.Contains(t, errOut, "nodehost: name: is not set")
}

func TestHelpListsEveryKey(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"help"}, {"--region", "x", "-h"}} {
		code, done, out, _ := ask(t, args)
		require.True(t, done)
		require.Equal(t, ExitOK, code)
		require.Contains(t, out, "--api-listen (NODEHOST_API_LISTEN)")
		require.Contains(t, out, "(default 100ms)")
	}
	var o bytes.Buffer
	_, done := DrummerCommand([]string{"--help"}, nil, &o, &o)
	require.True(t, done)
	require.Contains(t, o.String(), "--index (DRUMMER_INDEX)")
}

func TestVersion(t *testing.T) {
	_, done, out, _ := ask(t, []string{"--version"})
	require.True(t, done)
	require.True(t, strings.HasPrefix(out, "nodehost "), out)
}
