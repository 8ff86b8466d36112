package capacity

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/capacity/desk"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/statemachines/capacity"
)

// Paces of a child.
const (
	// askTimeout bounds one round with the parent; commands wait for the first.
	askTimeout = 2 * time.Second
	// leastGap is between two rounds, even if the demand changes all the time.
	leastGap = 250 * time.Millisecond
	// againLeast and againMost bound the pause after a round that failed.
	againLeast, againMost = 100 * time.Millisecond, 2 * time.Second
	// safety is what a child keeps back of the parent's lease, besides a fiftieth, for
	// clocks that run at different speeds.
	safety = 50 * time.Millisecond
	// comerPatience bounds how long a newcomer waits for the parent, maxComers those who do.
	comerPatience = 500 * time.Millisecond
	maxComers     = 1000
	// checkTimeout bounds a look at all parents, checkAgain is the pause after one in vain.
	checkTimeout, checkAgain = 250 * time.Millisecond, 10 * time.Second
	// idleAfter is how long a child without clients is looked after, unless Options say.
	idleAfter = 10 * time.Second
	// plenty stands for "no limit" among amounts that add up.
	plenty = 1e15
)

// holding is what a parent answered last; the zero one is nothing.
type holding struct {
	capacity float64
	ends     moment
	token    *capacitypb.Token
	// told: the child's machine knows it, and divides no more.
	told bool
}

// child is one group that leases from its parent, in one leadership of it.
type child struct {
	o      Options
	group  ids.Group
	name   string
	term   uint64
	parent string
	stop   context.CancelFunc
	wake   chan struct{} // holds one wish for a look at the demand
	urgent chan struct{} // holds one wish for a round at once

	// The loop's own.
	failing bool              // the last round failed
	checked bool              // the line of parents was
	recheck time.Time         // monotonic: when to try again to check it
	held    holding           // the newest answer
	known   *capacitypb.Token // of the newest answer that all of the child keep to
	safe    float64           // what is divided without a lease
	told    bool              // the machine was told something in this leadership
	asked   capacity.View     // the demand that the parent was told last
	life    time.Time         // when the child last had something to look after
	// nothings counts leases of nothing, one after the other.
	nothings int

	mu      sync.Mutex
	bound   *moment            // guarded by mu: when what the machine divides ends; nil for nothing
	tried   bool               // guarded by mu: a first round is over
	over    bool               // guarded by mu: nobody looks after the child any more
	rounds  uint64             // guarded by mu: rounds that are over
	plenty  bool               // guarded by mu: the parent gave all that it was asked for
	comers  []*capacitypb.Band // guarded by mu: what newcomers want, for the next round
	changed chan struct{}      // guarded by mu: closed, and made anew, with each change
}

// poke wishes for a round: the demand may have changed.
func (c *child) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// settled waits until the machine divides what is right: after the first round, and
// unless a lease has ended by the wall clock of which the machine was not told.
func (c *child) settled(ctx context.Context) error {
	for {
		c.mu.Lock()
		ok, changed := c.over || c.tried && !c.lapsed(), c.changed
		c.mu.Unlock()
		if ok {
			return nil
		}
		c.poke()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// await lets the parent be asked for newcomers before they are decided, if that gave all
// that it was asked for the last time: else there is nothing to wait for.
func (c *child) await(ctx context.Context, bands []*capacitypb.Band) {
	if len(bands) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, comerPatience)
	defer cancel()
	c.mu.Lock()
	if !c.plenty || c.over || len(c.comers)+len(bands) > maxComers {
		c.mu.Unlock()
		return
	}
	c.comers = append(c.comers, bands...)
	since, changed := c.rounds, c.changed
	c.mu.Unlock()
	select {
	case c.urgent <- struct{}{}:
	default:
	}
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		c.mu.Lock()
		// One round may have begun before the newcomers were noted.
		done := c.over || c.rounds > since && len(c.comers) == 0
		changed = c.changed
		c.mu.Unlock()
		if done {
			return
		}
	}
}

// lapsed tells whether the machine divides a lease that has ended; mu is held, or it is
// the loop, which alone writes.
func (c *child) lapsed() bool { return c.bound != nil && c.o.now().reached(*c.bound) }

// set changes what those who wait look at.
func (c *child) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
}

// finish lets those go on who wait: the next command begins anew.
func (c *child) finish() { c.set(func() { c.over = true }) }

