package planner

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/planner/memo"
	"github.com/drumline/drumline/drummer/planner/spread"
	"github.com/drumline/drumline/drummer/planner/survey"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/mutant"
)

const (
	// maxTransfers bounds the leaderships that one pass moves for balance.
	maxTransfers = 8
	// maxSpare bounds how many groups more a host may lead than another while others are
	// unloaded.
	maxSpare = 8
)

// balance evens hosts out when nothing else is to be done. Every move makes the sum of
// load squared per weight smaller, so it comes to an end and never goes back; a difference
// of one replica between two hosts is left alone.
func (p *pass) balance() {
	if p.braked || p.Observed.Settling || p.Observed.Unsteady {
		return
	}
	hosts := p.balanceable()
	if len(hosts) < 2 {
		return
	}
	if !slices.Contains(p.Fleet.Paused(), words.KindBalance) && p.calm() {
		p.balanceReplicas(hosts)
	}
	if p.total == 0 && !p.granting() && !slices.Contains(p.Fleet.Paused(), words.KindTransfer) {
		p.balanceLeads(hosts)
	}
}

// calm tells that nothing more important is under way and no host is in doubt.
func (p *pass) calm() bool {
	if p.total > p.moves {
		return false
	}
	if p.granting() {
		return false
	}
	return !slices.ContainsFunc(p.hosts, func(h *post) bool { return h.seen.State == Suspect && !h.seen.Maintained && h.entries > 0 })
}

// granting tells whether a wish was granted in this pass; one that cannot be granted
// holds nothing up.
func (p *pass) granting() bool {
	return slices.ContainsFunc(p.requests, func(r request) bool { return p.busy[groupID(r.group)] })
}

// balanceable lists the hosts among which load is evened out. One that flaps may be gone
// again in a moment.
func (p *pass) balanceable() []*post {
	var list []*post
	for _, h := range p.hosts {
		if h.leadable() && h.seen.Boot == nil && !h.seen.Flapping {
			list = append(list, h)
		}
	}
	return list
}

// gains tells whether one unit less on a and one more on b evens them out.
func gains(a, b, weightA, weightB int) bool {
	if mutant.Is("restless-balance") {
		return a*weightB > b*weightA
	}
	return (2*a-1)*weightB > (2*b+1)*weightA
}

// balanceReplicas plans as many moves as the limits allow.
func (p *pass) balanceReplicas(hosts []*post) {
	byLoad := func(a, b *post) int { return cmp.Or(lighter(b, a), cmp.Compare(a.rec.GetId(), b.rec.GetId())) }
	slices.SortFunc(hosts, byLoad)
	if first, last := hosts[0], hosts[len(hosts)-1]; !gains(first.load, last.load, first.weight(), last.weight()) {
		return
	}
	on := p.wholeGroups(hosts)
	for p.moves < int(p.policy.GetBalanceMoves()) && p.total < int(p.policy.GetOperationsTotal()) {
		r := p.bestMove(hosts, on)
		if r == nil {
			return
		}
		p.settle(r.request, []*post{r.to})
		slices.SortFunc(hosts, byLoad)
	}
}

// holding is a whole group on a host.
type holding struct {
	group  *fleetpb.Group
	survey *survey.Survey // once somebody wanted it
}

// wholeGroups lists by host the groups that may be moved.
func (p *pass) wholeGroups(hosts []*post) map[*post][]*holding {
	least := hosts[len(hosts)-1]
	over := make([]bool, len(p.at))
	for _, h := range hosts {
		over[p.memo.Of(h.rec.GetId())] = gains(h.load, least.load, h.weight(), least.weight())
	}
	on := map[*post][]*holding{}
	slots := p.memo.Slots()
	for i := range slots {
		s := &slots[i]
		if !slices.ContainsFunc(s.At, func(at int32) bool { return over[at] }) || !p.idle(s) || !p.verdict(s).Whole {
			continue
		}
		h := &holding{group: s.Group}
		for _, at := range s.At {
			if over[at] {
				on[p.at[at]] = append(on[p.at[at]], h)
			}
		}
	}
	return on
}

// idle tells that an open group has nothing better to do than to move.
func (p *pass) idle(s *memo.Slot) bool {
	g := s.Group
	return g.GetState() == fleetpb.GroupState_GROUP_STATE_OPEN && len(g.GetReplicas()) == int(g.GetSpec().GetReplicas()) &&
		!p.busy[groupID(g)] && len(p.reasons[groupID(g)]) == 0
}

// move is a replica's way to another host.
type move struct {
	request *request
	to      *post
}

// bestMove finds a move between the fullest and the emptiest hosts that the groups' rules
// allow: a follower if there is one. What the rules forbid on one host they forbid on all
// that are alike, so a group is asked once for each kind of host, not for each host.
func (p *pass) bestMove(hosts []*post, on map[*post][]*holding) *move {
	for _, from := range hosts {
		allowed := map[string][]*holding{}
		for i := len(hosts) - 1; i >= 0; i-- {
			to := hosts[i]
			if !gains(from.load, to.load, from.weight(), to.weight()) {
				break
			}
			kind := to.kind()
			if _, asked := allowed[kind]; !asked {
				allowed[kind] = p.movable(from, to, on[from])
			}
			if m := p.moveBetween(from, to, allowed[kind]); m != nil {
				return m
			}
		}
	}
	return nil
}

