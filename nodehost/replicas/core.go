package replicas

import (
	"slices"
	"time"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/mutant"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/nodehost/replicas/life"
	"github.com/drumline/drumline/nodehost/replicas/tombs"
)

// Self is what a Core knows of its host and takes its limits from; zero limits
// become defaults.
type Self struct {
	Host      ids.Host
	BootEpoch uint64
	// Apps tells whether the program knows an app; the error is a sentence.
	Apps func(name string) error
	// Unloads tells that raft takes replicas out of memory that sleep for long.
	Unloads bool
	// Batch is how many replicas start behind the marker at a time at boot.
	Batch int
	// ReadyAfter is how long a replica holds its place in that.
	ReadyAfter time.Duration
	// RetryAfter is the first pause before a failed start or destruction is tried
	// again; it doubles up to RetryMost.
	RetryAfter, RetryMost time.Duration
	// TrialAfter is for how long the process runs before a replica that is kept down is tried
	// again; it doubles with each death. After so many Trials it is given up.
	TrialAfter time.Duration
	Trials     int
	// Program is the version of the program: a new one tries again what another gave up.
	Program string
	// Tombstones is how many destroyed replicas are remembered.
	Tombstones int
}

func (s Self) withDefaults() Self {
	if s.Batch <= 0 {
		s.Batch = 128
	}
	if s.ReadyAfter <= 0 {
		s.ReadyAfter = 30 * time.Second
	}
	if s.RetryAfter <= 0 {
		s.RetryAfter = time.Second
	}
	if s.RetryMost <= 0 {
		s.RetryMost = 30 * time.Second
	}
	if s.TrialAfter <= 0 {
		s.TrialAfter = 10 * time.Minute
	}
	if s.Trials <= 0 {
		s.Trials = 4
	}
	if s.Tombstones <= 0 {
		s.Tombstones = 65536
	}
	return s
}

// maxCrashes is how many deaths of the process, alone with the start of one
// replica, keep that replica down for a time.
const maxCrashes = 2

// Core decides what happens to the replicas of one host. Not safe for concurrent
// use: its driver owns it.
type Core struct {
	self     Self
	fence    Fence
	replicas map[Key]*replica
	// local is the one replica of each group that may be here.
	local map[ids.Group]Key
	tombs tombs.Tombs
	// executing is the order that raft carries out, at most one a group.
	executing map[ids.Group]*drummerpb.Order
	// retrying are the replicas with a retryAt.
	retrying map[Key]bool
	boot     boot
	// last is when the last event came, woke when one came after a standstill; 0 for never.
	last, woke time.Duration
	// out collects the effects of a Step.
	out []Effect
}

// replica is a record and what this process knows of it.
type replica struct {
	Record
	// busy: a Start or Destroy effect is under way.
	busy bool
	// started: StartCluster returned well.
	started bool
	up      bool
	fell    bool
	// tuning: it is stopped and started with other settings; running are those that it was
	// started with last.
	tuning  bool
	running raft.Settings
	// detail says why it is down.
	detail string
	// retryAt is when the effect that failed is tried again; pause is what doubles.
	retryAt, pause time.Duration
	// starters and destroyers wait for the end of the effect.
	starters, destroyers, retirers []waiter
}

// waiter is an order that is answered later.
type waiter struct{ token, order uint64 }

// maxWaiters bounds the orders that wait for one start or destruction.
const maxWaiters = 4

// standstill is for how long nothing comes, not even a Tick, when the process has stood still. As
// long after that what is read may have been sent before it.
const standstill = 5 * time.Second

// stoodStill is why an order that touches a quorum waits then: others may have gone, or come
// back, since it was decided, and nothing in it tells.
const stoodStill = "the process stood still, and the order may be as old"

func (c *Core) stale() bool { return c.woke != 0 && c.last-c.woke < standstill }

// New makes a Core from what was found on disk.
func New(self Self, m Manifest) *Core {
	c := &Core{
		self:      self.withDefaults(),
		fence:     m.Fence,
		replicas:  make(map[Key]*replica, len(m.Records)),
		local:     make(map[ids.Group]Key, len(m.Records)),
		executing: make(map[ids.Group]*drummerpb.Order),
		retrying:  make(map[Key]bool),
		boot:      boot{found: m.Marker},
	}
	c.tombs.Load(m.Tombstones)
	for k, r := range m.Records {
		c.replicas[k] = &replica{Record: r}
		c.local[k.Group] = k
	}
	return c
}

