package client

import (
	"context"
	"strings"

	"google.golang.org/grpc"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// Result is a state machine's answer to a command.
type Result struct {
	// Value is a number of the app's own meaning.
	Value uint64
	// Data is the answer in the app's own encoding.
	Data []byte
}

// Group is one group of the cluster. Its methods may be called from any goroutine.
type Group struct {
	c         *Client
	name, key string // key is the name with the region
	// ref names the group, and is not changed. Only the name is sent: a name leads to
	// the group that has it now, while a number would lead to one that may have been
	// deleted since.
	ref *hostpb.GroupRef
}

// Name returns the group's name.
func (g *Group) Name() string { return g.name }

// Propose applies a command. It is sent again only while it was surely not applied:
// an error with Outcome Unknown means that it may be applied once, now or a little later.
func (g *Group) Propose(ctx context.Context, cmd []byte) (Result, error) {
	return g.apply(ctx, writes, cmd)
}

// ProposeIdempotent applies a command that does no harm when it is applied twice: one that
// the machine recognises, or that sets what is set already. It is sent again also when it
// may have been applied, so a host that is paused, or cut off from the others, costs a third
// of the time that is left and not all of it. An error does not tell whether it was applied.
func (g *Group) ProposeIdempotent(ctx context.Context, cmd []byte) (Result, error) {
	return g.apply(ctx, repeats, cmd)
}

func (g *Group) apply(ctx context.Context, e effect, cmd []byte) (Result, error) {
	t := item{g: g, effect: e, data: cmd, alone: g.proposeAlone}
	if err := t.do(ctx); err != nil {
		return Result{}, err
	}
	return t.result, nil
}

// Read answers a query linearizably: it sees every command that was acknowledged
// before the call began.
func (g *Group) Read(ctx context.Context, query []byte) ([]byte, error) {
	t := item{g: g, effect: reads, data: query, alone: g.readAlone}
	if err := t.do(ctx); err != nil {
		return nil, err
	}
	return t.result.Data, nil
}

// proposeAlone proposes in a call of its own.
func (g *Group) proposeAlone(t *item) send {
	return func(ctx context.Context, conn *grpc.ClientConn, opts ...grpc.CallOption) error {
		req := &hostpb.ProposeRequest{Group: g.ref, Command: t.data, Locate: g.strays(conn), Repeatable: t.effect == repeats}
		resp, err := hostpb.NewGroupsClient(conn).Propose(ctx, req, opts...)
		t.result, t.where = Result{Value: resp.GetValue(), Data: resp.GetData()}, resp.GetLeader()
		return err
	}
}

// readAlone reads in a call of its own.
func (g *Group) readAlone(t *item) send {
	return func(ctx context.Context, conn *grpc.ClientConn, opts ...grpc.CallOption) error {
		req := &hostpb.ReadRequest{Group: g.ref, Query: t.data, Locate: g.strays(conn)}
		resp, err := hostpb.NewGroupsClient(conn).Read(ctx, req, opts...)
		t.result, t.where = Result{Data: resp.GetData()}, resp.GetLeader()
		return err
	}
}

// strays tells whether a call goes to another server than the one that led the group
// when last heard of: then the answer is to tell who does.
func (g *Group) strays(conn *grpc.ClientConn) bool {
	return g.c.locations.get(g.key).GetLeaderApi() != strings.TrimPrefix(conn.Target(), scheme)
}

// propose sends a proposal under a session.
func (g *Group) propose(ctx context.Context, e effect, req *hostpb.ProposeRequest) (Result, error) {
	var resp *hostpb.ProposeResponse
	err := g.call(e, func(ctx context.Context, conn *grpc.ClientConn, opts ...grpc.CallOption) (err error) {
		req.Locate = g.strays(conn)
		resp, err = hostpb.NewGroupsClient(conn).Propose(ctx, req, opts...)
		return err
	}).do(ctx)
	if err != nil {
		return Result{}, err
	}
	g.c.locations.learn(g.key, resp.GetLeader())
	return Result{Value: resp.GetValue(), Data: resp.GetData()}, nil
}

// Locate tells where the group is. The calls of a Group need no Locate: they learn
// it from the answers.
func (g *Group) Locate(ctx context.Context) (*hostpb.Location, error) {
	var resp *hostpb.LocateResponse
	k := g.c.newCall(reads, unknownKind, nil, func(ctx context.Context, conn *grpc.ClientConn, opts ...grpc.CallOption) (err error) {
		resp, err = hostpb.NewDirectoryClient(conn).Locate(ctx, &hostpb.LocateRequest{Group: g.ref}, opts...)
		return err
	})
	if err := k.do(ctx); err != nil {
		return nil, err
	}
	g.c.locations.learn(g.key, resp.GetLocation())
	return resp.GetLocation(), nil
}

// call prepares a call to the group: its leader first, then its members, then any host.
func (g *Group) call(e effect, do send) *call {
	k := g.c.newCall(e, nodehostKind, func() []string { return g.c.locations.prefer(g.key) }, do)
	k.forget = func(e *Error) {
		switch e.Reason {
		case hostpb.Reason_REASON_SEALED, hostpb.Reason_REASON_GROUP_NOT_FOUND, hostpb.Reason_REASON_NO_QUORUM:
			g.c.locations.drop(g.key) // whoever says so does not lead it
		}
	}
	return k
}
