package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// minimal is the least that a nodehost's file must say.
const minimal = `name: host-1
deployment: test
data_dir: /tmp/host-1
drummers: ["127.0.0.1:9121"]
`

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestDefaultsFillWhatTheFileLeavesOut(t *testing.T) {
	got, err := LoadNodeHost([]string{"--config", write(t, minimal)}, nil)
	require.NoError(t, err)
	want := DefaultNodeHost()
	want.Name, want.Deployment, want.DataDir = "host-1", "test", "/tmp/host-1"
	want.Drummers = []string{"127.0.0.1:9121"}
	require.Equal(t, want, got)
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	file := write(t, minimal+"tick: 200ms\nregion: file\nzone: file\nelection_ticks: 20\n")
	env := []string{"NODEHOST_REGION=env", "NODEHOST_ZONE=env", "NODEHOST_LABELS=disk=ssd,rack=7", "NODEHOST_NAME=odd=name"}
	got, err := LoadNodeHost([]string{"--config=" + file, "--zone", "flag", "-drummers", "a:1, b:2", "--insecure"}, env)
	require.NoError(t, err)
	require.Equal(t, "odd=name", got.Name)
	require.Equal(t, "env", got.Region)
	require.Equal(t, "flag", got.Zone)
	require.Equal(t, 200*time.Millisecond, got.Tick)
	require.Equal(t, uint64(20), got.ElectionTicks)
	require.Equal(t, uint64(1), got.HeartbeatTicks)
	require.Equal(t, []string{"a:1", "b:2"}, got.Drummers)
	require.Equal(t, map[string]string{"disk": "ssd", "rack": "7"}, got.Labels)
	require.True(t, got.Insecure)
}

func TestFileMayBeNamedByTheEnvironment(t *testing.T) {
	text := minimal + "index: 1\n"
	got, err := LoadDrummer(nil, []string{"DRUMMER_CONFIG=" + write(t, text), "DRUMMER_SERVERS=of drummer-cmd"})
	require.NoError(t, err)
	require.Equal(t, 1, got.Index)
	require.Equal(t, 50*time.Millisecond, got.Tick)
}

// Everything that can be set must be settable in all three ways.
func TestEveryKeyHasAFlagAndAVariable(t *testing.T) {
	samples := map[reflect.Type]string{
		reflect.TypeFor[string](): "x", reflect.TypeFor[Duration](): "7s", reflect.TypeFor[bool](): "true",
		reflect.TypeFor[int](): "7", reflect.TypeFor[uint64](): "7",
		reflect.TypeFor[[]string](): "x,y", reflect.TypeFor[map[string]string](): "x=y",
	}
	for prefix, blank := range map[string]func() any{
		"NODEHOST": func() any { return new(NodeHost) }, "DRUMMER": func() any { return new(Drummer) },
	} {
		for _, k := range keysOf(reflect.ValueOf(blank()).Elem(), "") {
			require.NotEmpty(t, k.doc, k.path)
			text := samples[k.value.Type()]
			require.NotEmpty(t, text, k.path)
			byFlag, byEnv := blank(), blank()
			from, err := load(byFlag, prefix, []string{"--" + k.flag() + "=" + text}, nil)
			require.NoError(t, err)
			require.Equal(t, "flag --"+k.flag(), from.of(k.path))
			from, err = load(byEnv, prefix, nil, []string{k.env(prefix) + "=" + text})
			require.NoError(t, err)
			require.Equal(t, "environment "+k.env(prefix), from.of(k.path))
			require.Equal(t, byFlag, byEnv)
			require.NotEqual(t, blank(), byFlag, k.path)
		}
	}
}

