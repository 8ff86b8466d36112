package follow

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/nodehost/duty"
	"github.com/drumline/drumline/statemachines"
)

// TaskName is the name of the Task.
const TaskName = "configuration"

// Raft is what a Follower needs of *raft.Host.
type Raft interface {
	Status(g ids.Group) (raft.Status, bool)
	ProposeOwn(ctx context.Context, g ids.Group, cmd []byte) (statemachines.Result, error)
	Read(ctx context.Context, g ids.Group, query []byte) ([]byte, error)
}

var _ Raft = (*raft.Host)(nil)

// Options of a Follower; all are needed but Log.
type Options struct {
	Book *Book
	Raft Raft
	Apps *statemachines.Registry
	Log  *slog.Logger
}

// maxHeld bounds what is remembered of groups; it is read again when it is forgotten.
const maxHeld = 1 << 16

// Follower brings groups that this host leads up to date. Its methods may be called from any
// goroutine.
type Follower struct {
	o Options

	mu      sync.Mutex
	held    map[ids.Group]held          // guarded by mu
	current map[ids.Group]uint64        // guarded by mu: the last leadership in which it was brought up to date
	looking map[ids.Group]chan struct{} // guarded by mu: closed when Await's look is over
}

// held is the revision that a group has, read or proposed in a leadership of that term:
// nobody else can change it meanwhile.
type held struct{ term, revision uint64 }

// New makes a Follower.
func New(o Options) *Follower {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Follower{o: o, held: map[ids.Group]held{}, current: map[ids.Group]uint64{}, looking: map[ids.Group]chan struct{}{}}
}

// Task gives groups that this host leads the newest options of their templates. It is to
// be run again whenever the Book has changed.
func (f *Follower) Task() duty.Task {
	return duty.Task{Name: TaskName, After: []raft.EventKind{raft.EventLife}, Run: f.run}
}

// run brings one group up to date.
func (f *Follower) run(ctx context.Context, s raft.Status) error {
	app := f.follows(s.Name)
	if app == nil || !s.Opened || s.Sealed {
		return nil // it runs again when the group opens
	}
	if err := f.bring(ctx, s, app); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.current) >= maxHeld {
		clear(f.current)
	}
	f.current[s.Group] = s.Term
	return nil
}

// follows is how groups of that name follow their template, or nil.
func (f *Follower) follows(group string) *statemachines.Follow {
	name, _, _ := strings.Cut(group, "/")
	app, err := f.o.Apps.App(name)
	if err != nil {
		return nil
	}
	return app.Follow
}

// bring proposes what a group's template says, if the group has something else.
func (f *Follower) bring(ctx context.Context, s raft.Status, how *statemachines.Follow) error {
	name, _, _ := strings.Cut(s.Name, "/")
	now := f.o.Book.Configuration(name)
	wanted := templateOf(now, s.Name)
	if wanted == nil {
		return nil // a group whose template is gone keeps what it has
	}
	has, err := f.revisionOf(ctx, s, how)
	if err != nil || has >= now.GetRevision() {
		return err
	}
	if had := templateOf(f.o.Book.at(name, has), s.Name); had != nil && bytes.Equal(had.GetOptions(), wanted.GetOptions()) {
		return nil
	}
	cmd, err := how.Command(now.GetRevision(), wanted.GetOptions())
	if err != nil {
		// Trying again would not help; the next revision may.
		f.o.Log.Warn("a group does not follow its template: the app cannot read the options", "group", s.Name, "template", wanted.GetMatch(), "revision", now.GetRevision(), "err", err)
		return nil
	}
	if _, err := f.o.Raft.ProposeOwn(ctx, s.Group, cmd); err != nil {
		return fmt.Errorf("configure group %s: %w", s.Name, err)
	}
	f.hold(s, now.GetRevision())
	return nil
}

// revisionOf returns the revision that the group has; 0 for none.
func (f *Follower) revisionOf(ctx context.Context, s raft.Status, how *statemachines.Follow) (uint64, error) {
	f.mu.Lock()
	h := f.held[s.Group]
	f.mu.Unlock()
	if h.term == s.Term && h.term != 0 {
		return h.revision, nil
	}
	answer, err := f.o.Raft.Read(ctx, s.Group, how.Query)
	if err != nil {
		return 0, fmt.Errorf("read the configuration of group %s: %w", s.Name, err)
	}
	revision, err := how.Revision(answer)
	if err != nil {
		return 0, fmt.Errorf("read the configuration of group %s: %w", s.Name, err)
	}
	f.hold(s, revision)
	return revision, nil
}

// hold remembers the revision that a group has.
func (f *Follower) hold(s raft.Status, revision uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.held) >= maxHeld {
		clear(f.held)
	}
	f.held[s.Group] = held{term: s.Term, revision: revision}
}
