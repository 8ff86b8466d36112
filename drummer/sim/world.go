package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/planner"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/must"
	"github.com/drumline/drumline/statemachines"
)

// world is a cluster in virtual time.
type world struct {
	rng    *rand.Rand
	now    time.Duration // what clocks run on
	queue  queue         // by that time
	agenda queue         // by virtual time
	// skipped is how much the jumps left out.
	skipped time.Duration
	seq     uint64
	waiting int           // events planned that are no routine
	active  time.Duration // when something happened last
	noJumps bool
	steps   int

	past     []*fleet.View  // the last few views of the record, oldest first
	record   *fleet.Machine // of the drummers' group, with all that is committed
	term     uint64         // of the drummers' group
	leader   int            // who leads it, or -1
	drummers []*drummer
	electing bool

	hosts    []*host
	byID     map[string]*host
	regions  []string
	cuts     map[[2]*host]bool // pairs of hosts of which one does not hear the other
	groups   map[uint64]*group
	order    []*group // groups by number
	sessions uint64
	named    int // hosts that were ever there

	// downAfter, passGap and latency are drawn once.
	downAfter, passGap, latency time.Duration
	lossy                       bool          // proposals, orders and answers get lost, late, twice
	harsh                       bool          // disks are destroyed whatever is on them
	changed                     time.Duration // when a fault struck or ended last

	book ledger
}

// newWorld makes a cluster of three drummers and some hosts, which nobody leads yet.
func newWorld(seed uint64, hosts int) *world {
	w := &world{
		rng:    rand.New(rand.NewPCG(seed, 0x5eed)),
		record: fleet.New(),
		leader: -1,
		byID:   map[string]*host{},
		cuts:   map[[2]*host]bool{},
		groups: map[uint64]*group{},
		book:   newLedger(),
	}
	w.regions = []string{"east", "west", "north"}[:1+w.rng.IntN(3)]
	w.passGap = w.between(150*time.Millisecond, 500*time.Millisecond)
	w.latency = []time.Duration{2, 10, 60}[w.rng.IntN(3)] * time.Millisecond
	w.downAfter = []time.Duration{8, 10, 10, 10, 30}[w.rng.IntN(5)] * time.Second
	for i := range 3 {
		w.drummers = append(w.drummers, newDrummer(w, i))
	}
	for i := range hosts {
		w.addHost(w.regions[i%len(w.regions)])
	}
	w.apply(&fleetpb.Command{Op: &fleetpb.Command_SetPolicy{SetPolicy: &fleetpb.Policy{
		DownAfterMs: w.downAfter.Milliseconds(), SuspectAfterMs: 3000,
	}}})
	w.lookToLead()
	return w
}

// lag draws how long a message is on its way.
func (w *world) lag() time.Duration {
	d := w.latency/2 + time.Duration(w.rng.Int64N(int64(w.latency)))
	if w.lossy && w.one(20) {
		d += w.between(0, 3*time.Second)
	}
	return d
}

// apply applies a command to the record, as if it came out of the drummers' log.
func (w *world) apply(c *fleetpb.Command) *fleetpb.Result {
	c = proto.CloneOf(c)
	c.AtUnixMs = 1_700_000_000_000 + w.virtual().Milliseconds()
	data, err := proto.Marshal(c)
	must.NoError(err, "marshal a command")
	results := make([]statemachines.Result, 1)
	before := w.record.Freeze()
	w.past = append(w.past, before)
	w.past = w.past[max(0, len(w.past)-8):]
	w.record.Apply([]statemachines.Command{{Data: data}}, results)
	var r fleetpb.Result
	must.NoError(proto.Unmarshal(results[0].Data, &r), "unmarshal a result")
	w.note("record: %s %s", text(c), r.GetCode())
	w.book.mark('r', w.now, uint64(r.GetCode()), uint64(len(data)))
	if r.GetCode() == fleetpb.Code_CODE_OK {
		w.checkCommand(c, before)
		w.followOperations(planner.GroupOf(c))
	}
	return &r
}

// ask is an operator's command; it reaches the record while some drummer leads.
func (w *world) ask(c *fleetpb.Command) {
	d := w.lead()
	if d == nil {
		return
	}
	w.active = w.now
	w.apply(c)
	d.wake()
}

// lead is the drummer that leads and knows it; nil for none.
func (w *world) lead() *drummer {
	if w.leader < 0 {
		return nil
	}
	if d := w.drummers[w.leader]; d.leads && d.term == w.term && !d.paused && d.up && d.majority() {
		return d
	}
	return nil
}

// group returns a group of the record's by its number.
func (w *world) recorded(id uint64) *fleetpb.Group { return w.record.Freeze().Group(ids.Group(id)) }

// host returns the host that has the id now; nil for one whose disk is gone.
func (w *world) host(id string) *host { return w.byID[id] }

// cutOff tells that two hosts do not hear each other, whichever of them is deaf.
func (w *world) cutOff(a, b *host) bool {
	return a != b && (a.dark || b.dark || len(w.cuts) > 0 && (w.cuts[[2]*host{a, b}] || w.cuts[[2]*host{b, a}]))
}

func spec(name string, replicas int, regions ...*fleetpb.RegionCount) *fleetpb.Spec {
	return &fleetpb.Spec{Name: name, App: "kv", Replicas: uint32(replicas), Regions: regions}
}

func (w *world) create(specs ...*fleetpb.Spec) {
	w.ask(&fleetpb.Command{Op: &fleetpb.Command_CreateGroups{CreateGroups: &fleetpb.CreateGroups{Specs: specs}}})
}

func name(n int) string { return fmt.Sprintf("kv/g%d", n) }
