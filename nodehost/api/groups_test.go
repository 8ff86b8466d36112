package api_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve"
)

func TestGroupsAndDirectoryPassThrough(t *testing.T) {
	r := &fakeRouter{propose: &hostpb.ProposeResponse{Value: 3}, read: &hostpb.ReadResponse{Data: []byte("d")}}
	conn, ctx := serveRouter(t, r), within(t, 20*time.Second)
	g, d := hostpb.NewGroupsClient(conn), hostpb.NewDirectoryClient(conn)
	ref := &hostpb.GroupRef{Name: "kv/x"}

	p, err := g.Propose(ctx, &hostpb.ProposeRequest{Group: ref, Hops: 2, Session: &hostpb.Session{Client: 7}})
	require.NoError(t, err)
	require.Equal(t, uint64(3), p.GetValue())
	req, ok := r.last().(*hostpb.ProposeRequest)
	require.True(t, ok)
	require.Equal(t, uint32(2), req.GetHops())
	require.Equal(t, uint64(7), req.GetSession().GetClient())
	_, err = g.Read(ctx, &hostpb.ReadRequest{Group: ref})
	require.NoError(t, err)
	s, err := g.OpenSession(ctx, &hostpb.OpenSessionRequest{Group: ref})
	require.NoError(t, err)
	_, err = g.CloseSession(ctx, &hostpb.CloseSessionRequest{Session: s.GetSession()})
	require.NoError(t, err)
	where, err := d.Locate(ctx, &hostpb.LocateRequest{Group: ref})
	require.NoError(t, err)
	require.Equal(t, "kv/x", where.GetLocation().GetName())
	require.Equal(t, uint64(1000), where.GetLocation().GetId())
	where, err = d.Locate(ctx, &hostpb.LocateRequest{Group: ref, Local: true})
	require.NoError(t, err)
	require.Equal(t, uint64(1001), where.GetLocation().GetId(), "a local question was asked of others")
	list, err := d.Servers(ctx, &hostpb.ServersRequest{})
	require.NoError(t, err)
	require.Len(t, list.GetServers(), 1)

	r.err = said(fault.NoQuorum)
	_, err = d.Locate(ctx, &hostpb.LocateRequest{})
	require.Equal(t, codes.Unavailable, status.Code(err))
	_, err = d.Servers(ctx, &hostpb.ServersRequest{})
	require.True(t, fault.Is(serve.ReadFault(err), fault.NoQuorum), "faults survive the wire: %v", err)
}

// Where a group is led is told if it is news, or if it was asked.
func TestWhoLeadsIsToldIfItIsNews(t *testing.T) {
	const self = "self"
	for _, c := range []struct {
		leader         string
		locate, answer bool
	}{
		{self, false, false},
		{self, true, true},
		{"another", false, true},
		{"another", true, true},
		{"", false, true},
	} {
		where := &hostpb.Location{Id: 1000, LeaderHost: c.leader}
		r := &fakeRouter{propose: &hostpb.ProposeResponse{Leader: where}, read: &hostpb.ReadResponse{Leader: where}}
		g, ctx := hostpb.NewGroupsClient(serveRouter(t, r)), within(t, 20*time.Second)
		p, err := g.Propose(ctx, &hostpb.ProposeRequest{Locate: c.locate})
		require.NoError(t, err)
		require.Equal(t, c.answer, p.GetLeader() != nil, "%+v", c)
		q, err := g.Read(ctx, &hostpb.ReadRequest{Locate: c.locate})
		require.NoError(t, err)
		require.Equal(t, c.answer, q.GetLeader() != nil, "%+v", c)
	}
}
