package counters

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/route/refs"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/counter"
)

// How long a list of a counter's regions is believed, and how long one question for it,
// or to another region, may take.
const (
	listFresh      = 5 * time.Second
	listPatience   = time.Second
	globalPatience = 3 * time.Second
	// ackPause is that between two looks whether other regions have what was counted.
	ackPause = 50 * time.Millisecond
	// keptLists bounds what is remembered.
	keptLists = 4096
)

// What a group is wanted for.
const (
	counting = true
	looking  = false
)

// atlas knows which groups a counter has in which regions.
type atlas struct {
	region  string
	knows   func(full string) bool
	makes   func(full string) bool
	regions func(ctx context.Context, name string) ([]string, error)
	now     func() time.Time

	mu    sync.Mutex
	lists map[string]list // guarded by mu, by the counter's name without a region
}

// list is the full names of a counter's groups by region, as they were told at that time.
type list struct {
	names []string
	asked time.Time
}

// place is the group that answers whoever asks this host: that of the host's own region, or
// any other of the counter's regions if that has none; the group of that very name when the
// counter has no regions. Who counts (uses) gets one of the own region also if that is to be
// made yet.
func (a *atlas) place(ctx context.Context, name string, uses bool) string {
	if _, region := statemachines.CutRegion(name); region != "" || a.regions == nil {
		return name
	}
	own := statemachines.NameIn(name, a.region)
	if a.region != "" && a.knows(own) {
		return own
	}
	if a.knows(name) {
		return name
	}
	names := a.list(ctx, name)
	switch {
	case slices.Contains(names, own), uses && a.region != "" && a.makes(own):
		return own
	case len(names) == 0:
		return name
	}
	return names[0]
}

// others are the groups of the counter's other regions.
func (a *atlas) others(ctx context.Context, group string) []string {
	name, region := statemachines.CutRegion(group)
	if region == "" || a.regions == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(a.list(ctx, name)), func(n string) bool { return n == group })
}

// list asks a drummer unless the answer is fresh. While none answers the old one holds.
func (a *atlas) list(ctx context.Context, name string) []string {
	a.mu.Lock()
	old := a.lists[name]
	a.mu.Unlock()
	if a.now().Sub(old.asked) < listFresh {
		return old.names
	}
	ctx, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	regions, err := a.regions(ctx, name)
	slices.Sort(regions)
	var names []string
	for _, region := range regions {
		names = append(names, statemachines.NameIn(name, region))
	}
	if err != nil {
		names = old.names
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.lists) >= keptLists {
		clear(a.lists)
	}
	a.lists[name] = list{names, a.now()}
	return names
}

// await waits until so many other regions hold what a token was given for. Each is asked by
// itself, so that one which does not answer holds up nobody; who still asks in the end stops
// with the request.
func (d *desk) await(ctx context.Context, group string, t *counterpb.Token, wan uint32) error {
	asking, enough := context.WithCancel(ctx)
	defer enough()
	names := d.atlas.others(ctx, group)
	held := make(chan struct{}, len(names))
	for _, name := range names {
		go func() {
			if d.awaitOne(asking, name, t) {
				held <- struct{}{}
			}
		}()
	}
	for have := uint32(0); have < wan; {
		select {
		case <-held:
			have++
		case <-ctx.Done():
			return fault.New(fault.UnknownOutcome, "it is counted in this region, but only %d other regions were seen to hold it, and %d are wanted: it goes on to them by itself", have, wan).InGroup(group)
		}
	}
	return nil
}

// awaitOne waits until a region's group holds it, and tells whether it does.
func (d *desk) awaitOne(ctx context.Context, group string, t *counterpb.Token) bool {
	for {
		once, cancel := context.WithTimeout(ctx, globalPatience)
		a, err := d.query(once, group, &counterpb.Query{Op: &counterpb.Query_Status{Status: &counterpb.Status{}}})
		cancel()
		if err == nil && holds(a, t) {
			return true
		}
		pause := time.NewTimer(ackPause)
		select {
		case <-ctx.Done():
			pause.Stop()
			return false
		case <-pause.C:
		}
	}
}

// holds tells whether a region's group knows a version of another.
func holds(a *counterpb.Answer, t *counterpb.Token) bool {
	return slices.ContainsFunc(a.GetGroup().GetRegions(), func(r *counterpb.Region) bool {
		return r.GetOrigin().GetIncarnation() == t.GetIncarnation() && r.GetVersion() >= t.GetVersion()
	})
}

