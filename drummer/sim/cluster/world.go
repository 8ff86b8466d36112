package cluster

import (
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/sim/cluster/agenda"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/must"
	"github.com/drumline/drumline/nodehost/replicas"
	"github.com/drumline/drumline/statemachines"
)

// World is a cluster in virtual time.
type World struct {
	Rng    *rand.Rand
	Now    time.Duration // what clocks run on
	queue  agenda.Queue  // by that time
	Agenda agenda.Queue  // by virtual time
	// skipped is how much the jumps left out.
	skipped time.Duration
	seq     uint64
	waiting int           // events planned that are no routine
	Active  time.Duration // when something happened last
	NoJumps bool
	Steps   int

	past     []*fleet.View  // the last few views of the record, oldest first
	Record   *fleet.Machine // of the drummers' group, with all that is committed
	term     uint64         // of the drummers' group
	Leader   int            // who leads it, or -1
	Drummers []*Drummer
	electing bool
	// Votes are the numbers of the drummers that vote in their group; nil while all do.
	Votes map[uint64]bool

	Hosts    []*Host
	byID     map[string]*Host
	layout   uint64 // counts the changes of which data is where
	Regions  []string
	Cuts     map[[2]*Host]bool // pairs of hosts of which one does not hear the other
	Groups   map[uint64]*Group
	Order    []*Group // groups by number
	sessions uint64
	named    int            // hosts that were ever brought
	Apps     []*fleetpb.App // what every host runs
	Origin   int64          // wall clock of the beginning, in milliseconds
	From     bool           // it began as an export shows

	// DownAfter, passGap and latency are drawn once.
	DownAfter, passGap, latency time.Duration
	Lossy                       bool          // proposals, orders and answers get lost, late, twice
	Harsh                       bool          // disks are destroyed whatever is on them
	Changed                     time.Duration // when a fault struck or ended last
	// Gossips tells that hosts have an opinion of each other; UnreachableAfter is how long
	// one that its neighbours hear may be silent.
	Gossips          bool
	UnreachableAfter time.Duration
	// Twice tells that every plan is made a second time, from nothing, and must be the same.
	Twice bool

	Book    ledger
	Witness Witness
}

// Witness is called when something happens that must keep a promise.
type Witness interface {
	// CheckOrder sees an order that is sent.
	CheckOrder(s *Session, o *Order)
	// CheckProposal sees what a drummer proposes.
	CheckProposal(d *Drummer, c *fleetpb.Command)
	// CheckCommand sees what the record has taken, and the record before it.
	CheckCommand(c *fleetpb.Command, before *fleet.View)
	// CheckChanged sees a group whose membership was another before.
	CheckChanged(g *Group, c *drummerpb.Change, before *drummerpb.Membership)
	// CheckFresh sees a replica that a host starts from nothing.
	CheckFresh(h *Host, r replicas.Record)
	// CheckDestroyed sees a replica whose data a host is about to remove.
	CheckDestroyed(h *Host, k replicas.Key)
	// CheckHalted sees a replica that a host is about to stop and start again.
	CheckHalted(h *Host, g *Group, k replicas.Key)
	// CheckExecuted sees an order that a host begins to carry out.
	CheckExecuted(h *Host, x replicas.Execute)
	// CheckLoaded sees a group that is loaded with a state, and how much of it was applied.
	CheckLoaded(g *Group, b *drummerpb.Load, applied uint64)
	// CheckWelcomed sees a host whose stream a drummer takes in.
	CheckWelcomed(s *Session)
	// CheckObeyed sees an order that a host has carried out.
	CheckObeyed(h *Host, o *Order)
}

// plansTwice is of how many worlds one plans everything twice.
const plansTwice = 8

// gossips is of how many worlds the hosts of one gossip.
const gossips = 4

// New makes a cluster of three drummers and some hosts, which nobody leads yet.
func New(seed uint64, hosts int) *World {
	w := Blank(seed)
	for i := range hosts {
		w.AddHost(w.Regions[i%len(w.Regions)])
	}
	return w
}