// Step takes an event in and returns what is to be done, Saves first. Now is
// monotonic since any origin.
func (c *Core) Step(e Event, now time.Duration) []Effect {
	if now-c.last > standstill {
		c.woke = now
	}
	c.last = now
	switch e := e.(type) {
	case Boot:
		c.beginBoot(now)
	case Tick:
		c.retryDue(now)
	case Welcomed:
		c.welcomed(e)
	case Ordered:
		c.order(e.Token, e.Order)
	case Started:
		c.startEnded(e, now)
	case Up:
		c.cameUp(e.Key)
	case Fell:
		c.fell(e.Key)
	case Slept:
		c.slept(e.Key, e.Unloaded)
	case Loads:
		c.loads(e)
	case Destroyed:
		c.destroyEnded(e, now)
	case RetireEnded:
		c.retireEnded(e, now)
	case Executed:
		delete(c.executing, ids.Group(e.Order.GetGroup()))
		c.answer(e.Token, e.Result)
	}
	c.goOnBooting(now)
	out := c.out
	c.out = nil
	slices.SortStableFunc(out, savesFirst)
	return out
}

// savesFirst keeps the order among Saves and among the others.
func savesFirst(a, b Effect) int { return rank(a) - rank(b) }

func rank(e Effect) int {
	if _, ok := e.(Save); ok {
		return 0
	}
	return 1
}

func (c *Core) do(e Effect) { c.out = append(c.out, e) }

func (c *Core) save(r *replica) {
	rec := r.Record
	c.do(Save{Record: &rec})
}

func (c *Core) answer(token uint64, r *drummerpb.OrderResult) { c.do(Answer{token, r}) }

func (c *Core) answerAll(ws []waiter, ok bool, detail string) {
	for _, w := range ws {
		c.answer(w.token, &drummerpb.OrderResult{Order: w.order, Ok: ok, Detail: detail})
	}
}

// raiseFence remembers a newer supervisor.
func (c *Core) raiseFence(f Fence) {
	if c.fence.Before(f) {
		c.fence = f
		c.do(Save{Fence: &f})
	}
}

// begin lets a replica start.
func (c *Core) begin(r *replica) {
	r.busy, r.fell, r.detail = true, false, ""
	c.retryAt(r, 0)
	if mutant.Is("forgotten-observer") && r.Life == life.Running {
		r.Join = false
	}
	if !c.parks(r) {
		r.Unloaded = false // and on disk with the next change: a hint
	}
	r.running = r.Raft
	c.do(Start{Record: r.Record, Again: r.tuning})
	c.do(Changed{Key: r.Key()})
}

func (c *Core) startEnded(e Started, now time.Duration) {
	r := c.replicas[e.Key]
	if r == nil {
		return
	}
	r.busy = false
	c.answerAll(r.starters, e.Err == "" && r.Life != life.Destroying, e.Err)
	r.starters = nil
	switch {
	case r.Life == life.Destroying:
		c.beginDestroy(r)
	case r.Life == life.Retired:
	case e.Err == "":
		r.started, r.tuning, r.pause = true, false, 0
	default:
		r.detail = "start: " + e.Err
		c.answerAll(r.retirers, false, r.detail) // who asks again hears why it lasts
		r.retirers = nil
		c.retryLater(r, now)
	}
	c.do(Changed{Key: e.Key})
}

// retryLater sets the time of the next try, each pause twice the last.
func (c *Core) retryLater(r *replica, now time.Duration) {
	r.pause = min(max(2*r.pause, c.self.RetryAfter), c.self.RetryMost)
	c.retryAt(r, now+r.pause)
}

// retryAt sets when a replica's effect is tried again; 0 for never.
func (c *Core) retryAt(r *replica, at time.Duration) {
	if r.retryAt = at; at != 0 {
		c.retrying[r.Key()] = true
	} else {
		delete(c.retrying, r.Key())
	}
}

func (c *Core) cameUp(k Key) {
	r := c.replicas[k]
	if r == nil || r.Life == life.Destroying || r.Life == life.Retired || r.tuning {
		return // what is said of one that is being tuned is of before: it says so again when it has started
	}
	if r.up {
		c.clear(r)
		return
	}
	r.up, r.fell = true, false
	if r.Life == life.Retiring {
		r.Suspect, r.Crashes = false, 0
		c.save(r)
		c.beginRetire(r)
		c.do(Changed{Key: k})
		return
	}
	if r.Life != life.Running || r.Suspect || r.Crashes != 0 {
		r.Life, r.Suspect, r.Crashes = life.Running, false, 0
		c.save(r)
	}
	c.do(Changed{Key: k})
}

// slept notes whether a replica is in memory, as a hint for the next boot.
func (c *Core) slept(k Key, unloaded bool) {
	r := c.replicas[k]
	if r == nil || r.Life != life.Running || r.Unloaded == unloaded {
		return
	}
	r.Unloaded = unloaded
	rec := r.Record
	c.do(Save{Record: &rec, Hint: true})
	c.do(Changed{Key: k})
}

// loads makes the next boot start a replica alone, as long as it is not up again: what
// is damaged ends the process when it is loaded, and would do so again at its next use.
func (c *Core) loads(e Loads) {
	if r := c.replicas[e.Key]; r != nil && r.Life == life.Running {
		c.suspect(r)
	}
	c.do(Go{e.Token})
}

