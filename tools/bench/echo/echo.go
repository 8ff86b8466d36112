// Package echo is the yardstick of what goes through gRPC: a bare server that answers with
// what it was sent, and its callers, in one process.
package echo

import (
	"context"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/tools/bench/measure"
	"github.com/drumline/drumline/tools/bench/roads"
)

// Echo is a bare gRPC server in this process that answers with its request's bytes.
type Echo struct {
	measure.Setup
	conns  []*grpc.ClientConn
	server *grpc.Server
	served chan error
}

type echoService struct {
	hostpb.UnimplementedGroupsServer
}

// Propose answers with the command.
func (echoService) Propose(_ context.Context, r *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
	return &hostpb.ProposeResponse{Data: r.GetCommand()}, nil
}

// Read answers with the query.
func (echoService) Read(_ context.Context, r *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
	return &hostpb.ReadResponse{Data: r.GetQuery()}, nil
}

// New starts one. dial makes its callers' connections. The caller closes it.
func New(s measure.Setup, dial func(addr string) (*grpc.ClientConn, error)) (*Echo, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	e := &Echo{Setup: s, server: grpc.NewServer(), served: make(chan error, 1)}
	for range max(1, s.Connections) {
		conn, err := dial(ln.Addr().String())
		if err != nil {
			return nil, err
		}
		e.conns = append(e.conns, conn)
	}
	hostpb.RegisterGroupsServer(e.server, echoService{})
	go func() { e.served <- e.server.Serve(ln) }() // Close waits for it
	return e, nil
}

// Run makes a run.
func (e *Echo) Run(ctx context.Context, r measure.Request) (measure.Sample, error) {
	if r.Op == measure.OpPause || r.Op == measure.OpResume {
		return measure.Sample{}, nil
	}
	var targets []roads.Target
	for _, conn := range e.conns {
		targets = append(targets, roads.Target{At: hostpb.NewGroupsClient(conn), Ref: &hostpb.GroupRef{Id: 1}})
	}
	op, err := roads.Unary(r.Op, targets)
	if err != nil {
		return measure.Sample{}, err
	}
	return e.Measured(ctx, r, measure.OwnUsage, measure.Workload{Call: op, Weight: 1})
}

// Close ends it.
func (e *Echo) Close() error {
	var errs []error
	for _, conn := range e.conns {
		errs = append(errs, conn.Close())
	}
	e.server.Stop()
	return errors.Join(errors.Join(errs...), <-e.served)
}
