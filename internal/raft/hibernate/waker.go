package hibernate

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lni/dragonboat/v3/raftpb"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/transport"
)

// Replicas are those of this host.
type Replicas interface {
	// Groups lists what runs here.
	Groups() []Group
	// Act does it to the replicas of groups, of which some may be gone.
	Act(a Act, groups []ids.Group)
}

// Transport is what a Waker needs of *transport.Transport.
type Transport interface {
	Heartbeat(every time.Duration) <-chan struct{}
	Attend(hosts []ids.Host)
	Signs(h ids.Host) transport.Signs
	Tell(to ids.Host, messages []raftpb.Message)
}

var _ Transport = (*transport.Transport)(nil)

// Options of a Waker.
type Options struct {
	Self      ids.Host
	Transport Transport
	Replicas  Replicas
	// Tick is Raft's; Election the shortest time in which a follower stands for
	// election, and the longest silence of a host that is up.
	Tick, Election time.Duration
	Log            *slog.Logger
}

const (
	// beatTicks is the interval of heartbeats between hosts.
	beatTicks = 2
	// sweepElections is how often all replicas are looked at: as often as dragonboat
	// lets an idle group fall asleep.
	sweepElections = 10
	// bornTicks is how long the members of a new group are given to start.
	bornTicks = 2
	// spacing is between the wake-ups of groups that will elect a leader, as long as
	// they fit into half an election timeout: about what an election costs a host.
	spacing = time.Millisecond
)

// Waker wakes the groups of a host. Its methods may be called at any time; those
// that say so do nothing for a nil one.
type Waker struct {
	o     Options
	news  <-chan struct{}
	watch *watch
	met   chan struct{} // capacity 1: hosts or asking changed
	epoch atomic.Uint32

	mu     sync.Mutex
	hosts  map[ids.Host]bool // of all voters of groups here, since the last sweep
	fresh  bool              // hosts has one that is not attended yet
	asking []Group
	born   []task

	cancel context.CancelFunc
	work   sync.WaitGroup
	// agenda is run's own.
	agenda agenda
}

// New makes a Waker; before the transport's Ready.
func New(o Options) *Waker {
	w := &Waker{
		o: o, news: o.Transport.Heartbeat(beatTicks * o.Tick), watch: newWatch(o.Election),
		met: make(chan struct{}, 1), hosts: make(map[ids.Host]bool),
	}
	w.epoch.Store(1)
	return w
}

// Epoch counts times of two election timeouts, from 1: a replica that was stirred
// in this one does not sleep. 0 for a nil Waker.
func (w *Waker) Epoch() uint32 {
	if w == nil {
		return 0
	}
	return w.epoch.Load()
}

// Up tells whether a host is, as far as this one knows.
func (w *Waker) Up(h ids.Host) bool { return h == w.o.Self || w.watch.up(h) }

// Meet makes the hosts of a group's voters known, and asks them who leads it if the
// replica here does not know. A nil Waker does nothing.
func (w *Waker) Meet(g Group) {
	if w == nil {
		return
	}
	w.mu.Lock()
	w.note(g)
	ask := g.Leader == 0
	if ask {
		w.asking = append(w.asking, g)
	}
	news := w.fresh || ask
	w.mu.Unlock()
	if news {
		w.hurry()
	}
}

// Born is to be called when a group's replica was launched with its first members:
// one of them stands for election as soon as the others can be expected to run, long
// before the timeout that elects a leader otherwise. A nil Waker does nothing.
func (w *Waker) Born(g Group) {
	if w == nil || turn(g, func(ids.Host) bool { return true }) > 0 {
		return
	}
	w.mu.Lock()
	w.born = append(w.born, task{at: time.Now().Add(bornTicks * w.o.Tick), act: Stand, group: g.ID})
	w.mu.Unlock()
	w.hurry()
}

func (w *Waker) hurry() {
	select {
	case w.met <- struct{}{}:
	default:
	}
}

// note notes the hosts of a group; mu is held.
func (w *Waker) note(g Group) {
	for _, h := range g.Voters {
		if h != w.o.Self && !w.hosts[h] {
			w.hosts[h] = true
			w.fresh = true
		}
	}
}

