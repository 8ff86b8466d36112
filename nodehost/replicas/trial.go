package replicas

import (
	"fmt"
	"time"
)

// keepDown leaves a replica down whose start killed the process, and sets when it is tried
// again. A host that flaps can die beside a start that is sound, and where the quorum is
// gone nobody can replace what stays down for ever.
func (c *Core) keepDown(r *replica, now time.Duration) {
	pause := c.calm(r.Crashes)
	r.detail = fmt.Sprintf("kept down: the process died %d times while this replica alone was starting; "+
		"unless it is replaced it is tried again, alone, when the process has run for %s", r.Crashes, pause)
	c.retryAt(r, now+pause)
	c.do(Changed{Key: r.Key()})
}

// calm is for how long the process has to run before such a replica is tried again. It
// follows from the deaths that the record counts, so it grows from one process to the next.
func (c *Core) calm(crashes int) time.Duration {
	pause := c.self.TrialAfter
	for n := maxCrashes; n < crashes && pause < c.self.TrialMost; n++ {
		pause *= 2
	}
	return min(pause, c.self.TrialMost)
}

// try starts a replica that is kept down, alone behind the marker: a death is counted. While
// the window is taken it stays due.
func (c *Core) try(r *replica, now time.Duration) {
	b := &c.boot
	if !b.done || len(b.window) > 0 {
		return
	}
	c.suspect(r)
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
