package planner

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/planner/member"
	"github.com/drumline/drumline/drummer/planner/memo"
	"github.com/drumline/drumline/drummer/planner/spread"
	"github.com/drumline/drumline/drummer/planner/survey"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// Fresh is how recently a catch-up gate must have answered, and a survivor must
// have been heard, for a removal or a promotion to be decided on it: two heartbeats.
const Fresh = 2 * time.Second

// priority orders the actions of a plan: what brings back redundancy first.
type priority int

const (
	repairing priority = iota
	recording
	serving
	launching
	clearing
	tidying
)

// ranked is an action with its priority.
type ranked struct {
	Action
	priority priority
}

// pass is the making of one plan.
type pass struct {
	View
	policy *fleetpb.Policy
	memo   *memo.Memory
	at     []*post // by place; nowhere for a host that the record does not have any more
	hosts  []*post // that are not lost, by id

	seated   *fleetpb.Group // whose seats are found, and whose survey is made
	seats    []seat
	surveyed *survey.Survey
	spare    *survey.Survey // one that nobody needs any more
	judged   survey.Survey  // of the group that was judged last

	busy    map[ids.Group]bool // a command of theirs is proposed
	regions map[string]int     // replicas being built by region
	total   int                // replicas being built in all
	moves   int                // of them, those that only balance
	braked  bool               // nothing is moved
	led     bool               // posts' leads are counted
	unled   int                // groups that nobody leads
	slack   int                // groups that a host may lead more than another

	actions     []ranked
	reasons     map[ids.Group][]string
	leftover    map[ids.Group][]string // reasons that come after all others
	hostReasons map[ids.Host][]string
	requests    []request
	nothing     Group // known of a group that was never heard of
	nowhere     post  // for a host that the record does not have
}

// Plan returns the next safe steps.
func Plan(v View) Result { return NewMemory().Plan(v) }

// Memory is a planner that remembers which groups it found well. It plans as Plan does,
// for whoever tells it what changed, in the time that the changes take.
type Memory struct {
	memo    *memo.Memory
	nowhere post // as every pass begins with it
}

// NewMemory is a planner that remembers nothing yet.
func NewMemory() *Memory {
	return &Memory{memo.New(), post{rec: &fleetpb.Host{}, seen: &Host{State: Suspect}}}
}

// Touch says that what is observed of a group has changed, or what a host reports of one
// of its replicas. Changes of hosts and of the record are seen without a word.
func (m *Memory) Touch(g ids.Group) { m.memo.Touch(g) }

// Plan returns the next safe steps.
func (m *Memory) Plan(v View) Result {
	p := m.newPass(v)
	p.brake()
	p.memo.Suppose(memo.Situation{Braked: p.braked, Paused: v.Fleet.Paused(), Policy: p.policy})
	p.disturbPending()
	slots := p.memo.Slots()
	for i := range slots {
		if s := &slots[i]; !s.Quiet {
			p.look(s)
		}
	}
	p.grant()
	p.balance()
	p.tidyHosts()
	return p.result()
}

func newPass(v View) *pass { return NewMemory().newPass(v) }

func (m *Memory) newPass(v View) *pass {
	p := &pass{
		View:        v,
		policy:      v.Fleet.Policy(),
		memo:        m.memo,
		busy:        map[ids.Group]bool{},
		regions:     map[string]int{},
		reasons:     map[ids.Group][]string{},
		leftover:    map[ids.Group][]string{},
		hostReasons: map[ids.Host][]string{},
		nowhere:     m.nowhere,
	}
	p.count()
	return p
}

func (p *pass) result() Result {
	for id, reasons := range p.leftover {
		p.reasons[id] = append(p.reasons[id], reasons...)
	}
	slices.SortStableFunc(p.actions, func(a, b ranked) int { return cmp.Compare(a.priority, b.priority) })
	r := Result{Reasons: p.reasons, HostReasons: p.hostReasons, Actions: make([]Action, 0, len(p.actions))}
	for _, a := range p.actions {
		r.Actions = append(r.Actions, a.Action)
	}
	return r
}

