package loop

import (
	"github.com/drumline/drumline/drummer/planner"
	"github.com/drumline/drumline/internal/ids"
)

// stillness remembers a pass that found nothing to do and nothing to say, and what it
// saw that time alone can change. As long as nobody reports anything and that is the
// same, the next pass would find nothing either, and ten thousand idle groups are not
// looked at twice a second.
type stillness struct {
	on                 bool
	settling, unsteady bool
	refusers           int
	hosts              map[ids.Host]seenHost
}

// seenHost is what a plan may depend on of a host without a word of it.
type seenHost struct {
	state                                                 planner.Liveness
	connected, maintained, flapping, booting, unreachable bool
}

func seenOf(h *planner.Host) seenHost {
	return seenHost{h.State, h.Connected, h.Maintained, h.Flapping, h.Boot != nil, h.Unreachable}
}

func stillnessOf(o *planner.Observed) stillness {
	s := stillness{on: true, settling: o.Settling, unsteady: o.Unsteady, refusers: len(o.Refusers), hosts: make(map[ids.Host]seenHost, len(o.Hosts))}
	for id, h := range o.Hosts {
		s.hosts[id] = seenOf(h)
	}
	return s
}

// Still tells that the last pass found nothing to do and nothing to say, and that
// nothing but heartbeats was heard since.
func (c *Core) Still() bool { return c.still.on }

// holds tells whether what is observed is what was seen.
func (s *stillness) holds(o *planner.Observed) bool {
	if !s.on || s.settling != o.Settling || s.unsteady != o.Unsteady || s.refusers != len(o.Refusers) || len(s.hosts) != len(o.Hosts) {
		return false
	}
	for id, h := range o.Hosts {
		if s.hosts[id] != seenOf(h) {
			return false
		}
	}
	return true
}
