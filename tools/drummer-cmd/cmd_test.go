package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/reference"
)

var update = flag.Bool("update", false, "write golden files anew")

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"drummer-cmd": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
	}})
}

// leakChecked looks for goroutines after the tests have passed.
type leakChecked struct{ m *testing.M }

func (l leakChecked) Run() int {
	code := l.m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

type clusterKey struct{}

// The scripts in testdata run the program against a fake cluster of their own. Two
// words are added: "dc CODE ARGS..." runs drummer-cmd and checks its exit code,
// "cluster ..." changes the fake.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			f := newFake(t)
			env.Defer(f.stop)
			env.Values[clusterKey{}] = f
			env.Setenv("DRUMMER_SERVERS", f.address)
			env.Setenv("SERVER", f.address)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector waits a second at each exit
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"dc": runCommand, "soon": runSoon, "cluster": changeCluster},
	})
}

func runCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: dc CODE ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec("drummer-cmd", args[1:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	for line := range strings.Lines(ts.ReadFile("stderr")) {
		if part := saidTwice(line); part != "" {
			ts.Fatalf("%q is said twice: %s", part, line)
		}
	}
}

// saidTwice finds what an error says more than once: those that wrap it say what they were
// doing, each its own part of it.
func saidTwice(line string) string {
	parts := strings.Split(strings.TrimSpace(line), ": ")
	for i, part := range parts {
		if slices.Contains(parts[:i], part) {
			return part
		}
	}
	return ""
}

// runSoon runs a command until it prints a text: what gives up within a second may, on a
// busy machine, print nothing.
func runSoon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: soon TEXT ARGS...")
	}
	for range 20 {
		ts.Check(ts.Exec("drummer-cmd", args[1:]...))
		if strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
	}
	ts.Fatalf("it does not print %q", args[0])
}

// scriptT lets a script fail as a test does.
type scriptT struct{ ts *testscript.TestScript }

func (t scriptT) Errorf(format string, args ...any) { t.ts.Fatalf(format, args...) }
func (t scriptT) FailNow()                          { t.ts.Fatalf("failed") }

func changeCluster(ts *testscript.TestScript, _ bool, args []string) {
	f, ok := ts.Value(clusterKey{}).(*fake)
	if !ok {
		ts.Fatalf("there is no cluster")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	number := func(i int) int {
		n, err := strconv.Atoi(args[i])
		ts.Check(err)
		return n
	}
	switch args[0] {
	case "group": // NAME STATE [REGION]
		f.add(statemachines.NameIn(args[1], strings.Join(args[3:], " ")), args[2])
	case "define": // RESOURCE ALGORITHM CAPACITY [REGION]
		v, err := strconv.ParseFloat(args[3], 64)
		ts.Check(err)
		f.define(scriptT{ts}, statemachines.NameIn(args[1], strings.Join(args[4:], " ")), args[2], v)
	case "many":
		for i := range number(2) {
			f.add(fmt.Sprintf("%s%04d", args[1], i), "ok")
		}
	case "resources": // PREFIX NUMBER [REGION]
		ts.Check(f.configured.add(args[1], number(2), strings.Join(args[3:], " ")))
	case "exports":
		f.exports = args[1]
	case "sick":
		sicken(f.byName(args[1]))
	case "page":
		f.page = number(1)
	case "slow":
		f.slow[args[1]] = number(2)
	case "fail":
		f.failing = hostpb.Reason(hostpb.Reason_value["REASON_"+args[1]])
	case "fail-after":
		f.calls, f.failAfter = 0, number(1)
	case "await": // so many more calls of a method
		for before := f.seen[args[1]]; f.seen[args[1]] < before+number(2); {
			f.another.Wait()
		}
	case "lose":
		f.lost = number(1)
	case "hosts":
		f.hosts = someHosts()
	case "hosts-here": // the one that is up is the fake itself
		f.hosts = someHosts()
		f.hosts[1].Host.Api = f.address
	case "events":
		f.events = someEvents(number(1))
	case "calls":
		if got := fmt.Sprint(f.calls, " ", f.policies); got != args[1]+" "+args[2] {
			ts.Fatalf("%s calls and policies, want %s %s", got, args[1], args[2])
		}
	case "proposals":
		if f.proposals != number(1) {
			ts.Fatalf("%d proposals, want %d", f.proposals, number(1))
		}
	case "keys-only":
		if f.keysOnly != number(1) {
			ts.Fatalf("%d queries for keys only, want %d", f.keysOnly, number(1))
		}
	default:
		ts.Fatalf("cluster %s?", args[0])
	}
}

// sicken gives a group a dead replica, an observer that shall replace it, and a lost one.
func sicken(g *drummerpb.GroupInfo) {
	g.State = "degraded"
	g.Replicas[1].State, g.Replicas[1].Detail = drummerpb.ReplicaState_REPLICA_STATE_DOWN, "silent for 31s"
	g.Replicas[2].State, g.Replicas[2].Host = drummerpb.ReplicaState_REPLICA_STATE_LOST, ""
	g.Replicas = append(g.Replicas, &drummerpb.ReplicaInfo{
		Id: 10*g.GetId() + 7, Host: "host-4", HostId: "h4", Observer: true, State: drummerpb.ReplicaState_REPLICA_STATE_CATCHING_UP,
	})
	g.Regions = []*fleetpb.RegionCount{{Region: "east", Count: 2}, {Region: "west", Count: 1}}
}

func someHosts() []*drummerpb.HostInfo {
	host := func(name, id string) *fleetpb.Host {
		return &fleetpb.Host{
			Name: name, Id: id, Region: "east", Zone: "a", Labels: []string{"disk=ssd"}, Api: "127.0.0.1:9221", Raft: "127.0.0.1:9222",
			BootEpoch: 3, Apps: []*fleetpb.App{{Name: "kv", Version: 1}},
		}
	}
	return []*drummerpb.HostInfo{
		{Host: host("host-1", "h1-old"), State: "lost", SilentMs: 5000000},
		{Host: host("host-1", "h1"), State: "up", SilentMs: 412, Replicas: 61, Leaders: 20, Unloaded: 7, Boot: &drummerpb.Boot{Total: 61, Done: 40}, Version: "v1.0.0"},
		{Host: &fleetpb.Host{Name: "host-2", Id: "h2", Region: "west", InMemory: true}, State: "down", SilentMs: 61000},
	}
}

func someEvents(n int) []*fleetpb.Event {
	var out []*fleetpb.Event
	for i := range n {
		out = append(out, &fleetpb.Event{
			Sequence: uint64(i + 1), AtUnixMs: 1790000000000 + int64(i)*1000, Kind: "replica-removed", Group: "kv/a", Host: "host-2", Text: "removed <&>",
		})
	}
	return out
}

// Every command is described, and the page is what the commands say.
func TestReference(t *testing.T) {
	const page = "../../docs/cli.md"
	want := reference.Page(newTool(streams{}).app(), program)
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(want), 0o644))
	}
	got, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, want, string(got), "run go test ./tools/drummer-cmd -run TestReference -update")
}
