package nodehost

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/config"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/statemachines"
)

// childEnv holds the configuration of a host that a test runs as a process of its own.
const childEnv = "DRUMLINE_TEST_NODEHOST"

func TestMain(m *testing.M) {
	if raw, child := os.LookupEnv(childEnv); child {
		os.Exit(runChild(raw))
	}
	goleak.VerifyTestMain(m)
}

// runChild runs a host on which the app bomb kills the process when it starts.
func runChild(raw string) int {
	var cfg config.NodeHost
	if err := json.Unmarshal([]byte(raw), &cfg); err != nil {
		return 2
	}
	apps, err := statemachines.NewRegistry(registerApp(), bombApp(func() { panic("bomb") }))
	if err != nil {
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := Run(ctx, cfg, apps, nil); err != nil {
		return 1
	}
	return 0
}

func bombApp(blow func()) statemachines.App {
	return statemachines.App{Name: "bomb", Version: 1, New: func(statemachines.Group) statemachines.Machine {
		blow()
		return &register{}
	}}
}

func TestAReplicaThatKillsItsProcessKeepsNoOtherDown(t *testing.T) {
	d := newDrummer(t)
	a := newHost(t, "a", d.addr)
	require.NoError(t, a.halt())
	apps, err := statemachines.NewRegistry(registerApp(), bombApp(func() {}))
	require.NoError(t, err)
	a.apps = apps
	a.start()
	launchAs := func(group, replica uint64, name, app string) {
		d.obey(a, group, replica, func(o *drummerpb.Order) {
			o.Body = &drummerpb.Order_Start{Start: &drummerpb.Start{Name: name, App: app, InitialMembers: map[uint64]string{replica: a.id()}}}
		})
		d.awaitReport(a, replica, "runs", isOK)
	}
	launchAs(1000, 1, "register/a", "register")
	launchAs(1001, 2, "bomb/b", "bomb")
	launchAs(1002, 3, "register/c", "register")
	require.NoError(t, a.halt())
	d.stop()
	a.cfg.BootGrace = 0

	for i, why := range []string{"in a batch with the others", "alone", "alone again"} {
		died, out := a.spawn(t, 2*patience)
		require.True(t, died, "start %d, %s: the process lives", i, why)
		require.Contains(t, out, "panic: bomb")
	}
	died, out := a.spawn(t, 2*patience)
	require.False(t, died, out)
	var s hostStatus
	require.NoError(t, json.Unmarshal([]byte(out), &s))
	require.Len(t, s.Replicas, 3)
	for _, r := range s.Replicas {
		if r.Name == "bomb/b" {
			require.Equal(t, "down", r.State)
			require.Contains(t, r.Detail, "kept down")
		} else {
			require.Equal(t, "ok", r.State, r.Name)
		}
	}
}

// spawn runs the host as a process until it dies, which it tells with its output,
// or is ready, which it tells with its status; then it is killed.
func (h *testHost) spawn(t *testing.T, within time.Duration) (died bool, out string) {
	t.Helper()
	raw, err := json.Marshal(h.cfg)
	require.NoError(t, err)
	var text strings.Builder
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(raw))
	cmd.Stdout, cmd.Stderr = &text, &text
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	deadline := time.After(within)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case err := <-ended:
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			return true, text.String()
		case <-deadline:
			_ = cmd.Process.Kill()
			<-ended
			t.Fatalf("neither ready nor dead:\n%s", text.String())
		case <-poll.C:
			if status, ready := h.remoteStatus(); ready {
				_ = cmd.Process.Kill()
				<-ended
				return false, status
			}
		}
	}
}

func (h *testHost) remoteStatus() (status string, ready bool) {
	r, err := http.Get("http://" + h.cfg.HTTP.Listen + "/readyz")
	if err != nil {
		return "", false
	}
	_ = r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return "", false
	}
	var s hostStatus
	if r, err = http.Get("http://" + h.cfg.HTTP.Listen + "/debug/status"); err != nil {
		return "", false
	}
	defer func() { _ = r.Body.Close() }()
	if json.NewDecoder(r.Body).Decode(&s) != nil {
		return "", false
	}
	for _, x := range s.Replicas {
		if x.State == "starting" {
			return "", false
		}
	}
	raw, err := json.Marshal(s)
	return string(raw), err == nil
}
