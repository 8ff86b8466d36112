package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/tools/bench/measure"
	"github.com/drumline/drumline/tools/bench/report"
)

func TestNumbers(t *testing.T) {
	got, err := numbers("1, 16,256")
	require.NoError(t, err)
	require.Equal(t, []int{1, 16, 256}, got)
	for _, bad := range []string{"", "0", "-1", "x", "1,,2"} {
		_, err := numbers(bad)
		require.ErrorIs(t, err, errUsage, bad)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{{"propose", "--groups", "x"}, {"read", "--where", "moon"}, {"subject", "nobody"}, {"idle", "extra"}, {"idle", "--groups", "0"}, {"start", "--hosts", "0"}, {"failover", "--rounds", "0"}, {"all", "--only", "nothing"}, {"capacity", "--only", "nothing"}, {"sequence", "extra"}, {"sequence", "--only", "nothing"}, {"sequence", "--keys", "0"}} {
		var out, errOut bytes.Buffer
		require.Equal(t, 2, run(append([]string{"bench"}, args...), &out, &errOut), "%v: %s", args, errOut.String())
	}
}

func TestEveryTableHasItsPlaceOnThePage(t *testing.T) {
	raw, err := os.ReadFile("../../docs/performance.md")
	require.NoError(t, err)
	for _, ch := range chapters() {
		got, err := report.Splice(string(raw), ch.name, ch.command, "| new |\n\n")
		require.NoError(t, err)
		require.Contains(t, got, "<!-- bench:"+ch.name+" -->\n`bin/bench "+ch.command+"`\n\n| new |\n\n<!-- /bench:"+ch.name+" -->\n")
		again, err := report.Splice(got, ch.name, ch.command, "| new |")
		require.NoError(t, err)
		require.Equal(t, got, again)
		cmd := application(io.Discard, io.Discard).Command(strings.Fields(ch.command)[0])
		require.NotNil(t, cmd, ch.name)
	}
	_, err = report.Splice(string(raw), "nothing", "", "")
	require.ErrorContains(t, err, "bench:nothing")
}

// TestSubjectsInProcess runs every scene once, on little clusters.
func TestSubjectsInProcess(t *testing.T) {
	for _, s := range []measure.Setup{
		{Subject: measure.Ours, Groups: 3, Hosts: 3, Tick: 10 * time.Millisecond, Wave: 2},
		// Raw dragonboat loses a command whose leader changes, and no one asks again: its elections
		// are long enough for a busy machine.
		{Subject: measure.Plain, Groups: 3, Hosts: 3, Tick: 50 * time.Millisecond},
		{Subject: measure.Ours, Groups: 2, Hosts: 1, Tick: 10 * time.Millisecond, Profile: t.TempDir(), Heap: true},
	} {
		t.Run(s.Label()+" "+report.Whole(s.Hosts), func(t *testing.T) {
			it, err := subjects()[s.Subject](t.Context(), t.TempDir(), s)
			require.NoError(t, err)
			defer func() { require.NoError(t, it.close()) }()
			ask := func(r measure.Request) measure.Sample {
				got, err := it.run(t.Context(), r)
				require.NoError(t, err, r.Op)
				require.Empty(t, got.Error)
				return got
			}
			require.Positive(t, ask(measure.Request{Op: measure.OpStart}).Seconds)
			for _, op := range []string{"propose", "read"} {
				// On a busy machine nothing may come to its end in the shortest time.
				done, long := 0.0, 20*time.Millisecond
				for ; done == 0 && long < 30*time.Second; long *= 4 {
					done = ask(measure.Request{Op: op, Callers: 2, Time: long}).PerSec
				}
				require.Positive(t, done, op)
			}
			require.Positive(t, ask(measure.Request{Op: measure.OpIdle, Time: 20 * time.Millisecond}).Heap)
			ask(measure.Request{Op: measure.OpSettle, Time: time.Millisecond})
			require.Equal(t, s.Groups, ask(measure.Request{Op: measure.OpFirst}).Counted)
			if s.Hosts > 1 {
				failed := ask(measure.Request{Op: measure.OpFail})
				require.Equal(t, failed.Moved, failed.Counted)
			}
			require.Positive(t, ask(measure.Request{Op: measure.OpRestart}).Seconds)
			require.Equal(t, s.Groups, ask(measure.Request{Op: measure.OpFirst}).Counted)
			_, err = it.run(t.Context(), measure.Request{Op: "dance"})
			require.ErrorIs(t, err, errUsage)
			if s.Profile != "" {
				files, err := os.ReadDir(s.Profile)
				require.NoError(t, err)
				require.Len(t, files, 10) // start, propose, read, idle and restart
			}
		})
	}
}
