package route

import (
	"context"
	"errors"
	"slices"

	"github.com/drumline/drumline/client/lane"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/internal/serve"
)

// Many is commands, or queries, for one group.
type Many struct {
	// Group as the caller names it.
	Group *hostpb.GroupRef
	// Items in the app's own encoding; at most MaxItems, and MaxItemBytes in all.
	Items [][]byte
	// Hops is how many hosts forwarded them so far.
	Hops uint32
	// Room, unless 0, bounds the answers to queries in bytes.
	Room int
	// Repeatable: applying a command twice does no harm, so one of unknown outcome is
	// proposed again while there is time. An error then does not tell whether it was
	// applied.
	Repeatable bool
}

// Outcome is what became of one item; of a query, Result has only Data.
type Outcome = raft.Outcome

// check refuses what no group takes, before it travels.
func (m Many) check() error {
	size := 0
	for _, item := range m.Items {
		size += len(item)
	}
	switch {
	case len(m.Items) == 0:
		return fault.New(fault.Invalid, "the request has no items: it needs at least one command or query")
	case len(m.Items) > MaxItems:
		return fault.New(fault.TooLarge, "%d commands or queries at once are over the limit of %d", len(m.Items), MaxItems)
	case size > MaxItemBytes:
		return fault.New(fault.TooLarge, "commands or queries of %d bytes in all are over the limit of %d", size, MaxItemBytes)
	}
	return nil
}

// many is a Many on its way: each try is about the items that are not settled yet.
type many struct {
	Many
	r *Router
	// out has one for each item; open are the places of those not settled.
	out  []Outcome
	open []int
}

// newMany settles what is wrong by itself.
func (r *Router) newMany(m Many, what string) *many {
	b := &many{Many: m, r: r, out: make([]Outcome, len(m.Items))}
	err := m.check()
	for i, item := range m.Items {
		if b.out[i].Err = err; err == nil {
			b.out[i].Err = checkSize(what, item)
		}
		if b.out[i].Err == nil {
			b.open = append(b.open, i)
		}
	}
	return b
}

// items are those not settled.
func (b *many) items() [][]byte {
	if len(b.open) == len(b.Items) {
		return b.Items
	}
	items := make([][]byte, len(b.open))
	for i, at := range b.open {
		items[i] = b.Items[at]
	}
	return items
}

// take settles what can be settled by the outcomes of a try and returns the first
// fault that another try may mend.
func (b *many) take(tried []Outcome) error {
	var first error
	again := b.open[:0]
	for i, at := range b.open {
		err := tried[i].Err
		if b.out[at] = tried[i]; mends(err) || b.Repeatable && late(err) {
			again = append(again, at)
			if first == nil {
				first = err
			}
		}
	}
	b.open = again
	return first
}

// mends tells whether another try may do better: nothing was applied, and it is the
// group that refuses, not the item that is refused.
func mends(err error) bool {
	switch fault.ReasonOf(err) { //nolint:exhaustive // the others are final
	case fault.NotLeader, fault.NoQuorum, fault.NotOpen, fault.Unavailable, fault.GroupNotFound, fault.Sealed:
		return true
	}
	return false
}

// finish gives what is still open the error that ended the search.
func (b *many) finish(where *hostpb.Location, err error) ([]Outcome, *hostpb.Location) {
	if err != nil {
		for _, at := range b.open {
			b.out[at] = Outcome{Err: err}
		}
	}
	return b.out, where
}

// ProposeMany proposes commands to one group. There is an outcome for each; where the
// group was led is nil if all failed.
func (r *Router) ProposeMany(ctx context.Context, m Many) ([]Outcome, *hostpb.Location) {
	b := r.newMany(m, "command")
	if len(b.open) == 0 {
		return b.out, nil
	}
	o := &op{ref: m.Group, hops: m.Hops, repeatable: m.Repeatable}
	o.local = func(ctx context.Context, g ids.Group) error {
		items, err := r.o.Prepare(ctx, g, b.items())
		if err != nil {
			return err
		}
		return b.take(r.o.Raft.ProposeMany(ctx, g, items))
	}
	o.remote = func(ctx context.Context, w way, s sent) (*hostpb.Location, error) {
		tried, where, err := w.proposeMany(ctx, s, b.items())
		if err != nil {
			return nil, err
		}
		return where, b.take(tried)
	}
	return b.finish(r.route(ctx, o))
}

