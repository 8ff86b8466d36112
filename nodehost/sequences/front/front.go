// Package front stands between the Router and this host's replicas of groups of app
// sequence. Every command for one that is led here comes through it, whichever service,
// stream or session it came by.
//
// It does three things. It refuses times from the future. It gives a time to commands that
// have none. And it hands out the timestamps of sequences of mode tso from memory: the log
// has a window of them, a second ahead, and is asked for more twice a second while there is
// demand; in between a timestamp costs no entry.
//
// # Why timestamps ascend
//
// Only the newest window's holder may hand out, and a window begins beyond all that were
// before it. So before it answers, the front asks the group, linearizably and without an
// entry, whether its window is still the newest. One question is for all who wait, and
// they came before it was asked: whoever got a timestamp of a newer window before them
// would have made the answer no. A host that lost its leadership, or was paused, finds
// out that way and hands out nothing.
package front

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/sequence"
)

// farAhead is how far a time that comes with a command may be ahead of this host's clock:
// what it says is what others must wait for later.
const farAhead = time.Minute

// Raft is what a Front stands before; *raft.Host is it.
type Raft interface {
	route.Raft
	// ProposeOwn proposes what clients may not: windows of timestamps.
	ProposeOwn(ctx context.Context, g ids.Group, cmd []byte) (statemachines.Result, error)
}

var _ Raft = (*raft.Host)(nil)

// Front is the Raft of a Router.
type Front struct {
	Raft
	now func() time.Time

	ctx  context.Context // of the goroutines; ends with Close
	end  context.CancelFunc
	work sync.WaitGroup // Add only under mu and before closed

	mu      sync.Mutex
	closed  bool                             // guarded by mu
	oracles map[ids.Group]map[string]*oracle // guarded by mu: by group and key
}

// New makes a Front before replicas; now is the host's clock. Close it before them.
func New(r Raft, now func() time.Time) *Front {
	f := &Front{Raft: r, now: now, oracles: map[ids.Group]map[string]*oracle{}}
	f.ctx, f.end = context.WithCancel(context.Background())
	return f
}

// Close ends what is under way: those who wait for a timestamp are told that the host
// stops. It may be called twice.
func (f *Front) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.end()
	f.work.Wait()
	return nil
}

// mine tells whether a group is of app sequence.
func (f *Front) mine(g ids.Group) (leads, mine bool) {
	s, here := f.Status(g)
	return s.Serving, here && strings.HasPrefix(s.Name, sequence.Name+"/")
}

// Propose implements route.Raft.
func (f *Front) Propose(ctx context.Context, g ids.Group, cmd []byte) (statemachines.Result, error) {
	if _, mine := f.mine(g); !mine {
		return f.Raft.Propose(ctx, g, cmd)
	}
	out := f.ProposeMany(ctx, g, [][]byte{cmd})
	return out[0].Result, out[0].Err
}

// ProposeSession implements route.Raft. A session's command goes into the log whatever it
// is, so it gets no timestamps.
func (f *Front) ProposeSession(ctx context.Context, s raft.Session, cmd []byte) (statemachines.Result, error) {
	if _, mine := f.mine(s.Group); mine {
		said := scan(cmd)
		if err := f.allowed(said); err != nil {
			return statemachines.Result{}, err
		}
		cmd = stamped(cmd, said, f.now())
	}
	return f.Raft.ProposeSession(ctx, s, cmd)
}

// ProposeMany implements route.Raft.
func (f *Front) ProposeMany(ctx context.Context, g ids.Group, cmds [][]byte) []raft.Outcome {
	leads, mine := f.mine(g)
	if !mine {
		return f.Raft.ProposeMany(ctx, g, cmds)
	}
	m := f.sort(g, cmds, leads)
	if len(m.log) == len(cmds) {
		out := f.Raft.ProposeMany(ctx, g, m.log)
		f.readdress(ctx, g, cmds, out)
		return out
	}
	waits := m.ask()
	if len(m.log) > 0 {
		for i, o := range f.Raft.ProposeMany(ctx, g, m.log) {
			m.out[m.places[i]] = o
		}
	}
	for _, wait := range waits {
		wait(ctx)
	}
	f.readdress(ctx, g, cmds, m.out)
	return m.out
}

// allowed refuses a time from the future.
func (f *Front) allowed(s said) error {
	if latest := uint64(f.now().Add(farAhead).UnixMilli()); max(s.stamp, s.worker) > latest {
		return fault.New(fault.Conflict, "a time of the command is more than %v ahead of this host's clock: set the clock of whoever sent it right", farAhead)
	}
	return nil
}

// mixed is commands of one lot that go different ways.
type mixed struct {
	out    []raft.Outcome
	log    [][]byte // those that go into the log
	places []int    // of log among out
	asks   map[*oracle][]ask
}

// sort says where each command goes.
func (f *Front) sort(g ids.Group, cmds [][]byte, leads bool) *mixed {
	m := &mixed{out: make([]raft.Outcome, len(cmds))}
	keys := f.keys(g)
	for i, cmd := range cmds {
		s := scan(cmd)
		if err := f.allowed(s); err != nil {
			m.out[i].Err = err
			continue
		}
		if o := keys[s.key]; o != nil && s.next && leads {
			if next := decode(cmd); next != nil {
				m.add(o, ask{next: next, out: &m.out[i]})
				continue
			}
		}
		m.log, m.places = append(m.log, stamped(cmd, s, f.now())), append(m.places, i)
	}
	return m
}

func (m *mixed) add(o *oracle, a ask) {
	if m.asks == nil {
		m.asks = map[*oracle][]ask{}
	}
	m.asks[o] = append(m.asks[o], a)
}

// ask puts all questions, and returns how to wait for the answers.
func (m *mixed) ask() (waits []func(context.Context)) {
	for o, asks := range m.asks {
		waits = append(waits, o.ask(asks))
	}
	return waits
}

// keys are the sequences of timestamps that are known in a group; the map is not changed.
func (f *Front) keys(g ids.Group) map[string]*oracle {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.oracles[g]
}

// readdress asks for timestamps where the machine said that those are wanted: it is how
// the front learns of a sequence of them.
func (f *Front) readdress(ctx context.Context, g ids.Group, cmds [][]byte, out []raft.Outcome) {
	var m mixed
	for i := range out {
		if out[i].Err != nil || !timestamps(out[i].Result.Data) {
			continue
		}
		if next := decode(cmds[i]); next != nil {
			m.add(f.oracle(g, next.GetKey()), ask{next: next, out: &out[i]})
		}
	}
	for _, wait := range m.ask() {
		wait(ctx)
	}
}

// oracle is that of a key, made if need be. Maps are replaced, so that readers need no lock.
func (f *Front) oracle(g ids.Group, key string) *oracle {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.oracles[g]
	if o := old[key]; o != nil {
		return o
	}
	fresh := map[string]*oracle{}
	for k, o := range old {
		fresh[k] = o
	}
	o := &oracle{f: f, group: g, key: key}
	fresh[key] = o
	f.oracles[g] = fresh
	return o
}

// forget drops an oracle whose sequence is none of timestamps any more, or whose group is
// not here.
func (f *Front) forget(o *oracle) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.oracles[o.group]
	if old[o.key] != o {
		return
	}
	fresh := map[string]*oracle{}
	for k, other := range old {
		if other != o {
			fresh[k] = other
		}
	}
	if f.oracles[o.group] = fresh; len(fresh) == 0 {
		delete(f.oracles, o.group)
	}
}

// launch runs f in a goroutine that Close waits for; false when the front is closed.
func (f *Front) launch(do func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.work.Go(do)
	return true
}
