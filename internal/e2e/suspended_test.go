//go:build e2e || e2elong

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	kvpb "github.com/drumline/drumline/drummerpb/kv"
)

// TestASessionDoesNotWaitForASuspendedHost: a command under a session that goes through another
// host to a leader that is suspended is done by the next leader, within the time of the call,
// and once.
func TestASessionDoesNotWaitForASuspendedHost(t *testing.T) {
	w := newWorld(t, 1, 3)
	w.create(&fleetpb.Spec{Name: "kv/suspended", App: "kv", Replicas: 3})
	w.within(15*time.Second, "launch", w.whole([]string{"kv/suspended"}))
	leader := w.leader("kv/suspended")
	var hosts hostpb.GroupsClient
	for i := range 3 {
		if name := fmt.Sprintf("host-%d", i+1); name != leader {
			p, err := w.fleet.Process(name)
			w.must(err)
			conn, err := w.client.Server(p.API)
			w.must(err)
			hosts = hostpb.NewGroupsClient(conn)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	opened, err := hosts.OpenSession(ctx, &hostpb.OpenSessionRequest{Group: &hostpb.GroupRef{Name: "kv/suspended"}})
	w.must(err)
	cmd, err := proto.Marshal(&kvpb.Command{Op: &kvpb.Command_Put{Put: &kvpb.Put{Key: []byte("k"), Value: []byte("v")}}})
	w.must(err)
	req := &hostpb.ProposeRequest{Command: cmd, Session: opened.GetSession()}

	w.must(w.fleet.Pause(leader))
	begun := time.Now()
	ctx, cancel = context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	first, err := hosts.Propose(ctx, req)
	w.must(err)
	t.Logf("answered after %.1fs of 15s", time.Since(begun).Seconds())
	w.must(w.fleet.Resume(leader))
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	again, err := hosts.Propose(ctx, req)
	w.must(err)
	require.Equal(t, first.GetData(), again.GetData(), "it was applied once")
}
