package park

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/drumline/drumline/internal/ids"
)

// Replica is what a Vigil needs of a replica that rises.
type Replica interface {
	View() View
	// Stand makes it stand for election.
	Stand()
	// Risen ends the rise: callers wait no longer.
	Risen()
}

// Call is what replicas tell one another across hosts while groups come back.
type Call struct {
	Group    ids.Group
	From, To ids.Replica
	// Wake asks the receiver to be loaded, and to say so.
	Wake bool
	// Up says that the sender is, and whom it takes for the leader.
	Up     bool
	Leader ids.Replica
}

// Vigil sees to the replicas of a host that are rising.
type Vigil struct {
	tick     time.Duration
	patience int
	send     func(ctx context.Context, to ids.Host, calls []Call)
	wake     chan struct{}

	mu     sync.Mutex
	rising map[ids.Group]*rising
	// stirred are the groups of which there is news.
	stirred map[ids.Group]bool
	mail    map[ids.Host][]Call
}

type rising struct {
	rise    *Rise
	replica Replica
}

// NewVigil makes a Vigil; tick is Raft's, patience the number of ticks after which a
// group is left to Raft's own elections, and send gives calls to another host, or drops
// them; it may wait a little.
func NewVigil(tick time.Duration, patience int, send func(ctx context.Context, to ids.Host, calls []Call)) *Vigil {
	return &Vigil{
		tick: tick, patience: patience, send: send, wake: make(chan struct{}, 1),
		rising: make(map[ids.Group]*rising), stirred: make(map[ids.Group]bool), mail: make(map[ids.Host][]Call),
	}
}

// Watch sees to a replica from now on; asked says that a caller waits for it.
func (v *Vigil) Watch(g ids.Group, r Replica, asked bool) {
	v.note(g, func() { v.rising[g] = &rising{NewRise(asked), r} })
}

// Drop forgets a replica that is stopped.
func (v *Vigil) Drop(g ids.Group, r Replica) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if at := v.rising[g]; at != nil && at.replica == r {
		delete(v.rising, g)
	}
}

// Ask notes that a caller waits for the group.
func (v *Vigil) Ask(g ids.Group) {
	v.note(g, func() {
		if at := v.rising[g]; at != nil {
			at.rise.Ask()
		}
	})
}

// Heard notes that a peer said it is up.
func (v *Vigil) Heard(c Call) {
	v.note(c.Group, func() {
		if at := v.rising[c.Group]; at != nil {
			at.rise.Heard(c.From, c.Leader)
		}
	})
}

// Stir looks at a group again now: its replica became ready, or knows a leader.
func (v *Vigil) Stir(g ids.Group) { v.note(g, func() {}) }

func (v *Vigil) note(g ids.Group, what func()) {
	v.mu.Lock()
	what()
	stirred := v.rising[g] != nil
	if stirred {
		v.stirred[g] = true
	}
	v.mu.Unlock()
	if stirred {
		v.rouse()
	}
}

// Post sends a call to a host, soon.
func (v *Vigil) Post(to ids.Host, c Call) {
	v.mu.Lock()
	v.mail[to] = append(v.mail[to], c)
	v.mu.Unlock()
	v.rouse()
}

func (v *Vigil) rouse() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// Run works until the context ends. While nothing rises it sleeps.
func (v *Vigil) Run(ctx context.Context) {
	ticker := time.NewTicker(v.tick)
	defer ticker.Stop()
	for ctx.Err() == nil {
		tick := ticker.C
		if v.idle() {
			ticker.Stop()
			tick = nil
		}
		select {
		case <-ctx.Done():
		case <-v.wake:
			if tick == nil {
				ticker.Reset(v.tick)
			}
			v.look(ctx, v.news(), false)
		case <-tick:
			v.look(ctx, v.everyone(), true)
		}
	}
}

func (v *Vigil) idle() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.rising) == 0
}

// news takes the groups that stirred.
func (v *Vigil) news() map[ids.Group]*rising {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make(map[ids.Group]*rising, len(v.stirred))
	for g := range v.stirred {
		if at := v.rising[g]; at != nil {
			out[g] = at
		}
	}
	clear(v.stirred)
	return out
}

// everyone takes all groups.
func (v *Vigil) everyone() map[ids.Group]*rising {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.stirred)
	return maps.Clone(v.rising)
}

// look does what is to be done for some groups, and sends the mail; later says that a
// tick has passed for them.
func (v *Vigil) look(ctx context.Context, groups map[ids.Group]*rising, later bool) {
	for g, at := range groups {
		view := at.replica.View() // before the lock, which dragonboat's threads take
		v.mu.Lock()
		if later {
			at.rise.Tick(view)
		}
		a := at.rise.Next(view, v.patience)
		for _, id := range a.Call {
			to := view.Voters[id]
			v.mail[to] = append(v.mail[to], Call{Group: g, From: view.Self, To: id, Wake: true, Up: view.Ready, Leader: view.Leader})
		}
		if a.Done && v.rising[g] == at {
			delete(v.rising, g)
		}
		v.mu.Unlock()
		if a.Stand {
			at.replica.Stand()
		}
		if a.Done {
			at.replica.Risen()
		}
	}
	v.deliver(ctx)
}

func (v *Vigil) deliver(ctx context.Context) {
	v.mu.Lock()
	mail := v.mail
	v.mail = make(map[ids.Host][]Call)
	v.mu.Unlock()
	for to, calls := range mail {
		v.send(ctx, to, calls)
	}
}
