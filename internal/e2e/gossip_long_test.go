//go:build e2elong && linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/localfleet"
	"github.com/drumline/drumline/internal/netlab"
)

// TestUnreachableIsNotDown cuts a host off from the drummers only: its neighbours hear it,
// and it is not replaced. When it is killed for good, it is.
func TestUnreachableIsNotDown(t *testing.T) {
	if !enterOceans(t) {
		return
	}
	nodes := []string{"drummer-1", "host-1", "host-2", "host-3", "host-4", "host-5"}
	lab, err := netlab.New(nodes...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	w := newWorldOf(t, localfleet.Options{Drummers: 1, Hosts: 5, Address: lab.Address, Around: lab.In, Gossip: true})
	five := specs("cut", 5)
	w.create(five...)
	w.within(30*time.Second, "groups are whole", w.whole(names(five)))
	w.within(60*time.Second, "all hosts know all six by gossip", func() (bool, string) { return w.allHeard(len(nodes)) })
	before, err := w.groups()
	w.must(err)

	lab.Set("host-1", "drummer-1", netlab.Link{Cut: true})
	lab.Set("drummer-1", "host-1", netlab.Link{Cut: true})
	w.within(30*time.Second, "host-1 is unreachable", func() (bool, string) { return w.hostIs("host-1", "unreachable", 0) })
	w.within(60*time.Second, "and is still after twice down_after", func() (bool, string) { return w.hostIs("host-1", "unreachable", 2*downAfter) })
	resp, err := w.client.Drummer().Explain(t.Context(), &drummerpb.ExplainRequest{Host: "host-1"})
	w.must(err)
	require.Contains(t, fmt.Sprint(resp.GetReasons()), "is unreachable: drummers do not hear it, 4 of 4 hosts that gossip do")
	now, err := w.groups()
	w.must(err)
	require.Equal(t, replicaIDs(before), replicaIDs(now), "nothing was replaced")

	w.must(w.fleet.Kill("host-1"))
	w.within(2*time.Minute, "it is replaced when it is dead", w.whole(names(five), "host-1"))
}

// hostIs tells whether a host is in a state and silent for so long.
func (w *world) hostIs(name, state string, silent time.Duration) (bool, string) {
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Second)
	defer cancel()
	resp, err := w.client.Drummer().ListHosts(ctx, &drummerpb.ListHostsRequest{Gossip: true})
	if err != nil {
		return false, err.Error()
	}
	for _, h := range resp.GetHosts() {
		if h.GetHost().GetName() == name {
			return h.GetState() == state && h.GetSilentMs() >= silent.Milliseconds(),
				fmt.Sprintf("%s for %d ms, heard by %d of %d; members: %v", h.GetState(), h.GetSilentMs(), h.GetHeardBy(), h.GetOpinions(), resp.GetMembers())
		}
	}
	return false, "there is no such host"
}

// allHeard tells whether /cluster of every host has so many that are heard.
func (w *world) allHeard(n int) (bool, string) {
	for _, p := range w.fleet.Processes() {
		if p.Kind != localfleet.KindNodeHost {
			continue
		}
		resp, err := http.Get("http://" + p.HTTP + "/cluster")
		if err != nil {
			return false, err.Error()
		}
		var members []struct{ Name, Kind, State string }
		err = json.NewDecoder(resp.Body).Decode(&members)
		w.must(resp.Body.Close())
		if err != nil {
			return false, err.Error()
		}
		heard := 0
		for _, m := range members {
			if m.State == "heard" {
				heard++
			}
		}
		if heard != n {
			return false, fmt.Sprintf("%s knows %v", p.Name, members)
		}
	}
	return true, ""
}
