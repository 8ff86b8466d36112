package route

import (
	"cmp"
	"context"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/route/refs"
)

// pass does a request that another host forwarded: here if it can be, else once at
// the leader that this host believes in. It neither waits nor asks a drummer: the
// host that forwarded keeps the overview, and the deadline.
func (r *Router) pass(ctx context.Context, o *op) (*hostpb.Location, error) {
	where := r.known(o.ref)
	if where == nil {
		return nil, fault.New(fault.NotLeader, "this host has no replica of group %s and does not know who has", o.title()).InGroup(o.title())
	}
	if err := refs.Agree(o.ref, where); err != nil {
		return nil, err
	}
	s, local := r.o.Raft.Status(ids.Group(where.GetId()))
	if !local {
		return nil, fault.New(fault.NotLeader, "this host has no replica of group %s", o.title()).InGroup(o.title())
	}
	leader, api := s.LeaderHost, r.api(s.LeaderHost, where)
	if s.Leading || o.anywhere && s.Ready {
		err := r.here(ctx, o, where)
		if err == nil {
			return r.led(where), nil
		}
		f := fault.Of(err)
		if f == nil || f.Reason != fault.NotLeader {
			return nil, err
		}
		leader, api = ids.Host(cmp.Or(f.LeaderHost, string(leader))), cmp.Or(f.Leader, api)
	}
	if leader == r.o.Self || leader == "" || api == "" || o.hops >= maxHops {
		return nil, r.notLeader(o, leader, api)
	}
	return r.relay(ctx, o, where, api)
}

// relay forwards a forwarded request once more.
func (r *Router) relay(ctx context.Context, o *op, where *hostpb.Location, api string) (*hostpb.Location, error) {
	led, err := r.peers.send(ctx, o, api, sent{
		group: refs.To(where), hops: o.hops + 1,
		locate: where.GetLeaderApi() != api,
	})
	switch {
	case err != nil:
		return nil, err
	case led.GetId() == 0: // nothing new
		return where, nil
	}
	return r.directory.learn(led), nil
}

// notLeader is the fault of a host that cannot do a forwarded request.
func (r *Router) notLeader(o *op, leader ids.Host, api string) error {
	f := fault.New(fault.NotLeader, "this host does not lead group %s", o.title()).InGroup(o.title())
	if leader == r.o.Self {
		return f
	}
	f.LeaderHost, f.Leader = string(leader), api
	return f
}

// memberAPI returns the address of a member's host: as this host was told, else as
// the location says.
func (r *Router) memberAPI(m *hostpb.Member, where *hostpb.Location) string {
	return cmp.Or(r.api(ids.Host(m.GetHostId()), where), m.GetApi())
}
