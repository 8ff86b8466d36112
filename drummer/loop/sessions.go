package loop

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/planner"
	"github.com/drumline/drumline/drummer/planner/member"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// session is a host's stream.
type session struct {
	id    uint64
	hello *drummerpb.Hello
	// heard is the real time of the last message.
	heard time.Duration
	// admitted tells that it is its host's session; before the first view of the
	// record nobody is.
	admitted bool
	// boot is how far the host is that starts its replicas; nil when it does not.
	boot *drummerpb.Boot
	// age of the host's data directory as heard last.
	age uint64
	// known is what the record has of the host that was found to be what it said.
	known *fleetpb.Host
	// knownAt is the revision of the record that was seen to have it.
	knownAt uint64
	// replicas that it reported. Observed copies share the map once it is shared.
	replicas map[planner.Ref]*drummerpb.ReplicaReport
	shared   bool
	// opinion tells that the host has said which of its neighbours it does not hear: unheard.
	opinion bool
	unheard map[ids.Host]bool
}

func (s *session) host() ids.Host { return ids.Host(s.hello.GetHost().GetId()) }

// host is what is remembered of a host through its sessions.
type host struct {
	session *session // the last one
	live    bool     // the session has not ended
	alive   time.Duration
	returns []time.Duration // when it came back lately, oldest first
}

// A host that came back so often within such a time flaps.
const (
	flapReturns = 3
	flapWithin  = 10 * time.Minute
)

// flapping tells whether a host came and went several times lately.
func (h *host) flapping(now time.Duration) bool {
	return len(h.returns) >= flapReturns && now-h.returns[len(h.returns)-flapReturns] <= flapWithin
}

// returned notes that a host has come back, and keeps what flapping looks at.
func (h *host) returned(earlier []time.Duration, now time.Duration) {
	h.returns = append(slices.Clone(earlier[max(0, len(earlier)-flapReturns+1):]), now)
}

// connected takes a new stream in; who it is is judged as soon as there is a view.
func (c *Core) connected(e Connected) {
	if !c.leading {
		c.emit(Disconnect{Session: e.Session, Reason: "this drummer does not lead"})
		return
	}
	s := &session{id: e.Session, hello: e.Hello, heard: c.now, boot: e.Hello.GetBoot(), age: e.Hello.GetHost().GetAge(), replicas: map[planner.Ref]*drummerpb.ReplicaReport{}}
	for _, r := range e.Hello.GetReplicas() {
		s.replicas[refOf(r)] = r
	}
	c.sessions[s.id] = s
	if c.view != nil {
		c.admit(s)
	}
}

func refOf(r *drummerpb.ReplicaReport) planner.Ref {
	return planner.Ref{Group: ids.Group(r.GetGroup()), Replica: ids.Replica(r.GetReplica())}
}

// admitWaiting judges the sessions that came before there was a view.
func (c *Core) admitWaiting() {
	var waiting []uint64
	for id, s := range c.sessions {
		if !s.admitted {
			waiting = append(waiting, id)
		}
	}
	slices.Sort(waiting)
	for _, id := range waiting {
		c.admit(c.sessions[id])
	}
}

// admit makes a session its host's, or refuses it.
func (c *Core) admit(s *session) {
	if reason, verdict := c.refusal(s); reason != "" {
		c.drop(s, reason, verdict)
		return
	}
	old := c.hosts[s.host()]
	if old != nil && old.live {
		c.drop(old.session, "the host has connected anew", Over)
	}
	s.admitted = true
	h := &host{session: s, live: true, alive: c.clock.read(s.heard)}
	if old != nil {
		h.returned(old.returns, c.now)
	}
	c.hosts[s.host()] = h
	c.emit(Send{s.id, &drummerpb.SupervisorMessage{Body: &drummerpb.SupervisorMessage_Welcome{Welcome: &drummerpb.Welcome{
		Incarnation: c.view.Incarnation(), Term: c.term, HeartbeatMs: c.o.Heartbeat.Milliseconds(), Fleet: c.o.Fleet,
		Banned: c.banned(s),
	}}}})
	c.sendAddresses(s.id, c.addresses)
	for conf := range c.view.Configurations() {
		c.sendConfiguration(s.id, conf)
	}
	for _, r := range s.replicas {
		c.learn(s, r)
	}
}

// banned lists the groups of a host's replicas that are banned, but for those that are
// retired there.
func (c *Core) banned(s *session) []uint64 {
	var list []uint64
	for ref, r := range s.replicas {
		if r.GetState() != drummerpb.ReplicaState_REPLICA_STATE_RETIRED && c.view.Group(ref.Group).GetState() == fleetpb.GroupState_GROUP_STATE_RETIRED {
			list = append(list, uint64(ref.Group))
		}
	}
	slices.Sort(list)
	return list
}

