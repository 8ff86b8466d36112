// Package exchange carries what one region counted to the others.
//
// A counter that is counted in several regions is one group in each, which share a name:
// the groups counter/hits of the regions ord and hkg. The host that leads such a group pulls
// (Task is this duty): it asks each sibling what it changed after the version that its own
// group has of it, and proposes the answer as one merge. The cursor is in the group's own
// state, so nothing is lost or told twice when leaders change; an answer that comes late,
// twice or never does no harm. What travels is what changed.
//
// What others counted is asked for rarely, and only about those that cannot be asked
// themselves: regions that are gone, and past lives.
package exchange

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/nodehost/duty"
	"github.com/drumline/drumline/nodehost/route/refs"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/counter"
)

// Router answers for every group; *route.Router does.
type Router interface {
	Read(ctx context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error)
}

// Raft is what this host leads; *raft.Host is one. What it proposes here no client may.
type Raft interface {
	ProposeOwn(ctx context.Context, g ids.Group, cmd []byte) (statemachines.Result, error)
	Status(g ids.Group) (raft.Status, bool)
}

// Options of an Exchange. Router, Raft and Regions are needed.
type Options struct {
	Router Router
	Raft   Raft
	// Regions lists the regions in which there are groups of a name.
	Regions func(ctx context.Context, name string) ([]string, error)
	// Every is the time between two pulls from one sibling; 0 means 250 ms.
	Every time.Duration
	// Now is the host's clock; nil means time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// Pace of what is rarer than pulls.
const (
	usualEvery = 250 * time.Millisecond
	// refresh is for how long the list of siblings is believed.
	refresh = 5 * time.Second
	// relayEvery is the time between two looks at what others counted.
	relayEvery = 10 * time.Second
	// digestEvery is the time between two looks whether what is known of a sibling is what
	// it has.
	digestEvery = time.Minute
	// settling is how long after a change the time is told, so that its windows end.
	settling = 1200 * time.Millisecond
	// lookEvery is the time between two looks whether a window has to end.
	lookEvery = time.Second
	// patience bounds one step of the exchange.
	patience = 5 * time.Second
	// pageLimit bounds the counters of one page.
	pageLimit = 500
)

// Exchange pulls for the groups that this host leads.
type Exchange struct {
	o Options

	mu    sync.Mutex
	leads map[*lead]bool // guarded by mu
	tally tally          // guarded by mu
}

// lead is one leadership of a group on this host. Only its goroutine uses it.
type lead struct {
	x     *Exchange
	group ids.Group
	name  string // full

	self    *counterpb.Origin
	peers   map[string]*sibling // by region
	listed  time.Time
	relayed time.Time
	summed  time.Time
	looked  time.Time
	tickAt  time.Time // when the time is told next; zero: never
	owedAt  time.Time // when it has to be told at last
	// answers come from pulls that are under way.
	answers chan answer
	pulls   sync.WaitGroup
}

// sibling is what the leader knows of another region's group; its name is empty while there
// is no such group.
type sibling struct {
	name, region string
	cursor
	// asking: a pull is under way. failing: the last one had no answer.
	asking, failing bool
	told            told
	proof           proof
	// anew: the next pull asks for all that there is. renewing: it is under way.
	anew, renewing bool
}

// cursor is what the own group has of a sibling: up to which version and time, and whom it
// called over.
type cursor struct {
	origin        *counterpb.Origin
	version, wall uint64
	over          string
}

// New makes an Exchange.
func New(o Options) *Exchange {
	if o.Every <= 0 {
		o.Every = usualEvery
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Exchange{o: o, leads: map[*lead]bool{}}
}

// Task is the exchange as a duty of the leaders of counters' groups.
func (x *Exchange) Task() duty.Task {
	return duty.Task{Name: "exchange", After: []raft.EventKind{raft.EventLife}, Serve: x.serve}
}

// serve exchanges for a group while this host leads it, if it is one of several regions and
// takes commands.
func (x *Exchange) serve(ctx context.Context, s raft.Status) error {
	if !exchanges(s) {
		return nil
	}
	l := &lead{x: x, group: s.Group, name: s.Name, peers: map[string]*sibling{}, answers: make(chan answer)}
	x.mu.Lock()
	x.leads[l] = true
	x.mu.Unlock()
	l.run(ctx)
	x.mu.Lock()
	delete(x.leads, l)
	x.mu.Unlock()
	return nil
}

// exchanges tells whether a group takes part in an exchange now.
func exchanges(s raft.Status) bool {
	name, region := statemachines.CutRegion(s.Name)
	return region != "" && strings.HasPrefix(name, counter.Name+"/") && s.Opened && !s.Sealed
}

// run pulls until the leadership ends, or the group is sealed.
func (l *lead) run(ctx context.Context) {
	defer l.pulls.Wait()
	ctx, end := context.WithCancel(ctx)
	defer end()
	next := time.NewTicker(l.x.o.Every)
	defer next.Stop()
	for err := l.round(ctx); ; {
		if err != nil && ctx.Err() == nil {
			l.x.o.Log.Debug("the exchange of a counter is tried again", "group", l.name, "err", err)
			l.self = nil // read what the group has before the next try
		}
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			if s, here := l.x.o.Raft.Status(l.group); !here || !exchanges(s) {
				return
			}
			err = l.round(ctx)
		case a := <-l.answers:
			err = l.take(ctx, a)
		}
	}
}

// round asks every sibling that is not being asked; an error is about the own group.
func (l *lead) round(ctx context.Context) error {
	if l.self == nil {
		if err := l.begin(ctx); err != nil {
			return err
		}
	}
	l.list(ctx)
	l.ask(ctx)
	if err := l.relay(ctx); err != nil {
		return err
	}
	if err := l.compare(ctx); err != nil {
		return err
	}
	return l.tick(ctx)
}

// begin tells the group its region, if it does not know, and reads what it has.
func (l *lead) begin(ctx context.Context) error {
	_, region := statemachines.CutRegion(l.name)
	a, err := l.x.query(ctx, l.name, &counterpb.Query{Op: &counterpb.Query_Status{Status: &counterpb.Status{}}})
	if err != nil {
		return err
	}
	if a.GetGroup().GetOrigin().GetRegion() == "" {
		if err := l.propose(ctx, &counterpb.Command{Op: &counterpb.Command_Settle{Settle: &counterpb.Settle{Region: region}}}); err != nil {
			return err
		}
		return l.begin(ctx)
	}
	l.self = a.GetGroup().GetOrigin()
	l.owe() // the leader before may have owed it
	for _, p := range l.peers {
		p.cursor = cursor{}
	}
	for _, r := range a.GetGroup().GetRegions() {
		if r.GetOwn() || r.GetPast() || r.GetRetired() {
			continue
		}
		p := l.peers[r.GetOrigin().GetRegion()]
		if p == nil {
			p = &sibling{region: r.GetOrigin().GetRegion()}
			l.peers[p.region] = p
		}
		p.cursor = cursor{origin: r.GetOrigin(), version: r.GetVersion(), wall: r.GetWallMs()}
	}
	return nil
}

// list looks which siblings there are. While no drummer answers those that were known stay.
func (l *lead) list(ctx context.Context) {
	if now := l.x.o.Now(); now.Sub(l.listed) < refresh {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	base, own := statemachines.CutRegion(l.name)
	regions, err := l.x.o.Regions(ctx, base)
	if err != nil {
		l.x.o.Log.Debug("siblings of a counter are not known", "group", l.name, "err", err)
		for region, p := range l.peers { // those that the group has heard of have a name
			p.name = statemachines.NameIn(base, region)
		}
		return
	}
	l.listed = l.x.o.Now()
	there := map[string]bool{}
	for _, region := range regions {
		if region == own {
			continue
		}
		there[region] = true
		if l.peers[region] == nil {
			l.peers[region] = &sibling{region: region}
		}
		l.peers[region].name = statemachines.NameIn(base, region)
		l.x.expect(l.name, region)
	}
	for region, p := range l.peers {
		if !there[region] {
			p.name = ""
		}
	}
}

// propose proposes a command to the own group. All of ours may be applied twice.
func (l *lead) propose(ctx context.Context, cmd *counterpb.Command) error {
	if cmd.GetMerge() == nil { // which must not move the group's time: others would hear of it, and so on for ever
		cmd.NowMs = uint64(l.x.o.Now().UnixMilli())
	}
	data, err := proto.Marshal(cmd)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "pack a merge")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := l.x.o.Raft.ProposeOwn(ctx, l.group, data)
	if err != nil {
		return err
	}
	r := &counterpb.Result{}
	if err := proto.Unmarshal(out.Data, r); err != nil {
		return fault.Wrap(err, fault.Internal, "group %s gave an answer that is none of app counter", l.name)
	}
	if r.GetOutcome() != counterpb.Outcome_OUTCOME_OK {
		l.x.count(func(t *tally) { t.refused++ })
		return fault.New(fault.Conflict, "group %s: %s", l.name, r.GetDetail())
	}
	return nil
}

// owe has the group told the time after a while: something was counted, in windows that are
// to end. While more is counted it is told now and then, and at last.
func (l *lead) owe() {
	l.owedAt = l.x.o.Now().Add(settling)
	if l.tickAt.IsZero() {
		l.tickAt = l.owedAt
	}
}

// tick tells the group the time after something was counted.
func (l *lead) tick(ctx context.Context) error {
	now := l.x.o.Now()
	if l.tickAt.IsZero() && now.Sub(l.looked) >= lookEvery {
		l.looked = now
		a, err := l.x.query(ctx, l.name, &counterpb.Query{Op: &counterpb.Query_Status{Status: &counterpb.Status{}}})
		if err != nil {
			return err
		}
		if a.GetGroup().GetUnsealed() {
			l.owe()
		}
		l.x.note(l.name, a.GetGroup())
		if err := l.forget(ctx, a.GetGroup()); err != nil {
			return err
		}
	}
	if l.tickAt.IsZero() || now.Before(l.tickAt) {
		return nil
	}
	if l.tickAt = l.owedAt; !now.Before(l.owedAt) {
		l.tickAt = time.Time{}
	}
	return l.propose(ctx, &counterpb.Command{Op: &counterpb.Command_Tick{Tick: &counterpb.Tick{}}})
}

// forget has the group drop traces of deleted counters, if it says that it may, and if it
// has heard of all siblings that there are.
func (l *lead) forget(ctx context.Context, g *counterpb.GroupInfo) error {
	now := l.x.o.Now()
	if at := g.GetForgetAtMs(); at == 0 || now.UnixMilli() < int64(at) || now.Sub(l.listed) > 2*refresh || !l.modern() {
		return nil
	}
	f := &counterpb.Forget{}
	for _, p := range l.known() {
		switch lives, retired := lifeOf(g, p.region); {
		case lives:
			f.Regions = append(f.Regions, p.region)
		case !retired:
			return nil // it may have what was deleted
		}
	}
	return l.propose(ctx, &counterpb.Command{Op: &counterpb.Command_Forget{Forget: f}})
}

// lifeOf tells whether a group hears from a life of a region, and whether the region was
// retired. Whose group is still there but was retired is waited for by nobody.
func lifeOf(g *counterpb.GroupInfo, region string) (lives, retired bool) {
	for _, r := range g.GetRegions() {
		if r.GetOrigin().GetRegion() == region {
			lives = lives || !r.GetPast() && !r.GetRetired()
			retired = retired || r.GetRetired()
		}
	}
	return lives, retired
}

// modern tells whether the group's behaviour version is one that forgets.
func (l *lead) modern() bool {
	s, _ := l.x.o.Raft.Status(l.group)
	return s.Version >= 2
}

// ask reads from a sibling, whose answer crosses the sea.
func (x *Exchange) ask(ctx context.Context, sibling string, q *counterpb.Query) (*counterpb.Answer, error) {
	a, err := x.query(ctx, sibling, q)
	if err == nil {
		x.count(func(t *tally) { t.bytes += uint64(proto.Size(a)) })
	}
	return a, err
}

// query reads from any group.
func (x *Exchange) query(ctx context.Context, group string, q *counterpb.Query) (*counterpb.Answer, error) {
	data, err := proto.Marshal(q)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "pack a query")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resp, err := x.o.Router.Read(ctx, &hostpb.ReadRequest{Group: refs.Of(group), Query: data})
	if err != nil {
		return nil, err
	}
	a := &counterpb.Answer{}
	if err := proto.Unmarshal(resp.GetData(), a); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "group %s gave an answer that is none of app counter", group)
	}
	return a, nil
}
