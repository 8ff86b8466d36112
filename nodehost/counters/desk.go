package counters

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/gather"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/nodehost/route/refs"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/counter"
)

// desk packs commands and queries, and unpacks what groups answer.
type desk struct {
	router Router
	now    func() time.Time
	atlas  *atlas
	gather *gather.Gather[*counterpb.Add, *counterpb.Result]
}

// change proposes a command and unpacks the machine's answer. Only what the machine
// calls invalid is an error; all other outcomes are answers.
func (d *desk) change(ctx context.Context, group string, cmd *counterpb.Command) (*counterpb.Result, error) {
	data, err := d.pack(group, cmd)
	if err != nil {
		return nil, err
	}
	group = d.atlas.place(ctx, group, counting)
	m := route.Many{Group: refs.Of(group), Items: [][]byte{data}, Repeatable: cmd.GetAdd().GetOnce() != nil}
	out, _ := d.router.ProposeMany(ctx, m)
	r, err := unpackOutcome(group, out[0])
	return invalid(group, r, err)
}

// invalid makes an error of what the machine calls invalid.
func invalid(group string, r *counterpb.Result, err error) (*counterpb.Result, error) {
	if err == nil && r.GetOutcome() == counterpb.Outcome_OUTCOME_INVALID {
		err = fault.New(fault.Invalid, "group %s: %s", group, r.GetDetail()).InGroup(group)
	}
	return r, err
}

// count adds, together with others who do so now. An addition with a key goes by itself: it
// is proposed again until its outcome is known, which the others must not be.
func (d *desk) count(ctx context.Context, group string, a *counterpb.Add) (*counterpb.Result, error) {
	if a.GetOnce() != nil || a.GetAmount() == 0 {
		return d.change(ctx, group, &counterpb.Command{Op: &counterpb.Command_Add{Add: a}})
	}
	if err := checkGroup(group); err != nil {
		return nil, err
	}
	jobs := []addition{{Group: group, Ask: a}}
	d.gather.Do(ctx, jobs)
	return invalid(group, jobs[0].Answer, jobs[0].Err)
}

// pack checks a command and puts it into bytes, with the time.
func (d *desk) pack(group string, cmd *counterpb.Command) ([]byte, error) {
	if err := checkGroup(group); err != nil {
		return nil, err
	}
	cmd.NowMs = uint64(d.now().UnixMilli())
	if err := counter.CheckCommand(cmd); err != nil {
		return nil, fault.New(fault.Invalid, "%s", err).InGroup(group)
	}
	data, err := proto.Marshal(cmd)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "pack the command").InGroup(group)
	}
	return data, nil
}

// unpackOutcome reads the machine's answer, if there is one.
func unpackOutcome(group string, o route.Outcome) (*counterpb.Result, error) {
	if o.Err != nil {
		return nil, o.Err
	}
	r := &counterpb.Result{}
	if err := proto.Unmarshal(o.Result.Data, r); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "group %s gave an answer that is none of app counter", group).InGroup(group)
	}
	return r, nil
}

// query reads and unpacks the machine's answer.
func (d *desk) query(ctx context.Context, group string, q *counterpb.Query) (*counterpb.Answer, error) {
	if err := checkGroup(group); err != nil {
		return nil, err
	}
	if err := counter.CheckQuery(q); err != nil {
		return nil, fault.New(fault.Invalid, "%s", err).InGroup(group)
	}
	data, err := proto.Marshal(q)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "pack the query").InGroup(group)
	}
	group = d.atlas.place(ctx, group, looking)
	resp, err := d.router.Read(ctx, &hostpb.ReadRequest{Group: refs.Of(group), Query: data})
	if err != nil {
		return nil, err
	}
	a := &counterpb.Answer{}
	if err := proto.Unmarshal(resp.GetData(), a); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "group %s gave an answer that is none of app counter", group).InGroup(group)
	}
	return a, nil
}

// get reads a counter.
func (d *desk) get(ctx context.Context, req *counterpb.GetRequest) (*counterpb.GetResponse, error) {
	group := refs.Full(req)
	a, err := d.query(ctx, group, &counterpb.Query{Op: &counterpb.Query_Get{Get: &counterpb.Get{Key: req.GetKey()}}})
	if err != nil {
		return nil, err
	}
	g := a.GetGroup()
	if err := d.honour(ctx, group, g, req.GetToken()); err != nil {
		return nil, err
	}
	token := &counterpb.Token{Incarnation: g.GetOrigin().GetIncarnation(), Version: g.GetVersion()}
	r := &counterpb.GetResponse{Found: a.GetFound(), Regions: g.GetRegions(), Token: token, WallMs: g.GetWallMs()}
	if r.GetFound() {
		r.Info = a.GetCounters()[0]
	}
	exact := req.GetLevel() == counterpb.Level_LEVEL_EXACT
	if exact || req.GetLevel() == counterpb.Level_LEVEL_GLOBAL {
		d.global(ctx, req, g, r)
	}
	if exact && len(r.GetStale()) > 0 {
		return nil, fault.New(fault.Unavailable, "no answer from %s: an exact read needs all regions, a global one says how old what is known of them is", strings.Join(r.GetStale(), ", ")).InGroup(group)
	}
	return r, nil
}

