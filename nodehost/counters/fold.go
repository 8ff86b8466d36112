package counters

import (
	"context"
	"math"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/gather"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/nodehost/route/refs"
	"github.com/drumline/drumline/statemachines/counter"
)

// Additions that wait at this host travel together: each is a job, and has an outcome.
type (
	addition = gather.Job[*counterpb.Add, *counterpb.Result]
	outcome  = gather.Outcome[*counterpb.Result]
)

// perTrip bounds the additions of one proposal.
const perTrip = 4096

// newGather makes what lets additions travel together. An addition is never proposed again:
// those without a key must not be counted twice.
func (d *desk) newGather() *gather.Gather[*counterpb.Add, *counterpb.Result] {
	return gather.New(gather.Options[*counterpb.Add, *counterpb.Result]{
		Trip: d.addMany, PerTrip: perTrip, Patience: patience, Noun: "amount", Verb: "counted",
	})
}

// fold is additions that are proposed as one: to one counter, in one direction, none with
// an idempotency key. A counter takes a sum as it takes its parts, so what each of them
// would have answered is known from the answer to the sum.
type fold struct {
	// add is the sum, amounts its parts, and places where those were in the request.
	add     *counterpb.Add
	amounts []int64
	places  []int
}

// foldAll folds the additions that break no rule; the others have a result.
func (d *desk) foldAll(adds []*counterpb.Add, out []outcome) []*fold {
	var all []*fold
	open := map[string]*fold{} // by key: what the next addition may join
	cmd, op := &counterpb.Command{NowMs: uint64(d.now().UnixMilli())}, &counterpb.Command_Add{}
	cmd.Op = op
	for i, a := range adds {
		op.Add = a
		if err := counter.CheckCommand(cmd); err != nil {
			out[i].Answer = &counterpb.Result{Outcome: counterpb.Outcome_OUTCOME_INVALID, Detail: err.Error()}
			continue
		}
		f := open[a.GetKey()]
		if !f.takes(a) {
			f = &fold{add: a}
			if len(all) == 0 { // nearly always the only one
				f.amounts, f.places = make([]int64, 0, len(adds)), make([]int, 0, len(adds))
			}
			open[a.GetKey()] = f
			all = append(all, f)
		}
		f.join(a, i)
	}
	return all
}

// takes tells whether an addition may join.
func (f *fold) takes(a *counterpb.Add) bool {
	switch {
	case f == nil || f.add.GetOnce() != nil || a.GetOnce() != nil:
		return false
	case a.GetAmount() > 0:
		return f.add.GetAmount() > 0 && a.GetAmount() <= math.MaxInt64-f.add.GetAmount()
	case a.GetAmount() < 0:
		return f.add.GetAmount() < 0 && a.GetAmount() >= math.MinInt64-f.add.GetAmount()
	}
	return false
}

func (f *fold) join(a *counterpb.Add, place int) {
	switch len(f.places) {
	case 0:
	case 1: // what the caller brought is not changed
		f.add = &counterpb.Add{Key: a.GetKey(), Amount: f.add.GetAmount() + a.GetAmount()}
	default:
		f.add.Amount += a.GetAmount()
	}
	f.amounts, f.places = append(f.amounts, a.GetAmount()), append(f.places, place)
}

// answer gives each part the result that it would have had: the value after it.
func (f *fold) answer(r *counterpb.Result, out []outcome) {
	if len(f.places) == 1 {
		out[f.places[0]].Answer = r
		return
	}
	value, results := r.GetValue(), make([]counterpb.Result, len(f.places))
	for i := len(f.places) - 1; i >= 0; i-- {
		part := &results[i]
		part.Outcome, part.Value, part.Token = r.GetOutcome(), value, r.GetToken()
		out[f.places[i]].Answer = part
		value -= f.amounts[i]
	}
}

// fail gives each part an error.
func (f *fold) fail(err error, out []outcome) {
	for _, place := range f.places {
		out[place].Err = err
	}
}

// apart are the parts, each by itself.
func (f *fold) apart(adds []*counterpb.Add) []*fold {
	all := make([]*fold, len(f.places))
	for i, place := range f.places {
		all[i] = &fold{add: adds[place], amounts: f.amounts[i : i+1], places: f.places[i : i+1]}
	}
	return all
}

// addMany proposes many additions, each of which has an outcome of its own, in out.
func (d *desk) addMany(ctx context.Context, group string, adds []*counterpb.Add, out []outcome) {
	if all := d.foldAll(adds, out); len(all) > 0 {
		group = d.atlas.place(ctx, group, counting)
		var parts []*fold // of a sum that is refused some may be taken
		for _, f := range d.addFolds(ctx, group, all, out) {
			parts = append(parts, f.apart(adds)...)
		}
		if len(parts) > 0 {
			d.addFolds(ctx, group, parts, out)
		}
	}
}

// addFolds proposes sums, and returns those that were refused and have parts.
func (d *desk) addFolds(ctx context.Context, group string, all []*fold, out []outcome) (refused []*fold) {
	m := route.Many{Group: refs.Of(group), Items: make([][]byte, len(all)), Repeatable: true}
	for i, f := range all {
		var err error
		if m.Items[i], err = d.pack(group, &counterpb.Command{Op: &counterpb.Command_Add{Add: f.add}}); err != nil {
			for _, f := range all { // none was proposed
				f.fail(err, out)
			}
			return nil
		}
		m.Repeatable = m.Repeatable && f.add.GetOnce() != nil
	}
	outcomes, _ := d.router.ProposeMany(ctx, m)
	for i, f := range all {
		r, err := unpackOutcome(group, outcomes[i])
		switch {
		case err != nil:
			f.fail(err, out)
		case r.GetOutcome() != counterpb.Outcome_OUTCOME_OK && len(f.places) > 1:
			refused = append(refused, f)
		default:
			f.answer(r, out)
		}
	}
	return refused
}

// addBatch is addMany for one caller: there is a result for each, or an error. It says
// nothing of what is counted when some are and others failed.
func (d *desk) addBatch(ctx context.Context, group string, adds []*counterpb.Add) ([]*counterpb.Result, error) {
	if err := checkGroup(group); err != nil {
		return nil, err
	}
	out := make([]outcome, len(adds))
	d.addMany(ctx, group, adds, out)
	results, answered := make([]*counterpb.Result, len(out)), 0
	var failed error
	for i, o := range out {
		if results[i] = o.Answer; o.Err == nil {
			answered++
		} else if failed == nil || fault.Is(o.Err, fault.UnknownOutcome) {
			failed = o.Err
		}
	}
	if failed != nil && answered > 0 && !fault.Is(failed, fault.UnknownOutcome) {
		failed = fault.Wrap(failed, fault.UnknownOutcome, "of %d additions %d were decided and the others were not", len(out), answered).InGroup(group)
	}
	if failed != nil {
		return nil, failed
	}
	return results, nil
}
