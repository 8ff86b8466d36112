package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/config"
	"github.com/drumline/drumline/config/examples"
	"github.com/drumline/drumline/internal/localfleet"
)

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{{"extra"}, {"--hosts", "0"}, {"--drummers", "2"}, {"ctl"}, {"ctl", "kill"}, {"ctl", "tickle", "host-1"}, {"ctl", "kill", "host-1", "--dir", "x"}} {
		var out, errOut bytes.Buffer
		require.Equal(t, 2, run(append([]string{"playground"}, args...), &out, &errOut), "%v: %s", args, errOut.String())
	}
}

func TestTheExampleIsCopiedOnceAndLoads(t *testing.T) {
	dir := t.TempDir()
	file, err := launchFile(dir, "")
	require.NoError(t, err)
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, examples.Cluster, raw)
	l, err := config.ReadLaunch(file)
	require.NoError(t, err)
	require.Len(t, l.Specs(), 101)

	require.NoError(t, os.WriteFile(file, []byte("groups: []\n"), 0o600))
	again, err := launchFile(dir, "")
	require.NoError(t, err)
	raw, err = os.ReadFile(again)
	require.NoError(t, err)
	require.Equal(t, "groups: []\n", string(raw), "what the user changed was overwritten")

	none, err := launchFile(dir, "none")
	require.NoError(t, err)
	require.Empty(t, none)
	other, err := launchFile(dir, "mine.yaml")
	require.NoError(t, err)
	require.Equal(t, "mine.yaml", other)
}

// idle is a fleet with no process started, enough for ctl.
func idle(t *testing.T) (*localfleet.Fleet, string) {
	t.Helper()
	dir, bin := t.TempDir(), t.TempDir()
	for _, name := range []string{"drummer", "nodehost"} {
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), nil, 0o700))
	}
	f, err := localfleet.Open(localfleet.Options{Dir: dir, Bin: bin, Drummers: 1, Hosts: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f, dir
}

func TestControl(t *testing.T) {
	f, dir := idle(t)
	c, err := serveControl(dir, f)
	require.NoError(t, err)

	ctl := func(args ...string) (int, string) {
		var out, errOut bytes.Buffer
		code := run(append([]string{"playground", "ctl", "--dir", dir}, args...), &out, &errOut)
		return code, out.String() + errOut.String()
	}
	code, text := ctl("kill", "host-1") // it does not run: nothing to do
	require.Zero(t, code, text)
	require.Contains(t, text, "kill host-1: done")
	code, text = ctl("kill", "host-9")
	require.Equal(t, 1, code)
	require.Contains(t, text, "no such process")
	code, text = ctl("pause", "host-1")
	require.Equal(t, 1, code)
	require.Contains(t, text, "does not run")

	e, err := os.ReadFile(endpointFile(dir))
	require.NoError(t, err)
	forged := bytes.Replace(e, []byte(`"token":"`), []byte(`"token":"x`), 1)
	require.NoError(t, os.WriteFile(endpointFile(dir), forged, 0o600))
	code, text = ctl("kill", "host-1")
	require.Equal(t, 1, code)
	require.Contains(t, text, "wrong token")

	require.NoError(t, c.Close())
	code, text = ctl("kill", "host-1")
	require.Equal(t, 1, code)
	require.Contains(t, text, "no playground runs")
}

func TestGuideNamesEveryProcess(t *testing.T) {
	f, dir := idle(t)
	var out bytes.Buffer
	printGuide(&out, dir, "bin", f, false)
	for _, p := range f.Processes() {
		require.Contains(t, out.String(), p.Name)
		require.Contains(t, out.String(), p.API)
	}
	require.Contains(t, out.String(), "kv put kv/demo-001")
}

// TestRegionsCount: with regions a counter is launched in each that has hosts, by as many
// replicas as these allow, and the guide says how to count.
func TestRegionsCount(t *testing.T) {
	var procs []localfleet.Process
	for _, region := range []string{"ord", "hkg", "ord", "eu-west", "ord", "hkg", "ord"} {
		procs = append(procs, localfleet.Process{Name: "x", Kind: localfleet.KindNodeHost, Region: region, HTTP: "127.0.0.1:1"})
	}
	procs = append(procs, localfleet.Process{Name: "drummer-1", Kind: localfleet.KindDrummer, Region: "nowhere"})
	file, err := countersFile(t.TempDir(), procs)
	require.NoError(t, err)
	l, err := config.ReadLaunch(file)
	require.NoError(t, err)
	replicas := map[string]uint32{}
	for _, s := range l.Specs() {
		require.Equal(t, "counter/default", s.GetName())
		replicas[s.GetRegion()] = s.GetReplicas()
	}
	require.Equal(t, map[string]uint32{"ord": 3, "hkg": 1, "eu-west": 1}, replicas)

	require.NoError(t, os.WriteFile(file, []byte("groups: []\n"), 0o600))
	_, err = countersFile(filepath.Dir(file), procs)
	require.NoError(t, err)
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "groups: []\n", string(raw), "what the user changed was overwritten")

	var out bytes.Buffer
	printCounters(&out, procs)
	require.Contains(t, out.String(), "export ORD=127.0.0.1:1 HKG=127.0.0.1:1 EU_WEST=127.0.0.1:1\n")
	require.Contains(t, out.String(), `curl "$ORD/inc?amount=1"`)
}

