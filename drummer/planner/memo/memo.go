// Package memo is what one plan leaves for the next one, so that a pass over a large
// fleet costs what has changed and not what there is. Of each group it keeps whether the
// last look found nothing to do and nothing to say, which holds for as long as nothing
// that the look depended on is another; of each host how much is on it.
//
// It decides nothing. Messages of a record never change in place, so a group that is the
// same message is the same group; what is heard of a group beside the record has to be
// told with Touch. A Memory is not safe for concurrent use.
package memo

import (
	"slices"
	"sort"

	"github.com/drumline/drumline/drummer/fleet"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// Mark is what a look at a group depends on of a host, beside its record.
type Mark struct {
	// Session that its reports came from; another one may have reported other replicas.
	Session uint64
	// State by its silence.
	State int
	// Connected and Maintained as the planner has them.
	Connected, Maintained bool
}

// Situation is what every look depends on.
type Situation struct {
	// Braked tells that nothing is moved.
	Braked bool
	// Paused kinds of operation, sorted and never changed in place.
	Paused []string
	// Policy in force.
	Policy *fleetpb.Policy
}

func (s *Situation) is(o *Situation) bool {
	return s.Braked == o.Braked && s.Policy == o.Policy && slices.Equal(s.Paused, o.Paused)
}

// Nowhere is the place of a host that the record does not have.
const Nowhere = 0

// Place is a host.
type Place struct {
	// Entries are all replicas that the record has there, Load those that are or shall be
	// members of a group that is not banned.
	Entries, Load int

	rec     *fleetpb.Host
	mark    Mark
	sync    uint64 // the last one that met it
	changed bool
}

// Slot is a group.
type Slot struct {
	// Group as the record has it.
	Group *fleetpb.Group
	// At is the place of each of its replicas.
	At []int32
	// OnTheWay tells that one of them is being built or moved.
	OnTheWay bool
	// Quiet tells that the last look found nothing. Whoever looks sets it.
	Quiet bool
	// Judged tells that the two below were found since the group is quiet.
	Judged bool
	// Whole tells that all its voters live and are as many as are wanted.
	Whole bool
	// Leader is which of the replicas leads; -1 for none.
	Leader int8
}

// Memory of one planner.
type Memory struct {
	places    []Place
	index     map[string]int32
	slots     []Slot // by group
	touched   []ids.Group
	situation Situation
	syncs     uint64
	anyHost   bool // some place has changed
}

// New is a Memory of nothing.
func New() *Memory { return &Memory{places: make([]Place, 1), index: map[string]int32{}} }

// Touch says that something was heard of a group, or of one of its replicas.
func (m *Memory) Touch(g ids.Group) {
	if n := len(m.touched); n == 0 || m.touched[n-1] != g {
		m.touched = append(m.touched, g)
	}
}

// Sync takes a record in. The mark of each host is asked for once, by id.
func (m *Memory) Sync(v *fleet.View, mark func(place int, h *fleetpb.Host) Mark) {
	if m.syncHosts(v, mark) {
		m.slots = nil // a host came or went that groups are on: a rare thing
		for i := range m.places {
			m.places[i].Entries, m.places[i].Load = 0, 0
		}
	}
	m.syncGroups(v)
	for _, id := range m.touched {
		if s := m.Slot(id); s != nil {
			s.disturb()
		}
	}
	m.touched = m.touched[:0]
	if m.anyHost {
		m.disturbHosts()
	}
}

// Suppose tells the situation that the next looks are taken in.
func (m *Memory) Suppose(s Situation) {
	if m.situation.is(&s) {
		return
	}
	m.situation = s
	for i := range m.slots {
		m.slots[i].disturb()
	}
}

// Slots are all groups of the record, by number.
func (m *Memory) Slots() []Slot { return m.slots }

// Slot of a group; nil when the record does not have it.
func (m *Memory) Slot(id ids.Group) *Slot {
	i := sort.Search(len(m.slots), func(i int) bool { return m.slots[i].Group.GetId() >= uint64(id) })
	if i == len(m.slots) || m.slots[i].Group.GetId() != uint64(id) {
		return nil
	}
	return &m.slots[i]
}

// Of is the place of a host of the record.
func (m *Memory) Of(host string) int { return int(m.index[host]) }

// Places are all hosts that the record has or had, by place.
func (m *Memory) Places() []Place { return m.places }

func (s *Slot) disturb() { s.Quiet, s.Judged = false, false }

// syncHosts tells whether groups have to be placed anew.
func (m *Memory) syncHosts(v *fleet.View, mark func(int, *fleetpb.Host) Mark) (anew bool) {
	m.syncs++
	m.anyHost = false
	met := 0
	for h := range v.Hosts() {
		i, known := m.index[h.GetId()]
		if !known {
			i = int32(len(m.places)) //nolint:gosec // as many as there are hosts
			m.places = append(m.places, Place{})
			m.index[h.GetId()] = i
			anew = anew || m.places[Nowhere].Entries > 0
		}
		p, now := &m.places[i], mark(int(i), h)
		p.changed = p.rec != h || p.mark != now
		m.anyHost = m.anyHost || p.changed
		p.rec, p.mark, p.sync = h, now, m.syncs
		met++
	}
	if met == len(m.index) {
		return anew
	}
	for id, i := range m.index {
		if p := &m.places[i]; p.sync != m.syncs { // it was taken out
			anew = anew || p.Entries > 0
			delete(m.index, id)
		}
	}
	return anew
}

// disturbHosts has the groups looked at that are on hosts that have changed.
func (m *Memory) disturbHosts() {
	for i := range m.slots {
		for _, at := range m.slots[i].At {
			if m.places[at].changed {
				m.slots[i].disturb()
				break
			}
		}
	}
}

// syncGroups takes the groups over that are not the ones that they were.
func (m *Memory) syncGroups(v *fleet.View) {
	i := 0
	for g := range v.Groups() {
		switch {
		case i < len(m.slots) && m.slots[i].Group == g:
		case i < len(m.slots) && m.slots[i].Group.GetId() == g.GetId():
			m.take(&m.slots[i])
			m.slots[i] = m.slot(g)
		default:
			m.merge(v)
			return
		}
		i++
	}
	if i < len(m.slots) {
		m.merge(v)
	}
}

// merge is syncGroups for when groups came or went.
func (m *Memory) merge(v *fleet.View) {
	old := m.slots
	m.slots = make([]Slot, 0, v.GroupCount())
	for g := range v.Groups() {
		for len(old) > 0 && old[0].Group.GetId() < g.GetId() {
			m.take(&old[0])
			old = old[1:]
		}
		if len(old) > 0 && old[0].Group == g {
			m.slots = append(m.slots, old[0])
			old = old[1:]
			continue
		}
		m.slots = append(m.slots, m.slot(g))
	}
	for i := range old {
		m.take(&old[i])
	}
}

// slot places a group.
func (m *Memory) slot(g *fleetpb.Group) Slot {
	s := Slot{Group: g, At: make([]int32, 0, len(g.GetReplicas()))}
	retired := g.GetState() == fleetpb.GroupState_GROUP_STATE_RETIRED
	for _, r := range g.GetReplicas() {
		at := m.index[r.GetHostId()]
		s.At = append(s.At, at)
		m.places[at].Entries++
		if !retired && member(r) {
			m.places[at].Load++
			s.OnTheWay = s.OnTheWay || !r.GetVoter() || r.GetMove()
		}
	}
	return s
}

// take takes a group off its hosts.
func (m *Memory) take(s *Slot) {
	retired := s.Group.GetState() == fleetpb.GroupState_GROUP_STATE_RETIRED
	for i, r := range s.Group.GetReplicas() {
		p := &m.places[s.At[i]]
		p.Entries--
		if !retired && member(r) {
			p.Load--
		}
	}
}

func member(r *fleetpb.Replica) bool {
	return r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED
}