// Blank makes a world without hosts.
func Blank(seed uint64) *World {
	w := &World{
		Rng:    rand.New(rand.NewPCG(seed, 0x5eed)),
		layout: 1,
		Record: fleet.New(),
		Leader: -1,
		byID:   map[string]*Host{},
		Cuts:   map[[2]*Host]bool{},
		Groups: map[uint64]*Group{},
		Book:   newLedger(),
		Twice:  seed%plansTwice == 0,

		Gossips: seed%gossips == 3, Apps: []*fleetpb.App{{Name: "kv", Version: 1}}, Origin: 1_700_000_000_000,
	}
	w.Regions = []string{"east", "west", "north"}[:1+w.Rng.IntN(3)]
	w.passGap = w.Between(150*time.Millisecond, 500*time.Millisecond)
	w.latency = []time.Duration{2, 10, 60}[w.Rng.IntN(3)] * time.Millisecond
	w.DownAfter = []time.Duration{8, 10, 10, 10, 30}[w.Rng.IntN(5)] * time.Second
	for i := range 3 {
		w.Drummers = append(w.Drummers, newDrummer(w, i))
	}
	w.UnreachableAfter = 2*w.DownAfter + 5*time.Second
	return w
}

// Begin sets the limits and has a drummer elected. The witness is there by now.
func (w *World) Begin() {
	if !w.From {
		w.apply(&fleetpb.Command{Op: &fleetpb.Command_SetPolicy{SetPolicy: w.Policy()}})
	}
	w.LookToLead()
}

// Policy is the one that the world begins with.
func (w *World) Policy() *fleetpb.Policy {
	p := &fleetpb.Policy{DownAfterMs: w.DownAfter.Milliseconds(), SuspectAfterMs: 3000}
	if w.Gossips {
		p.UnreachableAfterMs = w.UnreachableAfter.Milliseconds()
	}
	return p
}

// lag draws how long a message is on its way.
func (w *World) lag() time.Duration {
	d := w.latency/2 + time.Duration(w.Rng.Int64N(int64(w.latency)))
	if w.Lossy && w.One(20) {
		d += w.Between(0, 3*time.Second)
	}
	return d
}

// UnixMs is the time on a wall clock that is right.
func (w *World) UnixMs() int64 { return w.Origin + w.Virtual().Milliseconds() }

// apply applies a command to the record, as if it came out of the drummers' log.
func (w *World) apply(c *fleetpb.Command) *fleetpb.Result {
	c = proto.CloneOf(c)
	c.AtUnixMs = w.UnixMs()
	data, err := proto.Marshal(c)
	must.NoError(err, "marshal a command")
	results := make([]statemachines.Result, 1)
	before := w.Record.Freeze()
	w.past = append(w.past, before)
	w.past = w.past[max(0, len(w.past)-8):]
	w.Record.Apply([]statemachines.Command{{Version: fleet.AppVersion, Data: data}}, results)
	var r fleetpb.Result
	must.NoError(proto.Unmarshal(results[0].Data, &r), "unmarshal a result")
	w.Note("record: %s %s", text(c), r.GetCode())
	w.Book.Mark('r', w.Now, uint64(r.GetCode()), uint64(len(data)))
	if r.GetCode() == fleetpb.Code_CODE_OK {
		w.Witness.CheckCommand(c, before)
	}
	return &r
}

// Ask is an operator's command; it reaches the record while some drummer leads. It is
// refused when it does not.
func (w *World) Ask(c *fleetpb.Command) *fleetpb.Result {
	d := w.Lead()
	if d == nil {
		return &fleetpb.Result{Code: fleetpb.Code_CODE_CONFLICT, Detail: "nobody leads"}
	}
	w.Active = w.Now
	r := w.apply(c)
	d.wake()
	return r
}

// Ready tells that every host that runs is in the record as it is now.
func (w *World) Ready() bool {
	v := w.Record.Freeze()
	for _, h := range w.Hosts {
		if h.Running && v.Host(ids.Host(h.Disk.ID)).GetBootEpoch() != h.Disk.epoch {
			return false
		}
	}
	return true
}

// Lead is the drummer that leads and knows it; nil for none.
func (w *World) Lead() *Drummer {
	if w.Leader < 0 {
		return nil
	}
	if d := w.Drummers[w.Leader]; d.leads && d.term == w.term && !d.Paused && d.up && d.Majority() {
		return d
	}
	return nil
}

// Recorded returns a group of the record's by its number.
func (w *World) Recorded(id uint64) *fleetpb.Group { return w.Record.Freeze().Group(ids.Group(id)) }

// Host returns the host that has the id now; nil for one whose disk is gone.
func (w *World) Host(id string) *Host { return w.byID[id] }

// cutOff tells that two hosts do not hear each other, whichever of them is deaf.
func (w *World) cutOff(a, b *Host) bool {
	return a != b && (a.Dark || b.Dark || len(w.Cuts) > 0 && (w.Cuts[[2]*Host{a, b}] || w.Cuts[[2]*Host{b, a}]))
}
