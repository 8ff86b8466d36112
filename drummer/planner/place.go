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
// replica. Wishes are granted after all groups were looked at.
type request struct {
	group *fleetpb.Group
	// anew ignores the replicas that a launch has: it is to be given up.
	anew bool
	// repair is the survey of a group that needs a replica somewhere; nil for a launch.
	repair *survey
	// victim is the live voter that is to be moved, kind and why are the operation's; for
	// a replacement they are not set.
	victim    *fleetpb.Replica
	kind, why string
}

func replacement(s *survey) request { return request{group: s.group, repair: s} }

// spare is how many more voters the group can lose.
func (r *request) spare() int { return r.repair.alive - quorum(len(r.repair.voters)) }

// rank orders wishes: what brings redundancy back, then launches, then what only moves.
func (r *request) rank() int {
	switch {
	case r.repair == nil:
		return 1
	case r.victim == nil:
		return 0
	case r.kind == fleet.KindDrain:
		return 2
	default:
		return 3
	}
}

// operation is the kind of operation that the wish begins.
func (r *request) operation() string {
	switch {
	case r.repair == nil:
		return fleet.KindLaunch
	case r.victim != nil:
		return r.kind
	case len(r.repair.dead) > 0:
		return fleet.KindReplace
	default:
		return fleet.KindResize
	}
}

