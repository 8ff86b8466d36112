// Package api is a host's gRPC services, one file each. Handlers are thin: they
// check what the wire can break and hand on to route.Router. Errors are *fault.Error,
// which internal/serve makes statuses of.
package api

import (
	"context"

	"google.golang.org/grpc"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// Router answers for every group; *route.Router does.
type Router interface {
	Propose(ctx context.Context, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error)
	Read(ctx context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error)
	OpenSession(ctx context.Context, req *hostpb.OpenSessionRequest) (*hostpb.OpenSessionResponse, error)
	CloseSession(ctx context.Context, req *hostpb.CloseSessionRequest) (*hostpb.CloseSessionResponse, error)
	Locate(ctx context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error)
	Servers(ctx context.Context) ([]*hostpb.Server, error)
}

// Options of Register.
type Options struct {
	// Router answers for every group, and lists the cluster's servers.
	Router Router
}

// Register registers all services of a host: Groups, Directory, NodehostAPI and KV.
func Register(registrar grpc.ServiceRegistrar, o Options) {
}
