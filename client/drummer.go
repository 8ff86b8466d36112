package client

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// drummerConn is a connection to whichever drummer leads.
type drummerConn struct{ c *Client }

var _ grpc.ClientConnInterface = (*drummerConn)(nil)

// effectOf says what a method of the Drummer service does; what is not known to
// only read is taken for a change. Plan and Export only read as well, but may take long:
// they are asked for once, with all the time that there is.
func effectOf(method string) effect {
	readOnly := []string{
		drummerpb.Drummer_ListGroups_FullMethodName,
		drummerpb.Drummer_Explain_FullMethodName,
		drummerpb.Drummer_ListHosts_FullMethodName,
		drummerpb.Drummer_Status_FullMethodName,
		drummerpb.Drummer_ListEvents_FullMethodName,
		drummerpb.Drummer_ListOperations_FullMethodName,
		drummerpb.Drummer_ListDrummers_FullMethodName,
		drummerpb.Drummer_ShowConfiguration_FullMethodName,
		drummerpb.Drummer_ListConfigurations_FullMethodName,
	}
	if slices.Contains(readOnly, method) {
		return reads
	}
	return writes
}

// Invoke makes a unary call, at the leader if it is known.
func (d *drummerConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	k := d.newCall(effectOf(method), func(ctx context.Context, conn *grpc.ClientConn, more ...grpc.CallOption) error {
		return conn.Invoke(ctx, method, args, reply, slices.Concat(opts, more)...)
	})
	return k.do(ctx)
}

// newCall prepares a call to the drummers.
func (d *drummerConn) newCall(e effect, do send) *call {
	s := d.c.servers
	prefer := func() []string { return []string{s.leading()} }
	k := d.c.newCall(e, drummerKind, prefer, do)
	k.forget = func(e *Error) {
		// Another drummer that does not answer says nothing about the one that leads.
		if e.Reason == hostpb.Reason_REASON_NOT_SUPERVISOR || e.elsewhere() && e.Server == s.leading() {
			s.setLeader(e.Leader)
		}
	}
	return k
}

// NewStream opens a stream at the drummer that leads, or at any other; a stream that
// breaks is the caller's to open again.
func (d *drummerConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	k := d.newCall(reads, nil)
	addr := k.road.next()
	if addr == "" {
		return nil, failure(hostpb.Reason_REASON_UNAVAILABLE, codes.Unavailable, "no drummer is known")
	}
	conn, err := d.c.pool.conn(addr)
	if err != nil {
		return nil, decode(err, attempted{server: addr})
	}
	stream, err := conn.NewStream(ctx, desc, method, opts...)
	if err != nil {
		return nil, decode(err, attempted{server: addr})
	}
	return stream, nil
}
