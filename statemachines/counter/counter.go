// Package counter is the app of counters that are counted in several regions and agree.
//
// A group counts for one region: what is added there is one command of its log, and no
// ocean is crossed. Each region's count is a slot of its own, named for its origin: the
// region and the incarnation of its group. All numbers of a slot only grow, so groups
// exchange slots and take the greater number of each: in any order, twice or late, all
// come to the same (Merge). A group that lives again, or was made anew, takes another
// incarnation: what its region counted before is another slot, which others have kept, and
// neither hides the other. A group never takes its own slot from outside.
//
// A group holds one counter, under the empty key, or a family of many. Commands, queries
// and results are the protobuf messages of drummerpb/counter, so a raw Propose or Read
// works from any language. A command that cannot be read or breaks a limit changes
// nothing and is answered OUTCOME_INVALID with a sentence; a query like that is refused
// with an error that wraps statemachines.ErrInvalidQuery.
//
// # Time
//
// Commands carry the time of the host that leads the group (Stamped), and the group's own time
// is the latest of all: it never goes back. What is added counts in the windows of that time. So
// a window that the group has passed is final, and one that every region has passed is
// sealed.
//
// # Reset, delete, bounds
//
// A reset takes off exactly what the group knows then; what others counted meanwhile stays.
// A delete takes a generation of a counter away, whatever was counted in it, and leaves a
// trace until every region has heard of it (grave). A bounded
// counter is never below 0: each region holds rights to subtract, by what it added and what
// others gave it, and asks nobody.
package counter

import (
	"container/list"
	"io"
	"slices"

	"github.com/google/btree"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/once"
	"github.com/drumline/drumline/statemachines/wire"
)

// Name is the app's name: its groups are called counter/something.
const Name = "counter"

// Version is the behaviour version of this program's counter. Since the second the traces of
// deleted counters are dropped; since the third no answer tells a bounded counter to be below
// 0, and what was reset gives no rights.
const (
	Version    = 3
	forgetting = 2
	causal     = 3
)

// Limits. They are part of the behaviour version: two hosts with different limits
// would apply one command differently.
const (
	// MaxRegion is the longest name of a region, in bytes.
	MaxRegion = 128
	// MaxOrigins is how many origins a group exchanges with.
	MaxOrigins = 256
	// MaxEntries is how many counters one merge may be about.
	MaxEntries = 1000
	// MaxPage and DefaultPage are sizes of a page of a list.
	MaxPage     = 1000
	DefaultPage = 100
)

// degree of the tree: it is changed when a counter comes or goes, not when it counts.
const degree = 32

// App is the counter app, for a Registry.
func App() statemachines.App {
	return statemachines.App{
		Name:    Name,
		Version: Version,
		New:     func(g statemachines.Group) statemachines.Machine { return New(g) },
		Follow:  follow(),
		// Only hosts tell a group what other regions counted, which region it is of, its
		// settings and, by itself, the time.
		Owns: func(cmd []byte) bool { return statemachines.HasField(cmd, 7, 8, 9, 10, 12) },
	}
}

// origin is who counted: one life of one region's group.
type origin struct {
	region      string
	incarnation uint64
}

// peer is an origin that the group hears from, or knows to be over.
type peer struct {
	origin
	version, wall uint64
	retired       bool
	// past tells that a later life of the region was heard from.
	past bool
}

// Machine is the state of one counter group.
//
// Counters are found by a map and changed in place, so the cost of a command does not
// depend on how many there are. A snapshot freezes them all by raising epoch: what was
// made in an older epoch is copied before it is changed.
type Machine struct {
	head
	epoch uint64
	// causal tells that the command that is applied is under a behaviour version that looks
	// at rights before it tells a value.
	causal bool
	// index and order hold the same counters: for looking up, and for walking by key.
	index map[string]*counter
	order *btree.BTreeG[*counter]
	// changed has the counters that the group changed itself, by ours, the oldest first. It
	// follows from the counters and is no part of the state.
	changed *list.List
	// graves are the keys of deleted counters, the oldest first. It follows from them, too.
	graves *list.List
	keys   *once.Memory
}

// head is what the state has beside counters and keys. A snapshot copies it whole.
type head struct {
	group uint64
	self  origin
	// wall is the time that windows have reached, in Unix milliseconds.
	wall uint64
	// busy is the wall at the newest addition.
	busy uint64
	// version counts changes of counters.
	version uint64
	// forged counts slots of the group's own that others claimed to be greater.
	forged uint64
	// modern tells that the group's behaviour version is one that forgets.
	modern bool
	// floor is above the generations of all counters whose traces were dropped.
	floor uint64
	// peers are sorted by origin; the slice is never changed in place.
	peers []peer
	// revision and settings are the configuration; the message is never changed.
	revision uint64
	settings *counterpb.Settings
	keep     [resolutions]uint64
}

var _ statemachines.Machine = (*Machine)(nil)

// New makes an empty Machine.
func New(g statemachines.Group) *Machine {
	m := &Machine{head: head{group: g.ID, self: origin{incarnation: incarnation(g.ID, 0)}}, epoch: 1, keys: once.New()}
	m.configureTo(0, &counterpb.Settings{})
	m.clear()
	return m
}

func (m *Machine) clear() {
	m.index, m.changed, m.graves = map[string]*counter{}, list.New(), list.New()
	m.order = btree.NewG(degree, func(a, b *counter) bool { return a.key < b.key })
}

