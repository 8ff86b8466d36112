package api

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/status"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve"
)

// crew is the drummers that answer, by their addresses.
type crew map[string]*fleetpb.Drummer

func (c crew) Inspect(_ context.Context, address string) (*drummerpb.MeetResponse, error) {
	if d := c[address]; d != nil {
		return &drummerpb.MeetResponse{Self: d}, nil
	}
	return nil, fault.New(fault.Conflict, "no drummer answers at %s", address)
}

func (c crew) Describe(context.Context, []*fleetpb.Drummer) *drummerpb.ListDrummersResponse {
	return &drummerpb.ListDrummersResponse{}
}

// TestRefusalsSayWhy: a refusal says why, and what was not found; who asked says in front what
// it asked for, so that nothing is said twice.
func TestRefusalsSayWhy(t *testing.T) {
	w := newTown(t, 1)
	w.service[0].Ready(Cluster{Record: w.record, Supervisor: &boss{w, 0}, Peers: &boss{w, 0}, Members: crew{}})
	w.record.do(t, host("h1"), &fleetpb.Command{Op: &fleetpb.Command_FoundDrummers{FoundDrummers: &fleetpb.FoundDrummers{Drummers: []*fleetpb.Drummer{
		{Number: 1, HostId: "d1", Name: "drummer-1", Api: "d1:1", Raft: "d1:2"}, {Number: 2, HostId: "d2", Name: "drummer-2", Api: "d2:1", Raft: "d2:2"},
	}}}})
	openGroup(t, w, "kv/a", "h1")
	ctx, d := t.Context(), w.drummer(0)
	for name, tc := range map[string]struct {
		call    func() error
		reason  fault.Reason
		missing string
		text    string
	}{
		"cancel what there is not": {func() error {
			_, err := d.CancelOperation(ctx, &drummerpb.CancelOperationRequest{Id: 99})
			return err
		}, fault.GroupNotFound, fault.Operation, "no operation has the id 99"},
		"cancel what has ended": {func() error { _, err := d.CancelOperation(ctx, &drummerpb.CancelOperationRequest{Id: 1}); return err }, fault.Conflict, "", "operation 1 has ended: done"},
		"list an operation": {func() error {
			_, err := d.ListOperations(ctx, &drummerpb.ListOperationsRequest{Id: 99})
			return err
		}, fault.GroupNotFound, fault.Operation, "no operation has the id 99, or its history is forgotten"},
		"explain a host": {func() error { _, err := d.Explain(ctx, &drummerpb.ExplainRequest{Host: "h9"}); return err }, fault.GroupNotFound, fault.Host, `no host has the name or id "h9"`},
		"drain a host": {func() error {
			_, err := d.ChangeHost(ctx, &drummerpb.ChangeHostRequest{Host: "h9", Verb: "drain"})
			return err
		}, fault.GroupNotFound, fault.Host, `no host has the name or id "h9"`},
		"drain the only host": {func() error {
			_, err := d.ChangeHost(ctx, &drummerpb.ChangeHostRequest{Host: "h1", Verb: "drain"})
			return err
		}, fault.Conflict, "", "it would not come to its end for 1 of its groups, like group kv/a: it has no quorum: 0 of 1 voters are up: see --dry-run, or force it"},
		"remove a host that has not left": {func() error {
			_, err := d.ChangeHost(ctx, &drummerpb.ChangeHostRequest{Host: "h1", Verb: "remove"})
			return err
		}, fault.Conflict, "", `host "host-h1" has not left: decommission it and wait, or force it when its data is gone for good`},
		"remove it without doing so": {func() error {
			_, err := d.ChangeHost(ctx, &drummerpb.ChangeHostRequest{Host: "h1", Verb: "remove", DryRun: true})
			return err
		}, fault.Conflict, "", `host "host-h1" has not left: decommission it and wait, or force it when its data is gone for good`},
		"maintain a host for ever": {func() error {
			_, err := d.ChangeHost(ctx, &drummerpb.ChangeHostRequest{Host: "h1", Verb: "maintenance", ForMs: 36e9})
			return err
		}, fault.Invalid, "", "a maintenance of 36000000 s: say for how long, from 1 ms to 30 days; uncordon ends it"},
		"move to the same host": {func() error {
			_, err := d.MoveReplica(ctx, &drummerpb.MoveReplicaRequest{Name: "kv/a", From: "h1", To: "host-h1"})
			return err
		}, fault.Invalid, "", "from host host-h1 to itself: name another host"},
		"move to a host": {func() error {
			_, err := d.MoveReplica(ctx, &drummerpb.MoveReplicaRequest{Name: "kv/a", From: "h1", To: "h9"})
			return err
		}, fault.GroupNotFound, fault.Host, `no host has the name or id "h9"`},
		"plan without a host": {func() error {
			_, err := d.Plan(ctx, &drummerpb.PlanRequest{Without: []string{"h9"}})
			return err
		}, fault.GroupNotFound, fault.Host, `no host has the name or id "h9"`},
		"delete a group": {func() error { _, err := d.DeleteGroup(ctx, &drummerpb.DeleteGroupRequest{Name: "kv/b"}); return err }, fault.GroupNotFound, "", "there is no group kv/b"},
		"delete no name": {func() error { _, err := d.DeleteGroup(ctx, &drummerpb.DeleteGroupRequest{Name: "/x"}); return err }, fault.Invalid, "", `invalid name: group "/x": write app/name, like kv/demo`},
		"restore from a host": {func() error {
			_, err := d.RestoreGroup(ctx, &drummerpb.RestoreGroupRequest{Spec: kv(1), Staged: "x", HostId: "h9"})
			return err
		}, fault.GroupNotFound, fault.Host, `no host has the id "h9", or it is lost`},
		"replace whom there is not": {func() error {
			_, err := d.AddDrummer(ctx, &drummerpb.AddDrummerRequest{Replaces: "drummer-9", Address: "new:1"})
			return err
		}, fault.GroupNotFound, fault.Drummer, `no drummer has the name or number "drummer-9"`},
		"add nobody": {func() error {
			_, err := d.AddDrummer(ctx, &drummerpb.AddDrummerRequest{Address: "nowhere:1"})
			return err
		}, fault.Conflict, "", "no drummer answers at nowhere:1"},
		"add nowhere": {func() error {
			_, err := d.AddDrummer(ctx, &drummerpb.AddDrummerRequest{Address: "drummer-4"})
			return err
		}, fault.Invalid, "", `address "drummer-4" is no HOST:PORT, like drummer-4.example:9121`},
		"remove a drummer": {func() error {
			_, err := d.RemoveDrummer(ctx, &drummerpb.RemoveDrummerRequest{Drummer: "9"})
			return err
		}, fault.GroupNotFound, fault.Drummer, `no drummer has the name or number "9"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.call()
			requireReason(t, tc.reason, err)
			require.Equal(t, tc.text, status.Convert(err).Message())
			require.Equal(t, tc.missing, fault.Of(serve.ReadFault(err)).Missing)
		})
	}
}