// run makes rounds until the leadership is over or the child holds nothing any more.
func (c *child) run(ctx context.Context) {
	again := againLeast
	for ctx.Err() == nil {
		pause, err := c.round(ctx)
		if errors.Is(err, errOver) {
			return
		}
		c.log(ctx, err)
		if err != nil {
			pause, again = again, min(2*again, againMost)
		} else {
			again = againLeast
		}
		// For a parent that is away no newcomer waits.
		c.set(func() { c.tried, c.rounds, c.plenty = true, c.rounds+1, c.plenty && err == nil })
		c.rest(ctx, pause)
	}
}

// rest waits for the next round: for the pause, but not beyond the end of the lease, or
// until the demand has changed.
func (c *child) rest(ctx context.Context, pause time.Duration) {
	if c.bound != nil {
		pause = min(pause, max(c.bound.mono.Sub(c.o.now().mono), 0))
	}
	end := time.NewTimer(pause)
	defer end.Stop()
	wake, look := c.wake, (<-chan time.Time)(nil)
	for {
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			return
		case <-c.urgent:
			return
		case <-wake:
			if c.lapsed() {
				return
			}
			// What the command that woke the child wants is known once it is applied.
			wake, look = nil, time.After(leastGap)
		case <-look:
			if c.demanded() {
				return
			}
			wake, look = c.wake, nil
		}
	}
}

// demanded tells whether the child's clients want something else than the parent was told.
func (c *child) demanded() bool {
	s, here := c.o.Raft.Status(c.group)
	if !here {
		return true
	}
	v, ok := viewOf(c.o.Raft, s)
	return !ok || v.Wants != c.asked.Wants || v.Clients != c.asked.Clients || v.Revision != c.asked.Revision
}

// round asks the parent once and tells the machine; it returns when to ask again.
func (c *child) round(ctx context.Context) (time.Duration, error) {
	if s, here := c.o.Raft.Status(c.group); !here || !s.Serving || s.Term != c.term {
		return 0, errOver
	}
	short, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	clock, err := c.propose(short, &capacitypb.Command{Op: &capacitypb.Command_Decide{Decide: &capacitypb.Decide{}}})
	if err != nil {
		return 0, err
	}
	sum, err := c.summary(short)
	if err != nil {
		return 0, err
	}
	if sum.GetDefinition().GetParent() != c.parent || c.idle(sum) {
		return 0, errOver
	}
	if !c.told {
		c.safe = sum.GetSafeShare() // as a leader before this one was told
	}
	pause, err := c.lease(short, clock, sum)
	if !c.told || c.lapsed() {
		// Without a word from its leader the machine decides nothing.
		long, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		err = errors.Join(err, c.tell(long, &capacitypb.ParentLease{Lead: clock.GetLead(), SafeShare: c.safe}, nil))
	}
	return pause, err
}

// idle tells whether the child has had no clients for a while, and its parent was shown
// that it knows of a lease of nothing.
func (c *child) idle(sum *capacitypb.Summary) bool {
	if sum.GetHolders() > 0 || c.held.capacity > 0 {
		c.life = c.o.now().mono
	}
	return c.nothings >= 2 && c.o.now().mono.Sub(c.life) > c.o.idle
}

// lease asks the parent for all clients and tells the machine what it got.
func (c *child) lease(ctx context.Context, clock *capacitypb.Result, sum *capacitypb.Summary) (time.Duration, error) {
	if err := c.checkParents(ctx); err != nil {
		return 0, err
	}
	if c.held.told && sum.GetReserved() <= c.held.capacity*(1+1e-9) {
		c.known = c.held.token
	}
	bands := demand(sum, c.take())
	wants, clients := 0.0, int64(0)
	for _, b := range bands {
		wants += b.GetWants()
		clients += b.GetClients()
	}
	sent := c.o.now()
	g, err := c.ask(ctx, bands)
	if err != nil {
		return 0, err
	}
	c.set(func() { c.plenty = g.GetCapacity() >= wants*(1-1e-9) })
	if c.nothings++; g.GetCapacity() > 0 {
		c.nothings = 0
	}
	c.asked = capacity.View{Revision: sum.GetRevision(), Wants: wants, Clients: clients}
	length := time.Duration(g.GetLeaseMs()) * time.Millisecond
	length = max(length-length/50-safety, 0)
	ends := sent.plus(length) // what the machine divides ends as before until it was told
	c.held, c.safe = holding{capacity: g.GetCapacity(), ends: ends, token: g.GetToken()}, safeShare(g, clients)
	err = c.tell(ctx, &capacitypb.ParentLease{
		Capacity: c.held.capacity, Expires: clock.GetTime() + int64(length), Lead: clock.GetLead(), SafeShare: c.safe,
	}, &ends)
	if err != nil {
		return 0, err
	}
	c.held.told = true
	soon := time.Duration(cmp.Or(g.GetRetryMs(), g.GetRefreshMs())) * time.Millisecond
	return max(min(soon, length/2), leastGap), nil
}

