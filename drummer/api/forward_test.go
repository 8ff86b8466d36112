package api

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
)

func TestFollowersForwardEveryMethod(t *testing.T) {
	w := newTown(t, 3)
	w.lead(2)
	ctx := t.Context()
	d := w.drummer(0)
	_, err := d.CreateGroups(ctx, create(kv(1)))
	require.NoError(t, err)
	st, err := d.Status(ctx, &drummerpb.StatusRequest{})
	require.NoError(t, err)
	require.Equal(t, "c", st.GetLeader(), "the leader answered")
	list, err := d.ListGroups(ctx, &drummerpb.ListGroupsRequest{})
	require.NoError(t, err)
	require.Len(t, list.GetGroups(), 1)
	_, err = d.Explain(ctx, &drummerpb.ExplainRequest{Name: "kv/g-0001"})
	require.NoError(t, err)
	_, err = d.ListHosts(ctx, &drummerpb.ListHostsRequest{})
	require.NoError(t, err)
	_, err = d.ListEvents(ctx, &drummerpb.ListEventsRequest{})
	require.NoError(t, err)
	_, err = w.directory(0).Locate(ctx, &hostpb.LocateRequest{Group: &hostpb.GroupRef{Name: "kv/g-0001"}})
	requireReason(t, fault.NotOpen, err)
	_, err = w.directory(0).Servers(ctx, &hostpb.ServersRequest{})
	require.NoError(t, err)
	_, err = d.DeleteGroup(ctx, &drummerpb.DeleteGroupRequest{Name: "kv/g-0001"})
	require.NoError(t, err)
}

func TestTwoDrummersThatTakeEachOtherForTheLeader(t *testing.T) {
	w := newTown(t, 2)
	w.lead(-1)
	w.believed[0].Store(1)
	w.believed[1].Store(0)
	_, err := w.drummer(0).Status(t.Context(), &drummerpb.StatusRequest{})
	requireReason(t, fault.NotSupervisor, err)
}

func TestNoLeader(t *testing.T) {
	w := newTown(t, 2)
	w.lead(-1)
	begin := time.Now()
	_, err := w.drummer(0).Status(t.Context(), &drummerpb.StatusRequest{})
	requireReason(t, fault.NotSupervisor, err)
	require.GreaterOrEqual(t, time.Since(begin), impatience, "it waited for one")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = w.drummer(0).CreateGroups(ctx, create(kv(1)))
	require.Error(t, err)
	require.Empty(t, w.record.commands)
}

func TestACallWaitsForTheNextLeader(t *testing.T) {
	w := newPatientTown(t, 3, 20*time.Second)
	w.lead(-1)
	elected := time.AfterFunc(60*time.Millisecond, func() { w.lead(1) })
	defer elected.Stop()
	st, err := w.drummer(0).Status(t.Context(), &drummerpb.StatusRequest{})
	require.NoError(t, err)
	require.Equal(t, "b", st.GetLeader())
}

func TestADeadLeaderIsNotSupervisor(t *testing.T) {
	w := newTown(t, 2)
	w.lead(-1)
	w.addrs[1] = "127.0.0.1:1" // nobody listens
	w.believed[0].Store(1)
	_, err := w.drummer(0).CreateGroups(t.Context(), create(kv(1)))
	requireReason(t, fault.NotSupervisor, err)
	require.ErrorContains(t, err, "can't be reached")
}

// A leader that is suspended accepts calls and never answers.
func TestASuspendedLeaderIsLeftForTheNext(t *testing.T) {
	w := newPatientTown(t, 3, 3*time.Second)
	w.lead(1)
	w.record.hang.Store(true)
	elected := time.AfterFunc(60*time.Millisecond, func() { w.record.hang.Store(false); w.lead(2) })
	defer elected.Stop()
	st, err := w.drummer(0).Status(t.Context(), &drummerpb.StatusRequest{})
	require.NoError(t, err)
	require.Equal(t, "c", st.GetLeader())
}

// A drummer that was removed and runs yet sends everybody on at once, instead of waiting for a
// leader that it will not hear of.
func TestOneThatWasRemovedDoesNotWait(t *testing.T) {
	w := newPatientTown(t, 1, time.Hour)
	w.lead(-1)
	w.record.reads = fault.New(fault.Unavailable, "it is removed: ask another one")
	for name, call := range map[string]func(ctx context.Context) error{
		"status": func(ctx context.Context) error {
			_, err := w.drummer(0).Status(ctx, &drummerpb.StatusRequest{})
			return err
		},
		"remove": func(ctx context.Context) error {
			_, err := w.drummer(0).RemoveDrummer(ctx, &drummerpb.RemoveDrummerRequest{Drummer: "1"})
			return err
		},
		"servers": func(ctx context.Context) error {
			_, err := w.directory(0).Servers(ctx, &hostpb.ServersRequest{})
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := call(ctx)
		cancel()
		requireReason(t, fault.Unavailable, err)
		require.ErrorContains(t, err, "ask another one", name)
	}
}