// add counts, and waits until so many other regions hold it.
func (d *desk) add(ctx context.Context, group string, a *counterpb.Add, wan uint32) (*counterpb.Result, error) {
	if wan > 0 {
		if n := len(d.atlas.others(ctx, d.atlas.place(ctx, group, counting))); int(wan) > n {
			return nil, fault.New(fault.Invalid, "%d other regions are to hold it, and the counter has %d", wan, n).InGroup(group)
		}
	}
	r, err := d.count(ctx, group, a)
	if err == nil && wan > 0 && r.GetOutcome() == counterpb.Outcome_OUTCOME_OK {
		err = d.await(ctx, d.atlas.place(ctx, group, counting), r.GetToken(), wan)
	}
	return r, err
}

// windows reads windows of a counter.
func (d *desk) windows(ctx context.Context, group string, w *counterpb.Windows) (*counterpb.WindowsResponse, error) {
	a, err := d.query(ctx, group, &counterpb.Query{Op: &counterpb.Query_Windows{Windows: w}})
	if err != nil {
		return nil, err
	}
	if !d.heardAll(ctx, group, a.GetGroup()) {
		for _, x := range a.GetWindows() {
			x.Sealed = false
		}
	}
	return &counterpb.WindowsResponse{Found: a.GetFound(), Windows: a.GetWindows(), WallMs: a.GetGroup().GetWallMs(), SinceMs: a.GetSinceMs()}, nil
}

// usualRate is the time that a rate looks back, unless the caller says otherwise.
const usualRate = uint64(60_000)

// rate adds up the full windows of the time before now, of the finest resolution of which
// the group keeps enough of them.
func (d *desk) rate(ctx context.Context, req *counterpb.RateRequest) (*counterpb.RateResponse, error) {
	group := refs.Full(req)
	over := req.GetOverMs()
	if over == 0 {
		over = usualRate
	}
	kept, finest := usualKeep(), counterpb.Resolution_RESOLUTION_SECOND
	for {
		resolution := fineness(over, kept, finest)
		if resolution == 0 {
			return nil, fault.New(fault.Invalid, "group %s keeps no windows for %d s: look back for less, or keep more of them", group, over/1000).InGroup(group)
		}
		r, a, err := d.rateBy(ctx, req, over, resolution)
		if err != nil {
			return nil, err
		}
		kept = a.GetGroup().GetSettings().GetKeep()
		switch {
		case a.GetSinceMs() > r.GetFromMs(): // a clock that is ahead drops windows early
			finest = resolution + 1
		case fineness(over, kept, finest) == resolution:
			return r, nil
		}
	}
}

// rateBy adds up the full windows of one resolution; the answer tells whether all that was
// counted in that time is in them.
func (d *desk) rateBy(ctx context.Context, req *counterpb.RateRequest, over uint64, resolution counterpb.Resolution) (*counterpb.RateResponse, *counterpb.Answer, error) {
	length := counter.Length(resolution)
	last := uint64(d.now().UnixMilli()) / length // the window that has not ended
	count := min(max(over/length, 1), last)
	w := &counterpb.Windows{Key: req.GetKey(), Resolution: resolution, First: last - count}
	a, err := d.query(ctx, refs.Full(req), &counterpb.Query{Op: &counterpb.Query_Windows{Windows: w}})
	if err != nil {
		return nil, nil, err
	}
	r := &counterpb.RateResponse{Found: a.GetFound(), FromMs: (last - count) * length, ToMs: last * length, Resolution: resolution}
	for _, x := range a.GetWindows() {
		if x.GetStartMs() < r.GetToMs() {
			r.Added = counter.Plus(r.GetAdded(), x.GetAdded())
			r.Subtracted = counter.Plus(r.GetSubtracted(), x.GetSubtracted())
		}
	}
	r.PerSecond = (float64(r.GetAdded()) - float64(r.GetSubtracted())) / (float64(count*length) / 1000)
	return r, a, nil
}

// usualKeep is what a group keeps unless it is told otherwise. It saves a question to guess.
func usualKeep() []*counterpb.Keep {
	var kept []*counterpb.Keep
	for r, n := range []uint32{120, 90, 120, 72, 31} {
		kept = append(kept, &counterpb.Keep{Resolution: counterpb.Resolution(r + 1), Windows: n})
	}
	return kept
}

// fineness is the finest resolution of which enough windows are kept for that long, the one
// that has not ended not among them, and no finer than that one; 0 when there is none.
func fineness(ms uint64, kept []*counterpb.Keep, finest counterpb.Resolution) counterpb.Resolution {
	for _, k := range kept {
		if n := uint64(k.GetWindows()); k.GetResolution() >= finest && n > 1 && ms <= (n-1)*counter.Length(k.GetResolution()) {
			return k.GetResolution()
		}
	}
	return 0
}

// checkGroup refuses groups that are none of app counter.
func checkGroup(group string) error {
	app, err := statemachines.AppOf(group)
	if err != nil {
		return fault.New(fault.Invalid, "%s", err)
	}
	if app != counter.Name {
		return fault.New(fault.Invalid, "group %s is of app %s, and this service is for groups of app %s", group, app, counter.Name).InGroup(group)
	}
	return nil
}
