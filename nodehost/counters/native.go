package counters

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/nodehost/route/refs"
)

// native serves Counter: each request is a command or a query with the name of a group.
type native struct {
	counterpb.UnimplementedCounterServer
	desk     *desk
	stopping <-chan struct{}
}

// errNoCommand is for requests whose command is not there: protobuf has no way to tell a
// oneof's wrapper with nothing in it from an operation.
func errNoCommand() error {
	return fault.New(fault.Invalid, "the request has no command: set the field that is named like the call")
}

// Add counts.
func (n *native) Add(ctx context.Context, req *counterpb.AddRequest) (*counterpb.Result, error) {
	if req.GetAdd() == nil {
		return nil, errNoCommand()
	}
	return n.desk.add(ctx, refs.Full(req), req.GetAdd(), req.GetWan())
}

// AddBatch counts many things at once.
func (n *native) AddBatch(ctx context.Context, req *counterpb.AddBatchRequest) (*counterpb.AddBatchResponse, error) {
	if len(req.GetAdds()) == 0 || len(req.GetAdds()) > route.MaxItems {
		return nil, fault.New(fault.Invalid, "the request has %d commands: want 1 to %d", len(req.GetAdds()), route.MaxItems)
	}
	results, err := n.desk.addBatch(ctx, refs.Full(req), req.GetAdds())
	if err != nil {
		return nil, err
	}
	return &counterpb.AddBatchResponse{Results: results}, nil
}

// Get reads a counter.
func (n *native) Get(ctx context.Context, req *counterpb.GetRequest) (*counterpb.GetResponse, error) {
	return n.desk.get(ctx, req)
}

// Windows reads windows of a counter.
func (n *native) Windows(ctx context.Context, req *counterpb.WindowsRequest) (*counterpb.WindowsResponse, error) {
	w := req.GetWindows()
	if w == nil {
		w = &counterpb.Windows{}
	}
	return n.desk.windows(ctx, refs.Full(req), w)
}

// Rate asks how fast a counter grows.
func (n *native) Rate(ctx context.Context, req *counterpb.RateRequest) (*counterpb.RateResponse, error) {
	return n.desk.rate(ctx, req)
}

// List reads a page of a family.
func (n *native) List(ctx context.Context, req *counterpb.ListRequest) (*counterpb.ListResponse, error) {
	list := req.GetList()
	if list == nil {
		list = &counterpb.List{}
	}
	a, err := n.desk.query(ctx, refs.Full(req), &counterpb.Query{Op: &counterpb.Query_List{List: list}})
	if err != nil {
		return nil, err
	}
	return &counterpb.ListResponse{Counters: a.GetCounters(), More: a.GetMore()}, nil
}

// Status reads the group's own state.
func (n *native) Status(ctx context.Context, req *counterpb.StatusRequest) (*counterpb.StatusResponse, error) {
	a, err := n.desk.query(ctx, refs.Full(req), &counterpb.Query{Op: &counterpb.Query_Status{Status: &counterpb.Status{}}})
	if err != nil {
		return nil, err
	}
	return &counterpb.StatusResponse{Info: a.GetGroup()}, nil
}

// Reset takes off what was counted.
func (n *native) Reset(ctx context.Context, req *counterpb.ResetRequest) (*counterpb.Result, error) {
	if req.GetReset_() == nil {
		return nil, errNoCommand()
	}
	return n.desk.change(ctx, refs.Full(req), &counterpb.Command{Op: &counterpb.Command_Reset_{Reset_: req.GetReset_()}})
}

// Delete removes a counter.
func (n *native) Delete(ctx context.Context, req *counterpb.DeleteRequest) (*counterpb.Result, error) {
	if req.GetDelete() == nil {
		return nil, errNoCommand()
	}
	return n.desk.change(ctx, refs.Full(req), &counterpb.Command{Op: &counterpb.Command_Delete{Delete: req.GetDelete()}})
}

// Create makes a counter.
func (n *native) Create(ctx context.Context, req *counterpb.CreateRequest) (*counterpb.Result, error) {
	create := req.GetCreate()
	if create == nil {
		create = &counterpb.Create{}
	}
	return n.desk.change(ctx, refs.Full(req), &counterpb.Command{Op: &counterpb.Command_Create{Create: create}})
}

// Transfer gives another region rights of a bounded counter.
func (n *native) Transfer(ctx context.Context, req *counterpb.TransferRequest) (*counterpb.Result, error) {
	if req.GetTransfer() == nil {
		return nil, errNoCommand()
	}
	return n.desk.change(ctx, refs.Full(req), &counterpb.Command{Op: &counterpb.Command_Transfer{Transfer: req.GetTransfer()}})
}

// Retire ends a region.
func (n *native) Retire(ctx context.Context, req *counterpb.RetireRequest) (*counterpb.Result, error) {
	if req.GetRetire() == nil {
		return nil, errNoCommand()
	}
	return n.desk.change(ctx, refs.Full(req), &counterpb.Command{Op: &counterpb.Command_Retire{Retire: req.GetRetire()}})
}

// Bounds of a watch.
const (
	usualWatch = time.Second
	leastWatch = 100 * time.Millisecond
	// watchPatience is how long one look of a watch may take.
	watchPatience = 10 * time.Second
)

// Watch answers the value, and again whenever it has changed.
func (n *native) Watch(req *counterpb.WatchRequest, stream counterpb.Counter_WatchServer) error {
	every := usualWatch
	if ms := req.GetEveryMs(); ms > 0 {
		every = max(time.Duration(min(ms, 3_600_000))*time.Millisecond, leastWatch)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var told *counterpb.GetResponse
	for {
		now, err := n.look(stream.Context(), req)
		if err != nil {
			return err
		}
		if told == nil || told.GetFound() != now.GetFound() || !proto.Equal(told.GetInfo(), now.GetInfo()) {
			if err := stream.Send(now); err != nil {
				return err //nolint:wrapcheck // a status of the stream
			}
			told = now
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-n.stopping:
			return fault.New(fault.Unavailable, "the host is stopping: watch at another one")
		case <-tick.C:
		}
	}
}

func (n *native) look(ctx context.Context, req *counterpb.WatchRequest) (*counterpb.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, watchPatience)
	defer cancel()
	return n.desk.get(ctx, &counterpb.GetRequest{Group: req.GetGroup(), Region: req.GetRegion(), Key: req.GetKey()})
}