// incarnation mixes a group's number, which is never given twice, with its generation
// (splitmix64), so that the lives of a region differ.
func incarnation(group, generation uint64) uint64 {
	x := group*0x9e3779b97f4a7c15 + generation*0xbf58476d1ce4e5b9 + 1
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return max(x^x>>31, 1)
}

// unheard is an incarnation that no origin has that the group knows, itself included.
func (h *head) unheard(generation uint64) uint64 {
	for n := incarnation(h.group, generation); ; n = incarnation(n, generation) {
		taken := func(p peer) bool { return p.incarnation == n }
		if n != h.self.incarnation && !slices.ContainsFunc(h.peers, taken) {
			return n
		}
	}
}

// Apply implements statemachines.Machine.
func (m *Machine) Apply(batch []statemachines.Command, results []statemachines.Result) {
	for i := range batch {
		m.modern = m.modern || batch[i].Version >= forgetting
		m.causal = batch[i].Version >= causal
		results[i] = encode(m.apply(batch[i].Data))
	}
}

// apply executes one command.
func (m *Machine) apply(data []byte) *counterpb.Result {
	cmd, mark, err := decodeCommand(data)
	if err == nil && !m.modern && isModern(cmd) {
		err = errUnknownField
	}
	if err != nil {
		return refuse(counterpb.Outcome_OUTCOME_INVALID, "%s", err.Error())
	}
	m.wall = max(m.wall, cmd.GetNowMs())
	switch op := cmd.GetOp().(type) {
	case *counterpb.Command_Add:
		return m.addOnce(op.Add, mark, cmd.GetNowMs())
	case *counterpb.Command_Merge:
		return m.merge(op.Merge)
	case *counterpb.Command_Tick:
		return m.done(nil)
	default:
		return m.administer(cmd)
	}
}

// encode makes the result of an answer; its value is the counter's.
func encode(r *counterpb.Result) statemachines.Result {
	w := make(wire.Message, 0, 40)
	w.Uint(1, uint64(r.GetOutcome()))
	w.Text(2, r.GetDetail())
	w.Sint(3, r.GetValue())
	if t := r.GetToken(); t != nil {
		var token wire.Message
		token.Fixed(1, t.GetIncarnation())
		token.Uint(2, t.GetVersion())
		w.Message(4, token)
	}
	if r.GetRepeated() {
		w.Uint(5, 1)
	}
	return statemachines.Result{Value: uint64(r.GetValue()), Data: w}
}

func refuse(o counterpb.Outcome, format string, args ...any) *counterpb.Result {
	return &counterpb.Result{Outcome: o, Detail: wire.Refuse(format, args...).Error()}
}

// done answers with a counter's value; nil stands for one at 0.
func (m *Machine) done(c *counter) *counterpb.Result {
	r := &counterpb.Result{Outcome: counterpb.Outcome_OUTCOME_OK, Token: &counterpb.Token{Incarnation: m.self.incarnation, Version: m.version}}
	if c != nil {
		if r.Value, _ = c.value(); m.causal && m.settings.GetBounded() {
			r.Value, _ = c.shown()
		}
	}
	return r
}

// put takes a counter in as the one that changed last.
func (m *Machine) put(c *counter) {
	m.index[c.key] = c
	m.order.ReplaceOrInsert(c)
}

// own is a counter of that key that is safe to change, made if there is none.
func (m *Machine) own(key string) *counter {
	c := m.index[key]
	switch {
	case c == nil:
		c = &counter{key: key, epoch: m.epoch}
		m.put(c)
	case c.epoch != m.epoch:
		c = c.copied(m.epoch)
		if c.place != nil {
			c.place.Value = c
		}
		m.index[key] = c
		m.order.ReplaceOrInsert(c)
	}
	return c
}

// touch notes that a counter that is safe to change was changed.
func (m *Machine) touch(c *counter) uint64 {
	m.version++
	c.version = m.version
	return m.version
}

// change notes that the group itself changes a slot of a counter, unless it is nil.
func (m *Machine) change(c *counter, s *slot) {
	c.ours = m.touch(c)
	if s != nil {
		s.version, s.ours = c.ours, c.ours
	}
	if c.place == nil {
		c.place = m.changed.PushBack(c)
		return
	}
	m.changed.MoveToBack(c.place)
}

// Snapshot implements statemachines.Machine; it takes O(1).
func (m *Machine) Snapshot() statemachines.View {
	m.epoch++
	return &view{head: m.head, order: m.order.Clone(), keys: m.keys.Freeze()}
}

// Recovered implements statemachines.Machine: the group counts on as another origin, and
// asks anew for which region. What it counted is a past life's.
func (m *Machine) Recovered(generation uint64) {
	m.reincarnate("", generation)
}

// reincarnate lets the group count as another origin.
func (m *Machine) reincarnate(region string, generation uint64) {
	was := m.self
	m.self = origin{region: region, incarnation: m.unheard(generation)}
	var counted []string
	m.order.Ascend(func(c *counter) bool {
		if c.mine.version > 0 {
			counted = append(counted, c.key)
		}
		return true
	})
	for _, key := range counted {
		c := m.own(key)
		past := c.mine
		past.origin, past.version = was, m.touch(c)
		c.mine = slot{}
		c.insert(past)
	}
	m.note(peer{origin: was, version: m.version, wall: m.wall, past: true})
}

// view is a frozen Machine.
type view struct {
	head
	order *btree.BTreeG[*counter]
	keys  once.View
}

// Close implements statemachines.View.
func (v *view) Close() { v.order = nil }

// WriteTo implements statemachines.View.
func (v *view) WriteTo(w io.Writer) (int64, error) { return v.write(w) }
