package simulate

import (
	"container/heap"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
)

// retry is the pause of those who got no answer.
const retry = time.Second

// Row is the state at one moment. Amounts are sums over all clients.
type Row struct {
	// Time in seconds.
	Time     float64 `json:"time"`
	Capacity float64 `json:"capacity"`
	Wants    float64 `json:"wants"`
	// Leased is what clients may use by leases that run, Safe what those use in
	// addition that have lost their server.
	Leased float64 `json:"leased"`
	Safe   float64 `json:"safe"`
	// Leaderless counts servers without a leader.
	Leaderless int `json:"leaderless"`
}

// Result is what came of a scenario.
type Result struct {
	Title string `json:"title"`
	Rows  []Row  `json:"rows"`
	// Requests counts those that were answered.
	Requests int `json:"requests"`
	// Most is the largest part of the root's capacity that was leased at any moment,
	// Mean that of the rows.
	Most float64 `json:"most"`
	Mean float64 `json:"mean"`
}

// world is a scenario that runs.
type world struct {
	*Scenario
	rand    *rand.Rand
	now     time.Duration
	agenda  agenda
	turn    uint64 // of the newest entry
	servers []*server
	clients []*client
	result  Result
	err     error
}

// Run runs a scenario to its end, or until ctx ends.
func Run(ctx context.Context, s *Scenario) (*Result, error) {
	w := &world{Scenario: s, rand: rand.New(rand.NewPCG(s.Seed, 1)), result: Result{Title: s.Title}}
	w.setUp()
	for w.err == nil && len(w.agenda) > 0 && w.agenda[0].at <= time.Duration(s.Duration) {
		next, _ := heap.Pop(&w.agenda).(entry)
		w.now = next.at
		next.do()
		w.measure()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	for _, r := range w.result.Rows {
		w.result.Mean += part(r) / float64(len(w.result.Rows))
	}
	return &w.result, w.err
}

// part of the capacity that is leased.
func part(r Row) float64 {
	if r.Leased == 0 || r.Capacity == 0 {
		return 0
	}
	return r.Leased / r.Capacity
}

func (w *world) setUp() {
	for _, spec := range w.Servers {
		w.servers = append(w.servers, w.newServer(spec))
	}
	for _, v := range w.servers {
		if v.parent != nil {
			w.at(0, v.refresh)
		}
	}
	for _, spec := range w.Clients {
		for range spec.Count {
			w.addClient(spec)
		}
	}
	for _, e := range w.Events {
		w.at(time.Duration(e.At), func() { w.happen(e) })
	}
	if w.Mishaps != nil {
		w.repeat(time.Duration(w.Mishaps.From), time.Duration(w.Mishaps.Every), w.mishap)
	}
	w.repeat(0, time.Duration(w.Report), w.row)
}

// at puts something on the agenda.
func (w *world) at(when time.Duration, do func()) {
	w.turn++
	heap.Push(&w.agenda, entry{at: when, turn: w.turn, do: do})
}

// repeat does something again and again.
func (w *world) repeat(first, every time.Duration, do func()) {
	var again func()
	again = func() {
		do()
		w.at(w.now+every, again)
	}
	w.at(first, again)
}

// check keeps the first error, which ends the run.
func (w *world) check(err error) {
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("at %s: %w", w.now, err)
	}
}

func (w *world) happen(e Event) {
	switch e.Kind {
	case lost:
		w.servers[w.serverAt(e.Server)].lose(time.Duration(e.For))
	case spike:
		for _, c := range w.clients[:min(e.Clients, len(w.clients))] {
			c.spike(e.Wants, time.Duration(e.For))
		}
	}
}

func (w *world) mishap() {
	switch w.rand.IntN(3) {
	case 0:
		c := w.clients[w.rand.IntN(len(w.clients))]
		c.spike(c.wants+100, time.Minute)
	case 1:
		w.servers[w.rand.IntN(len(w.servers))].lose(0)
	default:
		w.servers[w.rand.IntN(len(w.servers))].lose(time.Duration(w.rand.Int64N(int64(time.Minute))))
	}
}

// measure looks at everybody after every event.
func (w *world) measure() { w.result.Most = max(w.result.Most, part(w.look())) }

func (w *world) row() { w.result.Rows = append(w.result.Rows, w.look()) }

// root is the root's capacity.
func (w *world) root() float64 {
	if w.Servers[0].Capacity == nil {
		return 0
	}
	return *w.Servers[0].Capacity
}

func (w *world) look() Row {
	r := Row{Time: w.now.Seconds(), Capacity: w.root()}
	for _, c := range w.clients {
		r.Wants += c.wants
		if c.leased() {
			r.Leased += min(c.holds, c.wants)
		} else {
			r.Safe += c.safe()
		}
	}
	for _, v := range w.servers {
		if v.down > 0 {
			r.Leaderless++
		}
	}
	return r
}

// agenda is what will be done, the earliest first; what was added first comes first
// among equals.
type agenda []entry

type entry struct {
	at   time.Duration
	turn uint64
	do   func()
}

var _ heap.Interface = (*agenda)(nil)

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (a agenda) Len() int { return len(a) }

// Less implements heap.Interface.
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || (a[i].at == a[j].at && a[i].turn < a[j].turn)
}

// Swap implements heap.Interface.
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push implements heap.Interface.
func (a *agenda) Push(x any) {
	if e, ok := x.(entry); ok {
		*a = append(*a, e)
	}
}

// Pop implements heap.Interface.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	e := (*a)[last]
	*a = (*a)[:last]
	return e
}

// oneBand is what a client alone wants.
func oneBand(priority int64, wants float64) []*capacitypb.Band {
	return []*capacitypb.Band{{Priority: priority, Clients: 1, Wants: wants}}
}
