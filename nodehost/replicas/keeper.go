package replicas

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/nodehost/replicas/tally"
	"github.com/drumline/drumline/statemachines"
)

// Raft is what a Keeper needs of *raft.Host.
type Raft interface {
	Start(ctx context.Context, r raft.Replica) error
	Stop(ctx context.Context, g ids.Group) error
	Destroy(ctx context.Context, g ids.Group, r ids.Replica) error
	OpenGroup(ctx context.Context, g ids.Group, version uint32) error
	SealGroup(ctx context.Context, g ids.Group) error
	RaiseVersion(ctx context.Context, g ids.Group, version uint32) error
	Membership(ctx context.Context, g ids.Group) (raft.Membership, error)
	Change(ctx context.Context, g ids.Group, c raft.Change) (raft.Membership, error)
	CatchUp(ctx context.Context, g ids.Group) error
	Transfer(ctx context.Context, g ids.Group, to ids.Replica) error
	Status(g ids.Group) (raft.Status, bool)
}

var _ Raft = (*raft.Host)(nil)

// Options of a Keeper. Zero limits become defaults.
type Options struct {
	Self Self
	// DB is the host's database; the Keeper uses one bucket of it.
	DB   *bbolt.DB
	Raft Raft
	// States keeps what retired replicas leave, and loads groups.
	States States
	Apps   *statemachines.Registry
	// Changed is called when the report of a replica may have changed; gone when it
	// is no longer here. It must not block. May be nil.
	Changed func(k Key, gone bool)
	// Starts, Destroys and Executes bound what runs at a time.
	Starts, Destroys, Executes int
	// OrderTimeout bounds an order that raft carries out, StartTimeout a start or a
	// destruction.
	OrderTimeout, StartTimeout time.Duration
	// LoadTimeout bounds the loading of a state into a group.
	LoadTimeout time.Duration
	// Tick is the grain of the Core's time.
	Tick time.Duration
	// HintEvery is how long a change of the manifest that may be lost waits for others.
	HintEvery time.Duration
	// Pending bounds the orders that were taken and not answered yet.
	Pending int
	Log     *slog.Logger
}

func (o Options) withDefaults() Options {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.Starts, 8)
	def(&o.Destroys, 4)
	def(&o.Executes, 16)
	def(&o.Pending, 8192)
	if o.OrderTimeout <= 0 {
		o.OrderTimeout = 4 * time.Second // below the drummers' patience of 5 s
	}
	if o.StartTimeout <= 0 {
		o.StartTimeout = time.Minute
	}
	if o.LoadTimeout <= 0 {
		o.LoadTimeout = 10 * time.Minute
	}
	if o.Tick <= 0 {
		o.Tick = 200 * time.Millisecond
	}
	if o.HintEvery <= 0 {
		o.HintEvery = time.Second
	}
	if o.Changed == nil {
		o.Changed = func(Key, bool) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Self.Apps = func(app string) error {
		_, err := o.Apps.App(app)
		return err
	}
	return o
}

// Keeper keeps this host's replicas: it drives a Core with a disk and a raft.Host.
type Keeper struct {
	o     Options
	store store
	core  *Core // owned by Run, like hints
	hints hints
	begun time.Time
	// bootBegun and bootLog are what the log hears of the boot.
	bootBegun time.Duration
	bootLog   progressLog
	// booted is closed when the boot is done.
	booted   chan struct{}
	progress atomic.Pointer[Progress]
	// wake has room for one: the inbox is not empty.
	wake chan struct{}

	starts, destroys, executes crew

	mu    sync.Mutex
	inbox []Event
	// answers of the orders under way, by token.
	answers map[uint64]pending
	// loads are the replicas about to be loaded, by token.
	loads   map[uint64]chan struct{}
	token   uint64
	stopped bool

	view view
	tell tally.Counters
}

// Open reads the manifest. Nothing starts before Run and Boot.
func Open(o Options) (*Keeper, error) {
	o = o.withDefaults()
	st := store{o.DB}
	m, err := st.load()
	if err != nil {
		return nil, err
	}
	k := &Keeper{
		o: o, store: st, core: New(o.Self, m), begun: time.Now(),
		booted: make(chan struct{}), wake: make(chan struct{}, 1),
		starts: crew{limit: o.Starts}, destroys: crew{limit: o.Destroys}, executes: crew{limit: o.Executes},
		answers: make(map[uint64]pending), loads: make(map[uint64]chan struct{}),
	}
	k.view.init(k.core)
	k.progress.Store(&Progress{Total: len(m.Records)})
	return k, nil
}

// Boot lets the replicas of the manifest start; later calls do nothing.
func (k *Keeper) Boot() { k.post(Boot{}) }

// Booted is closed once every replica of the manifest was started or is kept down.
func (k *Keeper) Booted() <-chan struct{} { return k.booted }

// Progress tells how far the boot is; before it begins, how many replicas there are.
func (k *Keeper) Progress() Progress { return *k.progress.Load() }

// OrderCounts returns how many orders of each kind ended how.
func (k *Keeper) OrderCounts() map[tally.OrderCount]uint64 { return k.tell.All() }

// Welcomed tells of the supervisor that took this host in, and which groups of this host
// it calls banned.
func (k *Keeper) Welcomed(f Fence, banned []ids.Group) { k.post(Welcomed{f, banned}) }

