package sim

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/drummer/export"
	"github.com/drumline/drumline/drummer/sim/revive"
)

// TestScaleOfAnExport takes a fleet of SCALE_GROUPS groups through all that an export goes
// through, from the drummer that leads to the simulator, and measures what docs/performance.md
// says of it.
func TestScaleOfAnExport(t *testing.T) {
	groups := 500
	if asked := os.Getenv("SCALE_GROUPS"); asked != "" {
		n, err := strconv.Atoi(asked)
		require.NoError(t, err)
		groups = n
	}
	l := newLarge(t, groups/100, groups)
	l.takeOver(t)
	l.live(2*time.Second, l.hosts)
	begun := worked()
	took := func(what string) {
		t.Logf("%-20s %8.1f ms", what, ms(worked()-begun))
		begun = worked()
	}
	e, err := export.Take(l.c.Observed(l.now))
	require.NoError(t, err)
	took("taken")
	dice := rand.New(rand.NewPCG(1, 2))
	for _, h := range e.GetHosts() { // no two groups are equally far, which packs worse
		for _, r := range h.GetReplicas() {
			r.Applied, r.Term = dice.Uint64N(1e7), dice.Uint64N(100)
		}
	}
	begun = worked()
	packed, err := export.Pack(e)
	require.NoError(t, err)
	took("packed")
	e, err = export.Unpack(packed)
	require.NoError(t, err)
	took("unpacked")
	_, err = export.Check(e)
	require.NoError(t, err)
	took("checked")
	data, err := export.Write(e)
	require.NoError(t, err)
	took("written")
	f, err := export.Read(data)
	require.NoError(t, err)
	took("read")
	w := revive.New(1, f)
	took("brought to life")
	t.Logf("%d groups: %d bytes packed, a file of %d", groups, len(packed), len(data))
	require.Len(t, w.Hosts, groups/100)
	require.Equal(t, groups, w.Record.Freeze().GroupCount())
}