// grant chooses hosts: repairs first, those in the greatest danger before others,
// then launches, by number, then moves.
func (p *pass) grant() {
	slices.SortStableFunc(p.requests, func(a, b request) int {
		if d := cmp.Compare(a.rank(), b.rank()); d != 0 || a.rank() != 0 {
			return d
		}
		return cmp.Compare(a.spare(), b.spare())
	})
	for i := range p.requests {
		r := &p.requests[i]
		switch {
		case r.repair != nil && p.braked:
			p.reason(r.group, "%s", brakeReason)
			continue
		case slices.Contains(p.Fleet.Paused(), r.operation()):
			p.reason(r.group, "operations of kind %s are paused", r.operation())
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

// settle plans the command for the hosts chosen.
func (p *pass) settle(r *request, hosts []*post) {
	g := r.group
	for _, h := range hosts {
		h.load++
	}
	if r.repair == nil {
		place := &fleetpb.Place{Group: g.GetId(), Generation: g.GetGeneration()}
		for _, h := range hosts {
			place.HostIds = append(place.HostIds, h.rec.GetId())
		}
		p.reason(g, "it is being placed")
		p.propose(launching, g, &fleetpb.Command{Op: &fleetpb.Command_Place{Place: place}}, "the group is new")
		return
	}
	target := hosts[0].rec
	kind := r.operation()
	p.builds(target.GetId(), kind)
	add := &fleetpb.AddReplica{Group: g.GetId(), Generation: g.GetGeneration(), HostId: target.GetId()}
	at, why := repairing, fmt.Sprintf("the group has %d of %d voters", len(r.repair.voters), r.repair.want)
	switch {
	case r.victim != nil:
		add.Replaces, add.Move, add.Kind, at, why = r.victim.GetId(), true, kind, tidying, r.why
		p.leaves(r.victim)
	case len(r.repair.dead) > 0:
		add.Replaces = r.repair.dead[0].GetId()
		why = p.why(g, r.repair.dead[0])
	default:
		add.Kind = kind
	}
	add.Reason = bounded(why)
	if kind != fleet.KindBalance { // a balanced group is as it is wanted
		p.reason(g, "host %s is chosen for a new replica", target.GetName())
	}
	p.propose(at, g, &fleetpb.Command{Op: &fleetpb.Command_AddReplica{AddReplica: add}}, why)
}

// choose returns a host for each replica wished for, or why it cannot.
func (p *pass) choose(r *request) ([]*post, error) {
	if p.Observed.Settling {
		return nil, errors.New("the supervisor has just taken the lead; hosts are given time to connect")
	}
	if r.repair != nil && p.total >= int(p.policy.GetOperationsTotal()) {
		return nil, fmt.Errorf("%d replicas are being built, which is the limit; this one waits its turn", p.total)
	}
	f := p.candidates(r)
	var chosen []*post
	for len(chosen) < f.wanted {
		h := f.best()
		if h == nil {
			if few := r.fewer(chosen); few != nil {
				return few, nil
			}
			return nil, f.lack(len(chosen))
		}
		f.take(h)
		chosen = append(chosen, h)
	}
	return chosen, nil
}

// field is the hosts that a request may choose from, and what was chosen so far.
type field struct {
	spec       *fleetpb.Spec
	wanted     int
	hosts      []*post
	rules      map[string]int // region to what its rule still allows; nil without a rule
	regions    map[string]int // members of the group by region
	zones      map[[2]string]int
	cells      map[[2]string]bool // that no other may share
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
	f := newField(r.group.GetSpec())
	f.known = len(p.hosts)
	if r.repair != nil {
		f.wanted = 1
		for i, v := range r.repair.voters {
			if r.repair.conds[i] != dead && v != r.victim {
				f.occupy(p.post(v.GetHostId()))
			}
		}
	}
	for _, h := range p.hosts {
		if !h.up() {
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

func newField(spec *fleetpb.Spec) *field {
	f := &field{spec: spec, wanted: int(spec.GetReplicas()), regions: map[string]int{}, zones: map[[2]string]int{}, cells: map[[2]string]bool{}}
	if rules := spec.GetRegions(); len(rules) > 0 {
		f.rules = map[string]int{}
		for _, rule := range rules {
			f.rules[rule.GetRegion()] = int(rule.GetCount())
		}
	}
	return f
}

// obstacle says why a host that is up cannot be chosen; empty when it can.
func (p *pass) obstacle(r *request, h *post) string {
	g := r.group
	version := fleet.VersionOf(h.rec, g.GetSpec().GetApp())
	if version == 0 {
		return fmt.Sprintf("do not know the app %s", g.GetSpec().GetApp())
	}
	if text := h.closed(); text != "" {
		return text
	}
	if text := unfit(g.GetSpec(), h.rec); text != "" {
		return strings.Replace(strings.Replace(text, "lacks", "lack", 1), "has", "have", 1)
	}
	if h.seen.Boot != nil {
		return "are starting the replicas that they have"
	}
	if p.Observed.Refusers[g.GetSpec().GetName()][ids.Host(h.rec.GetId())] {
		return "refused to start it a moment ago"
	}
	if r.anew || r.repair == nil {
		return ""
	}
	return p.full(r, h, version)
}

// full says why a host cannot have one replica more; empty when it can.
func (p *pass) full(r *request, h *post, version uint32) string {
	for _, m := range r.group.GetReplicas() {
		if m.GetHostId() == h.rec.GetId() {
			return "have a replica of it, or the data of an earlier one"
		}
	}
	if _, rep := p.leader(r.group); version < rep.GetVersion() {
		return fmt.Sprintf("have a program older than version %d of the app", rep.GetVersion())
	}
	if h.building >= int(p.policy.GetOperationsPerHost()) {
		return fmt.Sprintf("build %d replicas, which is the limit", p.policy.GetOperationsPerHost())
	}
	if n := p.policy.GetOperationsPerRegion(); p.regions[h.rec.GetRegion()] >= int(n) {
		return fmt.Sprintf("are in a region that builds %d replicas, which is the limit", n)
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
func (f *field) occupy(h *post) {
	region := h.rec.GetRegion()
	f.regions[region]++
	f.zones[[2]string{region, h.rec.GetZone()}]++
	if f.rules != nil {
		f.rules[region]--
	}
	if cell := cellOf(f.spec, h.rec); cell != [2]string{} {
		f.cells[cell] = true
	}
}

// take chooses a host.
func (f *field) take(h *post) {
	f.occupy(h)
	f.hosts = slices.DeleteFunc(f.hosts, func(o *post) bool { return o == h })
}

// allowed tells whether the group's rules take a host beside those that it has.
func (f *field) allowed(h *post) bool {
	return (f.rules == nil || f.rules[h.rec.GetRegion()] > 0) && !f.cells[cellOf(f.spec, h.rec)]
}

// best returns the host that spreads the group over regions, then zones, then takes
// the one with the fewest replicas for its weight; nil when none is allowed.
func (f *field) best() *post {
	var best *post
	for _, h := range f.hosts {
		if f.allowed(h) && (best == nil || f.order(h, best) < 0) {
			best = h
		}
	}
	return best
}

func (f *field) order(a, b *post) int {
	region := func(h *post) int { return f.regions[h.rec.GetRegion()] }
	if f.rules != nil {
		region = func(*post) int { return 0 } // the rule says it all
	}
	zone := func(h *post) int { return f.zones[[2]string{h.rec.GetRegion(), h.rec.GetZone()}] }
	return cmp.Or(
		cmp.Compare(boolInt(a.seen.Flapping), boolInt(b.seen.Flapping)),
		cmp.Compare(region(a), region(b)),
		cmp.Compare(zone(a), zone(b)),
		lighter(a, b),
		cmp.Compare(a.rec.GetId(), b.rec.GetId()),
	)
}

// lack says why there is no host to choose.
func (f *field) lack(chosen int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d hosts are up", f.ups, f.known)
	for _, o := range f.obstacles {
		fmt.Fprintf(&b, ", %d of them %s", o.count, o.text)
	}
	b.WriteString(f.rest())
	missing := f.wanted - chosen
	fmt.Fprintf(&b, ": it needs %d more host%s", missing, plural(missing))
	return errors.New(b.String())
}

// rest says what the rules want still.
func (f *field) rest() string {
	var b strings.Builder
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
	if f.spec.GetIsolation() == fleetpb.Isolation_ISOLATION_REGION {
		b.WriteString("; no two replicas may be in one region")
	} else if f.spec.GetIsolation() == fleetpb.Isolation_ISOLATION_ZONE {
		b.WriteString("; no two replicas may be in one zone")
	}
	return b.String()
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}
