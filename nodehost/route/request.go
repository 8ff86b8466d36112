package route

import (
	"context"
	"time"

	"github.com/drumline/drumline/client/lane"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/nodehost/route/refs"
	"github.com/drumline/drumline/statemachines"
)

// result is short for what a machine answers.
type result = statemachines.Result

// op is one request on its way.
type op struct {
	// ref is the group as the caller named it.
	ref *hostpb.GroupRef
	// hops is how many hosts forwarded the request so far.
	hops uint32
	// anywhere: every replica can do it, not only the leader.
	anywhere bool
	// repeatable: doing it twice does no harm, so that an unknown outcome may be retried.
	repeatable bool
	// local does it on the replica of this host.
	local func(ctx context.Context, g ids.Group) error
	// remote does it through another host, and returns where the group is led, if told.
	// An error of the way there is a *lane.Lost.
	remote func(ctx context.Context, w way, s sent) (*hostpb.Location, error)
}

// sent is what a forwarded request differs in.
type sent struct {
	group *hostpb.GroupRef
	hops  uint32
	// locate asks where the group is led: at another host than the one asked, as far
	// as this one knows.
	locate bool
}

// head is what the items of a forwarded request have in common on a stream.
func (s sent) head() lane.Head { return lane.Head{Group: s.group, Hops: s.hops, Locate: s.locate} }

// byName tells whether the caller named the group by name alone: then it wants the
// group that has the name now.
func (o *op) byName() bool { return o.ref.GetId() == 0 }

// title names the group for people.
func (o *op) title() string { return refs.Title(statemachines.NameOf(o.ref), o.ref.GetId()) }

// sessionRef is the group of a request that may come under a session, which is of
// one group: a reference beside it must agree.
func sessionRef(ref *hostpb.GroupRef, s *hostpb.Session) (*hostpb.GroupRef, error) {
	switch {
	case s == nil && ref != nil:
		return ref, nil
	case s.GetGroup() == 0:
		return nil, fault.New(fault.Invalid, "the request names neither a group nor a session of one")
	case ref.GetId() != 0 && ref.GetId() != s.GetGroup():
		return nil, fault.New(fault.Invalid, "the session is of group %d, but the request names group %d", s.GetGroup(), ref.GetId())
	}
	return &hostpb.GroupRef{Name: ref.GetName(), Region: ref.GetRegion(), Id: s.GetGroup()}, nil
}

// checkSize refuses what no group takes, before it travels.
func checkSize(what string, data []byte) error {
	if len(data) > raft.MaxCommand {
		return fault.New(fault.TooLarge, "%s of %d bytes is over the limit of %d", what, len(data), raft.MaxCommand)
	}
	return nil
}

// Margins that a host keeps for itself of the caller's deadline, so that its answer
// still finds somebody who listens.
const (
	leastMargin = 5 * time.Millisecond
	mostMargin  = 250 * time.Millisecond
	marginPart  = 20
)

// bound gives ctx the deadline that this host works with.
func bound(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithTimeout(ctx, defaultDeadline)
	}
	margin := min(max(time.Until(end)/marginPart, leastMargin), mostMargin)
	return context.WithDeadline(ctx, end.Add(-margin))
}

// window is bound for a first try: of what may be repeated it takes a third of the time.
func window(ctx context.Context, repeatable bool) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !repeatable {
		return bound(ctx)
	}
	left := defaultDeadline
	if ok {
		left = time.Until(end)
	}
	margin := min(max(left/marginPart, leastMargin), mostMargin)
	return context.WithTimeout(ctx, min(left-margin, max(shortTry, left/3)))
}

// late tells whether the time of a try was over.
func late(err error) bool {
	return fault.Is(err, fault.Deadline) || fault.Is(err, fault.UnknownOutcome)
}
