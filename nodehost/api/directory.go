package api

import (
	"context"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// directory serves Directory.
type directory struct {
	hostpb.UnimplementedDirectoryServer
	router Router
}

// Locate tells where a group is.
func (d *directory) Locate(ctx context.Context, req *hostpb.LocateRequest) (*hostpb.LocateResponse, error) {
	locate := d.router.Locate
	if req.GetLocal() {
		locate = d.router.LocateHere
	}
	where, err := locate(ctx, req.GetGroup())
	if err != nil {
		return nil, err
	}
	return &hostpb.LocateResponse{Location: where}, nil
}

// Servers lists drummers and hosts.
func (d *directory) Servers(ctx context.Context, _ *hostpb.ServersRequest) (*hostpb.ServersResponse, error) {
	list, err := d.router.Servers(ctx)
	if err != nil {
		return nil, err
	}
	return &hostpb.ServersResponse{Servers: list}, nil
}