// TestRegionsThatCannotCount: what would launch nothing is refused before anything is started.
func TestRegionsThatCannotCount(t *testing.T) {
	for regions, says := range map[string]string{
		"": `"" is no name of a region`, ",": `"" is no name of a region`, "ord,": `"" is no name of a region`, "ord, ,hkg": `"" is no name of a region`,
		"ord@hkg": `"ord@hkg" is no name`, "ord:1": `"ord:1" is no name`, "ord,ORD": "both be called ORD", "a.b,a-b": "both be called A_B",
		"a,b,c,d,e,f": "the 6 regions need a host each",
	} {
		var out, errOut bytes.Buffer
		require.Equal(t, 2, run([]string{"playground", "--dir", t.TempDir(), "--regions", regions}, &out, &errOut), "%q", regions)
		require.Contains(t, errOut.String(), says, "%q", regions)
	}
	for _, regions := range []string{"ord", "ord,hkg,ams", "ord,ord,hkg", "true,1,no", "eu-west.1"} {
		list := strings.Split(regions, ",")
		require.NoError(t, checkRegions(list, true, len(list)), "%q", regions)
		var procs []localfleet.Process
		for _, r := range list {
			procs = append(procs, localfleet.Process{Kind: localfleet.KindNodeHost, Region: r, HTTP: "127.0.0.1:1"})
		}
		file, err := countersFile(t.TempDir(), procs)
		require.NoError(t, err)
		l, err := config.ReadLaunch(file)
		require.NoError(t, err, "%q", regions)
		for _, s := range l.Specs() {
			require.Equal(t, "counter/default", s.GetName())
			require.Contains(t, list, s.GetRegion())
		}
		var out bytes.Buffer
		printCounters(&out, procs)
		require.Regexp(t, `(?m)^  export [A-Z_][A-Z0-9_]*=`, out.String())
	}
	require.NoError(t, checkRegions([]string{""}, false, 1), "hosts need no region for something else")
}

func TestOptionsComeFromTheFlags(t *testing.T) {
	app := &cli.App{Name: "playground", Flags: runFlags(), Action: func(c *cli.Context) error {
		o := fleetOptions(c, "bin")
		require.Equal(t, []string{"ord", "hkg"}, o.Regions)
		require.Equal(t, 1, o.Drummers)
		require.Equal(t, 7, o.Hosts)
		require.Equal(t, 9000, o.BasePort)
		return nil
	}}
	require.NoError(t, app.RunContext(context.Background(), []string{"playground", "--regions", "ord,hkg", "--drummers", "1", "--hosts", "7", "--base-port", "9000", "--quiet"}))
}
