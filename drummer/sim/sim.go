package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/drumline/drumline/drummer/export"
	"github.com/drumline/drumline/drummer/sim/cluster"
	"github.com/drumline/drumline/drummer/sim/cover"
	"github.com/drumline/drumline/drummer/sim/crew"
	"github.com/drumline/drumline/drummer/sim/doubt"
	"github.com/drumline/drumline/drummer/sim/rescue"
	"github.com/drumline/drumline/drummer/sim/revive"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Setup says what to run. The same Setup gives the same run.
type Setup struct {
	Seed uint64
	// Hosts, Groups and Faults are drawn from the seed when they are 0: 3 to 12, 1 to 60
	// and 10 to 24.
	Hosts, Groups, Faults int
	// Wishes of operators, which come after the faults: drawn when they are 0, up to 12;
	// none when they are negative. Blows are what is rarer and takes longer, after the
	// wishes: drawn when they are 0, up to 3; none when they are negative.
	Wishes, Blows int
	// Errands of operators, each with a fault that lies in wait for one step of it: as many
	// as errandsDrawn when they are 0; none when they are negative.
	Errands int
	// From is the fleet that the run begins with, File where it was read; nil for a new one.
	// Its hosts are those that it has, and no groups are launched beside its own.
	From *export.Fleet
	File string
	// Keep are the faults and wishes that come true, by their place; nil means all.
	Keep []int
	// Story keeps what happened, line by line, which is slow.
	Story bool
}

// Outcome is what came of a run.
type Outcome struct {
	// Setup with everything drawn.
	Setup Setup
	// Faults that were drawn, kept or not.
	Faults []Fault
	// Violations of promises, the first one first.
	Violations []string
	// Hash of everything that happened.
	Hash uint64
	// Virtual is how long the cluster lived, Steps how many events that took.
	Virtual time.Duration
	Steps   int
	// Proposals and Orders count what the supervisor did.
	Proposals, Orders int
	Coverage          cover.Table
	Story             []string
}

// world is a cluster that faults strike, whose operator is here and whose promises are
// checked.
type world struct {
	*cluster.World
	struck map[uint64][]cover.Row // what hit operations that have not ended
	byHand time.Duration          // when an operator moved a replica last
	doubt  *doubt.Doubt
	rescue *rescue.Person
	crew   *crew.Crew
	tended time.Duration // when the operator looked last, once all was healed
	cover  cover.Table
	traps  []*trap
}

// newWorld makes a cluster of three drummers and some hosts, which nobody leads yet.
func newWorld(seed uint64, hosts int) *world { return watched(cluster.New(seed, hosts)) }

// watched lets a cluster begin under the eyes of its witness.
func watched(c *cluster.World) *world {
	w := &world{World: c, struck: map[uint64][]cover.Row{}, doubt: doubt.New(c), rescue: rescue.New(c), crew: crew.New(c), cover: cover.Table{}}
	w.Witness, w.crew.Step = w, w.checkCrew
	w.Begin()
	return w
}

// begin makes the world that a setup begins with.
func begin(s *Setup) *world {
	if s.From == nil {
		return newWorld(s.Seed, s.Hosts)
	}
	w := watched(revive.New(s.Seed, s.From))
	s.Hosts, s.Groups = len(w.Hosts), len(w.Order)
	return w
}

