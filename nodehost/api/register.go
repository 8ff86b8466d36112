// Package api is a host's gRPC services, one file each: Groups and Directory, the
// native ways in; NodehostAPI, wire-compatible with Drummer v2; KV, the key-value app.
//
// Handlers are thin: they check what the wire can break, hand on to Router and
// translate its answer. None of them panics on anything that can be sent, and none
// changes anything before its request is known to be sound. Errors are *fault.Error,
// which internal/serve makes statuses of; only NodehostAPI makes its own, because the
// original's codes are part of its contract.
//
//	api.Register(server.GRPC(), api.Options{Router: router})
package api

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	kvpb "github.com/drumline/drumline/drummerpb/kv"
	multiraftpb "github.com/drumline/drumline/drummerpb/multiraft"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/route"
)

// Router answers for every group; *route.Router does.
type Router interface {
	Propose(ctx context.Context, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error)
	Read(ctx context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error)
	ProposeMany(ctx context.Context, m route.Many) ([]route.Outcome, *hostpb.Location)
	Self() ids.Host
	ReadMany(ctx context.Context, m route.Many) ([]route.Outcome, *hostpb.Location)
	OpenSession(ctx context.Context, req *hostpb.OpenSessionRequest) (*hostpb.OpenSessionResponse, error)
	CloseSession(ctx context.Context, req *hostpb.CloseSessionRequest) (*hostpb.CloseSessionResponse, error)
	Locate(ctx context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error)
	LocateHere(ctx context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error)
	Servers(ctx context.Context) ([]*hostpb.Server, error)
}

var _ Router = (*route.Router)(nil)

// Options of Register.
type Options struct {
	// Router answers for every group, and lists the cluster's servers.
	Router Router
	// Stopping is closed when the host stops: streams then end, with all that they have
	// taken answered. May be nil.
	Stopping <-chan struct{}
	// Log may be nil.
	Log *slog.Logger
}

// Register registers all services of a host.
func Register(registrar grpc.ServiceRegistrar, o Options) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	hostpb.RegisterGroupsServer(registrar, &groups{router: o.Router, stopping: o.Stopping, log: o.Log})
	hostpb.RegisterDirectoryServer(registrar, &directory{router: o.Router})
	multiraftpb.RegisterNodehostAPIServer(registrar, &nodehostAPI{router: o.Router})
	kvpb.RegisterKVServer(registrar, &kvService{router: o.Router})
}
