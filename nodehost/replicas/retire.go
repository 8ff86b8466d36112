package replicas

import (
	"context"
	"fmt"
	"time"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas/life"
)

// States keeps the last states of retired replicas, and loads groups.
type States interface {
	// Retire stops a replica and keeps its last state; it tells how far that is.
	Retire(ctx context.Context, g ids.Group, r ids.Replica) (applied uint64, err error)
	// Forget removes what Retire kept.
	Forget(g ids.Group) error
	// Load fetches a state, loads it into the group and opens it.
	Load(ctx context.Context, g ids.Group, l *drummerpb.Load) error
}

// RetireEnded ends a Retire effect.
type RetireEnded struct {
	Key     Key
	Applied uint64
	Err     string
}

// Retire stops a replica for ever and keeps its last state; its end is RetireEnded.
type Retire struct{ Key Key }

func (RetireEnded) event() {}
func (Retire) effect()     {}

// orderRetire stops a replica of a banned group for ever. What cannot run has no last
// state; it is retired without one.
func (c *Core) orderRetire(token uint64, o *drummerpb.Order) {
	k := keyOf(o)
	r := c.replicas[k]
	switch {
	case r == nil:
		c.notYet(token, o, fmt.Sprintf("replica %s is not here", k))
	case r.Life == life.Destroying:
		c.refuse(token, o, fmt.Sprintf("replica %s is being destroyed", k))
	case r.Life == life.Retired:
		c.obeyed(token, o)
	case len(r.retirers) >= maxWaiters || r.busy && r.Life != life.Retiring || r.Life == life.Starting:
		c.notYet(token, o, "the replica is starting")
	default:
		r.retirers = append(r.retirers, waiter{token, o.GetId()})
		if r.Life != life.Retiring {
			r.Life, r.Generation = life.Retiring, max(r.Generation, o.GetGeneration())
			c.save(r)
		}
		c.beginRetire(r)
	}
}

// welcomed remembers a newer supervisor, and begins to retire what it calls banned
// before anything of it starts to serve. A deposed one is not believed.
func (c *Core) welcomed(e Welcomed) {
	if e.Fence.Before(c.fence) {
		return
	}
	c.raiseFence(e.Fence)
	if len(e.Banned) == 0 {
		return // nearly always
	}
	banned := make(map[ids.Group]bool, len(e.Banned))
	for _, g := range e.Banned {
		banned[g] = true
	}
	for _, k := range c.Keys() {
		if r := c.replicas[k]; banned[k.Group] && r.Life == life.Running {
			r.Life = life.Retiring
			c.save(r)
			c.beginRetire(r)
		}
	}
}

// beginRetire stops a replica once it is up; one that fell has nothing to keep. One that is
// kept down has its data, which may be all that is left of the group: it gets its trials.
func (c *Core) beginRetire(r *replica) {
	switch {
	case r.busy:
	case r.up:
		r.busy = true
		c.do(Retire{r.Key()})
	case r.fell || c.givenUp(r):
		c.retired(r, 0)
	case r.keptDown():
		c.answerAll(r.retirers, false, "the replica has to start for that, and is kept down for now")
		r.retirers = nil
	}
}

// retired ends the life of a replica of a banned group; its data stays.
func (c *Core) retired(r *replica, applied uint64) {
	r.Life, r.Applied, r.Suspect = life.Retired, applied, false
	r.up, r.started, r.detail = false, false, ""
	if applied == 0 {
		r.detail = "retired without a state: it did not run"
	}
	c.retryAt(r, 0)
	c.save(r)
	c.answerAll(r.retirers, true, "")
	r.retirers = nil
	c.do(Changed{Key: r.Key()})
}

func (c *Core) retireEnded(e RetireEnded, now time.Duration) {
	r := c.replicas[e.Key]
	if r == nil {
		return
	}
	r.busy = false
	switch {
	case r.Life == life.Destroying:
		c.answerAll(r.retirers, false, "the replica is being destroyed")
		r.retirers = nil
		c.beginDestroy(r)
	case e.Err == "":
		c.retired(r, e.Applied)
	default:
		r.detail = "retire: " + e.Err
		c.answerAll(r.retirers, false, r.detail)
		r.retirers = nil
		c.retryLater(r, now)
		c.do(Changed{Key: e.Key})
	}
}

func (k *Keeper) retire(ctx context.Context, key Key) {
	ctx, cancel := context.WithTimeout(ctx, k.o.StartTimeout)
	defer cancel()
	applied, err := k.o.States.Retire(ctx, key.Group, key.Replica)
	if err != nil {
		k.o.Log.Warn("replica is not retired", "replica", key, "err", err)
	} else {
		k.o.Log.Info("replica retired", "replica", key, "applied", applied)
	}
	k.post(RetireEnded{key, applied, textOf(err)})
}
