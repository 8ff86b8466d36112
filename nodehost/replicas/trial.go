package replicas

import (
	"fmt"
	"time"

	"github.com/drumline/drumline/nodehost/replicas/life"
)

// keepDown leaves a replica down whose start killed the process, and sets when it is tried
// again. A host that flaps can die beside a start that is sound, and where the quorum is
// gone nobody can replace what stays down for ever. What dies in each of its trials is
// given up: it is damaged, and each death takes all others of this host with it.
func (c *Core) keepDown(r *replica, now time.Duration) {
	if c.spent(r) && r.Tried != c.self.Program {
		r.Crashes = maxCrashes // the others were of another program, which may be what was wrong
		c.save(r)
	}
	if c.spent(r) {
		c.giveUp(r)
		return
	}
	pause := c.calm(r.Crashes)
	r.detail = fmt.Sprintf("kept down: the process died %d times while this replica alone was starting; "+
		"unless it is replaced it is tried again, alone, when the process has run for %s", r.Crashes, pause)
	c.retryAt(r, now+pause)
	c.do(Changed{Key: r.Key()})
}

// spent tells that the process has died in as many trials of a replica as it gets.
func (c *Core) spent(r *replica) bool { return r.Crashes >= maxCrashes+c.self.Trials }

// givenUp tells that a replica is never started again by this program.
func (c *Core) givenUp(r *replica) bool {
	return r.keptDown() && c.spent(r) && r.Tried == c.self.Program
}

// giveUp leaves a replica down for good. A recovery that waits for it goes on without it.
func (c *Core) giveUp(r *replica) {
	if r.Life == life.Retiring {
		c.retired(r, 0)
		return
	}
	r.detail = fmt.Sprintf("given up: the process died %d times while this replica alone was starting; its data is kept, and only "+
		"another version of this program tries it again; its group replaces it if it has a quorum, and has to be recovered if not", r.Crashes)
	c.do(Changed{Key: r.Key()})
}

// calm is for how long the process has to run before such a replica is tried again. It
// follows from the deaths that the record counts, so it grows from one process to the next.
func (c *Core) calm(crashes int) time.Duration {
	pause := c.self.TrialAfter
	for n := maxCrashes; n < crashes; n++ {
		pause *= 2
	}
	return pause
}

// try starts a replica that is kept down, alone behind the marker: a death is counted. While
// the window is taken it stays due.
func (c *Core) try(r *replica, now time.Duration) {
	b := &c.boot
	if !b.done || len(b.window) > 0 {
		return
	}
	r.Suspect, r.Tried = true, c.self.Program
	c.save(r)
	b.window = []starting{{r.Key(), now + c.self.ReadyAfter}}
	c.mark()
	c.begin(r)
}

// endTrial takes the marker away when what was tried is up, has failed in order or hangs.
func (c *Core) endTrial(now time.Duration) {
	b := &c.boot
	if len(b.window) > 0 && (now >= b.window[0].until || c.through(b.window[0].key)) {
		b.window = nil
		c.mark()
	}
}