// clear takes back what loads did; whether the disk hears of it matters little.
func (c *Core) clear(r *replica) {
	if r.Life != life.Running || !r.Suspect {
		return
	}
	r.Suspect = false
	rec := r.Record
	c.do(Save{Record: &rec, Hint: true})
}

// fell marks a replica that stopped by itself. It is not started again: it would
// only campaign in vain until the order to destroy it comes.
func (c *Core) fell(k Key) {
	r := c.replicas[k]
	if r == nil || r.Life == life.Destroying || r.Life == life.Retired || r.busy || !r.started {
		return
	}
	r.up, r.started, r.fell = false, false, true
	r.detail = "it stopped by itself: the group's membership no longer has it; its data waits for Drummer's order"
	c.do(Changed{Key: k})
}

// beginDestroy removes a replica's data, once no effect is under way.
func (c *Core) beginDestroy(r *replica) {
	if r.busy {
		return
	}
	r.busy = true
	c.retryAt(r, 0)
	c.do(Destroy{r.Key()})
}

func (c *Core) destroyEnded(e Destroyed, now time.Duration) {
	r := c.replicas[e.Key]
	if r == nil {
		return
	}
	r.busy = false
	waiters := r.destroyers
	r.destroyers = nil
	if e.Err != "" {
		r.detail = "destroy: " + e.Err
		c.answerAll(waiters, false, r.detail)
		c.retryLater(r, now)
		c.do(Changed{Key: e.Key})
		return
	}
	delete(c.replicas, e.Key)
	delete(c.local, e.Key.Group)
	delete(c.retrying, e.Key)
	c.do(Save{Drop: &e.Key})
	c.bury(e.Key, r.Generation)
	c.answerAll(waiters, true, "")
	c.do(Changed{Key: e.Key, Gone: true})
}

// bury leaves a tombstone and forgets the oldest ones above the limit.
func (c *Core) bury(k Key, generation uint64) {
	t := c.tombs.Add(k, generation)
	c.do(Save{Tombstone: &t})
	for _, old := range c.tombs.Trim(c.self.Tombstones) {
		c.do(Save{Forget: &old})
	}
}

// retryDue tries again what failed and is due, in key order.
func (c *Core) retryDue(now time.Duration) {
	var due []Key
	for k := range c.retrying {
		if r := c.replicas[k]; now >= r.retryAt && !r.busy {
			due = append(due, k)
		}
	}
	SortKeys(due)
	for _, k := range due {
		switch r := c.replicas[k]; {
		case r.Life == life.Destroying:
			c.beginDestroy(r)
		case r.Life == life.Retiring && r.up:
			c.retryAt(r, 0)
			c.beginRetire(r)
		case r.keptDown():
			c.try(r, now)
		default:
			if c.suspect(r); mutant.Is("restart-from-zero") {
				r.Life = life.Starting
			}
			c.begin(r)
		}
	}
}

// suspect makes the next boot start a replica alone: it is about to be started
// again, after a failure or a sleep, with no marker set.
func (c *Core) suspect(r *replica) {
	if !r.Suspect {
		r.Suspect = true
		c.save(r)
	}
}

// Look returns a replica's record, how it is and why.
func (c *Core) Look(k Key) (Local, bool) {
	r, ok := c.replicas[k]
	if !ok {
		return Local{}, false
	}
	return Local{Record: r.Record, State: r.state(), Detail: r.detail, KeptDown: r.keptDown(), Raft: settingsToWire(r.running)}, true
}

// Local is a replica of the manifest and how it is.
type Local struct {
	Record Record
	State  drummerpb.ReplicaState
	// Detail says why it is down; for people.
	Detail string
	// KeptDown: it is not started until the process has run for a time, because its start
	// killed the process.
	KeptDown bool
	// Raft are the settings of its own that it was started with last; nil for none.
	Raft *fleetpb.RaftOptions
}

func (r *replica) keptDown() bool {
	return r.KeptDown() && !r.started && !r.busy
}

func (r *replica) state() drummerpb.ReplicaState {
	switch {
	case r.Life == life.Destroying:
		return drummerpb.ReplicaState_REPLICA_STATE_REMOVING
	case r.Life == life.Retired:
		return drummerpb.ReplicaState_REPLICA_STATE_RETIRED
	case r.up:
		return drummerpb.ReplicaState_REPLICA_STATE_OK
	case r.fell || r.retryAt != 0 || r.keptDown():
		return drummerpb.ReplicaState_REPLICA_STATE_DOWN
	default:
		return drummerpb.ReplicaState_REPLICA_STATE_STARTING
	}
}

// Keys lists the replicas of the manifest in order.
func (c *Core) Keys() []Key {
	keys := make([]Key, 0, len(c.replicas))
	for k := range c.replicas {
		keys = append(keys, k)
	}
	SortKeys(keys)
	return keys
}
