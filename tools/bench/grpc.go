package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	kvpb "github.com/drumline/drumline/drummerpb/kv"
	"github.com/drumline/drumline/internal/localfleet"
)

// command is a kv put of about payload bytes, query the get of the same key.
func wireOperations() (command, query []byte, err error) {
	put := &kvpb.Command{Op: &kvpb.Command_Put{Put: &kvpb.Put{Key: []byte("k"), Value: make([]byte, payload-9)}}}
	if command, err = proto.Marshal(put); err != nil {
		return nil, nil, fmt.Errorf("encode a command: %w", err)
	}
	get := &kvpb.Query{Op: &kvpb.Query_Get{Get: &kvpb.Get{Key: []byte("k")}}}
	if query, err = proto.Marshal(get); err != nil {
		return nil, nil, fmt.Errorf("encode a query: %w", err)
	}
	return command, query, nil
}

// stubs calls Groups for each group at its leader's host.
type stubs struct {
	conns []*grpc.ClientConn
	refs  []*hostpb.GroupRef // by group
	at    []hostpb.GroupsClient
}

func dial(addr string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return conn, nil
}

func (s *stubs) operate(_ context.Context, op string) (operation, error) {
	cmd, query, err := wireOperations()
	if err != nil {
		return nil, err
	}
	switch op {
	case "propose":
		return func(ctx context.Context, caller int) error {
			g := caller % len(s.refs)
			_, err := s.at[g].Propose(ctx, &hostpb.ProposeRequest{Group: s.refs[g], Command: cmd})
			return err
		}, nil
	case "read":
		return func(ctx context.Context, caller int) error {
			g := caller % len(s.refs)
			_, err := s.at[g].Read(ctx, &hostpb.ReadRequest{Group: s.refs[g], Query: query})
			return err
		}, nil
	}
	return nil, fmt.Errorf("%w: no operation %q", errUsage, op)
}

func (s *stubs) close() error {
	var errs []error
	for _, c := range s.conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// echo is a bare gRPC server in this process that answers with its request's bytes.
type echo struct {
	stubs
	server *grpc.Server
	served chan error
}

type echoService struct {
	hostpb.UnimplementedGroupsServer
}

// Propose answers with the command.
func (echoService) Propose(_ context.Context, r *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
	return &hostpb.ProposeResponse{Data: r.GetCommand()}, nil
}

// Read answers with the query.
func (echoService) Read(_ context.Context, r *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
	return &hostpb.ReadResponse{Data: r.GetQuery()}, nil
}

func newEcho(_ context.Context, _ string, groups int) (subject, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	conn, err := dial(ln.Addr().String())
	if err != nil {
		return nil, err
	}
	e := &echo{server: grpc.NewServer(), served: make(chan error, 1)}
	e.conns = []*grpc.ClientConn{conn}
	for range groups {
		e.refs = append(e.refs, &hostpb.GroupRef{Id: 1})
		e.at = append(e.at, hostpb.NewGroupsClient(conn))
	}
	hostpb.RegisterGroupsServer(e.server, echoService{})
	go func() { e.served <- e.server.Serve(ln) }() // close waits for it
	return e, nil
}

func (*echo) usage() usage { return ownUsage() }

func (e *echo) close() error {
	err := e.stubs.close()
	e.server.Stop()
	return errors.Join(err, <-e.served)
}

// fleet is real processes: a drummer and three hosts.
type fleet struct {
	stubs
	local *localfleet.Fleet
}

func newFleet(ctx context.Context, dir string, groups int) (subject, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the programs: %w", err)
	}
	local, err := localfleet.Open(localfleet.Options{Dir: dir, Bin: filepath.Dir(self), Drummers: 1, Hosts: members})
	if err != nil {
		return nil, err
	}
	f := &fleet{local: local}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if err := f.launch(ctx, groups); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// launch defines the groups, waits for them and finds their leaders.
func (f *fleet) launch(ctx context.Context, groups int) error {
	if err := errors.Join(f.local.StartAll(), f.local.WaitReady(ctx)); err != nil {
		return err
	}
	c, err := client.Open(ctx, f.local.APIs(localfleet.KindDrummer))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer c.Close()
	if err := f.local.WaitAttended(ctx, c); err != nil {
		return err
	}
	for g := range groups {
		req := &drummerpb.CreateGroupsRequest{Specs: []*fleetpb.Spec{{Name: "kv/bench-" + strconv.Itoa(g), App: "kv", Replicas: members}}}
		if _, err := c.Drummer().CreateGroups(ctx, req); err != nil {
			return fmt.Errorf("launch: %w", err)
		}
	}
	byAddr := map[string]*grpc.ClientConn{}
	for g := range groups {
		if err := f.find(ctx, c.Group("kv/bench-"+strconv.Itoa(g)), byAddr); err != nil {
			return err
		}
	}
	return nil
}

// find waits until a group has a leader and connects to it.
func (f *fleet) find(ctx context.Context, g *client.Group, byAddr map[string]*grpc.ClientConn) error {
	poll := time.NewTicker(tick)
	defer poll.Stop()
	for {
		where, err := g.Locate(ctx)
		if err == nil && where.GetLeaderApi() != "" {
			return f.use(where, byAddr)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("find the leader of %s: %w", g.Name(), errors.Join(err, ctx.Err()))
		case <-poll.C:
		}
	}
}

func (f *fleet) use(where *hostpb.Location, byAddr map[string]*grpc.ClientConn) error {
	addr := where.GetLeaderApi()
	if byAddr[addr] == nil {
		conn, err := dial(addr)
		if err != nil {
			return err
		}
		byAddr[addr] = conn
		f.conns = append(f.conns, conn)
	}
	f.refs = append(f.refs, &hostpb.GroupRef{Id: where.GetId()})
	f.at = append(f.at, hostpb.NewGroupsClient(byAddr[addr]))
	return nil
}

// pause stops or continues the fleet.
func (f *fleet) pause(stop bool) error {
	var errs []error
	for _, p := range f.local.Processes() {
		if stop {
			errs = append(errs, f.local.Pause(p.Name))
		} else {
			errs = append(errs, f.local.Resume(p.Name))
		}
	}
	return errors.Join(errs...)
}

// usage is that of this process, which makes the calls, and of the fleet's.
func (f *fleet) usage() usage {
	u := usage{cpu: ownCPU(), callerAllocs: ownAllocs()}
	for _, p := range f.local.Processes() {
		u.cpu += processCPU(p.PID)
		if p.Kind == localfleet.KindNodeHost {
			n, _ := processMetric(p.HTTP, "go_memstats_mallocs_total") // an odd number in the table shows that there was none
			u.allocs += uint64(n)
		}
	}
	return u
}

func (f *fleet) close() error { return errors.Join(f.stubs.close(), f.local.Close()) }
