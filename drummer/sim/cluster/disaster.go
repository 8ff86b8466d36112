package cluster

import (
	"time"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/nodehost/replicas"
	"github.com/drumline/drumline/nodehost/replicas/life"
)

// retire stops a replica of a banned group for ever, and keeps its last state.
func (h *Host) retire(k replicas.Key) {
	h.after(h.pace(10*time.Millisecond, 300*time.Millisecond), func() {
		if h.w.Lossy && h.w.One(20) {
			h.turn(replicas.RetireEnded{Key: k, Err: "the disk is busy"})
			return
		}
		applied := uint64(0)
		g, l := h.w.Groups[uint64(k.Group)], h.Disk.Logs[k]
		if g != nil && l != nil {
			g.Settle()
			applied = g.Reached(l)
			l.up, l.Ready, l.claims = false, false, 0
			g.look()
		}
		h.turn(replicas.RetireEnded{Key: k, Applied: applied})
	})
}

// Reached is how far a replica's state is, as a number above zero.
func (g *Group) Reached(l *Log) uint64 { return max(1, uint64(min(l.Match, g.Commit))) }

// load loads a group with a state that another host keeps, and opens it.
func (g *Group) load(h *Host, b *drummerpb.Load, r *drummerpb.OrderResult) progress {
	from := g.w.Host(b.GetHostId())
	switch {
	case g.Opened > 0:
		r.Ok = true
		return done
	case from == nil || !from.Running || from.Paused || g.w.cutOff(h, from):
		return again
	case g.loaded == 0:
		g.loaded = g.w.Now + from.pace(100*time.Millisecond, 2500*time.Millisecond)
	}
	if g.w.Now < g.loaded {
		return again
	}
	for k, kept := range from.Disk.Manifest.Records {
		if uint64(k.Group) == b.GetGroup() && kept.Life == life.Retired {
			g.w.Witness.CheckLoaded(g, b.GetGroup(), kept.Applied)
			g.open(b.GetVersion())
			r.Ok = true
			return done
		}
	}
	r.Detail = "the host keeps no such state"
	return done
}
