package exchange_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
)

// TestLagInSecondsAndChanges: who was never heard is silent from the beginning on; who is cut
// off in the middle of what it tells is behind by the rest; and neither when all is told.
func TestLagInSecondsAndChanges(t *testing.T) {
	w := newWorld("ord", "hkg")
	w.pace = 100
	w.set(func() { w.cut["hkg"] = true })
	const keys = 1200
	for i := range keys {
		w.addTo(t, "hkg", fmt.Sprint("key", i), 1)
	}
	x := w.start(t, "ord")
	w.start(t, "hkg")
	silence := func() float64 { return metric(t, x, "drumline_counter_exchange_silence_seconds") }
	lag := func() float64 { return metric(t, x, "drumline_counter_exchange_lag_seconds") }
	changes := func() float64 { return metric(t, x, "drumline_counter_exchange_lag_changes") }
	soon := func(is func() bool, what string) {
		t.Helper()
		require.Eventually(t, is, 30*time.Second, time.Millisecond, what)
	}
	soon(func() bool { return silence() > 10 && lag() > 10 }, "it was never heard")
	require.Eventually(t, func() bool { return w.get(t, "hkg").GetGroup().GetOrigin().GetRegion() == "hkg" }, 30*time.Second, 5*time.Millisecond)
	w.set(func() { w.cut["hkg"], w.severs = false, "hkg" })
	soon(func() bool { return changes() >= keys-500 }, "a page was told, and the rest was not")
	before := lag()
	soon(func() bool { return silence() > 10 && lag() > before+10 }, "it is cut off")
	require.GreaterOrEqual(t, changes(), float64(keys-500))
	w.set(func() { w.cut["hkg"], w.severs = false, "" })
	soon(func() bool { return changes() == 0 && lag() < 10 && silence() < 10 }, "all is told")
	require.EqualValues(t, keys, w.get(t, "ord").GetGroup().GetKeys())
}

// TestForgedCountsAreTold: what others claim that a region counted is counted, and changes
// nothing.
func TestForgedCountsAreTold(t *testing.T) {
	w := newWorld("ord", "hkg")
	w.pace = 10
	x := w.start(t, "ord")
	w.add(t, "ord", 3)
	require.Eventually(t, func() bool { return w.get(t, "ord").GetGroup().GetOrigin().GetRegion() == "ord" }, 30*time.Second, 5*time.Millisecond)
	w.do(t, "ord", &counterpb.Command{Op: &counterpb.Command_Merge{Merge: &counterpb.Merge{
		From: &counterpb.Origin{Region: "nrt", Incarnation: 1}, Relayed: true,
		Entries: []*counterpb.Entry{{Slots: []*counterpb.Slot{{Origin: w.get(t, "ord").GetGroup().GetOrigin(), Added: 1_000_000}}}},
	}}})
	require.Eventually(t, func() bool { return metric(t, x, "drumline_counter_forged") == 1 }, 30*time.Second, 5*time.Millisecond)
	w.agree(t, 3, "ord")
}

// TestBytesGoWithChanges: ten times as many changes are ten times as many bytes, whatever there
// is besides.
func TestBytesGoWithChanges(t *testing.T) {
	w := newWorld("ord", "hkg")
	const keys = 3000
	x := w.start(t, "ord")
	require.Eventually(t, func() bool { return w.get(t, "ord").GetGroup().GetOrigin().GetRegion() == "ord" }, 30*time.Second, 5*time.Millisecond)
	add := func(n int) {
		for i := range n {
			w.addTo(t, "ord", fmt.Sprintf("key%04d", i), 1)
		}
		w.add(t, "ord", 1)
	}
	add(keys)
	w.start(t, "hkg")
	w.agree(t, 1, "hkg")
	told := func(n int, value int64) float64 {
		w.quiet(t)
		w.set(func() { w.told = 0 })
		add(n)
		w.agree(t, value, "hkg")
		w.quiet(t)
		bytes := 0
		w.set(func() { bytes = w.told })
		return float64(bytes)
	}
	few, many := told(50, 2), told(500, 3)
	t.Logf("50 changes are %.0f bytes, 500 are %.0f", few, many)
	require.Less(t, many/500, 250.0, "bytes a change")
	require.InDelta(t, 10, many/few, 3)
	crossed := func() (n int) {
		w.set(func() { n = w.crossed["ord"] })
		return n
	}
	least, counted := crossed(), metric(t, x, "drumline_counter_exchange_bytes_total")
	require.InDelta(t, least, counted, 100+float64(crossed()-least), "what siblings answer, and one may be on its way")
	w.set(func() { require.Less(t, w.idle, 60, "what a sibling says that has nothing new") })
}

// TestANewLeaderEndsWindows: whoever led before may have taken in what others counted, and not
// told the time since.
func TestANewLeaderEndsWindows(t *testing.T) {
	w := newWorld("ord", "hkg")
	w.pace = 10
	w.do(t, "ord", &counterpb.Command{Op: &counterpb.Command_Settle{Settle: &counterpb.Settle{Region: "ord"}}})
	w.do(t, "hkg", &counterpb.Command{Op: &counterpb.Command_Settle{Settle: &counterpb.Settle{Region: "hkg"}}})
	w.add(t, "ord", 1)
	ended := uint64(w.now().UnixMilli())/1000*1000 + 1000 // the window that it lies in
	w.do(t, "hkg", &counterpb.Command{Op: &counterpb.Command_Merge{Merge: w.exported(t, "ord")}})
	w.start(t, "ord")
	w.start(t, "hkg")
	require.Eventually(t, func() bool {
		for _, r := range w.get(t, "ord").GetGroup().GetRegions() {
			if r.GetOrigin().GetRegion() == "hkg" && r.GetWallMs() >= ended {
				return true
			}
		}
		return false
	}, 30*time.Second, 5*time.Millisecond, "hkg has passed it, and ord knows")
}

// exported is all that a region tells others.
func (w *world) exported(t *testing.T, region string) *counterpb.Merge {
	t.Helper()
	return w.query(t, region, &counterpb.Query{Op: &counterpb.Query_Export{Export: &counterpb.Export{}}}).GetExport()
}

// TestWindowsEndWhileOthersCount: a region that counts nothing itself passes the time, also
// while another counts all the time, so windows there are sealed.
func TestWindowsEndWhileOthersCount(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld("ord", "hkg")
	w.pace = 2
	w.start(t, "ord")
	w.start(t, "hkg")
	began := uint64(w.now().UnixMilli())
	require.Eventually(t, func() bool {
		w.add(t, "ord", 1)
		for _, r := range w.get(t, "ord").GetGroup().GetRegions() {
			if r.GetOrigin().GetRegion() == "hkg" && r.GetWallMs() >= began+3000 {
				return true
			}
		}
		return false
	}, 30*time.Second, 5*time.Millisecond)
	w.quiet(t)
}