// partRemoved ends the sessions of hosts that were taken out: nothing of them is wanted.
func (c *Core) partRemoved() {
	for _, id := range slices.Sorted(maps.Keys(c.hosts)) {
		if h := c.hosts[id]; h.live && c.view.Host(id).GetRemoved() {
			c.drop(h.session, fmt.Sprintf("host %s was taken out of the fleet; give it an empty data directory to take it in again", h.session.hello.GetHost().GetName()), Never)
		}
	}
}

// refusal says why a host cannot attend; empty when it can. A host of another fleet
// is not told to stop: it may be these drummers that are the wrong ones.
func (c *Core) refusal(s *session) (string, Verdict) {
	h := s.hello.GetHost()
	if s.hello.GetDeployment() != c.o.Deployment {
		return fmt.Sprintf("the host belongs to deployment %q, the drummers to %q", s.hello.GetDeployment(), c.o.Deployment), Over
	}
	if f := s.hello.GetFleet(); f != "" && f != c.o.Fleet {
		return fmt.Sprintf("the host belongs to fleet %s and these drummers keep the record of fleet %s: bring the old drummers' data back, or give the host an empty data directory", f, c.o.Fleet), Over
	}
	if err := rules.CheckHost(h); err != nil {
		return fmt.Sprintf("what the host says of itself is invalid: %v", err), NotNow
	}
	known := c.view.Host(s.host())
	switch {
	case known.GetLost():
		return fmt.Sprintf("host id %s was declared lost and never comes back; give %s an empty data directory", h.GetId(), h.GetName()), Never
	case known.GetBootEpoch() > h.GetBootEpoch():
		return fmt.Sprintf("start %d of host %s was seen, and this is start %d: an old copy of its data directory", known.GetBootEpoch(), h.GetName(), h.GetBootEpoch()), Never
	case c.age(s.host()) > h.GetAge():
		return fmt.Sprintf("the data directory of host %s was at age %d already, and this one is at %d: an old copy of it, which has forgotten votes; give %s an empty data directory",
			h.GetName(), c.age(s.host()), h.GetAge(), h.GetName()), Never
	case c.attends(s.host()):
		return fmt.Sprintf("host id %s is connected already: a copy of its data directory, or its last stream has not ended yet", h.GetId()), NotNow
	}
	if reason := c.nameRefusal(h); reason != "" {
		return reason, NotNow
	}
	return c.settingRefusal(h), NotNow
}

// settingRefusal says why a host cannot have its settings: another one that is not down
// has others. When all hosts are stopped for that long the fleet takes new ones.
func (c *Core) settingRefusal(h *fleetpb.Host) string {
	others := slices.Collect(c.view.Hosts())
	for _, id := range slices.Sorted(maps.Keys(c.hosts)) {
		if c.view.Host(id) == nil { // it is not in the record yet
			others = append(others, c.hosts[id].session.hello.GetHost())
		}
	}
	for _, o := range others {
		reason := discord(h, o)
		if reason == "" || o.GetId() == h.GetId() {
			continue
		}
		if state := c.judge(o).State; state == planner.Up || state == planner.Suspect {
			return reason + "; to change it, stop all of them until they are down"
		}
	}
	return ""
}

// discord says what two hosts do not agree on. Groups on hosts of different ticks would
// call elections against healthy leaders; of a group that only some hosts let sleep, the
// others would take the silence for a dead leader.
func discord(h, o *fleetpb.Host) string {
	switch {
	case h.GetTickUs() != 0 && o.GetTickUs() != 0 && h.GetTickUs() != o.GetTickUs():
		return fmt.Sprintf("its tick is %s and that of host %s is %s: give all hosts the same tick",
			microseconds(h.GetTickUs()), o.GetName(), microseconds(o.GetTickUs()))
	case h.GetSleep() != 0 && o.GetSleep() != 0 && h.GetSleep() != o.GetSleep():
		return fmt.Sprintf("hibernate is %t there and %t on host %s: give all hosts the same hibernate",
			hibernates(h), hibernates(o), o.GetName())
	}
	return ""
}

func hibernates(h *fleetpb.Host) bool { return h.GetSleep() == fleetpb.Sleep_SLEEP_HIBERNATE }

func microseconds(n uint64) time.Duration {
	return time.Duration(min(n, math.MaxInt64/1000)) * time.Microsecond //nolint:gosec // bounded here
}

