package members

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/drumline/drumline/drummer/members/change"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
)

const (
	// lookEvery is how often the list is looked at. Nothing is asked of anybody while
	// nothing changes, and all run programs of the record's version.
	lookEvery = 250 * time.Millisecond
	// lonely is after how many looks without a leader the others are asked again.
	lonely = 8
)

// Run follows the list, and changes the group while this drummer leads. It ends with ctx, or
// with a *RemovedError.
func (m *Members) Run(ctx context.Context) error {
	c := m.attached()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for n := 0; ; n++ {
		if err := m.refresh(c); err != nil {
			m.o.Log.Error("follow the drummers' list", "err", err)
		}
		if err := m.removed(); err != nil {
			return err
		}
		m.greet(ctx, c, n%lonely == 0)
		if number, leads := m.leads(c); leads {
			m.lead(ctx, c, number)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}

// leads tells whether this drummer leads, and its number.
func (m *Members) leads(c *Cluster) (number uint64, leads bool) {
	st, ok := c.Group.Status(ids.DrummerGroup)
	return uint64(st.Replica), ok && st.Serving
}

// refresh takes the list as this replica has it.
func (m *Members) refresh(c *Cluster) error {
	v, err := c.Record.LocalView()
	if err != nil {
		return nil //nolint:nilerr // it does not run: the others are asked
	}
	return m.take(&drummerpb.Roster{Fleet: c.Fleet, Incarnation: v.Incarnation(), Revision: v.Revision(), Drummers: v.Drummers().All})
}

// removed tells whether a list that is newer than this drummer's own has it no more. Its own
// replica may never hear of its removal.
func (m *Members) removed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.roster.GetDrummers()) == 0 || find(m.roster, m.own.Number).GetHostId() == m.o.Self.GetHostId() {
		return nil
	}
	now := m.own
	now.Removed = true
	if err := m.become(now); err != nil {
		return err
	}
	return m.removedError()
}

// greet meets whoever has not answered since the start: its address may have changed, and so
// may ours. Alone, without a leader, all are asked again from time to time, and so is the
// leader while the list has this drummer otherwise than it is.
func (m *Members) greet(ctx context.Context, c *Cluster, again bool) {
	st, _ := c.Group.Status(ids.DrummerGroup)
	m.mu.Lock()
	self := find(m.roster, m.own.Number)
	all := again && (st.Leader == 0 || self != nil && differs(self, m.o.Self))
	var left []string
	addresses := slices.Clone(m.o.Configured)
	if len(m.roster.GetDrummers()) > 0 && !all {
		addresses = nil // the configuration may name some that are gone
	}
	for _, d := range m.roster.GetDrummers() {
		addresses = append(addresses, d.GetApi())
	}
	for _, a := range addresses {
		if a != m.o.Self.GetApi() && (all || !m.met[a]) && !slices.Contains(left, a) {
			left = append(left, a)
		}
	}
	m.mu.Unlock()
	m.askAll(ctx, left)
}

// lead does the next step of what the record wants.
func (m *Members) lead(ctx context.Context, c *Cluster, number uint64) {
	why, err := m.advance(ctx, c, number)
	if err != nil && ctx.Err() == nil {
		why += ": " + err.Error()
	}
	m.mu.Lock()
	news := why != m.step
	m.step = why
	m.mu.Unlock()
	if news && why != "" {
		m.o.Log.Info("the drummers' own group changes", "step", why)
	}
}

func (m *Members) advance(ctx context.Context, c *Cluster, number uint64) (why string, err error) {
	v, err := c.Record.LocalView()
	if err != nil {
		return "", err
	}
	list := v.Drummers()
	switch {
	case list.Next == 0:
		return "write the first drummers down", m.propose(ctx, c, &fleetpb.Command{Op: &fleetpb.Command_FoundDrummers{FoundDrummers: &fleetpb.FoundDrummers{Drummers: c.Founders}}})
	case differs(list.Get(number), m.o.Self):
		return "write down what this drummer is", m.update(ctx, c, m.self())
	case list.Pending() == nil:
		return m.raise(ctx, c, number, list.All)
	}
	mem, err := c.Group.Membership(ctx, ids.DrummerGroup)
	if err != nil {
		return "read the membership", err
	}
	scene := change.Scene{
		Self: number, List: list, Voters: numbers(mem.Voters), Observers: numbers(mem.Observers), Removed: plain(mem.Removed),
		Seen: m.sight(ctx, number, list.All, list.Pending().GetNumber(), mem),
	}
	step, _ := change.Next(scene)
	name := list.Get(step.Number).GetName()
	return name + ": " + step.Why, m.carry(ctx, c, step, mem)
}

// sight meets all drummers of the list. The one that joins is told its number as soon as the
// group has it, and asked for a proof that it has caught up.
func (m *Members) sight(ctx context.Context, number uint64, list []*fleetpb.Drummer, joining uint64, mem raft.Membership) map[uint64]change.Sight {
	seen := map[uint64]change.Sight{number: {Proven: true, Voter: true}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, d := range list {
		if d.GetNumber() == number {
			continue
		}
		wg.Go(func() {
			q := m.question()
			if _, observer := mem.Observers[ids.Replica(d.GetNumber())]; observer {
				q.Admit = d.GetNumber()
			}
			q.Prove = d.GetNumber() == joining
			resp, err := m.ask(ctx, d.GetApi(), q)
			if err != nil || resp.GetSelf().GetHostId() != d.GetHostId() {
				return
			}
			// A voter counts only if Raft's messages reach it.
			if d.GetNumber() != joining && (!resp.GetRunning() || resp.GetLeader() != number) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen[d.GetNumber()] = change.Sight{Proven: resp.GetProven(), Voter: resp.GetRunning() && !resp.GetObserver()}
		})
	}
	wg.Wait()
	return seen
}

// carry does a step. Membership changes name the membership that was decided on.
func (m *Members) carry(ctx context.Context, c *Cluster, s change.Step, mem raft.Membership) error {
	ch := raft.Change{Replica: ids.Replica(s.Number), ConfigChange: mem.ConfigChange}
	switch s.Kind {
	case change.Observe:
		ch.Kind, ch.Host = raft.AddObserver, ids.Host(m.hostOf(s.Number))
	case change.Promote:
		ch.Kind = raft.Promote
	case change.Remove:
		ch.Kind = raft.Remove
	case change.HandOver:
		return c.Group.Transfer(ctx, ids.DrummerGroup, ids.Replica(s.Number))
	case change.Joined, change.Gone:
		settled := &fleetpb.DrummerSettled{Number: s.Number, Gone: s.Kind == change.Gone}
		return m.propose(ctx, c, &fleetpb.Command{Op: &fleetpb.Command_DrummerSettled{DrummerSettled: settled}})
	default:
		return nil
	}
	_, err := c.Group.Change(ctx, ids.DrummerGroup, ch)
	return err
}

func numbers(m map[ids.Replica]ids.Host) []uint64 {
	var list []uint64
	for id := range m {
		list = append(list, uint64(id))
	}
	slices.Sort(list)
	return list
}

func plain(list []ids.Replica) []uint64 {
	var out []uint64
	for _, id := range list {
		out = append(out, uint64(id))
	}
	return out
}
