package sequences

import (
	"context"
	"math/rand/v2"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/route/refs"
)

// native serves Sequence: each request is a command or a query with the name of a group.
type native struct {
	sequencepb.UnimplementedSequenceServer
	desk     *desk
	stopping <-chan struct{}
}

// request is what all requests with a command have.
type request interface {
	GetGroup() string
	GetRegion() string
	GetCaller() *sequencepb.Caller
}

// change makes the command of a request. Protobuf has no way to tell a oneof's wrapper
// with nothing in it from an operation, so present says whether there is one.
func (n *native) change(ctx context.Context, req request, present bool, cmd *sequencepb.Command) (*sequencepb.Result, error) {
	if !present {
		return nil, fault.New(fault.Invalid, "the request has no command: set the field that is named like the call")
	}
	cmd.Caller = req.GetCaller()
	return n.desk.change(ctx, refs.Full(req), cmd)
}

// Open makes a client known.
func (n *native) Open(ctx context.Context, req *sequencepb.OpenRequest) (*sequencepb.Result, error) {
	nonce := req.GetNonce()
	if nonce == 0 {
		nonce = rand.Uint64()
	}
	return n.desk.change(ctx, refs.Full(req), &sequencepb.Command{Op: &sequencepb.Command_Open{Open: &sequencepb.Open{Nonce: nonce}}})
}

// Close forgets a client.
func (n *native) Close(ctx context.Context, req *sequencepb.CloseRequest) (*sequencepb.Result, error) {
	return n.change(ctx, req, true, &sequencepb.Command{Op: &sequencepb.Command_Close{Close: &sequencepb.Close{}}})
}

// Next hands out numbers. A request without wishes is one for the next number.
func (n *native) Next(ctx context.Context, req *sequencepb.NextRequest) (*sequencepb.Result, error) {
	return n.change(ctx, req, true, &sequencepb.Command{Op: &sequencepb.Command_Next{Next: nextOf(req)}})
}

// nextOf is the wish of a request for numbers.
func nextOf(req *sequencepb.NextRequest) *sequencepb.Next {
	if next := req.GetNext(); next != nil {
		return next
	}
	return &sequencepb.Next{}
}

// GiveBack gives the unused tail of a range back.
func (n *native) GiveBack(ctx context.Context, req *sequencepb.GiveBackRequest) (*sequencepb.Result, error) {
	return n.change(ctx, req, req.GetGiveBack() != nil, &sequencepb.Command{Op: &sequencepb.Command_GiveBack{GiveBack: req.GetGiveBack()}})
}

// Reserve reserves a number of a gap-free sequence.
func (n *native) Reserve(ctx context.Context, req *sequencepb.ReserveRequest) (*sequencepb.Result, error) {
	reserve := req.GetReserve()
	if reserve == nil {
		reserve = &sequencepb.Reserve{}
	}
	return n.change(ctx, req, true, &sequencepb.Command{Op: &sequencepb.Command_Reserve{Reserve: reserve}})
}

// Commit makes a reserved number final.
func (n *native) Commit(ctx context.Context, req *sequencepb.CommitRequest) (*sequencepb.Result, error) {
	return n.change(ctx, req, req.GetCommit() != nil, &sequencepb.Command{Op: &sequencepb.Command_Commit{Commit: req.GetCommit()}})
}

// Cancel gives a reserved number up.
func (n *native) Cancel(ctx context.Context, req *sequencepb.CancelRequest) (*sequencepb.Result, error) {
	return n.change(ctx, req, req.GetCancel() != nil, &sequencepb.Command{Op: &sequencepb.Command_Cancel{Cancel: req.GetCancel()}})
}

// LeaseWorker leases a worker, or renews its lease.
func (n *native) LeaseWorker(ctx context.Context, req *sequencepb.LeaseWorkerRequest) (*sequencepb.Result, error) {
	return n.change(ctx, req, req.GetLeaseWorker() != nil, &sequencepb.Command{Op: &sequencepb.Command_LeaseWorker{LeaseWorker: req.GetLeaseWorker()}})
}

