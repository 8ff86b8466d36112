package api

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve"
)

// forwardedKey marks a call that a drummer forwarded: it is not forwarded again,
// so that two drummers that take each other for the leader don't play ball.
const forwardedKey = "drumline-forwarded-by"

// pollLeader is how often a call that waits for a leader looks again.
const pollLeader = 25 * time.Millisecond

// method is what forwarding must know of an RPC.
type method struct {
	full   string
	answer protoreflect.MessageType
	writes bool
}

// forwarding returns the service with each method wrapped: it runs here while this
// drummer supervises, and at the leader else.
func (s *Service) forwarding(desc *grpc.ServiceDesc) (*grpc.ServiceDesc, error) {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(desc.ServiceName))
	if err != nil {
		return nil, fmt.Errorf("forward %s: %w", desc.ServiceName, err)
	}
	service, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, fmt.Errorf("forward %s: not a service", desc.ServiceName)
	}
	wrapped := *desc
	wrapped.Methods = make([]grpc.MethodDesc, len(desc.Methods))
	for i, m := range desc.Methods {
		answer, err := protoregistry.GlobalTypes.FindMessageByName(service.Methods().ByName(protoreflect.Name(m.MethodName)).Output().FullName())
		if err != nil {
			return nil, fmt.Errorf("forward %s: %w", desc.ServiceName, err)
		}
		full := "/" + desc.ServiceName + "/" + m.MethodName
		wrapped.Methods[i] = grpc.MethodDesc{
			MethodName: m.MethodName,
			Handler:    s.wrap(m.Handler, method{full: full, answer: answer, writes: writes(full)}),
		}
	}
	return &wrapped, nil
}

// writes tells whether a method changes anything, so that it must not be made again
// while its outcome is unknown. A first use in Locate may be: it is idempotent by name.
func writes(full string) bool {
	switch full {
	case drummerpb.Drummer_CreateGroups_FullMethodName, drummerpb.Drummer_DeleteGroup_FullMethodName,
		drummerpb.Drummer_ApplyConfiguration_FullMethodName, drummerpb.Drummer_RollbackConfiguration_FullMethodName,
		drummerpb.Drummer_RecoverGroups_FullMethodName, drummerpb.Drummer_RestoreGroup_FullMethodName,
		drummerpb.Drummer_CloneGroup_FullMethodName, drummerpb.Drummer_PurgeGroups_FullMethodName,
		drummerpb.Drummer_ChangeHost_FullMethodName, drummerpb.Drummer_ShapeGroups_FullMethodName, drummerpb.Drummer_MoveReplica_FullMethodName,
		drummerpb.Drummer_TransferLeader_FullMethodName, drummerpb.Drummer_CancelOperation_FullMethodName,
		drummerpb.Drummer_PauseOperations_FullMethodName, drummerpb.Drummer_ReleaseBrake_FullMethodName,
		drummerpb.Drummer_AddDrummer_FullMethodName, drummerpb.Drummer_RemoveDrummer_FullMethodName:
		return true
	}
	return false
}

// wrap puts the choice of the drummer behind the server's own interceptors.
func (s *Service) wrap(h grpc.MethodHandler, m method) grpc.MethodHandler {
	return func(srv any, ctx context.Context, dec func(any) error, outer grpc.UnaryServerInterceptor) (any, error) {
		return h(srv, ctx, dec, func(ctx context.Context, req any, info *grpc.UnaryServerInfo, local grpc.UnaryHandler) (any, error) {
			choose := func(ctx context.Context, req any) (any, error) { return s.choose(ctx, req, m, local) }
			if outer == nil {
				return choose(ctx, req)
			}
			return outer(ctx, req, info, choose)
		})
	}
}

// choose runs the call here or at the leader, and waits a little while none leads.
func (s *Service) choose(ctx context.Context, req any, m method, local grpc.UnaryHandler) (any, error) {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultDeadline)
		defer cancel()
	}
	patience := time.NewTimer(s.o.Patience)
	defer patience.Stop()
	for {
		resp, err := s.attempt(ctx, req, m, local)
		if !fault.Is(err, fault.NotSupervisor) || forwarded(ctx) {
			return resp, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-patience.C:
			return s.without(ctx, req, m, local, err)
		case <-time.After(pollLeader):
		}
	}
}

// attempt makes the call once; NotSupervisor says that nobody led, so that nothing
// was done.
func (s *Service) attempt(ctx context.Context, req any, m method, local grpc.UnaryHandler) (any, error) {
	c, err := s.use()
	if err != nil {
		return nil, err
	}
	if _, leading := c.Supervisor.Leading(); leading {
		return local(ctx, req)
	}
	leader := c.Peers.Leader()
	if leader == "" {
		if _, err := c.Record.LocalView(); fault.Is(err, fault.Unavailable) {
			return nil, err // this drummer belongs to the others no more: to wait here is of no use
		}
	}
	switch {
	case leader == "":
		return nil, fault.New(fault.NotSupervisor, "no drummer leads just now: try again, and if it stays so see that more than half of the drummers run")
	case leader == s.o.API:
		return nil, fault.New(fault.NotSupervisor, "drummer %s is taking the lead: try again", s.o.Name).TryAt(leader)
	case forwarded(ctx):
		return nil, fault.New(fault.NotSupervisor, "drummer %s does not lead; ask %s", s.o.Name, leader).TryAt(leader)
	}
	ctx, stop := whileLeads(ctx, c.Peers, leader)
	defer stop()
	return s.forward(ctx, req, m, leader)
}

// whileLeads returns a context that ends when another drummer leads: one that is
// suspended keeps its connections, and would never answer.
func whileLeads(ctx context.Context, peers Peers, leader string) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		tick := time.NewTicker(pollLeader)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if now := peers.Leader(); now != "" && now != leader {
				cancel()
			}
		}
	}()
	return ctx, func() { cancel(); <-watching }
}

func (s *Service) forward(ctx context.Context, req any, m method, leader string) (any, error) {
	conn, err := s.o.Dial.Dial(ctx, leader)
	if err != nil { // nothing was sent; it may be dead, and another about to lead
		return nil, fault.Wrap(err, fault.NotSupervisor, "the drummer at %s, which led last, can't be reached", leader)
	}
	resp := m.answer.New().Interface()
	err = conn.Invoke(metadata.AppendToOutgoingContext(ctx, forwardedKey, s.o.Name), m.full, req, resp)
	if err == nil {
		return resp, nil
	}
	if m.writes {
		return nil, serve.Fault(err)
	}
	if err = serve.ReadFault(err); fault.Is(err, fault.Unavailable) {
		// A read may be asked again: the leader went away under it.
		err = fault.Wrap(err, fault.NotSupervisor, "the drummer at %s, which led last, did not answer", leader)
	}
	return nil, err
}

// without answers what can be answered while no drummer leads.
func (s *Service) without(ctx context.Context, req any, m method, local grpc.UnaryHandler, err error) (any, error) {
	if m.full == hostpb.Directory_Servers_FullMethodName {
		return local(ctx, req)
	}
	return nil, err
}

func forwarded(ctx context.Context) bool {
	return len(metadata.ValueFromIncomingContext(ctx, forwardedKey)) > 0
}
