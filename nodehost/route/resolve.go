package route

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/route/refs"
	"github.com/drumline/drumline/statemachines"
)

// known returns what this host knows of the group, or nil: a local open replica or a
// hint; of two groups of one name the one with the higher number.
func (r *Router) known(ref *hostpb.GroupRef) *hostpb.Location {
	if ref.GetId() != 0 {
		return r.knownByID(ids.Group(ref.GetId()))
	}
	full := statemachines.NameOf(ref)
	hint := r.directory.byName(full)
	if g, ok := r.o.Local.GroupByName(full); ok && uint64(g) > hint.GetId() {
		return refs.Here(full, g)
	}
	return hint
}

// knownByID returns what this host knows of the group of that number, or nil.
func (r *Router) knownByID(g ids.Group) *hostpb.Location {
	if hint := r.directory.byID(g); hint != nil {
		return hint
	}
	if s, ok := r.o.Raft.Status(g); ok {
		return refs.Here(s.Name, g)
	}
	return nil
}

// resolve returns where the group is, asking a drummer if this host does not know. A read
// is no use of a name: whoever looks at what is not there makes nothing.
func (r *Router) resolve(ctx context.Context, o *op) (*hostpb.Location, error) {
	if where := r.known(o.ref); where != nil {
		return where, refs.Agree(o.ref, where)
	}
	if !o.anywhere {
		return r.ask(ctx, o.ref, using, answerFresh)
	}
	where, err := r.ask(ctx, o.ref, looking, answerFresh)
	if fault.Is(err, fault.GroupNotFound) {
		return nil, fault.Wrap(err, fault.GroupNotFound, "a read makes no group, the first command for its name does if a template says so").InGroup(o.title())
	}
	return where, err
}

// Why a drummer is asked for a group.
const (
	using   = true  // it is used: its first use may make it
	looking = false // somebody wants to know where it is
)

// ask asks a drummer and remembers the answer. Should the directory have a newer
// group of the name meanwhile, then that one is meant.
func (r *Router) ask(ctx context.Context, ref *hostpb.GroupRef, use bool, age time.Duration) (*hostpb.Location, error) {
	// Only the number is asked for when there is one: the name is compared here,
	// where the sentence about a contradiction is made.
	k := key{name: statemachines.NameOf(ref), use: use}
	if ref.GetId() != 0 {
		k = key{id: ref.GetId()}
	}
	where, err := r.asker.ask(ctx, k, age)
	if err != nil {
		return nil, err
	}
	if err := refs.Agree(ref, where); err != nil {
		return nil, err
	}
	if now := r.directory.learn(where); ref.GetId() == 0 || now.GetId() == ref.GetId() {
		where = now
	}
	return where, nil
}

// Locate tells where a group is, as a drummer says; when none answers, as this host
// remembers.
func (r *Router) Locate(ctx context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error) {
	if err := refs.Check(ref); err != nil {
		return nil, err
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	where, err := r.ask(ctx, ref, looking, answerFresh)
	if err != nil {
		hint := r.known(ref)
		if !fault.Is(err, fault.Unavailable) || hint == nil {
			return nil, err
		}
		if err := refs.Agree(ref, hint); err != nil {
			return nil, err
		}
		where = hint
	}
	return r.withLeader(where), nil
}

// withLeader puts in the leader that the replica of this host knows.
func (r *Router) withLeader(where *hostpb.Location) *hostpb.Location {
	s, ok := r.o.Raft.Status(ids.Group(where.GetId()))
	if !ok || s.LeaderHost == "" || string(s.LeaderHost) == where.GetLeaderHost() && where.GetLeaderApi() != "" {
		return where
	}
	where = proto.CloneOf(where)
	where.LeaderHost, where.LeaderApi = string(s.LeaderHost), r.api(s.LeaderHost, where)
	return where
}

// api returns the gRPC address of a host: as this host was told, else as the
// location says; empty when nobody knows.
func (r *Router) api(host ids.Host, where *hostpb.Location) string {
	if host == "" {
		return ""
	}
	if host == r.o.Self && r.o.Advertise != "" {
		return r.o.Advertise
	}
	if addr, ok := r.o.API(host); ok {
		return addr
	}
	if where.GetLeaderHost() == string(host) && where.GetLeaderApi() != "" {
		return where.GetLeaderApi()
	}
	return apiOf(where, string(host))
}

// Servers lists the cluster's servers as a drummer knows them; when none answers, as
// one said last.
func (r *Router) Servers(ctx context.Context) ([]*hostpb.Server, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	ctx, cancelAsk := context.WithTimeout(ctx, askTimeout)
	defer cancelAsk()
	list, err := r.o.Locator.Servers(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.servers = list
	case len(r.servers) > 0:
		return slices.Clone(r.servers), nil
	case fault.Of(err) == nil:
		return nil, fault.Wrap(err, fault.Unavailable, "ask a drummer for the list of servers")
	}
	return list, err
}
