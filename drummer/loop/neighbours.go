package loop

import (
	"time"

	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/planner/opinion"
	"github.com/drumline/drumline/internal/ids"
)

// Opined is a host's opinion of its neighbours: those of the hosts that it was told of which
// it does not hear. One that never says so has none.
type Opined struct {
	Session uint64
	Unheard []string
}

func (Opined) isEvent() {}

func (c *Core) opined(e Opined) {
	s := c.heard(e.Session)
	if s == nil {
		return
	}
	s.opinion = true
	s.unheard = make(map[ids.Host]bool, len(e.Unheard))
	for _, id := range e.Unheard {
		s.unheard[ids.Host(id)] = true
	}
}

// opinions counts the hosts that are heard and have an opinion of the others, and those of
// them that hear this one.
func (c *Core) opinions(id ids.Host) (heardBy, all int) {
	for other, h := range c.hosts {
		if other == id || !h.session.opinion || !c.attends(other) {
			continue
		}
		all++
		if !h.session.unheard[id] {
			heardBy++
		}
	}
	return heardBy, all
}

// secondOpinion asks the neighbours of a silent host.
func (c *Core) secondOpinion(id ids.Host, silent time.Duration) opinion.Opinion {
	heardBy, all := c.opinions(id)
	return opinion.New(heardBy, all, silent, rules.UnreachableAfter(c.view.Policy()))
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
