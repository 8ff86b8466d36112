package main

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/api"
	"github.com/drumline/drumline/drummer/fleet"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// configured is the drummers' own code for configurations, on a record without Raft.
type configured struct {
	*api.Service
	machine *fleet.Machine
	now     int64
}

func newConfigured() *configured {
	c := &configured{Service: api.New(api.Options{Name: "drummer-1"}), machine: fleet.New(), now: 1790000000000}
	c.Ready(api.Cluster{Record: c, Members: newCrew(c)})
	return c
}

// View is a linearizable look.
func (c *configured) View(context.Context) (*fleet.View, error) { return c.LocalView() }

// LocalView is the same: there is one replica.
func (c *configured) LocalView() (*fleet.View, error) { return c.machine.Freeze(), nil }

// Propose applies a command, each a second after the other.
func (c *configured) Propose(_ context.Context, cmd *fleetpb.Command) (*fleetpb.Result, error) {
	c.now += 1000
	data, err := proto.Marshal(&fleetpb.Command{AtUnixMs: c.now, Op: cmd.GetOp()})
	if err != nil {
		return nil, err
	}
	results := make([]statemachines.Result, 1)
	c.machine.Apply([]statemachines.Command{{Version: fleet.AppVersion, Data: data}}, results)
	r := &fleetpb.Result{}
	return r, proto.Unmarshal(results[0].Data, r)
}

// Opened waits for nothing: no group is opened here.
func (c *configured) Opened(ids.Group) (opened <-chan struct{}, leave func()) { return nil, func() {} }

// add makes so many groups of app capacity in the record, of a region if it is not empty.
func (c *configured) add(prefix string, n int, region string) error {
	create := &fleetpb.CreateGroups{}
	for i := range n {
		spec := &fleetpb.Spec{Name: fmt.Sprint("capacity/", prefix, i), App: "capacity", Region: region, Replicas: 3}
		if region != "" { // as the drummers' service completes it
			spec.Regions = []*fleetpb.RegionCount{{Region: region, Count: 3}}
		}
		create.Specs = append(create.Specs, spec)
	}
	r, err := c.Propose(context.Background(), &fleetpb.Command{Op: &fleetpb.Command_CreateGroups{CreateGroups: create}})
	for _, i := range r.GetItems() {
		if i.GetCode() != fleetpb.Code_CODE_OK {
			return fmt.Errorf("%s: %s", i.GetName(), i.GetDetail())
		}
	}
	return err
}

func (f *fake) ApplyConfiguration(ctx context.Context, r *drummerpb.ApplyConfigurationRequest) (*drummerpb.ConfigurationChange, error) {
	return f.configured.ApplyConfiguration(ctx, r)
}

func (f *fake) RollbackConfiguration(ctx context.Context, r *drummerpb.RollbackConfigurationRequest) (*drummerpb.ConfigurationChange, error) {
	return f.configured.RollbackConfiguration(ctx, r)
}

func (f *fake) ShowConfiguration(ctx context.Context, r *drummerpb.ShowConfigurationRequest) (*drummerpb.ShowConfigurationResponse, error) {
	return f.configured.ShowConfiguration(ctx, r)
}

func (f *fake) ListConfigurations(ctx context.Context, r *drummerpb.ListConfigurationsRequest) (*drummerpb.ListConfigurationsResponse, error) {
	return f.configured.ListConfigurations(ctx, r)
}