// ReleaseWorker ends a worker's lease.
func (n *native) ReleaseWorker(ctx context.Context, req *sequencepb.ReleaseWorkerRequest) (*sequencepb.Result, error) {
	return n.change(ctx, req, req.GetReleaseWorker() != nil, &sequencepb.Command{Op: &sequencepb.Command_ReleaseWorker{ReleaseWorker: req.GetReleaseWorker()}})
}

// Create makes a sequence.
func (n *native) Create(ctx context.Context, req *sequencepb.CreateRequest) (*sequencepb.Result, error) {
	create := req.GetCreate()
	if create == nil {
		create = &sequencepb.Create{}
	}
	return n.change(ctx, req, true, &sequencepb.Command{Op: &sequencepb.Command_Create{Create: create}})
}

// Restart begins a sequence anew. It wants the command spelled out, as all do that may
// hand numbers out a second time.
func (n *native) Restart(ctx context.Context, req *sequencepb.RestartRequest) (*sequencepb.Result, error) {
	return n.change(ctx, req, req.GetRestart() != nil, &sequencepb.Command{Op: &sequencepb.Command_Restart{Restart: req.GetRestart()}})
}

// Set changes a sequence.
func (n *native) Set(ctx context.Context, req *sequencepb.SetRequest) (*sequencepb.Result, error) {
	return n.change(ctx, req, req.GetSet() != nil, &sequencepb.Command{Op: &sequencepb.Command_Set{Set: req.GetSet()}})
}

// Drop removes a sequence.
func (n *native) Drop(ctx context.Context, req *sequencepb.DropRequest) (*sequencepb.Result, error) {
	return n.change(ctx, req, req.GetDrop() != nil, &sequencepb.Command{Op: &sequencepb.Command_Drop{Drop: req.GetDrop()}})
}

// Resume opens sequences of a recovered group.
func (n *native) Resume(ctx context.Context, req *sequencepb.ResumeRequest) (*sequencepb.Result, error) {
	return n.change(ctx, req, req.GetResume() != nil, &sequencepb.Command{Op: &sequencepb.Command_Resume{Resume: req.GetResume()}})
}

// Describe reads a sequence.
func (n *native) Describe(ctx context.Context, req *sequencepb.DescribeRequest) (*sequencepb.DescribeResponse, error) {
	describe := req.GetDescribe()
	if describe == nil {
		describe = &sequencepb.Describe{}
	}
	a, err := n.desk.query(ctx, refs.Full(req), &sequencepb.Query{Op: &sequencepb.Query_Describe{Describe: describe}})
	if err != nil || len(a.GetSequences()) == 0 {
		return &sequencepb.DescribeResponse{}, err
	}
	return &sequencepb.DescribeResponse{Found: true, Info: a.GetSequences()[0]}, nil
}

// List reads a page of a family.
func (n *native) List(ctx context.Context, req *sequencepb.ListRequest) (*sequencepb.ListResponse, error) {
	list := req.GetList()
	if list == nil {
		list = &sequencepb.List{}
	}
	a, err := n.desk.query(ctx, refs.Full(req), &sequencepb.Query{Op: &sequencepb.Query_List{List: list}})
	if err != nil {
		return nil, err
	}
	return &sequencepb.ListResponse{Sequences: a.GetSequences(), More: a.GetMore()}, nil
}

// Status reads the group's own state.
func (n *native) Status(ctx context.Context, req *sequencepb.StatusRequest) (*sequencepb.StatusResponse, error) {
	a, err := n.desk.query(ctx, refs.Full(req), &sequencepb.Query{Op: &sequencepb.Query_Status{Status: &sequencepb.Status{}}})
	if err != nil {
		return nil, err
	}
	return &sequencepb.StatusResponse{Info: a.GetGroup()}, nil
}
