package cluster

import (
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/loop"
)

// rumour is how long a change of a host or a link takes to be gossiped about.
const rumour = 3 * time.Second

// opine tells the drummer which of the others the host does not hear, when that changes
// and at the beginning of a stream.
func (h *Host) opine(s *Session) {
	if !h.w.Gossips {
		return
	}
	unheard := h.listen()
	if s.opined && slices.Equal(unheard, h.unheard) {
		return
	}
	s.opined, h.unheard = true, unheard
	s.up(func() loop.Event { return loop.Opined{Session: s.id, Unheard: unheard} })
}

// listen lists the hosts that this one does not hear, by id. Gossip goes from host to host
// and needs no drummer. What is new is not known yet.
func (h *Host) listen() []string {
	var unheard []string
	for _, o := range h.w.Hosts {
		if o == h {
			continue
		}
		deaf := !o.Running || o.Paused || h.w.cutOff(h, o)
		if h.w.Now-max(o.Changed, h.Changed, h.w.Changed) < rumour {
			deaf = slices.Contains(h.unheard, o.Disk.ID)
		}
		if deaf {
			unheard = append(unheard, o.Disk.ID)
		}
	}
	slices.Sort(unheard)
	return unheard
}
