package route

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
)

// Router answers for every group.
type Router struct {
	o         Options
	directory *directory
	asker     *asker
	peers     *peers

	mu      sync.Mutex
	servers []*hostpb.Server // guarded by mu: the last list that a drummer gave
}

// New starts a Router; Close it.
func New(o Options) *Router {
	o = o.withDefaults()
	d := openDirectory(o)
	return &Router{o: o, directory: d, asker: newAsker(&finder{Locator: o.Locator, hosts: o.Hosts, pool: o.Pool}), peers: newPeers(o.Pool)}
}

// Self is the host that the Router is of.
func (r *Router) Self() ids.Host { return r.o.Self }

// Close writes the directory to the disk and waits for the Router's goroutines; idempotent.
// Requests under way go on, but what they learn is not kept.
func (r *Router) Close() error {
	r.asker.close()
	r.peers.close()
	return r.directory.close()
}

// Propose proposes a command to a group, under a session exactly once: such a one may be
// sent again, so a host that hangs does not take all of its time.
func (r *Router) Propose(ctx context.Context, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
	ref, err := sessionRef(req.GetGroup(), req.GetSession())
	if err != nil {
		return nil, err
	}
	if err = checkSize("command", req.GetCommand()); err != nil {
		return nil, err
	}
	resp := &hostpb.ProposeResponse{}
	o := &op{ref: ref, hops: req.GetHops(), repeatable: req.GetRepeatable() || req.GetSession() != nil}
	o.local = func(ctx context.Context, g ids.Group) error {
		res, failed := r.proposeHere(ctx, g, req)
		resp.Value, resp.Data = res.Value, res.Data
		return failed
	}
	o.remote = func(ctx context.Context, w way, s sent) (*hostpb.Location, error) {
		a, failed := w.propose(ctx, s, req.GetCommand(), req.GetSession())
		resp.Value, resp.Data = a.Value, a.Data
		return a.where, failed
	}
	where, err := r.route(ctx, o)
	if err != nil {
		return nil, err
	}
	resp.Leader = where
	return resp, nil
}

// Read reads from a group, linearizably.
func (r *Router) Read(ctx context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
	if err := checkSize("query", req.GetQuery()); err != nil {
		return nil, err
	}
	resp := &hostpb.ReadResponse{}
	o := &op{ref: req.GetGroup(), hops: req.GetHops(), anywhere: true, repeatable: true}
	o.local = func(ctx context.Context, g ids.Group) (err error) {
		resp.Data, err = r.o.Raft.Read(ctx, g, req.GetQuery())
		return err
	}
	o.remote = func(ctx context.Context, w way, s sent) (*hostpb.Location, error) {
		a, err := w.read(ctx, s, req.GetQuery())
		resp.Data = a.Data
		return a.where, err
	}
	where, err := r.route(ctx, o)
	if err != nil {
		return nil, err
	}
	resp.Leader = where
	return resp, nil
}

// OpenSession registers a client session.
func (r *Router) OpenSession(ctx context.Context, req *hostpb.OpenSessionRequest) (*hostpb.OpenSessionResponse, error) {
	resp := &hostpb.OpenSessionResponse{}
	// A registration whose answer was lost leaves a session that nobody uses: repeatable.
	o := &op{ref: req.GetGroup(), hops: req.GetHops(), repeatable: true}
	o.local = func(ctx context.Context, g ids.Group) error {
		s, err := r.o.Raft.OpenSession(ctx, g)
		resp.Session = &hostpb.Session{Group: uint64(s.Group), Client: s.Client, Series: s.Series, RespondedTo: s.RespondedTo}
		return err
	}
	o.remote = func(ctx context.Context, w way, s sent) (*hostpb.Location, error) {
		return nil, w.unary(func(c hostpb.GroupsClient, opts ...grpc.CallOption) (err error) {
			resp, err = c.OpenSession(ctx, &hostpb.OpenSessionRequest{Group: s.group, Hops: s.hops}, opts...)
			return err
		})
	}
	if _, err := r.route(ctx, o); err != nil {
		return nil, err
	}
	return resp, nil
}

// CloseSession ends a client session; one that is gone already is no error.
func (r *Router) CloseSession(ctx context.Context, req *hostpb.CloseSessionRequest) (*hostpb.CloseSessionResponse, error) {
	ref, err := sessionRef(nil, req.GetSession())
	if err != nil {
		return nil, err
	}
	o := &op{ref: ref, hops: req.GetHops(), repeatable: true}
	o.local = func(ctx context.Context, g ids.Group) error {
		return r.o.Raft.CloseSession(ctx, sessionOf(g, req.GetSession()))
	}
	o.remote = func(ctx context.Context, w way, s sent) (*hostpb.Location, error) {
		return nil, w.unary(func(c hostpb.GroupsClient, opts ...grpc.CallOption) error {
			_, err := c.CloseSession(ctx, &hostpb.CloseSessionRequest{Session: req.GetSession(), Hops: s.hops}, opts...)
			return err
		})
	}
	if _, err := r.route(ctx, o); err != nil {
		return nil, err
	}
	return &hostpb.CloseSessionResponse{}, nil
}

// proposeHere proposes to the replica of this host.
func (r *Router) proposeHere(ctx context.Context, g ids.Group, req *hostpb.ProposeRequest) (result, error) {
	cmds, err := r.o.Prepare(ctx, g, [][]byte{req.GetCommand()})
	if err != nil {
		return result{}, err
	}
	if s := req.GetSession(); s != nil {
		return r.o.Raft.ProposeSession(ctx, sessionOf(g, s), cmds[0])
	}
	return r.o.Raft.Propose(ctx, g, cmds[0])
}

// sessionOf takes a session off the wire.
func sessionOf(g ids.Group, s *hostpb.Session) raft.Session {
	return raft.Session{Group: g, Client: s.GetClient(), Series: s.GetSeries(), RespondedTo: s.GetRespondedTo()}
}