// wish is the wish to move a group's replica off a host.
func (p *pass) wish(on *holding, from *post) *request {
	if on.survey == nil {
		on.survey = p.survey(on.group)
	}
	s := on.survey
	i := slices.IndexFunc(s.Voters, func(r *fleetpb.Replica) bool { return r.GetHostId() == from.rec.GetId() })
	return &request{group: s.Group, repair: s, victim: s.Voters[i], kind: words.KindBalance}
}

// movable are those of the groups on a host that their rules let move to such a one as to.
func (p *pass) movable(from, to *post, groups []*holding) (list []*holding) {
	for _, on := range groups {
		if spread.Unfit(on.group.GetSpec(), to.rec) == "" && p.keepsSpread(p.wish(on, from), to) {
			list = append(list, on)
		}
	}
	return list
}

func (p *pass) moveBetween(from, to *post, groups []*holding) *move {
	var leads *move
	for _, on := range groups {
		if p.busy[groupID(on.group)] {
			continue
		}
		r := p.wish(on, from)
		if p.obstacle(r, to) != "" {
			continue
		}
		r.why = fmt.Sprintf("host %s has %d replicas, and host %s has %d", from.rec.GetName(), from.load, to.rec.GetName(), to.load)
		if !from.report(r.group, r.victim).GetServing() {
			return &move{r, to}
		}
		if leads == nil {
			leads = &move{r, to}
		}
	}
	return leads
}

// keepsSpread tells whether the group's rules allow the move and it is spread no worse.
func (p *pass) keepsSpread(r *request, to *post) bool {
	f := spread.New[*post](r.group.GetSpec())
	for _, v := range r.repair.Voters {
		if v != r.victim {
			f.Occupy(p.post(v.GetHostId()))
		}
	}
	if !f.Allowed(to) {
		return false
	}
	moved := append(p.holders(r.repair.Voters, r.victim), to.rec)
	return spread.Crowding(moved) <= spread.Crowding(p.holders(r.repair.Voters, nil))
}

// balanceLeads has some leaderships handed over.
func (p *pass) balanceLeads(hosts []*post) {
	p.countLeads()
	fit := map[string]*post{}
	for _, h := range hosts {
		fit[h.rec.GetId()] = h
	}
	most := slices.MaxFunc(hosts, func(a, b *post) int { return cmp.Compare(a.leads*b.weight(), b.leads*a.weight()) })
	least := slices.MinFunc(hosts, func(a, b *post) int { return cmp.Compare(a.leads*b.weight(), b.leads*a.weight()) })
	p.slack = min(p.unled/len(hosts), maxSpare)
	if !p.evens(most, least) {
		return
	}
	n := 0
	slots := p.memo.Slots()
	for i := range slots {
		if n == maxTransfers {
			return
		}
		if p.handsOver(&slots[i], fit) {
			n++
		}
	}
}

// evens tells whether one leadership handed over evens two hosts out. What is unloaded has no
// leader, so while a fleet falls asleep the hosts differ by chance; and a group that is handed
// over stays awake for as long again. So a host may lead some more, if about as many on each
// are asleep.
func (p *pass) evens(from, to *post) bool {
	return gains(from.leads-p.slack, to.leads, from.weight(), to.weight())
}

// handsOver has the leadership of one group handed over if that evens hosts out.
func (p *pass) handsOver(s *memo.Slot, fit map[string]*post) bool {
	g := s.Group
	if p.verdict(s).Leader < 0 || !p.unevenly(s) || g.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN || g.GetLead() != 0 || p.busy[groupID(g)] || len(p.reasons[groupID(g)]) > 0 {
		return false
	}
	leader := g.GetReplicas()[s.Leader]
	if fit[leader.GetHostId()] == nil {
		return false
	}
	from := fit[leader.GetHostId()]
	var best *fleetpb.Replica
	for _, r := range g.GetReplicas() {
		to := fit[r.GetHostId()]
		if to == nil || !r.GetVoter() || p.rank(g, r) > p.rank(g, leader) || !p.evens(from, to) || p.condition(g, r) != survey.Live {
			continue
		}
		if best == nil || to.leads*fit[best.GetHostId()].weight() < fit[best.GetHostId()].leads*to.weight() {
			best = r
		}
	}
	if best == nil {
		return false
	}
	p.handOver(tidying, g, leader, best, fmt.Sprintf("host %s leads %d groups, and host %s leads %d", from.rec.GetName(), from.leads, p.name(best.GetHostId()), p.post(best.GetHostId()).leads))
	return true
}

// unevenly tells that one of the group's other hosts leads less than its leader's, for
// the weight that it has.
func (p *pass) unevenly(s *memo.Slot) bool {
	from := p.at[s.At[s.Leader]]
	return slices.ContainsFunc(s.At, func(at int32) bool {
		return p.evens(from, p.at[at])
	})
}