// count takes stock of hosts, of what is on them, and of what is on its way.
func (p *pass) count() {
	posts := make([]post, 0, p.Fleet.HostCount()) // one piece of memory a pass
	p.memo.Sync(p.Fleet, func(place int, h *fleetpb.Host) memo.Mark {
		seen := p.Observed.Host(ids.Host(h.GetId()))
		posts = append(posts, post{rec: h, seen: seen, place: place})
		return memo.Mark{Session: seen.Session, State: seen.Mark(int(seen.State)), Connected: seen.Connected, Maintained: seen.Maintained}
	})
	places := p.memo.Places()
	p.at, p.hosts = make([]*post, len(places)), make([]*post, 0, len(posts))
	for i := range p.at {
		p.at[i] = &p.nowhere
	}
	for i := range posts {
		at := &posts[i]
		p.at[at.place], at.entries, at.load = at, places[at.place].Entries, places[at.place].Load
		if !at.rec.GetLost() {
			p.hosts = append(p.hosts, at)
		}
	}
	slots := p.memo.Slots()
	for i := range slots {
		if slots[i].OnTheWay {
			p.countBuilding(slots[i].Group)
		}
	}
	for _, c := range p.Pending {
		p.pending(c)
	}
}

// countBuilding counts what is being built of a group, and what that is to replace.
func (p *pass) countBuilding(g *fleetpb.Group) {
	for _, r := range g.GetReplicas() {
		if r.GetMove() && member.Active(r) {
			p.leaves(member.Recorded(g, r.GetReplaces()))
		}
	}
	if c := member.Candidate(g); c != nil && p.moving(g, c) {
		p.builds(c.GetHostId(), p.Fleet.Operation(g.GetOperation()).GetKind())
	}
}

// leaves takes a replica that is moved away out of its host's load.
func (p *pass) leaves(r *fleetpb.Replica) {
	if r != nil && member.Active(r) {
		p.post(r.GetHostId()).load--
	}
}

// builds counts a replica that is being built.
func (p *pass) builds(host, kind string) {
	at := p.post(host)
	at.building++
	p.regions[at.rec.GetRegion()]++
	p.total++
	if kind == words.KindBalance {
		p.moves++
	}
}

// pending counts what a proposed command will do.
func (p *pass) pending(c *fleetpb.Command) {
	switch op := c.GetOp().(type) {
	case *fleetpb.Command_Place:
		p.busy[ids.Group(op.Place.GetGroup())] = true
		for _, h := range op.Place.GetHostIds() {
			p.post(h).load++
		}
	case *fleetpb.Command_AddReplica:
		add := op.AddReplica
		p.busy[ids.Group(add.GetGroup())] = true
		p.post(add.GetHostId()).load++
		p.builds(add.GetHostId(), add.GetKind())
		if g := p.Fleet.Group(ids.Group(add.GetGroup())); add.GetMove() && g != nil {
			p.leaves(member.Recorded(g, add.GetReplaces()))
		}
	default:
		if id := member.GroupOf(c); id != 0 {
			p.busy[id] = true
		}
	}
}

// disturbPending has the groups looked at of which a command is proposed.
func (p *pass) disturbPending() {
	for id := range p.busy {
		if s := p.memo.Slot(id); s != nil {
			s.Quiet, s.Judged = false, false
		}
	}
}

// look plans one group, and notes whether there was nothing to find. What a look depends
// on is the group in the record, what is observed of it, what its own hosts are and say,
// and the situation; a member that the record does not know may depend on more.
func (p *pass) look(s *memo.Slot) {
	g := s.Group
	id := ids.Group(g.GetId())
	actions, requests := len(p.actions), len(p.requests)
	p.step(g)
	if p.seated == g && len(p.requests) == requests { // no request has its survey
		p.release()
	}
	s.Judged = false
	s.Quiet = len(p.actions) == actions && len(p.requests) == requests && len(p.reasons[id])+len(p.leftover[id]) == 0 && member.Known(g, p.observed(g).Membership)
}

// verdict is a slot's group judged: at once when it is quiet and was judged before.
func (p *pass) verdict(s *memo.Slot) *memo.Slot {
	if s.Quiet && s.Judged {
		return s
	}
	leader, _ := p.leader(s.Group)
	s.Leader = int8(slices.Index(s.Group.GetReplicas(), leader)) //nolint:gosec // a group has few replicas
	p.fill(&p.judged, s.Group)
	s.Whole, s.Judged = p.judged.Whole(), true
	return s
}