// take takes what newcomers want.
func (c *child) take() (bands []*capacitypb.Band) {
	c.mu.Lock()
	defer c.mu.Unlock()
	bands, c.comers = c.comers, nil
	return bands
}

// ask asks the parent's group for the clients of this one.
func (c *child) ask(ctx context.Context, bands []*capacitypb.Band) (*capacitypb.Grant, error) {
	r := &capacitypb.Request{ClientId: c.name, Bands: bands, Token: c.known}
	cmd := pack(&capacitypb.Command{Op: &capacitypb.Command_Decide{Decide: &capacitypb.Decide{Requests: []*capacitypb.Request{r}}}})
	outcomes, _ := c.o.Router.ProposeMany(ctx, route.Many{Group: &hostpb.GroupRef{Name: c.parent}, Items: [][]byte{cmd}, Repeatable: true})
	grants, err := desk.GrantsOf(c.parent, outcomes[0], 1)
	if err != nil {
		return nil, err
	}
	if a := settle(c.parent, grants[0]); a.err != nil {
		return nil, a.err
	}
	if o := grants[0].GetOutcome(); o != capacitypb.Outcome_OUTCOME_OK {
		return nil, fault.New(fault.NotOpen, "the parent %s says %s", c.parent, o)
	}
	return grants[0], nil
}

// demand is what all clients want, and newcomers, by priority. Bands beyond those that a
// request may have are joined with the lowest one left.
func demand(sum *capacitypb.Summary, comers []*capacitypb.Band) []*capacitypb.Band {
	joined := map[int64]*capacitypb.Band{}
	add := func(priority, clients int64, wants float64) {
		if clients < 1 {
			return
		}
		if joined[priority] == nil {
			joined[priority] = &capacitypb.Band{Priority: priority}
		}
		joined[priority].Clients += clients
		joined[priority].Wants += wants
	}
	for _, b := range sum.GetBands() {
		add(b.GetPriority(), b.GetClients(), b.GetWants())
	}
	for _, b := range comers {
		add(b.GetPriority(), b.GetClients(), b.GetWants())
	}
	bands := slices.SortedFunc(maps.Values(joined), func(a, b *capacitypb.Band) int { return cmp.Compare(b.GetPriority(), a.GetPriority()) })
	for len(bands) > capacity.MaxBands {
		last := bands[len(bands)-1]
		bands = bands[:len(bands)-1]
		bands[len(bands)-1].Clients += last.GetClients()
		bands[len(bands)-1].Wants += last.GetWants()
	}
	if len(bands) == 0 {
		return []*capacitypb.Band{{Clients: 1}} // gives back what is held
	}
	return bands
}

// safeShare is what the child divides without a lease: what the parent lets each client use
// that has lost it, where less than nothing means no limit.
func safeShare(g *capacitypb.Grant, clients int64) float64 {
	if safe := g.GetSafeCapacity(); safe >= 0 {
		return min(safe*float64(clients), plenty)
	}
	return plenty
}

// tell tells the machine what is held of the parent, and until when. While it is not known
// whether the machine has it, the earlier end bounds what it divides.
func (c *child) tell(ctx context.Context, l *capacitypb.ParentLease, ends *moment) error {
	if ends != nil {
		c.set(func() {
			if c.bound == nil || c.bound.mono.After(ends.mono) {
				c.bound = new(*ends)
			}
		})
	}
	_, err := c.propose(ctx, &capacitypb.Command{Op: &capacitypb.Command_ParentLease{ParentLease: l}})
	if err == nil {
		c.told = true
		c.set(func() { c.bound = ends })
	}
	return err
}

// propose proposes to the child's own group, on this host and past prepare, which waits
// for what the loop does.
func (c *child) propose(ctx context.Context, cmd *capacitypb.Command) (*capacitypb.Result, error) {
	res, err := c.o.Raft.ProposeOwn(ctx, c.group, pack(cmd))
	out, err := desk.ResultOf(c.name, route.Outcome{Result: res, Err: err})
	if err == nil && out.GetOutcome() != capacitypb.Outcome_OUTCOME_OK {
		return nil, fault.New(fault.NotOpen, "the group says %s", out.GetOutcome()).InGroup(c.name)
	}
	return out, err
}

// summary reads the child's own group.
func (c *child) summary(ctx context.Context) (*capacitypb.Summary, error) {
	data, err := c.o.Raft.Read(ctx, c.group, describing())
	if err != nil {
		return nil, err
	}
	a, err := answerOf(c.name, data)
	return a.GetSummary(), err
}
