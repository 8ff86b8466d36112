package localfleet_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/internal/localfleet"
)

// The test's own program plays drummer and nodehost, and the owner of a fleet that is killed.
const roleVar = "LOCALFLEET_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "server":
		os.Exit(server())
	case "owner":
		os.Exit(owner())
	case "refuses":
		fmt.Println("reading")
		fmt.Fprintln(os.Stderr, "the data directory belongs to another cluster")
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"))
}

// server is a process that is ready once it listens and ends at SIGTERM.
func server() int {
	raw, err := os.ReadFile(os.Args[2])
	if err != nil {
		return 3
	}
	var cfg struct {
		DataDir string `yaml:"data_dir"`
		HTTP    struct {
			Listen string `yaml:"listen"`
		} `yaml:"http"`
	}
	if yaml.Unmarshal(raw, &cfg) != nil || os.MkdirAll(cfg.DataDir, 0o700) != nil {
		return 4
	}
	ln, err := net.Listen("tcp", cfg.HTTP.Listen)
	if err != nil {
		return 5
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { _ = http.Serve(ln, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})) }()
	fmt.Println("up")
	<-ctx.Done()
	return 0
}

// owner runs a fleet until it is killed.
func owner() int {
	if os.Setenv(roleVar, "server") != nil {
		return 3
	}
	f, err := localfleet.Open(options(os.Args[1], os.Args[2], io.Discard))
	if err != nil || f.StartAll() != nil || f.WaitReady(context.Background()) != nil {
		return 4
	}
	fmt.Println("started")
	select {}
}

func options(dir, bin string, out io.Writer) localfleet.Options {
	return localfleet.Options{Dir: dir, Bin: bin, Drummers: 1, Hosts: 2, Output: out}
}

func open(t *testing.T) (*localfleet.Fleet, string) {
	t.Helper()
	t.Setenv(roleVar, "server")
	dir, bin := t.TempDir(), programs(t)
	f, err := localfleet.Open(options(dir, bin, io.Discard))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	require.NoError(t, f.StartAll())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, f.WaitReady(ctx))
	return f, dir
}

func programs(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	bin := t.TempDir()
	require.NoError(t, os.Symlink(self, filepath.Join(bin, "drummer")))
	require.NoError(t, os.Symlink(self, filepath.Join(bin, "nodehost")))
	return bin
}

// Whoever sees a process end is told what it said last.
func TestAProcessThatRefusesSaysWhy(t *testing.T) {
	t.Setenv(roleVar, "refuses")
	o := options(t.TempDir(), programs(t), io.Discard)
	ends := make(chan error, 1)
	o.Hosts, o.Exited = 0, func(_ string, err error) { ends <- err }
	f, err := localfleet.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	require.NoError(t, f.Start("drummer-1"))
	select {
	case err := <-ends:
		require.ErrorContains(t, err, "exit status 1")
		require.ErrorContains(t, err, "the data directory belongs to another cluster")
	case <-time.After(time.Minute):
		require.Fail(t, "it did not end")
	}
}

func pid(t *testing.T, f *localfleet.Fleet, name string) int {
	t.Helper()
	p, err := f.Process(name)
	require.NoError(t, err)
	return p.PID
}

func TestKillStartAndTheClusterFile(t *testing.T) {
	f, dir := open(t)
	before := pid(t, f, "host-1")
	require.NotZero(t, before)
	require.NoError(t, f.Kill("host-1"))
	require.Zero(t, pid(t, f, "host-1"))
	onDisk, err := localfleet.Read(dir)
	require.NoError(t, err)
	require.Equal(t, f.Processes(), onDisk)

	require.NoError(t, f.Start("host-1"))
	require.NotEqual(t, before, pid(t, f, "host-1"))
	onDisk, err = localfleet.Read(dir)
	require.NoError(t, err)
	require.Equal(t, f.Processes(), onDisk)
	require.ErrorIs(t, f.Kill("host-9"), localfleet.ErrUnknownProcess)
}

func TestPauseAndResume(t *testing.T) {
	f, _ := open(t)
	require.NoError(t, f.Pause("host-2"))
	require.Eventually(t, func() bool { return processState(t, pid(t, f, "host-2")) == "T" }, 20*time.Second, time.Millisecond)
	require.NoError(t, f.Resume("host-2"))
	require.Eventually(t, func() bool { return processState(t, pid(t, f, "host-2")) != "T" }, 20*time.Second, time.Millisecond)
}

