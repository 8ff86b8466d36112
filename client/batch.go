package client

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// Answer is what became of one command of a batch.
type Answer struct {
	Result
	// Err is an *Error if there is no result.
	Err error
}

// batch is commands on their way: each try is about those not settled yet.
type batch struct {
	g    *Group
	cmds [][]byte
	out  []Answer
	open []int // places of those not settled
	// settled: a server has said something of a command.
	settled bool
}

// ProposeBatch applies commands, at most 4,096 and 4 MiB, with one call. There is an
// Answer for each, in their order, and each is applied or not by itself; one that was
// surely not applied is sent again. The error is for the batch as a whole, when no
// server has said anything of any command: its Outcome is that of all.
func (g *Group) ProposeBatch(ctx context.Context, cmds [][]byte) ([]Answer, error) {
	if len(cmds) == 0 {
		return nil, nil
	}
	b := &batch{g: g, cmds: cmds, out: make([]Answer, len(cmds)), open: make([]int, len(cmds))}
	for i := range cmds {
		b.open[i] = i
	}
	err := g.call(writes, b.send).do(ctx)
	if err == nil {
		return b.out, nil
	}
	if !b.settled {
		return nil, err
	}
	for _, at := range b.open {
		b.out[at].Err = err
	}
	return b.out, nil
}

// send makes a try; its error is the first that another try may mend.
func (b *batch) send(ctx context.Context, conn *grpc.ClientConn, opts ...grpc.CallOption) error {
	cmds := make([][]byte, len(b.open))
	for i, at := range b.open {
		cmds[i] = b.cmds[at]
	}
	resp, err := hostpb.NewGroupsClient(conn).ProposeBatch(ctx, &hostpb.ProposeBatchRequest{Group: b.g.ref, Commands: cmds}, opts...)
	if err != nil {
		return err
	}
	if len(resp.GetOutcomes()) != len(cmds) {
		e := failure(hostpb.Reason_REASON_INTERNAL, codes.Internal, "the server answered %d of %d commands", len(resp.GetOutcomes()), len(cmds))
		e.Outcome = Unknown
		return e
	}
	b.g.c.locations.learn(b.g.key, resp.GetLeader())
	if first := b.take(resp.GetOutcomes(), strings.TrimPrefix(conn.Target(), scheme)); first != nil {
		return first
	}
	return nil
}

// take settles what can be settled.
func (b *batch) take(outcomes []*hostpb.ProposeOutcome, server string) (first *Error) {
	again := b.open[:0]
	for i, at := range b.open {
		o := outcomes[i]
		if o.GetFault() == nil {
			b.out[at] = Answer{Result: Result{Value: o.GetValue(), Data: o.GetData()}}
			b.settled = true
			continue
		}
		e := faultError(o.GetFault(), attempted{server: server, effect: writes})
		if !e.retryable(writes) {
			b.out[at], b.settled = Answer{Err: e}, true
			continue
		}
		again = append(again, at)
		if first == nil {
			first = e
		}
	}
	b.open = again
	return first
}

// ReadBatch answers queries, at most 4,096, with one call. They all see one state, which
// has every command that was acknowledged before the call began. A query that the app
// refuses fails the batch.
func (g *Group) ReadBatch(ctx context.Context, queries [][]byte) ([][]byte, error) {
	if len(queries) == 0 {
		return nil, nil
	}
	var resp *hostpb.ReadBatchResponse
	err := g.call(reads, func(ctx context.Context, conn *grpc.ClientConn, opts ...grpc.CallOption) (err error) {
		resp, err = hostpb.NewGroupsClient(conn).ReadBatch(ctx, &hostpb.ReadBatchRequest{Group: g.ref, Queries: queries}, opts...)
		return err
	}).do(ctx)
	if err != nil {
		return nil, err
	}
	if len(resp.GetData()) != len(queries) {
		return nil, failure(hostpb.Reason_REASON_INTERNAL, codes.Internal, "the server answered %d of %d queries", len(resp.GetData()), len(queries))
	}
	g.c.locations.learn(g.key, resp.GetLeader())
	return resp.GetData(), nil
}