// Order obeys an order. answer is called once, from another goroutine, unless the
// same order is being executed already or the Keeper stops first; it must not block.
func (k *Keeper) Order(o *drummerpb.Order, answer func(*drummerpb.OrderResult)) {
	k.mu.Lock()
	busy := len(k.answers) >= k.o.Pending
	if !busy {
		k.token++
		k.answers[k.token] = pending{o, answer}
	}
	token := k.token
	k.mu.Unlock()
	if busy {
		answer(&drummerpb.OrderResult{Order: o.GetId(), Detail: "the host has too many orders under way"})
		return
	}
	k.post(Ordered{token, o})
}

// Observe is to be called with every event of raft.
func (k *Keeper) Observe(e raft.Event) {
	key := Key{Group: e.Group, Replica: e.Replica}
	switch e.Kind {
	case raft.EventReady:
		k.post(Up{key})
	case raft.EventStopped:
		if _, runs := k.o.Raft.Status(e.Group); !runs {
			k.post(Fell{key})
		}
	case raft.EventUnloaded, raft.EventLoaded:
		k.post(Slept{key, e.Kind == raft.EventUnloaded})
	default:
		k.o.Changed(key, false)
	}
}

// Loading is to be called before raft loads a replica again that it had unloaded, and
// returns when the manifest says so: should that end the process, the next one starts it
// alone. An error tells that ctx ended first; the replica is not to be loaded then.
func (k *Keeper) Loading(ctx context.Context, g ids.Group, r ids.Replica) error {
	saved := make(chan struct{})
	k.mu.Lock()
	k.token++
	token := k.token
	k.loads[token] = saved
	k.mu.Unlock()
	k.post(Loads{Key{Group: g, Replica: r}, token})
	select {
	case <-saved:
		return nil
	case <-ctx.Done():
		k.letLoad(token)
		return fault.Wrap(ctx.Err(), fault.Deadline, "the manifest does not hear that replica %d of group %d is to be loaded", r, g)
	}
}

func (k *Keeper) letLoad(token uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if saved := k.loads[token]; saved != nil {
		close(saved)
		delete(k.loads, token)
	}
}

// post queues an event; events of a stopped Keeper are dropped.
func (k *Keeper) post(e Event) {
	k.mu.Lock()
	if !k.stopped {
		k.inbox = append(k.inbox, e)
	}
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Run drives the Core until ctx ends. It returns an error only when the manifest
// cannot be written: the host must then stop, because it could forget what votes
// here. When it returns nothing of the Keeper runs any more.
func (k *Keeper) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer k.stop(cancel)
	defer k.saveHints()
	tick := time.NewTicker(k.o.Tick)
	defer tick.Stop()
	for {
		var events []Event
		select {
		case <-ctx.Done():
			return nil
		case <-k.wake:
		case <-tick.C:
			events = append(events, Tick{})
		}
		if err := k.turn(ctx, append(events, k.drain()...)); err != nil {
			return err
		}
	}
}

func (k *Keeper) drain() []Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	events := k.inbox
	k.inbox = nil
	return events
}

// stop ends the effects under way, waits for them and drops the orders' answers.
func (k *Keeper) stop(cancel context.CancelFunc) {
	cancel()
	k.starts.wait()
	k.destroys.wait()
	k.executes.wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped, k.inbox = true, nil
	clear(k.answers)
}

// turn takes events in and does their effects: what all of them want saved is
// committed together, before anything else happens.
func (k *Keeper) turn(ctx context.Context, events []Event) error {
	now := time.Since(k.begun)
	var saves []Save
	var rest []Effect
	for _, e := range events {
		for _, f := range k.core.Step(e, now) {
			if s, ok := f.(Save); !ok {
				rest = append(rest, f)
			} else if !k.hints.takes(s, now+k.o.HintEvery) {
				saves = append(saves, s)
			}
		}
	}
	if len(saves) > 0 || k.hints.due(now) {
		saves = append(k.hints.take(), saves...)
	}
	if err := k.store.commit(saves); err != nil {
		return err
	}
	k.tellProgress(now)
	for _, f := range rest {
		k.perform(ctx, f, k.begun.Add(now))
	}
	return nil
}

// saveHints writes what waits; a disk that refuses a hint is worth no word.
func (k *Keeper) saveHints() {
	if err := k.store.commit(k.hints.take()); err != nil {
		k.o.Log.Debug("hints are not kept", "err", err)
	}
}

// perform does what was decided at a moment.
func (k *Keeper) perform(ctx context.Context, f Effect, at time.Time) {
	switch f := f.(type) {
	case Start:
		k.starts.run(func() { k.start(ctx, f) })
	case Destroy:
		k.destroys.run(func() { k.destroy(ctx, f.Key) })
	case Retire:
		k.destroys.run(func() { k.retire(ctx, f.Key) })
	case Execute:
		k.executes.run(func() { k.execute(ctx, f, at) })
	case Answer:
		k.answer(f)
	case Changed:
		k.view.update(k.core, f.Key)
		k.o.Changed(f.Key, f.Gone)
	case Go:
		k.letLoad(f.Token)
	case Booted:
		close(k.booted)
	}
}

func (k *Keeper) answer(a Answer) {
	k.mu.Lock()
	p, ok := k.answers[a.Token]
	delete(k.answers, a.Token)
	k.mu.Unlock()
	if !ok || a.Result == nil {
		return
	}
	k.tell.Count(p.order, a.Result)
	if !a.Result.GetOk() {
		k.o.Log.Info("order not obeyed", "kind", tally.KindOf(p.order), "replica", keyOf(p.order),
			"refused", a.Result.GetRefused(), "detail", a.Result.GetDetail())
	}
	p.answer(a.Result)
}

// pending is an order that was taken and not answered yet.
type pending struct {
	order  *drummerpb.Order
	answer func(*drummerpb.OrderResult)
}
