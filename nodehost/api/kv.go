package api

import (
	"context"

	"google.golang.org/protobuf/proto"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	kvpb "github.com/drumline/drumline/drummerpb/kv"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/route/refs"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/kv"
)

// kvService serves KV: it packs a request into a command or query of app kv. What
// breaks a limit is refused here and never travels; the machine checks again.
type kvService struct {
	kvpb.UnimplementedKVServer
	router Router
}

// Put stores a value.
func (k *kvService) Put(ctx context.Context, req *kvpb.PutRequest) (*kvpb.ChangeResponse, error) {
	if req.GetPut() == nil {
		return nil, absent("put")
	}
	return k.change(ctx, refs.Full(req), &kvpb.Command{Op: &kvpb.Command_Put{Put: req.GetPut()}})
}

// Delete removes a key.
func (k *kvService) Delete(ctx context.Context, req *kvpb.DeleteRequest) (*kvpb.ChangeResponse, error) {
	if req.GetDelete() == nil {
		return nil, absent("delete")
	}
	return k.change(ctx, refs.Full(req), &kvpb.Command{Op: &kvpb.Command_Delete{Delete: req.GetDelete()}})
}

// CompareAndSet stores a value if the key's revision is the expected one.
func (k *kvService) CompareAndSet(ctx context.Context, req *kvpb.CompareAndSetRequest) (*kvpb.ChangeResponse, error) {
	if req.GetCompareAndSet() == nil {
		return nil, absent("compare_and_set")
	}
	return k.change(ctx, refs.Full(req), &kvpb.Command{Op: &kvpb.Command_CompareAndSet{CompareAndSet: req.GetCompareAndSet()}})
}

// Get reads a key.
func (k *kvService) Get(ctx context.Context, req *kvpb.GetRequest) (*kvpb.GetResponse, error) {
	if req.GetGet() == nil {
		return nil, absent("get")
	}
	answer, err := k.query(ctx, refs.Full(req), &kvpb.Query{Op: &kvpb.Query_Get{Get: req.GetGet()}})
	if err != nil {
		return nil, err
	}
	if !answer.GetFound() || len(answer.GetEntries()) == 0 {
		return &kvpb.GetResponse{}, nil
	}
	return &kvpb.GetResponse{Found: true, Entry: answer.GetEntries()[0]}, nil
}

// List reads a page of keys.
func (k *kvService) List(ctx context.Context, req *kvpb.ListRequest) (*kvpb.ListResponse, error) {
	list := req.GetList()
	if list == nil {
		list = &kvpb.List{} // a list without wishes is the first page of everything
	}
	answer, err := k.query(ctx, refs.Full(req), &kvpb.Query{Op: &kvpb.Query_List{List: list}})
	if err != nil {
		return nil, err
	}
	return &kvpb.ListResponse{Entries: answer.GetEntries(), More: answer.GetMore()}, nil
}

// absent is the fault of a request without what it is about.
func absent(field string) error {
	return fault.New(fault.Invalid, "the request has no %s: set it", field)
}

// change proposes a command and unpacks the machine's answer. A conflict and a key
// that is not there are answers; what the machine calls invalid is an error.
func (k *kvService) change(ctx context.Context, group string, cmd *kvpb.Command) (*kvpb.ChangeResponse, error) {
	if err := checkGroup(group); err != nil {
		return nil, err
	}
	if err := kv.CheckCommand(cmd); err != nil {
		return nil, fault.New(fault.Invalid, "%s", err).InGroup(group)
	}
	data, err := proto.Marshal(cmd)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "pack the command").InGroup(group)
	}
	resp, err := k.router.Propose(ctx, &hostpb.ProposeRequest{Group: refs.Of(group), Command: data})
	if err != nil {
		return nil, err
	}
	res := &kvpb.Result{}
	if err := proto.Unmarshal(resp.GetData(), res); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "group %s gave an answer that is none of app kv", group).InGroup(group)
	}
	if res.GetOutcome() == kvpb.Outcome_OUTCOME_INVALID {
		return nil, fault.New(fault.Invalid, "group %s: %s", group, res.GetDetail()).InGroup(group)
	}
	return &kvpb.ChangeResponse{Result: res}, nil
}

// query reads and unpacks the machine's answer.
func (k *kvService) query(ctx context.Context, group string, q *kvpb.Query) (*kvpb.Answer, error) {
	if err := checkGroup(group); err != nil {
		return nil, err
	}
	if err := kv.CheckQuery(q); err != nil {
		return nil, fault.New(fault.Invalid, "%s", err).InGroup(group)
	}
	data, err := proto.Marshal(q)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "pack the query").InGroup(group)
	}
	resp, err := k.router.Read(ctx, &hostpb.ReadRequest{Group: refs.Of(group), Query: data})
	if err != nil {
		return nil, err
	}
	answer := &kvpb.Answer{}
	if err := proto.Unmarshal(resp.GetData(), answer); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "group %s gave an answer that is none of app kv", group).InGroup(group)
	}
	return answer, nil
}

// checkGroup refuses groups that are none of app kv.
func checkGroup(group string) error {
	app, err := statemachines.AppOf(group)
	if err != nil {
		return fault.New(fault.Invalid, "%s", err)
	}
	if app != kv.Name {
		return fault.New(fault.Invalid, "group %s is of app %s, and this service is for groups of app %s", group, app, kv.Name).InGroup(group)
	}
	return nil
}