func TestMistakesInTheFileNameTheirPlace(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":       {"namee: x\n", `c.yaml:1:1: unknown key "namee"; did you mean "name"?`},
		"unknown below":     {"api:\n  lisen: x:1\n", `c.yaml:2:3: api: unknown key "lisen"; did you mean "listen"?`},
		"nothing near":      {"log: {colour: x}\n", `c.yaml:1:7: log: unknown key "colour"; known keys: format, level`},
		"duplicate":         {"name: a\nname: b\n", `c.yaml:2:1: key "name" is there twice`},
		"number for text":   {"name: 12\n", `c.yaml:1:7: name: is 12; want text; put it in quotes`},
		"bool for text":     {"name: true\n", `c.yaml:1:7: name: is true; want text; put it in quotes`},
		"text for number":   {"election_ticks: ten\n", `c.yaml:1:17: election_ticks: is text; want a whole number, not negative`},
		"negative":          {"election_ticks: -1\n", `c.yaml:1:17: election_ticks: want a whole number, not negative (got "-1")`},
		"fraction":          {"election_ticks: 1.5\n", `c.yaml:1:17: election_ticks: is 1.5; want a whole number`},
		"bare number":       {"tick: 100\n", `c.yaml:1:7: tick: is 100; want a duration like 30s`},
		"odd duration":      {"tick: 100 ms\n", `c.yaml:1:7: tick: want a duration like 30s or 100ms (got "100 ms")`},
		"text for bool":     {"insecure: maybe\n", `c.yaml:1:11: insecure: is text; want true or false`},
		"text for list":     {"drummers: a:1\n", `c.yaml:1:11: drummers: is `},
		"list for map":      {"api: [x]\n", `c.yaml:1:6: api: is a list; want keys with values`},
		"text for map":      {"api: x:1\n", `c.yaml:1:6: api: is text; want keys with values`},
		"entry of a list":   {"drummers: [a:1, [b:2]]\n", `drummers[1]: is a list; want text`},
		"empty value":       {"api:\nname: x\n", `api: has no value; want keys with values, or leave the key out`},
		"anchor":            {"name: &a x\nregion: *a\n", `name: anchors, aliases and tags are not read`},
		"merge":             {"api: {<<: {listen: x}}\n", `api: has a key that is no plain word`},
		"two documents":     {"name: a\n---\nname: b\n", `c.yaml: has 2 documents; write one`},
		"broken":            {"name: [a\n", `c.yaml:`},
		"a list at the top": {"- a\n", `c.yaml:1:1: is a list; want keys with values`},
		"tab":               {"api:\n\tlisten: x\n", `c.yaml:2:1`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadNodeHost([]string{"--config", write(t, c.text)}, nil)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestAllMistakesOfAFileAreReportedAtOnce(t *testing.T) {
	_, err := LoadNodeHost([]string{"--config", write(t, "nam: x\ntick: 5\nlabels: {a: 1, b: x, b: y}\n")}, nil)
	require.Len(t, strings.Split(err.Error(), "\n"), 4, err)
}

func TestFilesThatSayNothing(t *testing.T) {
	for _, text := range []string{"", "\n", "# a comment\n", "---\n"} {
		var c NodeHost
		_, err := parseStrict("c.yaml", []byte(text), &c)
		require.NoError(t, err, text)
		require.Equal(t, NodeHost{}, c)
	}
}

func TestMistakesOfFlagsAndEnvironment(t *testing.T) {
	for _, c := range []struct {
		args, env []string
		want      string
	}{
		{args: []string{"--regoin", "x"}, want: "unknown flag --regoin; did you mean --region?"},
		{args: []string{"--qqqqqqq"}, want: "unknown flag --qqqqqqq; --help lists them"},
		{args: []string{"serve", "--region", "x"}, want: `unexpected argument "serve"`},
		{args: []string{"--region"}, want: "needs an argument"},
		{args: []string{"--tick", "soon"}, want: `flag --tick: tick: want a duration like 30s or 100ms (got "soon")`},
		{args: []string{"--insecure=maybe"}, want: `want true or false (got "maybe")`},
		{args: []string{"--labels", "a"}, want: "want key=value"},
		{args: []string{"--labels", "a=1,a=2"}, want: "each key once"},
		{env: []string{"NODEHOST_ELECTION_TICKS=-3"}, want: "environment NODEHOST_ELECTION_TICKS: election_ticks: want a whole number, not negative"},
		{args: []string{"--config", "/no/such/file"}, want: "read configuration: open /no/such/file"},
	} {
		_, err := LoadNodeHost(c.args, c.env)
		require.ErrorContains(t, err, c.want)
	}
}

func FuzzStrict(f *testing.F) {
	for _, seed := range []string{minimal, "api: {listen: x}", "labels: {a: b}", "a: &x [*x]", "? [a]\n: b", "name: !!str 1", "name: |\n  x\n", "drummers:\n- a\n- - b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var c NodeHost
		if _, err := parseStrict("c.yaml", raw, &c); err == nil {
			_ = c.Validate() // must not panic either
		}
		var l Launch
		if s, err := parseStrict("l.yaml", raw, &l); err == nil {
			if specs, err := l.expand(s); err == nil && len(specs) > maxLaunch {
				t.Fatalf("%d groups", len(specs))
			}
		}
	})
}
