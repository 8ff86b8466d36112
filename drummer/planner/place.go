package planner

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/drumline/drumline/drummer/fleet"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// request is a group's wish for hosts: for all replicas of a launch, or for one
// replica of a repair. Wishes are granted after all groups were looked at.
type request struct {
	group *fleetpb.Group
	// anew ignores the replicas that a launch has: it is to be given up.
	anew bool
	// repair is the survey of a group that needs another voter; nil for a launch.
	repair *survey
}

func replacement(s *survey) request { return request{group: s.group, repair: s} }

// spare is how many more voters the group can lose.
func (r *request) spare() int { return r.repair.alive - quorum(len(r.repair.voters)) }

// grant chooses hosts: repairs first, those in the greatest danger before others,
// then launches, by number.
func (p *pass) grant() {
	braked := p.braked()
	slices.SortStableFunc(p.requests, func(a, b request) int {
		if (a.repair == nil) != (b.repair == nil) {
			return cmp.Compare(boolInt(a.repair == nil), boolInt(b.repair == nil))
		}
		if a.repair == nil {
			return 0
		}
		return cmp.Compare(a.spare(), b.spare())
	})
	for i := range p.requests {
		r := &p.requests[i]
		if r.repair != nil && braked {
			p.reason(r.group, "more than half of all hosts are down at once: nothing is replaced until some return")
			continue
		}
		hosts, err := p.choose(r)
		if err != nil {
			p.reason(r.group, "%v", err)
			continue
		}
		p.settle(r, hosts)
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// braked tells whether so many hosts vanished at once that the supervisor itself is
// the likelier cause.
func (p *pass) braked() bool {
	down := 0
	for _, h := range p.hosts {
		if p.host(h.GetId()).State == Down {
			down++
		}
	}
	return 2*down > len(p.hosts)
}

// settle plans the command for the hosts chosen.
func (p *pass) settle(r *request, hosts []*fleetpb.Host) {
	g := r.group
	for _, h := range hosts {
		p.load[h.GetId()]++
	}
	if r.repair == nil {
		place := &fleetpb.Place{Group: g.GetId(), Generation: g.GetGeneration()}
		for _, h := range hosts {
			place.HostIds = append(place.HostIds, h.GetId())
		}
		p.reason(g, "it is being placed")
		p.propose(launching, g, &fleetpb.Command{Op: &fleetpb.Command_Place{Place: place}}, "the group is new")
		return
	}
	target := hosts[0]
	p.building[target.GetId()]++
	p.total++
	add := &fleetpb.AddReplica{Group: g.GetId(), Generation: g.GetGeneration(), HostId: target.GetId()}
	why := fmt.Sprintf("the group has %d of %d voters", len(r.repair.voters), r.repair.want)
	if len(r.repair.dead) > 0 {
		add.Replaces = r.repair.dead[0].GetId()
		why = p.why(g, r.repair.dead[0])
	}
	add.Reason = bounded(why)
	p.reason(g, "host %s is chosen for a new replica", target.GetName())
	p.propose(repairing, g, &fleetpb.Command{Op: &fleetpb.Command_AddReplica{AddReplica: add}}, why)
}

// choose returns a host for each replica wished for, or why it cannot.
func (p *pass) choose(r *request) ([]*fleetpb.Host, error) {
	if p.Observed.Settling {
		return nil, errors.New("the supervisor has just taken the lead; hosts are given time to connect")
	}
	if r.repair != nil && p.total >= int(p.policy.GetOperationsTotal()) {
		return nil, fmt.Errorf("%d replicas are being built, which is the limit; this one waits its turn", p.total)
	}
	c := p.candidates(r)
	var chosen []*fleetpb.Host
	for len(chosen) < c.wanted {
		h := c.best(p.load)
		if h == nil {
			if few := r.fewer(chosen); few != nil {
				return few, nil
			}
			return nil, c.lack(len(chosen))
		}
		c.take(h)
		chosen = append(chosen, h)
	}
	return chosen, nil
}

// field is the hosts that a request may choose from, and what was chosen so far.
type field struct {
	wanted     int
	hosts      []*fleetpb.Host
	rules      map[string]int // region to what its rule still allows; nil without a rule
	regions    map[string]int // members of the group by region
	zones      map[[2]string]int
	obstacles  []obstacle
	known, ups int
}

// obstacle counts hosts that cannot be chosen.
type obstacle struct {
	text  string
	count int
}

// candidates sorts hosts into those that can be chosen and those that cannot.
func (p *pass) candidates(r *request) *field {
	g := r.group
	f := &field{wanted: int(g.GetSpec().GetReplicas()), regions: map[string]int{}, zones: map[[2]string]int{}, known: len(p.hosts)}
	if rules := g.GetSpec().GetRegions(); len(rules) > 0 {
		f.rules = map[string]int{}
		for _, rule := range rules {
			f.rules[rule.GetRegion()] = int(rule.GetCount())
		}
	}
	if r.repair != nil {
		f.wanted = 1
		for i, v := range r.repair.voters {
			if r.repair.conds[i] != dead {
				f.occupy(p.known[v.GetHostId()])
			}
		}
	}
	for _, h := range p.hosts {
		if o := p.host(h.GetId()); o.State != Up || !o.Connected {
			continue
		}
		f.ups++
		if text := p.obstacle(r, h); text != "" {
			f.note(text)
			continue
		}
		f.hosts = append(f.hosts, h)
	}
	return f
}

// obstacle says why a host that is up cannot be chosen; empty when it can.
func (p *pass) obstacle(r *request, h *fleetpb.Host) string {
	g := r.group
	version := fleet.VersionOf(h, g.GetSpec().GetApp())
	if version == 0 {
		return fmt.Sprintf("do not know the app %s", g.GetSpec().GetApp())
	}
	if p.host(h.GetId()).Boot != nil {
		return "are starting the replicas that they have"
	}
	if p.Observed.Refusers[g.GetSpec().GetName()][ids.Host(h.GetId())] {
		return "refused to start it a moment ago"
	}
	if r.anew || r.repair == nil {
		return ""
	}
	for _, m := range g.GetReplicas() {
		if m.GetHostId() == h.GetId() {
			return "have a replica of it, or the data of an earlier one"
		}
	}
	if _, rep := p.leader(g); version < rep.GetVersion() {
		return fmt.Sprintf("have a program older than version %d of the app", rep.GetVersion())
	}
	if p.building[h.GetId()] >= int(p.policy.GetOperationsPerHost()) {
		return fmt.Sprintf("build %d replicas, which is the limit", p.policy.GetOperationsPerHost())
	}
	return ""
}

func (f *field) note(text string) {
	for i := range f.obstacles {
		if f.obstacles[i].text == text {
			f.obstacles[i].count++
			return
		}
	}
	f.obstacles = append(f.obstacles, obstacle{text, 1})
}

// occupy counts a host that holds a member.
func (f *field) occupy(h *fleetpb.Host) {
	f.regions[h.GetRegion()]++
	f.zones[[2]string{h.GetRegion(), h.GetZone()}]++
	if f.rules != nil {
		f.rules[h.GetRegion()]--
	}
}

// take chooses a host.
func (f *field) take(h *fleetpb.Host) {
	f.occupy(h)
	f.hosts = slices.DeleteFunc(f.hosts, func(o *fleetpb.Host) bool { return o == h })
}

// best returns the host that spreads the group over regions, then zones, then takes
// the one with the fewest replicas; nil when none is allowed.
func (f *field) best(load map[string]int) *fleetpb.Host {
	var best *fleetpb.Host
	for _, h := range f.hosts {
		if f.rules != nil && f.rules[h.GetRegion()] <= 0 {
			continue
		}
		if best == nil || f.order(h, best, load) < 0 {
			best = h
		}
	}
	return best
}

func (f *field) order(a, b *fleetpb.Host, load map[string]int) int {
	region := func(h *fleetpb.Host) int { return f.regions[h.GetRegion()] }
	if f.rules != nil {
		region = func(*fleetpb.Host) int { return 0 } // the rule says it all
	}
	return cmp.Or(
		cmp.Compare(region(a), region(b)),
		cmp.Compare(f.zones[[2]string{a.GetRegion(), a.GetZone()}], f.zones[[2]string{b.GetRegion(), b.GetZone()}]),
		cmp.Compare(load[a.GetId()], load[b.GetId()]),
		cmp.Compare(a.GetId(), b.GetId()),
	)
}

// lack says why there is no host to choose.
func (f *field) lack(chosen int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d hosts are up", f.ups, f.known)
	for _, o := range f.obstacles {
		fmt.Fprintf(&b, ", %d of them %s", o.count, o.text)
	}
	if f.rules != nil {
		var open []string
		for region, n := range f.rules {
			if n > 0 {
				open = append(open, fmt.Sprintf("%d more in region %s", n, region))
			}
		}
		slices.Sort(open)
		fmt.Fprintf(&b, "; the rule wants %s", strings.Join(open, " and "))
	}
	missing := f.wanted - chosen
	fmt.Fprintf(&b, ": it needs %d more host%s", missing, plural(missing))
	return errors.New(b.String())
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}