// step plans one group. Data of replicas that are no members is removed whatever
// else goes on; of the rest the first checker that has something to do wins.
func (p *pass) step(g *fleetpb.Group) {
	if p.untroubled(g) {
		return
	}
	p.destroy(g)
	if p.busy[ids.Group(g.GetId())] {
		p.note(g, "a change of the record is under way")
		return
	}
	switch g.GetState() {
	case fleetpb.GroupState_GROUP_STATE_LAUNCHING:
		p.launch(g)
	case fleetpb.GroupState_GROUP_STATE_OPENING:
		p.open(g)
		p.maintain(g)
	case fleetpb.GroupState_GROUP_STATE_OPEN:
		p.maintain(g)
	case fleetpb.GroupState_GROUP_STATE_SEALING:
		p.seal(g)
	case fleetpb.GroupState_GROUP_STATE_PURGING:
		p.purge(g)
	case fleetpb.GroupState_GROUP_STATE_RETIRED:
		p.retired(g)
		p.purge(g)
	}
}

// untroubled tells, without the work of the checkers, that none of them would find
// anything: nearly all groups are so nearly always.
func (p *pass) untroubled(g *fleetpb.Group) bool {
	o := p.observed(g)
	if g.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN || len(g.GetReplicas()) != int(g.GetSpec().GetReplicas()) ||
		o.Membership.GetConfigChange() > g.GetConfigChange() || len(o.Membership.GetObservers()) > 0 || g.GetLead() != 0 || spread.Ruled(g.GetSpec()) || p.tunes(g) {
		return false
	}
	version := uint32(0)
	for _, r := range g.GetReplicas() {
		if r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_STARTED || !r.GetVoter() {
			return false
		}
		if o.Membership != nil {
			if _, member := o.Membership.GetVoters()[r.GetId()]; !member {
				return false
			}
		}
		s := p.seat(g, r)
		if s.at.empties() || s.at.seen.Maintained || s.cond != survey.Live || !rules.SameRaft(g.GetSpec().GetRaft(), s.rep.GetRaft()) {
			return false
		}
		if rep := s.rep; rep.GetServing() && rep.GetOpened() {
			version = rep.GetVersion()
		}
	}
	return version == 0 || version >= p.version(g)
}

// maintain keeps a group whole, then where it is wanted.
func (p *pass) maintain(g *fleetpb.Group) {
	for _, check := range []func(*fleetpb.Group){p.recordStarted, p.repair, p.relocate, p.tune, p.lead, p.purge, p.raise} {
		if p.busy[ids.Group(g.GetId())] {
			return
		}
		check(g)
	}
}

// propose plans a command; the group gets no other one in this pass.
func (p *pass) propose(at priority, g *fleetpb.Group, c *fleetpb.Command, why string) {
	p.busy[ids.Group(g.GetId())] = true
	p.actions = append(p.actions, ranked{Action{Group: ids.Group(g.GetId()), Command: c, Why: why}, at})
}

// order plans an order for a replica's host.
func (p *pass) order(at priority, g *fleetpb.Group, r *fleetpb.Replica, o *drummerpb.Order, why string) {
	o.HostId = r.GetHostId()
	o.BootEpoch = p.post(r.GetHostId()).rec.GetBootEpoch()
	o.Group, o.Replica, o.Generation = g.GetId(), r.GetId(), g.GetGeneration()
	p.actions = append(p.actions, ranked{Action{Group: ids.Group(g.GetId()), Order: o, Why: why}, at})
}

// reason notes why a group is not as it is wanted.
func (p *pass) reason(g *fleetpb.Group, format string, args ...any) {
	p.note(g, fmt.Sprintf(format, args...))
}

// note is reason for a text that is there.
func (p *pass) note(g *fleetpb.Group, text string) {
	p.reasons[groupID(g)] = append(p.reasons[groupID(g)], text)
}

// observed returns what is known of a group; never nil.
func (p *pass) observed(g *fleetpb.Group) *Group {
	if o := p.Observed.Groups[ids.Group(g.GetId())]; o != nil {
		return o
	}
	return &p.nothing
}

// Host returns what is known of a host; never nil. One never heard is suspect.
func (o *Observed) Host(id ids.Host) *Host {
	if h := o.Hosts[id]; h != nil {
		return h
	}
	return &Host{State: Suspect}
}