// ReadMany answers queries of one group, all that are answered in one state. There are
// fewer outcomes than queries if there is no room for more.
func (r *Router) ReadMany(ctx context.Context, m Many) ([]Outcome, *hostpb.Location) {
	b := r.newMany(m, "query")
	if len(b.open) < len(b.Items) { // one state for all: none without the others
		return r.refuseAll(b)
	}
	var out []Outcome
	o := &op{ref: m.Group, hops: m.Hops, anywhere: true, repeatable: true}
	o.local = func(ctx context.Context, g ids.Group) (err error) {
		out, err = r.readHere(ctx, g, m)
		return err
	}
	o.remote = func(ctx context.Context, w way, s sent) (where *hostpb.Location, err error) {
		out, where, err = w.readMany(ctx, s, m)
		return where, err
	}
	where, err := r.route(ctx, o)
	if err != nil {
		return b.finish(nil, err)
	}
	return out, where
}

// refuseAll gives all queries the first error of one.
func (r *Router) refuseAll(b *many) ([]Outcome, *hostpb.Location) {
	bad := slices.IndexFunc(b.out, func(o Outcome) bool { return o.Err != nil })
	for i := range b.out {
		b.out[i].Err = b.out[bad].Err
	}
	return b.out, nil
}

// readHere reads from the replica of this host.
func (r *Router) readHere(ctx context.Context, g ids.Group, m Many) ([]Outcome, error) {
	out, size := make([]Outcome, 0, len(m.Items)), 0
	err := r.o.Raft.ReadEach(ctx, g, m.Items, func(answer []byte, err error) bool {
		size += len(answer)
		if m.Room > 0 && size > m.Room && len(out) > 0 {
			return false
		}
		out = append(out, Outcome{Result: result{Data: answer}, Err: err})
		return true
	})
	return out, err
}

// proposeMany proposes commands at another host.
func (w way) proposeMany(ctx context.Context, s sent, items [][]byte) ([]Outcome, *hostpb.Location, error) {
	tried, where, err := w.many(ctx, s.head(), items)
	if !unsupported(err) {
		return tried, where, err
	}
	tried = make([]Outcome, len(items))
	for i, item := range items { // a host of an older version, during an upgrade
		a, failed := w.propose(ctx, s, item, nil)
		var lost *lane.Lost
		if errors.As(failed, &lost) {
			failed = class(lost.Err, lost.Sent, false)
		}
		tried[i], where = Outcome{Result: a.result, Err: failed}, a.where
	}
	return tried, where, nil
}

// readMany reads at another host.
func (w way) readMany(ctx context.Context, s sent, m Many) ([]Outcome, *hostpb.Location, error) {
	h := s.head()
	h.Read, h.Room = true, uint64(m.Room)
	out, where, err := w.many(ctx, h, m.Items)
	if !unsupported(err) || m.Room == 0 && len(m.Items) > 1 {
		return out, where, err
	}
	a, err := w.read(ctx, s, m.Items[0]) // a host of an older version: one at a time
	return []Outcome{{Result: a.result}}, a.where, err
}

// many sends items over the stream that all share.
func (w way) many(ctx context.Context, h lane.Head, items [][]byte) ([]Outcome, *hostpb.Location, error) {
	if w.lane == nil {
		return nil, nil, &lane.Lost{Err: lane.ErrClosed}
	}
	answers, where, err := w.lane.Many(ctx, h, items)
	if err != nil {
		return nil, nil, err
	}
	out := make([]Outcome, len(answers))
	for i, a := range answers {
		out[i] = Outcome{Result: result{Value: a.Value, Data: a.Data}, Err: serve.FromItem(a.Fault)}
	}
	return out, where, nil
}
