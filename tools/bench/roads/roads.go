// Package roads is the ways that bench's calls take to groups of app kv: unary calls of the
// generated stubs, and the Go client's, one by one and in batches.
package roads

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	kvpb "github.com/drumline/drumline/drummerpb/kv"
	"github.com/drumline/drumline/tools/bench/measure"
	"github.com/drumline/drumline/tools/bench/tally"
)

// Ways that calls take to the groups of a fleet.
const (
	// ViaLeader is a unary call at the leader's host, ViaOther one at a host that
	// has to forward it.
	ViaLeader = "unary"
	ViaOther  = "far"
	// ViaStream is the Go client as it comes, whose concurrent calls share streams;
	// ViaBatch is its batched calls.
	ViaStream = "stream"
	ViaBatch  = "batch"
)

// All lists them.
func All() []string { return []string{ViaLeader, ViaOther, ViaStream, ViaBatch} }

// fullBatch is the number of commands or queries in a batched call.
const fullBatch = 64

// Target is where calls for a group go.
type Target struct {
	At  hostpb.GroupsClient
	Ref *hostpb.GroupRef
}

// wireOperations are a kv put of about tally.Payload bytes, and the get of the same key.
func wireOperations() (command, query []byte, err error) {
	put := &kvpb.Command{Op: &kvpb.Command_Put{Put: &kvpb.Put{Key: []byte("k"), Value: make([]byte, tally.Payload-9)}}}
	if command, err = proto.Marshal(put); err != nil {
		return nil, nil, fmt.Errorf("encode a command: %w", err)
	}
	get := &kvpb.Query{Op: &kvpb.Query_Get{Get: &kvpb.Get{Key: []byte("k")}}}
	if query, err = proto.Marshal(get); err != nil {
		return nil, nil, fmt.Errorf("encode a query: %w", err)
	}
	return command, query, nil
}

// Unary calls the generated stubs.
func Unary(name string, targets []Target) (measure.Operation, error) {
	cmd, query, err := wireOperations()
	if err != nil {
		return nil, err
	}
	switch name {
	case "propose":
		return func(ctx context.Context, caller int) error {
			t := targets[caller%len(targets)]
			_, err := t.At.Propose(ctx, &hostpb.ProposeRequest{Group: t.Ref, Command: cmd})
			return err
		}, nil
	case "read":
		return func(ctx context.Context, caller int) error {
			t := targets[caller%len(targets)]
			_, err := t.At.Read(ctx, &hostpb.ReadRequest{Group: t.Ref, Query: query})
			return err
		}, nil
	}
	return nil, fmt.Errorf("no operation %q", name)
}

// ThroughClient calls the Go client.
func ThroughClient(name string, groups []*client.Group) (measure.Operation, error) {
	cmd, query, err := wireOperations()
	if err != nil {
		return nil, err
	}
	switch name {
	case "propose":
		return func(ctx context.Context, caller int) error {
			_, err := groups[caller%len(groups)].Propose(ctx, cmd)
			return err
		}, nil
	case "read":
		return func(ctx context.Context, caller int) error {
			_, err := groups[caller%len(groups)].Read(ctx, query)
			return err
		}, nil
	}
	return nil, fmt.Errorf("no operation %q", name)
}

// InBatches makes batched calls of the Go client, for as many callers.
func InBatches(name string, groups []*client.Group, callers int) (w measure.Workload, err error) {
	cmd, query, err := wireOperations()
	if err != nil {
		return w, err
	}
	w.Weight = min(fullBatch, callers)
	switch name {
	case "propose":
		cmds := slices.Repeat([][]byte{cmd}, w.Weight)
		w.Call = func(ctx context.Context, caller int) error {
			answers, err := groups[caller%len(groups)].ProposeBatch(ctx, cmds)
			for _, a := range answers {
				err = cmp.Or(err, a.Err)
			}
			return err
		}
		return w, nil
	case "read":
		queries := slices.Repeat([][]byte{query}, w.Weight)
		w.Call = func(ctx context.Context, caller int) error {
			_, err := groups[caller%len(groups)].ReadBatch(ctx, queries)
			return err
		}
		return w, nil
	}
	return w, fmt.Errorf("no operation %q", name)
}
