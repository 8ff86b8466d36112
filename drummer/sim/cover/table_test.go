package cover

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/drummer/fleet/words"
)

func TestTable(t *testing.T) {
	faults := []string{"crash", "pause"}
	rows := Rows(faults)
	require.Contains(t, rows, Row{words.KindMove, HandOver, "pause"})
	require.Contains(t, rows, Killed("joined"))
	require.NotContains(t, rows, Row{Drummers, "joined", "crash"}, "drummers are killed behind steps, and by nothing else here")

	a, b := Table{}, Table{}
	require.Len(t, a.Empty(faults), len(rows))
	at := Row{words.KindTune, Restart, "crash"}
	a.Count(at, "done: every replica runs")
	a.Count(at, "superseded: resize")
	b.Count(at, "cancelled by somebody")
	b.Count(at, "")
	a.Add(b)
	require.Equal(t, "1/1/1/1", a.cell(at), "what has no known end was not seen to end")
	require.Len(t, a.Empty(faults), len(rows)-1)
	require.NotContains(t, a.Empty(faults), "tune × restart × crash")
	require.Empty(t, a.Strange(faults))
	require.Contains(t, a.Text(faults), "\ncrash                       1/1/1/1                  -\npause")
	require.NotContains(t, a.Summary(faults), "crash")
	require.Contains(t, a.Summary(faults), "\nall                         1/1/1/1                  -\n")

	a.Count(Row{words.KindTune, Seal, "crash"}, "done")
	require.Equal(t, []string{"tune × seal × crash"}, a.Strange(faults))
}

// Every kind that can be paused has a stage: whoever adds one is reminded here.
func TestStagesOfEveryKind(t *testing.T) {
	var have []string
	for _, g := range Stages() {
		have = append(have, g.Operation)
		require.NotEmpty(t, g.Steps)
	}
	require.Subset(t, have, words.BuildKinds())
	require.Len(t, have, 17, strings.Join(have, ", "))
}
