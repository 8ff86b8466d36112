package agent

import (
	"slices"
	"time"
)

// course decides which drummer is dialled next and after what pause. Pure.
type course struct {
	least, most time.Duration
	// configured come first, then the learnt ones.
	configured, learnt []string
	// hint is the drummer that was said to lead, or that welcomed us last.
	hint string
	next int
	// hops counts redirects since the last pause: two drummers that each believe
	// the other leads must not be asked without rest.
	hops  int
	pause time.Duration
}

const maxHops = 3

// known lists every drummer once, the configured first.
func (c *course) known() []string {
	all := slices.Clone(c.configured)
	for _, a := range c.learnt {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// pick returns the drummer to dial now.
func (c *course) pick() string {
	if c.hint != "" {
		addr := c.hint
		c.hint = ""
		return addr
	}
	all := c.known()
	addr := all[c.next%len(all)]
	c.next++
	return addr
}

// redirected takes in where the leader is said to be, and returns whether to go
// there without a pause.
func (c *course) redirected(leader string) bool {
	c.hint = leader
	c.hops++
	return leader != "" && c.hops <= maxHops
}

// welcomed remembers a drummer that leads: it is tried first after a cut.
func (c *course) welcomed(addr string) { c.hint, c.hops, c.pause = addr, 0, 0 }

// wait returns the next pause; random is in [0, 1) and spreads hosts that lost the
// same drummer.
func (c *course) wait(random float64) time.Duration {
	c.hops = 0
	c.pause = min(max(2*c.pause, c.least), c.most)
	return c.pause/2 + time.Duration(random*float64(c.pause)/2)
}
