package fleet

import (
	"cmp"

	"github.com/google/btree"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet/drummers"
	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/words"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// degree of the trees: wide enough that a lookup touches few nodes, narrow enough
// that copying a node after a freeze is cheap.
const degree = 32

// incarnationSpan is how many numbers one incarnation can give. Numbers stay below
// 2^53, which JSON readers keep exact, up to two million incarnations.
const incarnationSpan = 1 << 32

// maxIncarnation keeps the numbers of the last incarnation inside 64 bits.
const maxIncarnation = 1 << 31

// taken is an entry of the index of names: a name, with the region if each has a group of
// that name, and the live group.
type taken struct {
	name, region string
	id           uint64
}

// called is the entry of a full name, to look it up.
func called(full string) taken {
	name, region := statemachines.CutRegion(full)
	return taken{name: name, region: region}
}

func (t taken) compare(other taken) int {
	return cmp.Or(cmp.Compare(t.name, other.name), cmp.Compare(t.region, other.region))
}

// tally is how many groups of an app have a name.
type tally struct {
	app string
	n   int
}

// state is the record's content. Trees hold messages that are never changed in place.
type state struct {
	incarnation, nextGroup, nextReplica, nextOperation, nextEvent, revision uint64

	policy     *fleetpb.Policy
	brake      *fleetpb.Brake
	drummers   drummers.List
	paused     []string // kinds of operation, sorted; never changed in place
	hosts      *tree[string, *fleetpb.Host]
	groups     *tree[uint64, *fleetpb.Group]
	names      *btree.BTreeG[taken] // groups that are no tombstones
	tallies    *btree.BTreeG[tally] // of names
	operations *tree[uint64, *fleetpb.Operation]
	events     *btree.BTreeG[*fleetpb.Event]
	ended      *btree.BTreeG[uint64] // ids of the operations that have ended
	// configurations by app and revision; the highest of an app is in force.
	configurations *btree.BTreeG[*fleetpb.Configuration]
}

func newState() *state {
	return &state{
		incarnation:   1,
		nextGroup:     uint64(ids.FirstGroup),
		nextReplica:   1,
		nextOperation: 1,
		nextEvent:     1,
		policy:        rules.DefaultPolicy(),
		brake:         &fleetpb.Brake{},
		hosts:         newTree((*fleetpb.Host).GetId),
		groups:        newTree((*fleetpb.Group).GetId),
		names:         btree.NewG(degree, func(a, b taken) bool { return a.compare(b) < 0 }),
		operations:    newTree((*fleetpb.Operation).GetId),
		events:        btree.NewG(degree, func(a, b *fleetpb.Event) bool { return a.GetSequence() < b.GetSequence() }),
		ended:         btree.NewG(degree, cmp.Less[uint64]),
		tallies:       btree.NewG(degree, func(a, b tally) bool { return a.app < b.app }),

		configurations: btree.NewG(degree, func(a, b *fleetpb.Configuration) bool {
			return cmp.Or(cmp.Compare(a.GetApp(), b.GetApp()), cmp.Compare(a.GetRevision(), b.GetRevision())) < 0
		}),
	}
}

// clone shares everything copy-on-write.
func (s *state) clone() *state {
	c := *s
	c.hosts, c.groups, c.names = s.hosts.Clone(), s.groups.Clone(), s.names.Clone()
	c.operations, c.events, c.ended = s.operations.Clone(), s.events.Clone(), s.ended.Clone()
	c.tallies, c.configurations = s.tallies.Clone(), s.configurations.Clone()
	return &c
}

// recover begins a higher incarnation.
func (s *state) recover(generation uint64) {
	if s.incarnation >= maxIncarnation {
		return
	}
	s.drummers = drummers.List{} // others keep the record now, in another group
	s.incarnation = min(max(s.incarnation+1, generation), maxIncarnation)
	base := (s.incarnation - 1) * incarnationSpan
	s.nextGroup = max(s.nextGroup, base+uint64(ids.FirstGroup))
	s.nextReplica = max(s.nextReplica, base+1)
	s.nextOperation = max(s.nextOperation, base+1)
	s.reissue()
	s.revision++
}

// take gives a name to a group; false when it was taken already.
func (s *state) take(g *fleetpb.Group) bool {
	_, twice := s.names.ReplaceOrInsert(taken{g.GetSpec().GetName(), g.GetSpec().GetRegion(), g.GetId()})
	if !twice {
		s.count(g.GetSpec().GetApp(), 1)
	}
	return !twice
}

// free takes a name back.
func (s *state) free(g *fleetpb.Group) {
	if _, had := s.names.Delete(called(words.Full(g))); had {
		s.count(g.GetSpec().GetApp(), -1)
	}
}

func (s *state) count(app string, n int) {
	t, _ := s.tallies.Get(tally{app: app})
	if t.n += n; t.n == 0 {
		s.tallies.Delete(tally{app: app})
		return
	}
	s.tallies.ReplaceOrInsert(tally{app, t.n})
}

func (s *state) host(id string) *fleetpb.Host { return s.hosts.Get(id) }

func (s *state) group(id uint64) *fleetpb.Group { return s.groups.Get(id) }

// named is the live group of a full name, or nil.
func (s *state) named(full string) *fleetpb.Group {
	t, ok := s.names.Get(called(full))
	if !ok {
		return nil
	}
	return s.group(t.id)
}

func (s *state) operation(id uint64) *fleetpb.Operation { return s.operations.Get(id) }

// clone is proto.Clone with its type.
func clone[M proto.Message](m M) M { return proto.CloneOf(m) }
