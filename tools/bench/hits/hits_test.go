package hits_test

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/tools/bench/hits"
	"github.com/drumline/drumline/tools/bench/measure"
)

// asServer makes this program the yardstick's server.
const asServer = "HITS_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		if err := hits.Serve(os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func server(t *testing.T) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env, cmd.Stderr = append(os.Environ(), asServer+"=1"), os.Stderr
	return cmd
}

func TestTheYardstickCounts(t *testing.T) {
	w, err := hits.NewWeb(measure.Setup{Subject: measure.BareHTTP}, server(t))
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
	s, err := w.Run(t.Context(), measure.Request{Op: measure.OpHits, Time: time.Second})
	require.NoError(t, err)
	require.Zero(t, s.Failed, s.Error)
	require.Positive(t, s.PerSec)
	require.Positive(t, s.CPU)
}

func TestAServerThatDoesNotStart(t *testing.T) {
	_, err := hits.NewWeb(measure.Setup{}, exec.Command("true"))
	require.ErrorContains(t, err, "it gave no address")
	_, err = hits.NewWeb(measure.Setup{}, exec.Command("/no/such/program"))
	require.ErrorContains(t, err, "start the bare handler")
}

func TestUnknownRuns(t *testing.T) {
	c := hits.NewCaller()
	defer c.Close()
	_, err := c.Workload(hits.Places{}, &measure.Request{Via: "by pigeon"})
	require.ErrorContains(t, err, "by pigeon")
}

// TestTable: a target is met or not by the scaled figures of the talk's program.
func TestTable(t *testing.T) {
	medians := map[string]measure.Sample{}
	for _, name := range hits.Names() {
		medians[name] = measure.Sample{PerSec: 10_025, P50: 1, P99: 2, CPU: 3}
	}
	medians[hits.Bare] = measure.Sample{PerSec: 20_050}
	delete(medians, hits.Read)
	var out bytes.Buffer
	require.NoError(t, hits.Print(&out, medians))
	require.Contains(t, out.String(), "multiplied by 0.50")
	require.NotContains(t, out.String(), hits.Read, "what was not measured")
	require.Regexp(t, `inc at the leader's host, 32 connections .* 20050 +\| 0.50 +\| ≥ 0.5× the talk's +\| yes`, out.String())
	require.Regexp(t, `AddBatch of 200, .* 20050 +\| 0.50 +\| ≥ 5.0× the talk's +\| no`, out.String())
}
