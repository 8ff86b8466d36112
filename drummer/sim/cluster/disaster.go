package cluster

import (
	"time"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
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

// load loads a group with a state that another host has, and opens it.
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
	switch applied, proof := from.state(b); proof {
	case has:
		g.w.Witness.CheckLoaded(g, b, applied)
		g.open(b.GetVersion())
		r.Ok = true
		return done
	case mayHave:
		return again
	default:
		r.Detail = "the host keeps no such state"
		return done
	}
}

// proof is what a host can say of a state that it is asked for.
type proof int

const (
	hasNot proof = iota
	mayHave
	has
)

// state looks for the state that a load wants, and says how far that is: one that was
// staged, the last one of a retired replica, or that of a group which serves, with all
// that was acknowledged.
func (h *Host) state(b *drummerpb.Load) (applied uint64, is proof) {
	if h.Disk.Staged[b.GetStaged()] {
		return 0, has
	}
	for k, kept := range h.Disk.Manifest.Records {
		if uint64(k.Group) == b.GetGroup() && b.GetRetired() && kept.Life == life.Retired {
			return kept.Applied, has
		}
	}
	g := h.w.Groups[b.GetGroup()]
	if b.GetRetired() || g == nil || !g.On(h.Disk.ID) {
		return 0, hasNot
	}
	for _, k := range h.Keys() {
		g.Settle()
		if p := g.Peer(uint64(k.Replica)); k.Group == ids.Group(g.ID) && p.Log != nil && g.reaches(h) && g.Opened > 0 && g.Sealed == 0 && p.Match >= g.Commit {
			return g.Reached(p.Log), has
		}
	}
	return 0, mayHave
}

// Stage puts a state on the host's disk that groups can be restored from.
func (h *Host) Stage(id string) { h.Disk.Staged[id] = true }

// RunsWith are the Raft options of its own that a replica runs with; nil for none.
func (h *Host) RunsWith(k replicas.Key) *fleetpb.RaftOptions {
	if h.core == nil {
		return nil
	}
	l, _ := h.core.Look(k)
	return l.Raft
}