// told is what another region's group answered; nil if it did not.
type told struct {
	group  string
	answer *counterpb.Answer
}

// askOthers asks the groups of all other regions at a time.
func (d *desk) askOthers(ctx context.Context, group string, q *counterpb.Query) []told {
	ctx, cancel := context.WithTimeout(ctx, globalPatience)
	defer cancel()
	names := d.atlas.others(ctx, group)
	out := make([]told, len(names))
	var asked sync.WaitGroup
	for i, name := range names {
		asked.Go(func() {
			a, err := d.query(ctx, name, q)
			if out[i].group = name; err == nil {
				out[i].answer = a
			}
		})
	}
	asked.Wait()
	return out
}

// global brings an answer up to what every region says of itself. A region that does not
// answer is named as stale: what is known of it is as old as its time says.
func (d *desk) global(ctx context.Context, req *counterpb.GetRequest, own *counterpb.GroupInfo, r *counterpb.GetResponse) {
	group := d.atlas.place(ctx, refs.Full(req), looking)
	for _, t := range d.askOthers(ctx, group, &counterpb.Query{Op: &counterpb.Query_Get{Get: &counterpb.Get{Key: req.GetKey()}}}) {
		_, region := statemachines.CutRegion(t.group)
		if t.answer == nil {
			r.Stale = append(r.Stale, region)
			continue
		}
		there := t.answer.GetGroup()
		hear(r, &counterpb.Region{Origin: there.GetOrigin(), Version: there.GetVersion(), WallMs: there.GetWallMs()})
		if t.answer.GetFound() {
			adopt(r, t.answer.GetCounters()[0], there.GetOrigin())
		}
	}
	if r.GetFound() {
		r.Info.Value, r.Info.Overflow = counter.Sum(own.GetOrigin(), r.GetInfo().GetSlots(), own.GetSettings().GetBounded())
	}
}

// hear notes up to when a region is known now.
func hear(r *counterpb.GetResponse, now *counterpb.Region) {
	at := slices.IndexFunc(r.GetRegions(), func(known *counterpb.Region) bool { return proto.Equal(known.GetOrigin(), now.GetOrigin()) })
	if at < 0 {
		r.Regions = append(r.Regions, now)
		return
	}
	r.Regions[at].Version, r.Regions[at].WallMs = now.GetVersion(), now.GetWallMs()
}

// adopt takes a region's own slot from its answer, unless that began before a delete that is
// known. Of a delete that is known there alone, what was counted before it goes.
func adopt(r *counterpb.GetResponse, from *counterpb.Info, origin *counterpb.Origin) {
	if !r.GetFound() {
		r.Found, r.Info = true, &counterpb.Info{Key: from.GetKey()}
	}
	info := r.GetInfo()
	if from.GetGeneration() > info.GetGeneration() {
		info.Slots = slices.DeleteFunc(info.Slots, func(s *counterpb.Slot) bool { return s.GetGeneration() < from.GetGeneration() })
		info.Generation = from.GetGeneration()
	}
	of := func(s *counterpb.Slot) bool { return proto.Equal(s.GetOrigin(), origin) }
	at := slices.IndexFunc(from.GetSlots(), of)
	if at < 0 {
		return
	}
	slot := from.GetSlots()[at]
	began := max(slot.GetGeneration(), from.GetGeneration())
	if began < info.GetGeneration() {
		return
	}
	if slot.Generation = began; began == info.GetGeneration() {
		slot.Generation = 0
	}
	had := slices.IndexFunc(info.GetSlots(), of)
	if had < 0 {
		info.Slots = append(info.Slots, slot)
		return
	}
	old := info.GetSlots()[had]
	switch before := max(old.GetGeneration(), info.GetGeneration()); {
	case before > began:
		return
	case before == began:
		slot.BaseAdded, slot.BaseSubtracted = max(slot.GetBaseAdded(), old.GetBaseAdded()), max(slot.GetBaseSubtracted(), old.GetBaseSubtracted())
	}
	info.Slots[had] = slot
}

// heardAll tells whether a group has heard of all regions that its counter has, as far as a
// drummer has told: of one that it has not, something may come for any time.
func (d *desk) heardAll(ctx context.Context, group string, g *counterpb.GroupInfo) bool {
	for _, name := range d.atlas.others(ctx, d.atlas.place(ctx, group, looking)) {
		_, region := statemachines.CutRegion(name)
		if !slices.ContainsFunc(g.GetRegions(), func(r *counterpb.Region) bool { return r.GetOrigin().GetRegion() == region }) {
			return false
		}
	}
	return true
}
