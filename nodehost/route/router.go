package route

import (
	"context"
	"errors"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// Router answers for every group.
type Router struct{ o Options }

// New starts a Router.
func New(o Options) *Router { return &Router{o: o.withDefaults()} }

// Close writes the directory to the disk and ends the Router's goroutine; idempotent.
func (r *Router) Close() error { return nil }

var errSkel = errors.New("skeleton")

// Propose proposes a command to a group.
func (r *Router) Propose(ctx context.Context, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
	return nil, errSkel
}

// Read reads from a group, linearizably.
func (r *Router) Read(ctx context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
	return nil, errSkel
}

// OpenSession registers a client session.
func (r *Router) OpenSession(ctx context.Context, req *hostpb.OpenSessionRequest) (*hostpb.OpenSessionResponse, error) {
	return nil, errSkel
}

// CloseSession ends a client session.
func (r *Router) CloseSession(ctx context.Context, req *hostpb.CloseSessionRequest) (*hostpb.CloseSessionResponse, error) {
	return nil, errSkel
}

// Locate tells where a group is.
func (r *Router) Locate(ctx context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error) {
	return nil, errSkel
}

// Servers lists the cluster's servers, as a drummer knows them.
func (r *Router) Servers(ctx context.Context) ([]*hostpb.Server, error) { return nil, errSkel }