func TestAddHost(t *testing.T) {
	f, dir := open(t)
	name, err := f.AddHost("south")
	require.NoError(t, err)
	require.Equal(t, "host-3", name)
	require.NoError(t, f.Start(name))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, f.WaitReady(ctx, name))
	onDisk, err := localfleet.Read(dir)
	require.NoError(t, err)
	require.Len(t, onDisk, 4)
	require.Equal(t, "south", onDisk[3].Region)
	require.Equal(t, f.Processes(), onDisk)
}

func TestWipeRemovesTheDataAlone(t *testing.T) {
	f, dir := open(t)
	require.DirExists(t, filepath.Join(dir, "host-1", "data"))
	require.NoError(t, f.Wipe("host-1"))
	require.NoDirExists(t, filepath.Join(dir, "host-1", "data"))
	require.FileExists(t, filepath.Join(dir, "host-1", "config.yaml"))
}

func TestASecondOpenKeepsThePorts(t *testing.T) {
	t.Setenv(roleVar, "server")
	dir, bin := t.TempDir(), programs(t)
	first, err := localfleet.Open(options(dir, bin, nil))
	require.NoError(t, err)
	require.NoError(t, first.Close())
	second, err := localfleet.Open(options(dir, bin, nil))
	require.NoError(t, err)
	require.NoError(t, second.Close())
	require.Equal(t, first.Processes(), second.Processes())
}

func TestOneProcessRunsAFleet(t *testing.T) {
	f, dir := open(t)
	before := f.Processes()
	_, err := localfleet.Open(options(dir, programs(t), nil))
	require.ErrorIs(t, err, localfleet.ErrInUse)
	now, err := localfleet.Read(dir)
	require.NoError(t, err)
	require.Equal(t, before, now, "the second one changed the first one's fleet")
}

// A drummer that has lost its disk, and one that comes later, wait to be added; a second
// start of the fleet knows them.
func TestDrummersThatJoin(t *testing.T) {
	dir, bin := t.TempDir(), programs(t)
	f, err := localfleet.Open(options(dir, bin, nil))
	require.NoError(t, err)
	late, err := f.NewDrummer("drummer-9")
	require.NoError(t, err)
	_, err = f.NewDrummer("drummer-9")
	require.ErrorContains(t, err, "taken")
	require.NoError(t, f.Wipe("drummer-1"))
	require.NoError(t, f.Close())

	f, err = localfleet.Open(options(dir, bin, nil))
	require.NoError(t, err)
	again, err := f.Process("drummer-9")
	require.NoError(t, err)
	require.Equal(t, late.API, again.API)
	for name, index := range map[string]bool{"drummer-1": true, "drummer-9": false} {
		raw, err := os.ReadFile(filepath.Join(dir, name, "config.yaml"))
		require.NoError(t, err)
		require.Contains(t, string(raw), "join: true", name)
		require.Equal(t, index, strings.Contains(string(raw), "index: 1"), name)
		require.NotContains(t, string(raw), "- "+late.API, name)
	}
	require.NoError(t, f.Close())
}

func TestReaddress(t *testing.T) {
	f, _ := open(t)
	require.ErrorContains(t, f.Readdress("host-1"), "stop it first")
	before, err := f.Process("host-1")
	require.NoError(t, err)
	require.NoError(t, f.Stop("host-1"))
	require.NoError(t, f.Readdress("host-1"))
	after, err := f.Process("host-1")
	require.NoError(t, err)
	require.NotEqual(t, before.API, after.API)
	require.NotEqual(t, before.Raft, after.Raft)
}

func TestChildrenDieWithTheirOwner(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	cmd := exec.Command(self, dir, programs(t))
	cmd.Env = append(os.Environ(), roleVar+"=owner")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line := make([]byte, 8)
	_, err = io.ReadFull(out, line)
	require.NoError(t, err)
	procs, err := localfleet.Read(dir)
	require.NoError(t, err)
	for _, p := range procs {
		require.False(t, gone(p.PID), p.Name)
	}
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	for _, p := range procs {
		require.Eventually(t, func() bool { return gone(p.PID) }, 10*time.Second, time.Millisecond, p.Name)
	}
}

func gone(pid int) bool {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(raw), ") Z ")
}

func processState(t *testing.T, pid int) string {
	t.Helper()
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(raw), ") ")
	require.True(t, ok)
	return rest[:1]
}
