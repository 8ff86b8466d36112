package desk

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/route"
)

// fly proposes jobs and settles them.
func (k *desk) fly(jobs []*Job, sealed time.Time) {
	allowed := timeFor(jobs, sealed)
	ctx, cancel := context.WithTimeout(k.desks.life, allowed)
	defer cancel()
	fates := k.propose(ctx, jobs)
	k.landed(sealed, len(jobs)) // before callers know, who may come again at once
	late := time.Since(sealed) >= allowed-allowed/4
	var again, alone []*Job
	for i, j := range jobs {
		switch f := fates[i]; {
		case len(jobs) > 1 && fault.Is(f.err, fault.Invalid):
			alone = append(alone, j)
		case late && passes(f.err) && j.putBack(f.err):
			again = append(again, j)
		default:
			j.settle(f.grants, f.err)
		}
	}
	// What one job is refused for must not be the fault of those that travelled with it.
	for _, j := range alone {
		f := k.propose(ctx, []*Job{j})[0]
		j.settle(f.grants, f.err)
	}
	k.putBack(again)
}

// timeFor is how long a proposal may take: nearly as long as the most patient of its callers
// waits, who is told then how it went.
func timeFor(jobs []*Job, now time.Time) time.Duration {
	most := time.Duration(0)
	for _, j := range jobs {
		end, ok := j.call.ctx.Deadline()
		if !ok {
			return patience
		}
		most = max(most, end.Sub(now))
	}
	return min(most-most/20, patience)
}

// passes tells whether a proposal that failed so, when its time was over, may do better.
func passes(err error) bool {
	switch fault.ReasonOf(err) { //nolint:exhaustive // the others are final
	case fault.Deadline, fault.UnknownOutcome, fault.NoQuorum, fault.NotLeader, fault.Unavailable, fault.NotOpen:
		return true
	}
	return false
}

// span is how many requests of a job are in one command.
type span struct{ job, n int }

// fate is what became of a job: as many grants as it has requests, or an error.
type fate struct {
	grants []*capacitypb.Grant
	err    error
}

// propose proposes jobs in as few commands as possible, and returns the fate of each.
func (k *desk) propose(ctx context.Context, jobs []*Job) []fate {
	m := route.Many{Group: &hostpb.GroupRef{Name: k.group}, Repeatable: true}
	var spans [][]span
	d := &capacitypb.Decide{}
	var in []span
	seal := func() {
		m.Items = append(m.Items, pack(d))
		spans = append(spans, in)
		d, in = &capacitypb.Decide{}, nil
	}
	for i, j := range jobs {
		for from := 0; from < len(j.Requests); {
			n := min(perCommand-len(d.Requests), len(j.Requests)-from)
			d.Requests = append(d.Requests, j.Requests[from:from+n]...)
			from += n
			in = append(in, span{job: i, n: n})
			if len(d.Requests) == perCommand {
				seal()
			}
		}
	}
	if len(d.Requests) > 0 {
		seal()
	}
	outcomes, _ := k.desks.proposer.ProposeMany(ctx, m)
	fates := make([]fate, len(jobs))
	for i, in := range spans {
		k.share(outcomes[i], in, fates)
	}
	return fates
}

// share gives the jobs in one command their parts of its outcome.
func (k *desk) share(o route.Outcome, in []span, fates []fate) {
	n := 0
	for _, s := range in {
		n += s.n
	}
	all, err := GrantsOf(k.group, o, n)
	for _, s := range in {
		f := &fates[s.job]
		if err != nil {
			f.grants, f.err = nil, err
			continue
		}
		f.grants, all = appendAll(f.grants, all[:s.n:s.n]), all[s.n:]
	}
}

// appendAll is append, but takes the second as it is if the first is empty.
func appendAll(to, more []*capacitypb.Grant) []*capacitypb.Grant {
	if to == nil {
		return more
	}
	return append(to, more...)
}

// pack encodes a command. Its strings were checked to be UTF-8, which is all that can fail:
// a command that cannot be packed is an empty one, which the machine refuses.
func pack(d *capacitypb.Decide) []byte {
	data, err := proto.Marshal(&capacitypb.Command{Op: &capacitypb.Command_Decide{Decide: d}})
	if err != nil {
		return nil
	}
	return data
}

// GrantsOf decodes what a group of app capacity answered to a decide of n requests: as many
// grants, or an error if it refused the command.
func GrantsOf(group string, o route.Outcome, n int) ([]*capacitypb.Grant, error) {
	res, err := ResultOf(group, o)
	if err != nil {
		return nil, err
	}
	if res.GetOutcome() != capacitypb.Outcome_OUTCOME_OK { // of all requests
		all := make([]*capacitypb.Grant, n)
		for i := range all {
			all[i] = &capacitypb.Grant{Outcome: res.GetOutcome()}
		}
		return all, nil
	}
	if len(res.GetGrants()) != n {
		return nil, fault.New(fault.Internal, "group %s answered %d requests of %d", group, len(res.GetGrants()), n).InGroup(group)
	}
	return res.GetGrants(), nil
}

// ResultOf decodes what a group of app capacity answered to a command; what it refused is
// an error.
func ResultOf(group string, o route.Outcome) (*capacitypb.Result, error) {
	if o.Err != nil {
		return nil, o.Err
	}
	res := &capacitypb.Result{}
	if err := proto.Unmarshal(o.Result.Data, res); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "group %s gave an answer that is none of app capacity", group).InGroup(group)
	}
	if res.GetOutcome() == capacitypb.Outcome_OUTCOME_INVALID {
		return nil, fault.New(fault.Invalid, "group %s: %s", group, res.GetDetail()).InGroup(group)
	}
	return res, nil
}
