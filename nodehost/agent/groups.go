package agent

import (
	"context"

	"google.golang.org/grpc"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/fault"
)

// Groups lists a page of the cluster's groups whose names begin with prefix, as a drummer
// knows them: after is the last name of the page before, limit at most 1,000. The second
// result tells that more follow.
func (a *Agent) Groups(ctx context.Context, prefix, after string, limit uint32) ([]*drummerpb.GroupInfo, bool, error) {
	var page *drummerpb.ListGroupsResponse
	err := a.ask(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
		page, err = drummerpb.NewDrummerClient(conn).ListGroups(ctx, &drummerpb.ListGroupsRequest{Prefix: prefix, After: after, Limit: limit})
		return err
	})
	return page.GetGroups(), page.GetMore(), err
}

// Regions lists the regions in which the cluster has a group of that name, as a drummer
// knows them; none when its group has no region. Those that are being deleted are left out.
func (a *Agent) Regions(ctx context.Context, name string) ([]string, error) {
	var page *drummerpb.ListGroupsResponse
	err := a.ask(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
		page, err = drummerpb.NewDrummerClient(conn).ListGroups(ctx, &drummerpb.ListGroupsRequest{Name: name}) // as many as fit a page
		return err
	})
	var regions []string
	for _, g := range page.GetGroups() {
		if g.GetRegion() != "" && g.GetState() != "deleting" {
			regions = append(regions, g.GetRegion())
		}
	}
	return regions, err
}

// Configuration is an app's configuration in force, as a drummer knows it: its revision and
// the text that it was made of; 0 if there is none.
func (a *Agent) Configuration(ctx context.Context, app string) (uint64, string, error) {
	var found *drummerpb.ShowConfigurationResponse
	err := a.ask(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
		found, err = drummerpb.NewDrummerClient(conn).ShowConfiguration(ctx, &drummerpb.ShowConfigurationRequest{App: app})
		return err
	})
	if fault.Is(err, fault.GroupNotFound) {
		return 0, "", nil
	}
	return found.GetCurrent(), string(found.GetConfiguration().GetSource()), err
}
