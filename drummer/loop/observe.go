package loop

import (
	"maps"
	"math"
	"time"

	"github.com/drumline/drumline/drummer/planner"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/mutant"
)

// never is the age of what was never heard.
const never = time.Duration(math.MaxInt64)

// sights is the memory that the hosts of an Observed lie in.
type sights struct {
	by  map[ids.Host]*planner.Host
	all []planner.Host
}

// observed is what the planner sees now. It shares the groups with the Core, and lies in the
// memory that is given, which is emptied.
func (c *Core) observed(in *sights) *planner.Observed {
	n := c.view.HostCount()
	if in.by == nil || cap(in.all) < n {
		in.by, in.all = make(map[ids.Host]*planner.Host, n), make([]planner.Host, 0, n)
	}
	clear(in.by)
	in.all = in.all[:0]
	o := &planner.Observed{
		Now:      c.now,
		Hosts:    in.by,
		Groups:   c.groups,
		Refusers: c.expireRefusers(),
	}
	if c.now < c.steady {
		o.Unsteady = true
		for _, g := range c.groups {
			clear(g.CaughtUp)
		}
	}
	for rec := range c.view.Hosts() {
		in.all = append(in.all, c.judge(rec))
		h := &in.all[len(in.all)-1]
		o.Hosts[ids.Host(rec.GetId())] = h
		if h.State == planner.Up && c.hosts[ids.Host(rec.GetId())] == nil && c.clock.leading(c.now) < c.suspectAfter() {
			o.Settling = true
		}
	}
	return o
}

// judge says how a host of the record is.
func (c *Core) judge(rec *fleetpb.Host) planner.Host {
	h := planner.Host{Age: never}
	since := c.clock.led
	if known := c.hosts[ids.Host(rec.GetId())]; known != nil {
		since = max(since, known.alive)
		h.Age = c.now - known.session.heard
		h.Connected = known.live && c.registered(known.session)
		h.Session = known.session.id
		h.Version = known.session.hello.GetVersion()
		h.Replicas = known.session.replicas
		h.Boot = known.session.boot
		h.Flapping = known.flapping(c.now) && !mutant.Is("no-damping")
	} else if mutant.Is("no-settling") {
		since = -never / 2
	}
	h.Maintained = rec.GetWanted().GetMaintenanceUntilUnixMs() > c.wall && !mutant.Is("no-maintenance")
	h.Silent = max(0, c.clock.read(c.now)-since)
	policy := c.view.Policy()
	suspect := h.Silent > milliseconds(policy.GetSuspectAfterMs())
	if suspect && !rec.GetLost() {
		h.Opinion = c.secondOpinion(ids.Host(rec.GetId()), h.Silent)
	}
	switch {
	case rec.GetLost():
		h.State = planner.Lost
	case h.Silent > milliseconds(policy.GetDownAfterMs()) && !h.Maintained && (!h.Unreachable || mutant.Is("no-opinion")):
		h.State = planner.Down
	case suspect:
		h.State = planner.Suspect
	}
	return h
}

// Observed copies what is known, for readers on other goroutines.
func (c *Core) Observed(now time.Duration) *Observed {
	if !c.leading {
		return &Observed{}
	}
	o := &Observed{Leading: true, Term: c.term, Reasons: c.reasons, HostReasons: c.hostReasons, UnixMs: c.wall, View: c.view, Orders: len(c.orders)}
	if c.view == nil {
		o.Settling = true
		return o
	}
	c.now = now
	o.Observed = *c.observed(&sights{})
	o.Settling = c.settling
	for _, h := range c.hosts {
		h.session.shared = true
	}
	o.Groups = make(map[ids.Group]*planner.Group, len(c.groups))
	for id, g := range c.groups {
		o.Groups[id] = copyGroup(g)
	}
	return o
}

func copyGroup(g *planner.Group) *planner.Group {
	c := *g
	c.CaughtUp, c.Absent = maps.Clone(g.CaughtUp), maps.Clone(g.Absent)
	c.Gone, c.Refused = maps.Clone(g.Gone), maps.Clone(g.Refused)
	return &c
}
