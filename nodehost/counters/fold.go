package counters

import (
	"context"
	"math"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/statemachines/counter"
)

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
func (d *desk) foldAll(adds []*counterpb.Add, results []*counterpb.Result) []*fold {
	var all []*fold
	open := map[string]*fold{} // by key: what the next addition may join
	cmd, op := &counterpb.Command{NowMs: uint64(d.now().UnixMilli())}, &counterpb.Command_Add{}
	cmd.Op = op
	for i, a := range adds {
		op.Add = a
		if err := counter.CheckCommand(cmd); err != nil {
			results[i] = &counterpb.Result{Outcome: counterpb.Outcome_OUTCOME_INVALID, Detail: err.Error()}
			continue
		}
		f := open[a.GetKey()]
		if !f.takes(a) {
			f = &fold{add: a}
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
	if len(f.places) > 0 {
		f.add = &counterpb.Add{Key: a.GetKey(), Amount: f.add.GetAmount() + a.GetAmount()}
	}
	f.amounts, f.places = append(f.amounts, a.GetAmount()), append(f.places, place)
}

// answer gives each part the result that it would have had: the value after it.
func (f *fold) answer(r *counterpb.Result, results []*counterpb.Result) {
	if len(f.places) == 1 {
		results[f.places[0]] = r
		return
	}
	value := r.GetValue()
	for i := len(f.places) - 1; i >= 0; i-- {
		results[f.places[i]] = &counterpb.Result{Outcome: r.GetOutcome(), Value: value, Token: r.GetToken()}
		value -= f.amounts[i]
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

// addMany proposes many additions. Each has a result of its own, one that breaks a rule
// too; an error says that nothing is known of any of them.
func (d *desk) addMany(ctx context.Context, group string, adds []*counterpb.Add) ([]*counterpb.Result, error) {
	if err := checkGroup(group); err != nil {
		return nil, err
	}
	results := make([]*counterpb.Result, len(adds))
	all := d.foldAll(adds, results)
	if len(all) == 0 {
		return results, nil
	}
	group = d.atlas.place(ctx, group)
	refused, err := d.addFolds(ctx, group, all, results)
	if err != nil || len(refused) == 0 {
		return results, err
	}
	var parts []*fold // of a sum that is refused some may be taken
	for _, f := range refused {
		parts = append(parts, f.apart(adds)...)
	}
	_, err = d.addFolds(ctx, group, parts, results)
	return results, err
}

// addFolds proposes sums, and returns those that were refused and have parts.
func (d *desk) addFolds(ctx context.Context, group string, all []*fold, results []*counterpb.Result) (refused []*fold, err error) {
	m := route.Many{Group: &hostpb.GroupRef{Name: group}, Items: make([][]byte, len(all)), Repeatable: true}
	for i, f := range all {
		if m.Items[i], err = d.pack(group, &counterpb.Command{Op: &counterpb.Command_Add{Add: f.add}}); err != nil {
			return nil, err
		}
		m.Repeatable = m.Repeatable && f.add.GetOnce() != nil
	}
	out, _ := d.router.ProposeMany(ctx, m)
	for i, f := range all {
		if out[i].Err != nil {
			return nil, out[i].Err
		}
		r, err := unpack(group, out[i].Result.Data)
		switch {
		case err != nil:
			return nil, err
		case r.GetOutcome() != counterpb.Outcome_OUTCOME_OK && len(f.places) > 1:
			refused = append(refused, f)
		default:
			f.answer(r, results)
		}
	}
	return refused, nil
}
