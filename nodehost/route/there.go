package route

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/drumline/drumline/client/lane"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/serve"
)

// way is how another host is reached.
type way struct {
	conn *grpc.ClientConn
	lane *lane.Lane // nil: the Router is closed
}

// said is what another host answered to one item.
type said struct {
	result
	where *hostpb.Location // nil: no news
}

// unary makes a call of its own.
func (w way) unary(do func(c hostpb.GroupsClient, opts ...grpc.CallOption) error) error {
	// gRPC fills in the peer exactly when the request got a stream: without one,
	// nothing of it has left this process.
	var to peer.Peer
	if err := do(hostpb.NewGroupsClient(w.conn), grpc.Peer(&to)); err != nil {
		return &lane.Lost{Sent: to.Addr != nil, Err: err}
	}
	return nil
}

// one sends one item over the stream that all share; alone says how it travels if it is
// large, or the host has no such stream.
func (w way) one(ctx context.Context, h lane.Head, item []byte, alone func() (said, error)) (said, error) {
	if w.lane == nil || len(item) > lane.MaxItem {
		return alone()
	}
	a, where, err := w.lane.One(ctx, h, item)
	if unsupported(err) {
		return alone()
	}
	if err == nil {
		err = serve.FromItem(a.Fault)
	}
	return said{result: result{Value: a.Value, Data: a.Data}, where: where}, err
}

// unsupported tells whether the other host has no stream to share.
func unsupported(err error) bool {
	var lost *lane.Lost
	return errors.As(err, &lost) && lost.Unsupported
}

// propose proposes a command at another host. Under a session it travels alone: such
// commands come one at a time.
func (w way) propose(ctx context.Context, s sent, cmd []byte, session *hostpb.Session) (said, error) {
	alone := func() (a said, err error) {
		err = w.unary(func(c hostpb.GroupsClient, opts ...grpc.CallOption) error {
			fwd := &hostpb.ProposeRequest{Group: s.group, Command: cmd, Hops: s.hops, Session: session, Locate: s.locate}
			answer, failed := c.Propose(ctx, fwd, opts...)
			a = said{result: result{Value: answer.GetValue(), Data: answer.GetData()}, where: answer.GetLeader()}
			return failed
		})
		return a, err
	}
	if session != nil {
		return alone()
	}
	return w.one(ctx, s.head(), cmd, alone)
}

// read reads at another host.
func (w way) read(ctx context.Context, s sent, query []byte) (said, error) {
	h := s.head()
	h.Read = true
	return w.one(ctx, h, query, func() (a said, err error) {
		err = w.unary(func(c hostpb.GroupsClient, opts ...grpc.CallOption) error {
			answer, failed := c.Read(ctx, &hostpb.ReadRequest{Group: s.group, Query: query, Hops: s.hops, Locate: s.locate}, opts...)
			a = said{result: result{Data: answer.GetData()}, where: answer.GetLeader()}
			return failed
		})
		return a, err
	})
}
