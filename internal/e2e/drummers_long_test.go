//go:build e2elong

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// From three drummers to five and back to three others, under load: the leader is killed in
// the middle of an addition, a host in the middle of another, and launches and repairs go on.
// In the end none of the drummers is left that the hosts were configured with; a host that
// restarts finds the others all the same.
func TestDrummersFromThreeToFiveToThree(t *testing.T) {
	w := newWorld(t, 3, 5)
	first := specs("first", 20)
	w.create(first...)
	w.within(30*time.Second, "launched", w.whole(nil))
	load := w.load(names(first), 50*time.Millisecond)

	// The leader dies in the middle.
	w.join(w.newDrummer("drummer-4"), "")
	leader, err := w.leadingDrummer()
	w.must(err)
	w.must(w.fleet.Kill(leader))
	w.within(30*time.Second, "another leader leads", func() (bool, string) {
		now, err := w.leadingDrummer()
		return err == nil && now != leader, now
	})
	w.must(w.fleet.Start(leader))
	w.within(30*time.Second, "four vote", w.vote("drummer-1", "drummer-2", "drummer-3", "drummer-4"))

	// A host dies in the middle: its replicas are replaced while the fifth joins.
	w.must(w.fleet.Kill("host-5"))
	w.join(w.newDrummer("drummer-5"), "")
	more := specs("more", 10)
	w.create(more...)
	w.within(30*time.Second, "five vote", w.vote("drummer-1", "drummer-2", "drummer-3", "drummer-4", "drummer-5"))
	w.within(60*time.Second, "repaired and launched", w.whole(append(names(first), names(more)...), "host-5"))

	// The first three go; one of them led, whichever that is.
	for _, name := range []string{"drummer-1", "drummer-2"} {
		w.mayEnd.Store(name, true)
		w.run("servers", "remove", name)
		// Again, while it is under way: any of the five may be asked, the one that goes as well.
		if _, err := w.command("servers", "remove", name); err != nil {
			require.ErrorContains(t, err, "no drummer has the name or number", "it is through already")
		}
		w.within(30*time.Second, name+" is removed", func() (bool, string) {
			out, err := w.command("servers", "list")
			return err == nil && !strings.Contains(out, `"`+name+`"`), fmt.Sprint(out, err)
		})
	}
	w.within(30*time.Second, "three vote", w.vote("drummer-3", "drummer-4", "drummer-5"))
	w.mayEnd.Store("drummer-3", true)
	w.join(w.newDrummer("drummer-6"), "drummer-3")
	w.within(30*time.Second, "the last of the first ones is replaced alive", w.vote("drummer-4", "drummer-5", "drummer-6"))
	for _, name := range []string{"drummer-1", "drummer-2", "drummer-3"} {
		w.within(20*time.Second, name+" has ended by itself", func() (bool, string) {
			p, err := w.fleet.Process(name)
			return err == nil && p.PID == 0, "it runs"
		})
	}

	// None of the drummers of their configuration is left.
	w.must(w.fleet.Stop("host-1"))
	w.must(w.fleet.Start("host-1"))
	w.must(w.fleet.Start("host-5"))
	for _, h := range []string{"host-1", "host-5"} {
		w.within(30*time.Second, h+" attends", func() (bool, string) { return w.booted(h) })
	}
	last := specs("last", 3)
	w.create(last...)
	w.within(30*time.Second, "launched by the new ones", w.whole(names(last)))
	report := w.finish(load)
	require.LessOrEqual(t, report.Gaps[0].Length, 10*time.Second, "a group noticed: %s", report.Gaps[0].Group)
}
