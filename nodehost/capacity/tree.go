package capacity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/capacity"
)

// Raft is what a tree needs of *raft.Host.
type Raft interface {
	Status(g ids.Group) (raft.Status, bool)
	LocalView(g ids.Group) (any, error)
	ProposeOwn(ctx context.Context, g ids.Group, cmd []byte) (statemachines.Result, error)
	Read(ctx context.Context, g ids.Group, query []byte) ([]byte, error)
}

var _ Raft = (*raft.Host)(nil)

// # How a group leases from its parent
//
// The leader of the child's group leases from the parent's, for all its clients, summed up
// by priority. What it holds lives in this host's memory, counted from before it asked, on
// the monotonic and the wall clock; the earlier end counts. Its group's log is told the
// capacity and the end on the group's lease clock, which within one leadership runs with
// the leader's monotonic clock: so the machine bounds every lease of the child's clients
// by the parent's. A new leader holds nothing: commands wait until it has asked once.
//
// That the parent cut the lease is shown to it (by the newest token) only when all that
// the child's clients may still use fits into it: until then the parent keeps what was
// cut reserved, and the older lease bounds those who use it.
//
// Nothing is done for groups without clients: looking after a group begins with a command
// for it and ends when it holds nothing any more, so idle groups may sleep.

// tree looks after the groups that this host leads and that have a parent.
type tree struct {
	o Options

	mu       sync.Mutex
	children map[ids.Group]*child // guarded by mu
	life     context.Context      // guarded by mu; nil before Run and after its end
	work     sync.WaitGroup       // Add only under mu, while life is there
}

func newTree(o Options) *tree { return &tree{o: o, children: map[ids.Group]*child{}} }

// run looks after groups until ctx ends, and waits for all that it began.
func (t *tree) run(ctx context.Context) {
	t.mu.Lock()
	t.life = ctx
	t.mu.Unlock()
	<-ctx.Done()
	t.mu.Lock()
	t.life = nil
	t.mu.Unlock()
	t.work.Wait()
}

// viewOf returns what this host's replica knows of a group of app capacity; false if it
// is none.
func viewOf(r Raft, s raft.Status) (capacity.View, bool) {
	if app, err := statemachines.AppOf(s.Name); err != nil || app != capacity.Name {
		return capacity.View{}, false
	}
	v, err := r.LocalView(s.Group)
	if err != nil {
		return capacity.View{}, false
	}
	view, ok := v.(capacity.View)
	return view, ok
}

// prepare lets commands for a group with a parent wait until its leader knows what it
// holds of that.
func (t *tree) prepare(ctx context.Context, g ids.Group, cmds [][]byte) error {
	s, here := t.o.Raft.Status(g)
	if !here || !s.Serving {
		return nil // raft refuses what is not to be
	}
	v, ok := viewOf(t.o.Raft, s)
	if !ok || v.Definition.GetParent() == "" {
		return nil
	}
	c := t.tend(s, v.Definition.GetParent())
	if c == nil {
		return fault.New(fault.Unavailable, "the host is starting or stopping").InGroup(s.Name)
	}
	c.poke()
	if err := c.settled(ctx); err != nil {
		return fault.Wrap(err, fault.NotOpen, "group %s asks its parent %s for a lease: try again shortly", s.Name, c.parent).InGroup(s.Name)
	}
	c.await(ctx, newcomers(cmds))
	return nil
}

// newcomers is what clients want, by priority, that say they hold nothing.
func newcomers(cmds [][]byte) []*capacitypb.Band {
	var bands []*capacitypb.Band
	for _, data := range cmds {
		cmd := &capacitypb.Command{}
		if proto.Unmarshal(data, cmd) != nil {
			continue // the machine says what is wrong with it
		}
		for _, r := range cmd.GetDecide().GetRequests() {
			if r.GetToken() == nil && r.GetHas() == 0 && wrong(r) == "" {
				bands = append(bands, r.GetBands()...)
			}
		}
	}
	return bands
}

// tend returns the child of this leadership, and begins to look after it if it is new.
func (t *tree) tend(s raft.Status, parent string) *child {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.life == nil {
		return nil
	}
	c := t.children[s.Group]
	if c != nil && c.term == s.Term && c.parent == parent {
		return c
	}
	if c != nil {
		c.stop()
	}
	ctx, stop := context.WithCancel(t.life)
	c = &child{
		o: t.o, group: s.Group, name: s.Name, term: s.Term, parent: parent, stop: stop,
		wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1), changed: make(chan struct{}), life: t.o.now().mono,
	}
	t.children[s.Group] = c
	t.work.Go(func() {
		defer stop()
		c.run(ctx)
		t.forget(c)
	})
	return c
}

// forget drops a child that is not looked after any more.
func (t *tree) forget(c *child) {
	c.finish()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.children[c.group] == c {
		delete(t.children, c.group)
	}
}

// Errors of a tree.
var (
	// errOver ends the care for a child: its leadership is over, or it is idle.
	errOver = errors.New("nothing to look after")
	// errCycle is of a configuration that leads in a circle.
	errCycle = errors.New("the resource's parents lead back to it: change the configuration")
)

// maxDepth bounds the levels of a tree.
const maxDepth = 16

// checkParents looks once in a leadership whether the line of parents comes back. One of them
// that cannot be read keeps nobody from leasing of the nearest: it is tried again later.
func (c *child) checkParents(ctx context.Context) error {
	now := c.o.now().mono
	if c.checked || now.Before(c.recheck) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err := c.checkLine(ctx)
	if c.checked = err == nil; c.checked || errors.Is(err, errCycle) {
		return err
	}
	c.recheck = now.Add(checkAgain)
	c.o.Log.DebugContext(ctx, "the line of parents could not be checked", "group", c.name, "err", err)
	return nil
}

// checkLine refuses a line of parents that is too long or comes back.
func (c *child) checkLine(ctx context.Context) error {
	for at, depth := c.parent, 0; at != ""; depth++ {
		if at == c.name {
			return errCycle
		}
		if depth >= maxDepth {
			return fmt.Errorf("more than %d levels: %w", maxDepth, errCycle)
		}
		a, err := c.o.describe(ctx, at)
		if fault.Is(err, fault.GroupNotFound) {
			return nil // it is made when it is asked for a lease
		}
		if err != nil {
			return err
		}
		at = a.GetSummary().GetDefinition().GetParent()
	}
	return nil
}

// log says what became of asking the parent: loudly what is news.
func (c *child) log(ctx context.Context, err error) {
	level := slog.LevelDebug
	if (err != nil) != c.failing {
		level = slog.LevelWarn
		if c.failing = err != nil; !c.failing {
			level = slog.LevelInfo
		}
	}
	c.o.Log.Log(ctx, level, "lease from the parent", "group", c.name, "parent", c.parent, "capacity", c.held.capacity, "err", err)
}
