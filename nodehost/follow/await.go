package follow

import (
	"context"
	"time"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
)

// patience bounds how long commands wait for a group to be brought up to date. An older
// definition is better than no answer.
const patience = time.Second

// Await is for commands that a group led here is about to take. It returns when the group has
// been brought up to date once in this leadership: what changed while it was unloaded, or led
// by a host that did not know, holds for the first of them. An unloaded group is loaded. What
// hinders that is not told: the commands go on, and learn by themselves.
func (f *Follower) Await(ctx context.Context, g ids.Group) {
	s, here := f.o.Raft.Status(g)
	if !here {
		return
	}
	app := f.follows(s.Name)
	if app == nil || f.isCurrent(s) {
		return
	}
	if t, _ := f.o.Book.Template(s.Name); t == nil {
		return
	}
	if s.Unloaded {
		// A read loads the group, and comes back when it has a leader.
		if _, err := f.o.Raft.Read(ctx, g, app.Query); err != nil {
			return
		}
		if s, here = f.o.Raft.Status(g); !here || f.isCurrent(s) {
			return
		}
	}
	if s.Serving {
		f.look(ctx, s)
	}
}

// isCurrent tells whether the group was brought up to date in this leadership.
func (f *Follower) isCurrent(s raft.Status) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return s.Serving && f.current[s.Group] == s.Term
}

// look brings a group up to date; who comes meanwhile waits for the first.
func (f *Follower) look(ctx context.Context, s raft.Status) {
	f.mu.Lock()
	others := f.looking[s.Group]
	if others != nil {
		f.mu.Unlock()
		select {
		case <-others:
		case <-ctx.Done():
		}
		return
	}
	over := make(chan struct{})
	f.looking[s.Group] = over
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience) // the others wait for it, too
	defer cancel()
	if err := f.run(ctx, s); err != nil {
		f.o.Log.Debug("commands do not wait any longer for a group's configuration", "group", s.Name, "err", err)
	}
	f.mu.Lock()
	delete(f.looking, s.Group)
	f.mu.Unlock()
	close(over)
}
