//go:build e2e || e2elong

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// drummers are the drummers as the one that leads sees them; nil while none answers.
func (w *world) drummers() *drummerpb.ListDrummersResponse {
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Second)
	defer cancel()
	resp, err := w.client.Drummer().ListDrummers(ctx, &drummerpb.ListDrummersRequest{})
	if err != nil {
		return nil
	}
	return resp
}

// vote tells whether exactly these drummers belong to the group, answer and vote.
func (w *world) vote(names ...string) func() (bool, string) {
	return func() (bool, string) {
		resp := w.drummers()
		var voters []string
		for _, d := range resp.GetDrummers() {
			if d.GetDrummer().GetState() == fleetpb.DrummerState_DRUMMER_STATE_MEMBER && (d.GetRole() == "leader" || d.GetRole() == "follower") && d.GetDetail() == "" {
				voters = append(voters, d.GetDrummer().GetName())
			}
		}
		want := strings.Join(names, " ")
		return strings.Join(voters, " ") == want && len(resp.GetDrummers()) == len(names), fmt.Sprintf("want %s: %v", want, resp)
	}
}

// newDrummer starts a drummer that waits to be added, and returns its address.
func (w *world) newDrummer(name string) string {
	w.Helper()
	p, err := w.fleet.NewDrummer(name)
	w.must(err)
	w.must(w.fleet.Start(name))
	return p.API
}

// join asks until a drummer that waits is taken in; it goes on after that.
func (w *world) join(address, replaces string) {
	w.Helper()
	w.within(15*time.Second, "taken in", func() (bool, string) {
		ctx, cancel := context.WithTimeout(w.Context(), 5*time.Second)
		defer cancel()
		_, err := w.client.Drummer().AddDrummer(ctx, &drummerpb.AddDrummerRequest{Address: address, Replaces: replaces, Author: "e2e"})
		return err == nil, fmt.Sprint(err)
	})
}

// A drummer joins and dies by kill -9 in the middle; then another loses its disk and is
// replaced at its own address. Groups are launched meanwhile, and nobody notices.
func TestADrummerJoinsAndALostDiskIsReplaced(t *testing.T) {
	w := newWorld(t, 3, 3)
	first := specs("first", 3)
	w.create(first...)
	w.within(20*time.Second, "launched", w.whole(nil))
	load := w.load(names(first), 50*time.Millisecond)

	address := w.newDrummer("drummer-4")
	w.join(address, "")
	w.must(w.fleet.Kill("drummer-4"))
	more := specs("more", 2)
	w.create(more...)
	w.must(w.fleet.Start("drummer-4"))
	w.within(20*time.Second, "it joins all the same", w.vote("drummer-1", "drummer-2", "drummer-3", "drummer-4"))

	w.must(w.fleet.Wipe("drummer-2"))
	w.must(w.fleet.Start("drummer-2"))
	lost, err := w.fleet.Process("drummer-2")
	w.must(err)
	w.join(lost.API, "drummer-2")
	w.within(20*time.Second, "replaced", w.vote("drummer-1", "drummer-3", "drummer-4", "drummer-2"))
	for _, d := range w.drummers().GetDrummers() {
		require.NotEqual(t, uint64(2), d.GetDrummer().GetNumber(), "a number that was lost is never given again")
	}
	w.within(20*time.Second, "launches went on", w.whole(append(names(first), names(more)...)))
	w.finish(load)
}