// age is the highest of a host's data directory that is known.
func (c *Core) age(id ids.Host) uint64 {
	age := c.view.Host(id).GetAge()
	if h := c.hosts[id]; h != nil {
		age = max(age, h.session.age)
	}
	return age
}

// nameRefusal says why a host cannot have its name: another one attends under it,
// did so a moment ago, or may do so in a moment. A name means one data directory, so
// a newcomer makes the old one lost; that must not happen to a host that lives and
// has only lost its stream.
func (c *Core) nameRefusal(h *fleetpb.Host) string {
	for id, o := range c.hosts {
		other := o.session.hello.GetHost()
		if other.GetName() == h.GetName() && other.GetId() != h.GetId() && !c.view.Host(id).GetLost() && c.now-o.session.heard <= c.suspectAfter() {
			return fmt.Sprintf("another host is connected under the name %s, or was a moment ago", h.GetName())
		}
	}
	if c.clock.leading(c.now) > c.suspectAfter() {
		return ""
	}
	for o := range c.view.Hosts() {
		if o.GetName() == h.GetName() && o.GetId() != h.GetId() && !o.GetLost() && c.hosts[ids.Host(o.GetId())] == nil {
			return fmt.Sprintf("the name %s belongs to another host, which is given time to connect", h.GetName())
		}
	}
	return ""
}

// attends tells whether a host has a session that was heard lately.
func (c *Core) attends(id ids.Host) bool {
	h := c.hosts[id]
	return h != nil && h.live && c.now-h.session.heard <= c.suspectAfter()
}

func (c *Core) suspectAfter() time.Duration {
	return time.Duration(c.policy().GetSuspectAfterMs()) * time.Millisecond
}

// heard notes a sign of life and returns the session if it is its host's.
func (c *Core) heard(id uint64) *session {
	s := c.sessions[id]
	if s == nil {
		return nil
	}
	s.heard = c.now
	if s.admitted {
		c.hosts[s.host()].alive = c.clock.read(c.now)
	}
	return s
}

func (c *Core) reported(e Reported) {
	s := c.heard(e.Session)
	if s == nil {
		return
	}
	if s.shared {
		s.replicas, s.shared = maps.Clone(s.replicas), false
	}
	for _, r := range e.Report.GetChanged() {
		ref := refOf(r)
		if s.admitted && !member.SameReport(s.replicas[ref], r) {
			c.touch(ref.Group)
		}
		s.replicas[ref] = r
		if s.admitted {
			c.learn(s, r)
		}
	}
	for _, r := range e.Report.GetGone() {
		ref := planner.Ref{Group: ids.Group(r.GetGroup()), Replica: ids.Replica(r.GetReplica())}
		delete(s.replicas, ref)
		if s.admitted {
			c.touch(ref.Group)
			c.destroyed(s, ref)
		}
	}
}

// learn takes over what a report says beside the replica's state.
func (c *Core) learn(s *session, r *drummerpb.ReplicaReport) {
	ref := refOf(r)
	if g := c.groups[ref.Group]; g != nil && len(g.Gone)+len(g.Refused) > 0 && c.placedOn(s, ref) {
		c.touch(ref.Group)
		delete(g.Gone, ref.Replica)
		delete(g.Refused, ref.Replica)
	}
	c.sawMembership(ref.Group, r.GetMembership())
}

// destroyed notes that the data of a replica is gone, if it was on that host.
func (c *Core) destroyed(s *session, ref planner.Ref) {
	if c.placedOn(s, ref) {
		c.group(ref.Group).Gone[ref.Replica] = true
	}
}

// placedOn tells whether the record has the replica on the session's host.
func (c *Core) placedOn(s *session, ref planner.Ref) bool {
	return slices.ContainsFunc(c.view.Group(ref.Group).GetReplicas(), func(r *fleetpb.Replica) bool {
		return ids.Replica(r.GetId()) == ref.Replica && ids.Host(r.GetHostId()) == s.host()
	})
}

// sawMembership keeps the newest membership of a group.
func (c *Core) sawMembership(id ids.Group, m *drummerpb.Membership) {
	if m == nil {
		return
	}
	if g := c.groups[id]; g == nil || g.Membership.GetConfigChange() < m.GetConfigChange() {
		c.group(id).Membership = m
	}
}

// gone ends a session. What it reported stays known, and its silence begins.
func (c *Core) gone(e Gone) {
	s := c.sessions[e.Session]
	if s == nil {
		return
	}
	delete(c.sessions, s.id)
	if !s.admitted {
		return
	}
	c.hosts[s.host()].live = false
	c.dropOrders(s.id)
}

