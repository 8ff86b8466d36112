package client

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// Hosts is a connection to whichever nodehost answers, for the services that every host
// serves alike, those of package drummerpb/capacity for example. What was surely not
// obeyed is tried at another host; what may have been, only if that does no harm. Errors
// are *Error.
func (c *Client) Hosts() grpc.ClientConnInterface { return &hostConn{c: c} }

// hostConn is a connection to any nodehost.
type hostConn struct{ c *Client }

// effectAtHost says what a method of a host's services does when it is sent twice.
func effectAtHost(method string) effect {
	harmless := []string{capacitypb.Capacity_Refresh_FullMethodName, capacitypb.Capacity_Confirm_FullMethodName}
	if slices.Contains(harmless, method) {
		return repeats
	}
	return writes
}

// Invoke makes a unary call.
func (h *hostConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return h.c.newCall(effectAtHost(method), nodehostKind, nil, func(ctx context.Context, conn *grpc.ClientConn, more ...grpc.CallOption) error {
		return conn.Invoke(ctx, method, args, reply, slices.Concat(opts, more)...)
	}).do(ctx)
}

// NewStream opens a stream at one host; one that breaks is the caller's to open again.
func (h *hostConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	k := h.c.newCall(reads, nodehostKind, nil, nil)
	addr := k.road.next()
	if addr == "" {
		return nil, failure(hostpb.Reason_REASON_UNAVAILABLE, codes.Unavailable, "no nodehost is known")
	}
	conn, err := h.c.pool.conn(addr)
	if err != nil {
		return nil, decode(err, attempted{server: addr})
	}
	stream, err := conn.NewStream(ctx, desc, method, opts...)
	if err != nil {
		return nil, decode(err, attempted{server: addr})
	}
	return stream, nil
}

// Server is a connection to that very server, for the services that answer only for what
// is there. The client keeps it; errors of calls are gRPC's own.
func (c *Client) Server(addr string) (grpc.ClientConnInterface, error) { return c.pool.conn(addr) }