// Run lives one schedule: launch, faults, healing, rest.
func Run(s Setup) *Outcome {
	rng := rand.New(rand.NewPCG(s.Seed, 0xd1ce))
	hosts, groups, faults := 3+rng.IntN(10), few(rng), 10+rng.IntN(15)
	s.Hosts, s.Groups, s.Faults = or(s.Hosts, hosts), or(s.Groups, groups), or(s.Faults, faults)
	harsh := rng.IntN(8) == 0
	list, hours := draw(rng, s.Faults)
	s.Wishes = or(s.Wishes, rng.IntN(13))
	faulty := list
	list = append(list, later(rng, wishes(), faulty, s.Wishes)...)
	s.Blows = or(s.Blows, max(0, rng.IntN(6)-2))
	list = append(list, later(rng, blows(), faulty, s.Blows)...)
	s.Errands = or(s.Errands, errandsDrawn)
	list = append(list, drawErrands(rng, s.Seed, hours, faulty, s.Errands)...)
	w := begin(&s)
	w.Harsh, w.Book.Telling = harsh, s.Story
	w.Run(time.Minute, func() bool {
		return w.Lead() != nil && (s.From != nil || w.Record.Freeze().HostCount() == s.Hosts) && w.Ready()
	})
	if s.From == nil {
		w.launch(s.Groups)
	}
	for i, f := range list {
		if s.Keep == nil || slices.Contains(s.Keep, i) {
			w.At(f.At, func() { w.hit(f) })
		}
	}
	broken := func() bool { return len(w.Book.Violations) > 0 }
	w.Run(hours, broken)
	if !broken() {
		w.heal()
		w.converge()
	}
	w.closeBook()
	return w.result(s, list)
}

// Many runs so many schedules, from a seed on, on as many workers, and hands each outcome
// over, one at a time and in no order. It stops early when each returns false.
func Many(first Setup, n, workers int, each func(*Outcome) bool) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	next, end := first.Seed, first.Seed+uint64(n)
	for range workers {
		wg.Go(func() {
			mu.Lock()
			defer mu.Unlock()
			for next < end {
				s := first
				s.Seed = next
				next++
				mu.Unlock()
				o := Run(s)
				mu.Lock()
				if !each(o) {
					next = end
				}
			}
		})
	}
	wg.Wait()
}

func (w *world) result(s Setup, list []Fault) *Outcome {
	b := &w.Book
	b.Mark('E', w.Virtual(), uint64(b.Proposals), uint64(b.Orders))
	return &Outcome{
		Setup: s, Faults: list, Violations: b.Violations, Hash: b.Hash, Virtual: w.Virtual(), Steps: w.Steps,
		Proposals: b.Proposals, Orders: b.Orders, Coverage: w.cover, Story: b.Story,
	}
}

func or(n, drawn int) int {
	if n != 0 {
		return n
	}
	return drawn
}

// few draws 1 to 60, each scale as often as another.
func few(rng *rand.Rand) int {
	most := []int{2, 4, 8, 16, 30, 60}[rng.IntN(6)]
	return 1 + rng.IntN(most)
}

func spec(name string, replicas int, regions ...*fleetpb.RegionCount) *fleetpb.Spec {
	app, _, _ := strings.Cut(name, "/")
	return &fleetpb.Spec{Name: name, App: app, Replicas: uint32(replicas), Regions: regions}
}

func (w *world) create(specs ...*fleetpb.Spec) {
	w.Ask(&fleetpb.Command{Op: &fleetpb.Command_CreateGroups{CreateGroups: &fleetpb.CreateGroups{Specs: specs}}})
}

func name(n int) string { return fmt.Sprintf("kv/g%d", n) }

// launch asks for the first groups.
func (w *world) launch(groups int) {
	specs := make([]*fleetpb.Spec, 0, groups)
	for i := range groups {
		specs = append(specs, w.spec(name(i), w.Rng.Uint64()))
	}
	w.create(specs...)
}

// none says that nothing is drawn where nothing was: 0 would draw.
func none(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// Command is what replays a run.
func (s Setup) Command() string {
	c := fmt.Sprintf("drummer-cmd simulate --seed %d --schedules 1", s.Seed)
	if s.From != nil {
		c += " --from " + s.File
	} else {
		c += fmt.Sprintf(" --hosts %d --groups %d", s.Hosts, s.Groups)
	}
	c += fmt.Sprintf(" --faults %d --wishes=%d --blows=%d --errands=%d", s.Faults, none(s.Wishes), none(s.Blows), none(s.Errands))
	if s.Keep != nil {
		c += " --keep " + strings.Trim(strings.ReplaceAll(fmt.Sprint(s.Keep), " ", ","), "[]")
	}
	return c
}
