// Package desk gathers what clients ask of resources: all that wait for one resource at this
// host travel in one command, however many requests it came in.
//
// A request for ten resources costs ten places in ten queues and one awakening (package
// gather); thousands of clients that refresh become few commands, and few entries of the log.
//
// A command is proposed for callers who wait. One whose caller has gone is not proposed, and
// not tried again. What comes back undecided because the time of its proposal was over is
// proposed once more, with those who came since: one that hangs must not keep a place for as
// long as its most patient caller.
//
//	d := desk.New(router)
//	defer d.Close()
//	jobs := []desk.Job{{Group: "capacity/a", Ask: requests}}
//	d.Do(ctx, jobs)
package desk

import (
	"context"
	"time"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/gather"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/nodehost/route/refs"
)

// Bounds of what travels together.
const (
	// perCommand bounds the requests of one command, perTrip those of one proposal.
	perCommand, perTrip = 512, 4096
	// patience bounds one proposal.
	patience = 3 * time.Second
)

// Proposer proposes to every group; *route.Router does.
type Proposer interface {
	ProposeMany(ctx context.Context, m route.Many) ([]route.Outcome, *hostpb.Location)
}

// Job is what one call asks of one resource: requests that are decided in their order. Its
// Answer has their grants, in the same order, unless there is an Err.
type Job = gather.Job[[]*capacitypb.Request, []*capacitypb.Grant]

// Desks has a queue for every resource that is asked for.
type Desks = gather.Gather[[]*capacitypb.Request, []*capacitypb.Grant]

// fate is what became of a job: as many grants as it has requests, or an error.
type fate = gather.Outcome[[]*capacitypb.Grant]

// New makes Desks that propose through p; Close them.
func New(p Proposer) *Desks {
	d := &desk{proposer: p}
	return gather.New(gather.Options[[]*capacitypb.Request, []*capacitypb.Grant]{
		Trip: d.trip, PerTrip: perTrip, Weight: func(requests []*capacitypb.Request) int { return len(requests) },
		Patience: patience, Again: passes, Noun: "request", Verb: "decided",
	})
}

// passes tells whether a proposal that failed so, when its time was over, may do better.
func passes(err error) bool {
	switch fault.ReasonOf(err) { //nolint:exhaustive // the others are final
	case fault.Deadline, fault.UnknownOutcome, fault.NoQuorum, fault.NotLeader, fault.Unavailable, fault.NotOpen:
		return true
	}
	return false
}

// desk proposes.
type desk struct{ proposer Proposer }

// trip proposes what all ask. What one is refused for must not be the fault of those that
// travelled with it: each is proposed alone then.
func (d *desk) trip(ctx context.Context, group string, asks [][]*capacitypb.Request, out []fate) {
	d.propose(ctx, group, asks, out)
	if len(asks) == 1 {
		return
	}
	for i := range asks {
		if fault.Is(out[i].Err, fault.Invalid) {
			out[i] = fate{}
			d.propose(ctx, group, asks[i:i+1], out[i:i+1])
		}
	}
}

// span is how many requests of an ask are in one command.
type span struct{ ask, n int }

// propose proposes what is asked in as few commands as possible; out is empty before it.
func (d *desk) propose(ctx context.Context, group string, asks [][]*capacitypb.Request, out []fate) {
	m := route.Many{Group: refs.Of(group), Repeatable: true}
	var spans [][]span
	c := &capacitypb.Decide{}
	in := make([]span, 0, len(asks)) // nearly always all are in one command
	seal := func() {
		m.Items = append(m.Items, pack(c))
		spans = append(spans, in)
		c, in = &capacitypb.Decide{}, nil
	}
	for i, requests := range asks {
		for len(requests) > 0 {
			n := min(perCommand-len(c.Requests), len(requests))
			c.Requests = append(c.Requests, requests[:n]...)
			requests = requests[n:]
			in = append(in, span{ask: i, n: n})
			if len(c.Requests) == perCommand {
				seal()
			}
		}
	}
	if len(c.Requests) > 0 {
		seal()
	}
	outcomes, _ := d.proposer.ProposeMany(ctx, m)
	for i, in := range spans {
		share(group, outcomes[i], in, out)
	}
}
