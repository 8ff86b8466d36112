//go:build e2elong

package e2e

import (
	"fmt"
	"testing"
	"time"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// TestKillsAtEveryStepOfAJoin kills the newcomer, and then the drummer that leads, as soon as
// a join has reached a step: it is on the list, it copies the record without a vote, it has
// its vote. Each join comes to its end, and its drummer is removed again.
func TestKillsAtEveryStepOfAJoin(t *testing.T) {
	w := newWorld(t, 3, 3)
	groups := specs("joins", 3)
	w.create(groups...)
	w.within(20*time.Second, "launched", w.whole(nil))
	load := w.load(names(groups), 50*time.Millisecond)
	round := 4
	for _, step := range []struct {
		name    string
		reached func(*drummerpb.DrummerInfo) bool
	}{
		{"listed", func(d *drummerpb.DrummerInfo) bool { return d != nil }},
		{"copying", func(d *drummerpb.DrummerInfo) bool { return d.GetRole() == "observer" || member(d) }},
		{"voting", member},
	} {
		for _, who := range []string{"newcomer", "leader"} {
			name := fmt.Sprintf("drummer-%d", round)
			round++
			w.killInJoin(name, who, step.name, step.reached)
			w.mayEnd.Store(name, true)
			w.within(60*time.Second, name+" is removed", func() (bool, string) {
				_, err := w.command("servers", "remove", name, "--wait", "--timeout", "20s")
				return err == nil, fmt.Sprint(err)
			})
		}
	}
	w.within(20*time.Second, "three vote", w.vote("drummer-1", "drummer-2", "drummer-3"))
	w.finish(load)
}

func member(d *drummerpb.DrummerInfo) bool {
	return d.GetDrummer().GetState() == fleetpb.DrummerState_DRUMMER_STATE_MEMBER
}

// killInJoin lets a drummer join and kills somebody at a step of that.
func (w *world) killInJoin(name, who, step string, reached func(*drummerpb.DrummerInfo) bool) {
	w.Helper()
	w.join(w.newDrummer(name), "")
	w.within(30*time.Second, name+" is "+step, func() (bool, string) {
		resp := w.drummers()
		for _, d := range resp.GetDrummers() {
			if d.GetDrummer().GetName() == name {
				return reached(d), fmt.Sprint(d)
			}
		}
		return false, fmt.Sprint(resp)
	})
	victim := name
	if who == "leader" {
		w.within(20*time.Second, "somebody leads", func() (bool, string) {
			leader, err := w.leadingDrummer()
			victim = leader
			return err == nil && leader != "", fmt.Sprint(err)
		})
	}
	w.must(w.fleet.Kill(victim))
	w.must(w.fleet.Start(victim))
	took := w.within(60*time.Second, name+" votes", w.vote("drummer-1", "drummer-2", "drummer-3", name))
	w.Logf("%s killed when %s was %s: all vote after %s", victim, name, step, took)
}