// Start begins the work of a Waker.
func (w *Waker) Start() {
	if w != nil {
		ctx, cancel := context.WithCancel(context.Background())
		w.cancel = cancel
		w.work.Go(func() { w.run(ctx) })
	}
}

// Close ends the work and waits for it.
func (w *Waker) Close() {
	if w != nil {
		w.cancel()
		w.work.Wait()
	}
}

func (w *Waker) run(ctx context.Context) {
	beat := beatTicks * w.o.Tick
	now := time.Now()
	looked, epoch, sweep := now, now.Add(2*w.o.Election), now.Add(sweepElections*w.o.Election)
	timer := time.NewTimer(beat)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.news:
			looked = time.Time{}
		case <-w.met:
			w.attend()
		case <-timer.C:
		}
		now = time.Now()
		if now.Sub(looked) >= beat {
			looked = now
			w.look(now)
		}
		if !now.Before(epoch) {
			epoch = now.Add(2 * w.o.Election)
			w.epoch.Add(1)
		}
		if !now.Before(sweep) {
			sweep = now.Add(sweepElections * w.o.Election)
			w.sweep(now)
		}
		for act, groups := range w.agenda.due(now) {
			w.o.Replicas.Act(act, groups)
		}
		timer.Reset(time.Until(w.agenda.next(looked.Add(beat))))
	}
}

// attend takes in what came from other goroutines: the transport keeps in touch with
// new hosts, hosts are asked, new groups get on the agenda.
func (w *Waker) attend() {
	w.mu.Lock()
	fresh, asking := w.fresh, w.asking
	w.agenda.add(w.born...)
	w.fresh, w.asking, w.born = false, nil, nil
	hosts := slices.Sorted(maps.Keys(w.hosts))
	w.mu.Unlock()
	if fresh {
		w.o.Transport.Attend(hosts)
		w.watch.follow(hosts)
	}
	if len(asking) > 0 {
		w.ask(asking)
	}
}

// look acts on the hosts that went down or came up.
func (w *Waker) look(now time.Time) {
	changes := w.watch.look(now, w.o.Transport.Signs)
	if len(changes) == 0 {
		return
	}
	groups := w.o.Replicas.Groups()
	for _, c := range changes {
		w.change(c, groups, now)
	}
}

func (w *Waker) change(c change, groups []Group, now time.Time) {
	// What led before its process ended leads no more.
	up := func(h ids.Host) bool { return (h != c.host || c.up && !c.fresh) && w.Up(h) }
	var elect, other []task
	for _, g := range groups {
		m := Plan(g, c.host, c.up, up)
		if m.Act == None {
			continue
		}
		t := task{at: now.Add(time.Duration(m.Turn) * w.o.Election), act: m.Act, group: g.ID}
		if m.Act == Wake && g.Leader != g.Self {
			elect = append(elect, t)
			continue
		}
		other = append(other, t)
	}
	w.agenda.add(other...)
	w.spread(elect)
	w.o.Log.Info("raft: a host went or came, its groups are woken", "peer", c.host, "up", c.up, "groups", len(other)+len(elect), "elections", len(elect))
}

// spread puts wake-ups that lead to elections on the agenda, one after the other.
func (w *Waker) spread(tasks []task) {
	if len(tasks) == 0 {
		return
	}
	gap := min(spacing, w.o.Election/2/time.Duration(len(tasks)))
	for i := range tasks {
		tasks[i].at = tasks[i].at.Add(time.Duration(i) * gap)
	}
	w.agenda.add(tasks...)
}

// sweep wakes the voters that know no leader, and forgets hosts that no group needs.
func (w *Waker) sweep(now time.Time) {
	groups := w.o.Replicas.Groups()
	var lost []task
	w.mu.Lock()
	clear(w.hosts)
	w.fresh = true
	for _, g := range groups {
		w.note(g)
		if _, voter := g.Voters[g.Self]; voter && g.Leader == 0 {
			lost = append(lost, task{at: now, act: Wake, group: g.ID})
		}
	}
	w.mu.Unlock()
	w.attend()
	w.spread(lost)
}
