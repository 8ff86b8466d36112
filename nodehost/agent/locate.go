package agent

import (
	"context"
	"time"

	"google.golang.org/grpc"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/nodehost/route/refs"
)

var _ route.Locator = (*Agent)(nil)

// askTimeout bounds the question to one drummer, so that one that hangs leaves
// time for the others.
const askTimeout = time.Second

// Locate asks the drummers where a group is: fault.GroupNotFound when the fleet has
// none, fault.Unavailable when no drummer answers.
func (a *Agent) Locate(ctx context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error) {
	var location *hostpb.Location
	err := a.ask(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) error {
		r, err := hostpb.NewDirectoryClient(conn).Locate(ctx, &hostpb.LocateRequest{Group: ref})
		location = r.GetLocation()
		return err
	})
	return location, err
}

// FirstUse asks the drummers for the group of a full name that somebody uses: one that
// a template makes is waited for. An answer of fault.NotOpen says to ask again.
func (a *Agent) FirstUse(ctx context.Context, full string) (*hostpb.Location, error) {
	var location *hostpb.Location
	err := a.ask(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) error {
		r, err := hostpb.NewDirectoryClient(conn).Locate(ctx, &hostpb.LocateRequest{Group: refs.Of(full), FirstUse: true})
		location = r.GetLocation()
		return err
	})
	return location, err
}

// Servers lists drummers and hosts, as a drummer knows them.
func (a *Agent) Servers(ctx context.Context) ([]*hostpb.Server, error) {
	var servers []*hostpb.Server
	err := a.ask(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) error {
		r, err := hostpb.NewDirectoryClient(conn).Servers(ctx, &hostpb.ServersRequest{})
		servers = r.GetServers()
		return err
	})
	return servers, err
}

// ask puts a question to one drummer after the other until one answers; that it
// has no such group is an answer.
func (a *Agent) ask(ctx context.Context, question func(context.Context, grpc.ClientConnInterface) error) error {
	var last error
	for _, addr := range a.askOrder() {
		if ctx.Err() != nil {
			break
		}
		err := a.askOne(ctx, addr, question)
		if err == nil {
			return nil
		}
		last = err
		if !tryNext(err) {
			return err
		}
	}
	return fault.Wrap(last, fault.Unavailable, "no drummer answers")
}

func tryNext(err error) bool {
	switch fault.ReasonOf(err) { //nolint:exhaustive // the others are answers
	case fault.Unavailable, fault.NotSupervisor, fault.UnknownOutcome, fault.Deadline, fault.Busy, fault.Internal, fault.NoQuorum, fault.NotLeader:
		return true
	}
	return false
}

func (a *Agent) askOne(ctx context.Context, addr string, question func(context.Context, grpc.ClientConnInterface) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := a.o.Pool.Dial(ctx, addr)
	if err != nil {
		return err //nolint:wrapcheck // a fault that names the address
	}
	return serve.ReadFault(question(ctx, conn))
}

// askOrder lists the drummers, the one that this host attends on first.
func (a *Agent) askOrder() []string {
	c := course{configured: a.o.Drummers, learnt: a.dir.learnt()}
	if attended := a.Stats().Drummer; attended != "" {
		c.configured = append([]string{attended}, without(c.configured, attended)...)
	}
	return c.known()
}

func without(list []string, drop string) []string {
	out := make([]string, 0, len(list))
	for _, s := range list {
		if s != drop {
			out = append(out, s)
		}
	}
	return out
}
