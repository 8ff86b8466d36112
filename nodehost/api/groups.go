package api

import (
	"context"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// groups serves Groups. The Router checks everything: it takes the same requests from
// the other services.
type groups struct {
	hostpb.UnimplementedGroupsServer
	router Router
}

// Propose applies a command.
func (g *groups) Propose(ctx context.Context, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
	return g.router.Propose(ctx, req)
}

// Read answers a query linearizably.
func (g *groups) Read(ctx context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
	return g.router.Read(ctx, req)
}

// OpenSession registers a client session.
func (g *groups) OpenSession(ctx context.Context, req *hostpb.OpenSessionRequest) (*hostpb.OpenSessionResponse, error) {
	return g.router.OpenSession(ctx, req)
}

// CloseSession ends one.
func (g *groups) CloseSession(ctx context.Context, req *hostpb.CloseSessionRequest) (*hostpb.CloseSessionResponse, error) {
	return g.router.CloseSession(ctx, req)
}
