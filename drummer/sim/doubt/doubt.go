// Package doubt judges whom the supervisor of a simulated cluster trusts: hosts that come and
// go get nothing new, and what their neighbours say of hosts is listened to.
package doubt

import (
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/planner/spread"
	"github.com/drumline/drumline/drummer/sim/cluster"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// A host that came back so often in so long is not trusted to stay: a little less than
// the supervisor counts, for what the two see at different moments.
const (
	flaps       = 3
	flapsWithin = 10*time.Minute - 2*time.Second
	// settled is for how long a host must have been well so that nothing speaks against it.
	settledFor = 10 * time.Second
)

// Doubt is what is known of the hosts of one cluster.
type Doubt struct {
	*cluster.World
	visits map[visitor]visits
	given  map[string]time.Duration // when a host was given something last, by its id
}

// New knows nothing of a cluster yet.
func New(w *cluster.World) *Doubt {
	return &Doubt{w, map[visitor]visits{}, map[string]time.Duration{}}
}

// Give notes that a host is given something.
func (w *Doubt) Give(host string) { w.given[host] = w.Now }

// visits are when a host was taken in by a drummer, in one reign.
type visits struct {
	disk  string
	reign int
	at    []time.Duration
}

// Welcome notes that a drummer takes a host in.
func (w *Doubt) Welcome(s *cluster.Session) {
	k := visitor{s.Host(), s.Drummer}
	v := w.visits[k]
	if v.reign != s.Reign || v.disk != k.host.Disk.ID {
		v = visits{disk: k.host.Disk.ID, reign: s.Reign}
	}
	v.at = append(v.at, w.Now)
	w.visits[k] = v
}

// visitor is a host at a drummer.
type visitor struct {
	host *cluster.Host
	at   *cluster.Drummer
}

// returns counts how often the host has come back to the drummer within a time.
func (w *Doubt) returns(h *cluster.Host, d *cluster.Drummer, within time.Duration) (n int) {
	v := w.visits[visitor{h, d}]
	if v.reign != d.Reign || v.disk != h.Disk.ID {
		return 0
	}
	for _, at := range v.at[1:] {
		if w.Now-at < within {
			n++
		}
	}
	return n
}

// Opinions counts the neighbours whose opinion of a host the drummer has had for a while,
// and those of them that surely hear it. Whoever may have changed its mind does not count
// as one that hears it.
func (w *Doubt) Opinions(d *cluster.Drummer, h *cluster.Host) (heardBy, of int) {
	for _, o := range w.Hosts {
		s := o.Last[d.Index]
		if o == h || s == nil || s.Reign != d.Reign || s.Opined == 0 || !s.AtDrummer {
			continue
		}
		of++
		fresh := w.Now-s.Heard < 2*time.Second && w.Now-s.Opined > time.Second
		if fresh && !slices.Contains(s.Unheard, h.Disk.ID) {
			heardBy++
		}
	}
	return heardBy, of
}

// CheckDamping is that a host that comes and goes gets nothing new while another one can
// have it, of which that is plain: no rule, duty or limit is near.
func (w *Doubt) CheckDamping(d *cluster.Drummer, add *fleetpb.AddReplica) {
	to, g := w.Host(add.GetHostId()), d.View.Group(ids.Group(add.GetGroup()))
	if to == nil || g == nil || w.Lossy || w.Now-w.Changed < settledFor {
		return
	}
	if w.returns(to, d, flapsWithin) < flaps {
		return
	}
	for _, o := range w.Hosts {
		if o != to && w.plain(d, o, g) {
			w.Violate("flapping: group %d gets a replica on %s, which came back %d times lately, and %s could have it", g.GetId(), to.Name, flaps, o.Name)
			return
		}
	}
}

// plain tells that nothing at all speaks against a replica of the group on a host.
func (w *Doubt) plain(d *cluster.Drummer, h *cluster.Host, g *fleetpb.Group) bool {
	rec := d.View.Host(ids.Host(h.Disk.ID))
	if w.returns(h, d, 12*time.Hour) > 0 || rec == nil || rec.GetLost() || rec.GetWanted().GetDuty() != 0 || rec.GetWanted().GetMaintenanceUntilUnixMs() != 0 {
		return false
	}
	if at, ok := w.given[h.Disk.ID]; ok && w.Now-at < settledFor { // it may be at its limits
		return false
	}
	if !w.attends(d, h) || len(g.GetSpec().GetRegions())+len(g.GetSpec().GetRequire())+len(g.GetSpec().GetForbid()) > 0 || g.GetSpec().GetIsolation() != 0 {
		return false
	}
	for _, r := range g.GetReplicas() {
		if r.GetHostId() == h.Disk.ID {
			return false
		}
	}
	return spread.Possible(d.View, g.GetSpec()) == nil && !builds(d.View, h)
}

// attends tells that a host has been well, and heard by the drummer, for a while.
func (w *Doubt) attends(d *cluster.Drummer, h *cluster.Host) bool {
	s := h.Last[d.Index]
	return s != nil && s.Reign == d.Reign && s.AtDrummer && h.Running && !h.Paused && !h.Dark && !h.Deaf && !h.Mute && w.Now-h.Changed >= settledFor
}

// builds tells that replicas are being built on a host, or in its region.
func builds(v *fleet.View, h *cluster.Host) bool {
	for g := range v.Groups() {
		for _, r := range g.GetReplicas() {
			if on := v.Host(ids.Host(r.GetHostId())); !r.GetVoter() && r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED && on.GetRegion() == h.Region {
				return true
			}
		}
	}
	return false
}
