package planner

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/planner/member"
	"github.com/drumline/drumline/drummer/planner/spread"
	"github.com/drumline/drumline/drummer/planner/survey"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/mutant"
)

// request is a group's wish for hosts: for all replicas of a launch, or for one
// replica. Wishes are granted after all groups were looked at.
type request struct {
	group *fleetpb.Group
	// anew ignores the replicas that a launch has: it is to be given up.
	anew bool
	// repair is the survey of a group that needs a replica somewhere; nil for a launch.
	repair *survey.Survey
	// victim is the live voter that is to be moved, kind and why are the operation's; for
	// a replacement they are not set.
	victim    *fleetpb.Replica
	kind, why string
}

func replacement(s *survey.Survey) request { return request{group: s.Group, repair: s} }

// spare is how many more voters the group can lose.
func (r *request) spare() int { return r.repair.Alive - member.Quorum(len(r.repair.Voters)) }

// rank orders wishes: what brings redundancy back, then launches, then what only moves.
func (r *request) rank() int {
	switch {
	case r.repair == nil:
		return 1
	case r.victim == nil:
		return 0
	case r.kind == words.KindDrain:
		return 2
	default:
		return 3
	}
}

// operation is the kind of operation that the wish begins.
func (r *request) operation() string {
	switch {
	case r.repair == nil:
		return words.KindLaunch
	case r.victim != nil:
		return r.kind
	case len(r.repair.Dead) > 0:
		return words.KindReplace
	default:
		return words.KindResize
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
			p.note(r.group, brakeReason)
			continue
		case slices.Contains(p.Fleet.Paused(), r.operation()):
			p.reason(r.group, "operations of kind %s are paused", r.operation())
			continue
		}
		hosts, err := p.choose(r)
		if err != nil {
			p.note(r.group, err.Error())
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
		p.note(g, "it is being placed")
		p.propose(launching, g, &fleetpb.Command{Op: &fleetpb.Command_Place{Place: place}}, "the group is new")
		return
	}
	target := hosts[0].rec
	kind := r.operation()
	p.builds(target.GetId(), kind)
	add := &fleetpb.AddReplica{Group: g.GetId(), Generation: g.GetGeneration(), HostId: target.GetId()}
	at, why := repairing, fmt.Sprintf("the group has %d of %d voters", len(r.repair.Voters), r.repair.Want)
	switch {
	case r.victim != nil:
		add.Replaces, add.Move, add.Kind, at, why = r.victim.GetId(), true, kind, tidying, r.why
		p.leaves(r.victim)
	case len(r.repair.Dead) > 0:
		add.Replaces = r.repair.Dead[0].GetId()
		why = p.why(g, r.repair.Dead[0])
	default:
		add.Kind = kind
	}
	add.Reason = bounded(why)
	if kind != words.KindBalance { // a balanced group is as it is wanted
		p.reason(g, "host %s is chosen for a new replica", target.GetName())
	}
	p.propose(at, g, &fleetpb.Command{Op: &fleetpb.Command_AddReplica{AddReplica: add}}, why)
}

// choose returns a host for each replica wished for, or why it cannot.
func (p *pass) choose(r *request) ([]*post, error) {
	if p.Observed.Settling {
		return nil, errors.New("the supervisor has just taken the lead; hosts are given time to connect")
	}
	if r.repair != nil && p.total >= int(p.policy.GetOperationsTotal()) && !mutant.Is("no-limits") {
		return nil, fmt.Errorf("%d replicas are being built, which is the limit; this one waits its turn", p.total)
	}
	f := p.candidates(r)
	var chosen []*post
	for len(chosen) < f.Wanted {
		h := f.Best(lighter)
		if h == nil {
			if few := r.fewer(chosen); few != nil {
				return few, nil
			}
			return nil, f.Lack(len(chosen))
		}
		f.Take(h)
		chosen = append(chosen, h)
	}
	return chosen, nil
}

// candidates sorts hosts into those that can be chosen and those that cannot.
func (p *pass) candidates(r *request) *spread.Field[*post] {
	f := spread.New[*post](r.group.GetSpec())
	f.Known = len(p.hosts)
	if r.repair != nil {
		f.Wanted = 1
		for i, v := range r.repair.Voters {
			if r.repair.Conds[i] != survey.Dead && v != r.victim {
				f.Occupy(p.post(v.GetHostId()))
			}
		}
	}
	for _, h := range p.hosts {
		if !h.up() {
			continue
		}
		f.Ups++
		if text := p.obstacle(r, h); text != "" {
			f.Note(text)
			continue
		}
		f.Hosts = append(f.Hosts, h)
	}
	return f
}

// obstacle says why a host that is up cannot be chosen; empty when it can.
func (p *pass) obstacle(r *request, h *post) string {
	g := r.group
	version := rules.VersionOf(h.rec, g.GetSpec().GetApp())
	if version == 0 {
		return fmt.Sprintf("do not know the app %s", g.GetSpec().GetApp())
	}
	if text := h.closed(); text != "" {
		return text
	}
	if text := spread.Unfit(g.GetSpec(), h.rec); text != "" {
		return strings.Replace(strings.Replace(text, "lacks", "lack", 1), "has", "have", 1)
	}
	if h.seen.Boot != nil {
		return "are starting the replicas that they have"
	}
	if p.Observed.Refusers[words.Full(g)][ids.Host(h.rec.GetId())] {
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
	if h.building >= int(p.policy.GetOperationsPerHost()) && !mutant.Is("no-limits") {
		return fmt.Sprintf("build %d replicas, which is the limit", p.policy.GetOperationsPerHost())
	}
	if n := p.policy.GetOperationsPerRegion(); p.regions[h.rec.GetRegion()] >= int(n) {
		return fmt.Sprintf("are in a region that builds %d replicas, which is the limit", n)
	}
	return ""
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}
