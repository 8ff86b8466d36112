package api

import (
	"context"
	"log/slog"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/nodehost/route"
)

// groups serves Groups. The Router checks everything: it takes the same requests from
// the other services.
type groups struct {
	hostpb.UnimplementedGroupsServer
	router   Router
	stopping <-chan struct{}
	log      *slog.Logger
}

// Propose applies a command.
func (g *groups) Propose(ctx context.Context, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
	resp, err := g.router.Propose(ctx, req)
	if err == nil && !req.GetLocate() {
		resp.Leader = g.news(resp.GetLeader())
	}
	return resp, err
}

// Read answers a query linearizably.
func (g *groups) Read(ctx context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
	resp, err := g.router.Read(ctx, req)
	if err == nil && !req.GetLocate() {
		resp.Leader = g.news(resp.GetLeader())
	}
	return resp, err
}

// news is where a group was led, unless that is this host: whoever asked here knows it
// by the answer, and packing and unpacking it would cost as much as the rest of that.
func (g *groups) news(where *hostpb.Location) *hostpb.Location {
	if where.GetLeaderHost() == string(g.router.Self()) {
		return nil
	}
	return where
}

// ProposeBatch applies commands, each with an outcome of its own.
func (g *groups) ProposeBatch(ctx context.Context, req *hostpb.ProposeBatchRequest) (*hostpb.ProposeBatchResponse, error) {
	out, where := g.router.ProposeMany(ctx, route.Many{Group: req.GetGroup(), Items: req.GetCommands(), Hops: req.GetHops()})
	if len(out) == 0 {
		return nil, fault.New(fault.Invalid, "the batch has no commands")
	}
	resp := &hostpb.ProposeBatchResponse{Outcomes: make([]*hostpb.ProposeOutcome, len(out)), Leader: where}
	all, room := make([]hostpb.ProposeOutcome, len(out)), serve.MaxMessage-frameMargin
	for i, o := range out {
		x := &all[i]
		x.Value, x.Data, x.Fault = o.Result.Value, o.Result.Data, serve.ItemFault(o.Err)
		if room -= len(x.GetData()) + itemWeight; room < 0 {
			x.Data, x.Fault = nil, serve.ItemFault(tooMuch(true))
		}
		resp.Outcomes[i] = x
	}
	return resp, nil
}

// ReadBatch answers queries, all in one state.
func (g *groups) ReadBatch(ctx context.Context, req *hostpb.ReadBatchRequest) (*hostpb.ReadBatchResponse, error) {
	m := route.Many{Group: req.GetGroup(), Items: req.GetQueries(), Hops: req.GetHops(), Room: serve.MaxMessage - frameMargin - itemWeight*len(req.GetQueries())}
	out, where := g.router.ReadMany(ctx, m)
	resp := &hostpb.ReadBatchResponse{Data: make([][]byte, len(out)), Leader: where}
	for i, o := range out {
		if o.Err != nil {
			return nil, o.Err
		}
		resp.Data[i] = o.Result.Data
	}
	switch {
	case len(req.GetQueries()) == 0:
		return nil, fault.New(fault.Invalid, "the batch has no queries")
	case len(out) < len(req.GetQueries()):
		return nil, fault.New(fault.TooLarge, "the answers to the first %d of %d queries fill a message: ask for fewer at once", len(out), len(req.GetQueries()))
	}
	return resp, nil
}

// Stream carries many proposals and reads.
func (g *groups) Stream(stream hostpb.Groups_StreamServer) error {
	return newTalk(g, stream).run(g.stopping)
}

// OpenSession registers a client session.
func (g *groups) OpenSession(ctx context.Context, req *hostpb.OpenSessionRequest) (*hostpb.OpenSessionResponse, error) {
	return g.router.OpenSession(ctx, req)
}

// CloseSession ends one.
func (g *groups) CloseSession(ctx context.Context, req *hostpb.CloseSessionRequest) (*hostpb.CloseSessionResponse, error) {
	return g.router.CloseSession(ctx, req)
}
