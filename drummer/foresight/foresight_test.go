package foresight_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/foresight"
	"github.com/drumline/drumline/drummer/planner"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// present is a fleet of hosts that are up and have nothing.
func present(t *testing.T, hosts int) planner.View {
	t.Helper()
	m := fleet.New()
	o := &planner.Observed{Hosts: map[ids.Host]*planner.Host{}, Groups: map[ids.Group]*planner.Group{}}
	for i := range hosts {
		id := fmt.Sprintf("h%d", i)
		r := m.Execute(&fleetpb.Command{Op: &fleetpb.Command_RegisterHost{RegisterHost: &fleetpb.Host{
			Id: id, Name: "host-" + id, Region: []string{"east", "west"}[i%2], Api: "x:1", Raft: "x:2", BootEpoch: 1, Apps: []*fleetpb.App{{Name: "kv", Version: 1}},
		}}})
		require.Equal(t, fleetpb.Code_CODE_OK, r.GetCode())
		o.Hosts[ids.Host(id)] = &planner.Host{Connected: true}
	}
	return planner.View{Fleet: m.Freeze(), Observed: o}
}

func specs(n int) []*fleetpb.Spec {
	var list []*fleetpb.Spec
	for i := range n {
		list = append(list, &fleetpb.Spec{Name: fmt.Sprintf("kv/g%02d", i), App: "kv", Replicas: 3})
	}
	return list
}

func kinds(r *drummerpb.PlanResponse) map[string]int {
	n := map[string]int{}
	for _, s := range r.GetSteps() {
		n[s.GetKind()]++
	}
	return n
}

func TestALaunchIsSeenToItsEnd(t *testing.T) {
	r, err := foresight.Play(t.Context(), present(t, 4), foresight.Change{Specs: specs(8)})
	require.NoError(t, err)
	require.False(t, r.GetUnfinished())
	require.Empty(t, r.GetOpen())
	require.Equal(t, 24, kinds(r)["launch"])
	for _, h := range r.GetHosts() {
		require.Zero(t, h.GetBefore())
		require.EqualValues(t, 6, h.GetAfter(), h.GetHost())
	}
	require.Zero(t, r.GetMoves(), "a good launch needs no moves")
}

func TestWhatIsNotPossibleIsSaid(t *testing.T) {
	r, err := foresight.Play(t.Context(), present(t, 2), foresight.Change{Specs: specs(1)})
	require.NoError(t, err)
	require.Len(t, r.GetOpen(), 1)
	require.Contains(t, r.GetOpen()[0].GetReason(), "it needs 1 more host")

	_, err = foresight.Play(t.Context(), present(t, 2), foresight.Change{Policy: &fleetpb.Policy{BrakePercent: 500}})
	require.ErrorContains(t, err, "brake_percent of 500")
}

func TestTheEndOfTimeIsTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := foresight.Play(ctx, present(t, 4), foresight.Change{Specs: specs(1)})
	require.NoError(t, err)
	require.True(t, r.GetUnfinished())
}