// drop ends a session from this side.
func (c *Core) drop(s *session, reason string, v Verdict) {
	c.emit(Disconnect{Session: s.id, Reason: reason, Verdict: v})
	c.gone(Gone{Session: s.id})
}

func (c *Core) disconnectAll(reason string) {
	for _, id := range slices.Sorted(maps.Keys(c.sessions)) {
		c.emit(Disconnect{Session: id, Reason: reason})
	}
}

// register has the record store what hosts said of themselves, where it differs, and
// the age of those that have gone: it must outlive this leadership, and proposing it
// while they attend would be a proposal a host every half a minute.
func (c *Core) register() {
	var unlike []ids.Host // nearly always none
	for id, h := range c.hosts {
		if h.live && !c.registered(h.session) || !h.live && c.parted(id, h) {
			unlike = append(unlike, id)
		}
	}
	slices.Sort(unlike)
	for _, id := range unlike {
		h := c.hosts[id]
		said := h.session.hello.GetHost()
		if said.GetAge() != h.session.age {
			said = proto.CloneOf(said)
			said.Age = h.session.age
		}
		c.propose("host "+string(id), &fleetpb.Command{Op: &fleetpb.Command_RegisterHost{RegisterHost: said}})
	}
}

// parted tells that the record does not know how old a host was that has gone.
func (c *Core) parted(id ids.Host, h *host) bool {
	known := c.view.Host(id)
	return known != nil && !known.GetLost() && known.GetAge() < h.session.age
}

// registered tells whether the record has what the session's host said of itself. The
// age only has to be there.
func (c *Core) registered(s *session) bool {
	if s.knownAt == c.view.Revision() && s.known != nil {
		return true
	}
	known, said := c.view.Host(s.host()), s.hello.GetHost()
	if known != nil && known == s.known { // a record's messages never change
		s.knownAt = c.view.Revision()
		return true
	}
	if known.GetWanted() != nil { // what people want of a host is the record's, not the host's
		said = proto.CloneOf(said)
		said.Wanted = known.GetWanted()
	}
	same := proto.Equal(known, said)
	if !same && known.GetAge() != 0 && known.GetAge() != said.GetAge() {
		aged := proto.CloneOf(said)
		aged.Age = known.GetAge()
		same = proto.Equal(known, aged)
	}
	if same {
		s.known, s.knownAt = known, c.view.Revision()
	}
	return same
}

// tellAddresses sends every session the addresses that have changed.
func (c *Core) tellAddresses() {
	if c.addressed == c.view.Revision() && len(c.addresses) > 0 {
		return
	}
	c.addressed = c.view.Revision()
	changed := map[ids.Host]*drummerpb.HostAddress{}
	for h := range c.view.Hosts() {
		a := &drummerpb.HostAddress{
			Id: h.GetId(), Name: h.GetName(), Region: h.GetRegion(), Raft: h.GetRaft(), Api: h.GetApi(), BootEpoch: h.GetBootEpoch(), Gossip: h.GetGossip(),
		}
		id := ids.Host(h.GetId())
		if h.GetLost() {
			delete(c.addresses, id)
		} else if !proto.Equal(c.addresses[id], a) {
			c.addresses[id], changed[id] = a, a
		}
	}
	drummers := c.drummers()
	news := c.told != nil && !slices.Equal(drummers, c.told) // a session begins with all there is
	c.told = drummers
	if len(changed) == 0 && !news {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(c.sessions)) {
		c.sendAddresses(id, changed)
	}
}

func (c *Core) sendAddresses(session uint64, hosts map[ids.Host]*drummerpb.HostAddress) {
	list := slices.SortedFunc(maps.Values(hosts), func(a, b *drummerpb.HostAddress) int { return cmp.Compare(a.GetId(), b.GetId()) })
	c.emit(Send{session, &drummerpb.SupervisorMessage{Body: &drummerpb.SupervisorMessage_Addresses{Addresses: &drummerpb.Addresses{
		Hosts: list, Drummers: c.drummers(),
	}}}})
}

// drummers are the addresses that hosts are to find drummers at: those of the record, and
// the configured ones until it lists any.
func (c *Core) drummers() []string {
	if c.view == nil || len(c.view.Drummers().All) == 0 {
		return c.o.Drummers
	}
	var list []string
	for _, d := range c.view.Drummers().All {
		if !slices.Contains(list, d.GetApi()) {
			list = append(list, d.GetApi())
		}
	}
	return list
}
