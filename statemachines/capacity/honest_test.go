package capacity_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines/capacity"
)

// world is a resource and its clients in virtual time: calls are late, lost, given
// up and repeated, leaders change, and a group is restored from a state that lacks
// the end. Clients are honest: they stop by their own clocks. What they use is all
// that the check looks at.
type world struct {
	t       *testing.T
	rand    *rand.Rand
	r       *resource
	real    time.Duration
	lag     time.Duration // of the lease clock behind real time; it only grows
	clients []*honest
	mail    []letter
	// ceiling is the largest capacity whose leases may still run, until lowered.
	capacity, ceiling float64
	lowered           time.Duration
	algorithm         capacitypb.Algorithm
	older             []byte // a snapshot
	grants, most      int
	n                 uint64 // of the newest answer
}

// letter is a message on its way.
type letter struct {
	at   time.Duration
	open func()
}

// honest is a client. An original one knows no tokens, does not count its requests,
// and goes on using what it has until it reads that it has less.
type honest struct {
	id       string
	original bool
	weight   int64
	priority int64
	wants    float64
	holds    float64
	until    time.Duration
	token    *capacitypb.Token
	has      float64 // of the newest answer
	known    bool
	serial   uint64
	call     int // the one in flight; answers to others are dropped
	due      time.Duration
}

func (h *honest) uses(now time.Duration) float64 {
	if now > h.until {
		return 0
	}
	return h.holds
}

const longLease = 20 * time.Second

func newWorld(t *testing.T, a capacitypb.Algorithm, seed uint64) *world {
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 77)), algorithm: a, r: newResource(t)}
	w.configure(100)
	w.save()
	for i := range 8 {
		w.clients = append(w.clients, &honest{
			id: fmt.Sprintf("c%d", i), original: i%3 == 0, weight: 1 + int64(i%2)*2, priority: int64(i % 3),
			wants: w.someWants(), due: time.Duration(w.rand.IntN(int(5 * time.Second))),
		})
	}
	return w
}

func (w *world) someWants() float64 { return w.rand.Float64() * []float64{10, 60, 400}[w.rand.IntN(3)] }

func (w *world) configure(c float64) {
	if c < w.capacity {
		w.ceiling, w.lowered = max(w.capacity, w.ceiling), w.real+longLease
	}
	w.capacity = c
	w.ceiling = max(w.ceiling, c)
	d := define(w.algorithm, c)
	d.LeaseLengthMs, d.RefreshIntervalMs = longLease.Milliseconds(), 5000
	d.Floors = []*capacitypb.Floor{{Priority: 0, Capacity: 7}}
	w.clock()
	w.r.configure(d)
}

// clock sets the lease clock to what a leader would stamp.
func (w *world) clock() { w.r.now = max(w.r.now, w.real-w.lag) }

func (w *world) send(after time.Duration, f func()) {
	w.mail = append(w.mail, letter{at: w.real + after, open: f})
}

// delay is short, but long now and then; lost tells that the message never arrives.
func (w *world) delay() (d time.Duration, lost bool) {
	if w.rand.IntN(6) == 0 {
		return time.Duration(w.rand.Int64N(int64(25 * time.Second))), w.rand.IntN(3) == 0
	}
	return time.Duration(w.rand.Int64N(int64(50 * time.Millisecond))), false
}

// ask begins a call; one before it that was not answered is given up.
func (w *world) ask(h *honest) {
	if w.rand.IntN(4) == 0 {
		h.wants = w.someWants()
	}
	q := &capacitypb.Request{ClientId: h.id, Bands: []*capacitypb.Band{{Priority: h.priority, Clients: h.weight, Wants: h.wants}}}
	held := w.real <= h.until && h.known
	if held {
		q.Has = proto.Float64(h.has)
	}
	if !h.original {
		h.holds = min(h.holds, h.wants)
		h.serial++
		q.Serial, q.Limited, q.Token = h.serial, true, h.token
		if held {
			q.Has = proto.Float64(h.holds) // what it gave up it does not take back
		}
	}
	h.call++
	sent, call := w.real, h.call
	h.due = w.real + 3*time.Second + time.Duration(w.rand.IntN(int(4*time.Second)))
	for again := true; again; again = w.rand.IntN(5) == 0 { // hosts repeat calls whose outcome they do not know
		if d, lost := w.delay(); !lost {
			w.send(d, func() { w.serve(h, q, sent, call) })
		}
		if h.original {
			h.due = w.real + 8*time.Second // the original waits for its one call
			return
		}
	}
}

// serve decides, and checks that nobody is given what others may still use.
func (w *world) serve(h *honest, q *capacitypb.Request, sent time.Duration, call int) {
	if h.original && call != h.call {
		return // hosts propose nothing for a caller that is gone
	}
	w.clock()
	g := w.r.ask(q)
	if g.GetOutcome() != capacitypb.Outcome_OUTCOME_OK {
		require.Equal(w.t, capacitypb.Outcome_OUTCOME_STALE, g.GetOutcome(), g.GetDetail())
		return
	}
	require.GreaterOrEqual(w.t, g.GetCapacity(), 0.0)
	require.LessOrEqual(w.t, g.GetCapacity(), q.GetBands()[0].GetWants())
	if s := w.r.summary(); g.GetCapacity() > 0 && s.GetN() > w.n && s.GetHeldUntil() == 0 { // a new answer
		require.LessOrEqual(w.t, w.used(h)+g.GetCapacity(), w.capacity*(1+1e-12), "granted to %s at %v", h.id, w.real)
	}
	w.grants, w.n = w.grants+1, w.r.summary().GetN()
	if d, lost := w.delay(); !lost {
		w.send(d, func() { w.receive(h, g, sent, call) })
	}
}

func (w *world) receive(h *honest, g *capacitypb.Grant, sent time.Duration, call int) {
	if call != h.call || (!h.original && h.token.GetN() > g.GetToken().GetN() && h.token.GetGeneration() >= g.GetToken().GetGeneration()) {
		return
	}
	h.call++
	h.holds, h.has, h.known, h.token = g.GetCapacity(), g.GetCapacity(), true, g.GetToken()
	h.until = sent + time.Duration(g.GetLeaseMs())*time.Millisecond
	h.due = w.real + time.Duration(w.rand.IntN(int(5*time.Second)))
}

// trouble is what happens to the group.
func (w *world) trouble() {
	switch w.rand.IntN(60) {
	case 0: // no leader for a while: the lease clock stands still
		w.clock()
		pause := time.Duration(w.rand.Int64N(int64(15 * time.Second)))
		w.lag += pause
		w.real += pause
		w.r.lead++
	case 1:
		w.configure([]float64{100, 40, 160}[w.rand.IntN(3)])
	case 2:
		h := w.clients[w.rand.IntN(len(w.clients))]
		h.holds, h.known, h.token, h.call = 0, false, nil, h.call+1
		w.clock()
		w.r.release(h.id)
	case 3:
		if w.rand.IntN(4) == 0 {
			w.save()
		}
	case 4:
		if w.rand.IntN(6) == 0 {
			w.recover()
		}
	}
}

func (w *world) save() {
	v := w.r.m.Snapshot()
	var out bytes.Buffer
	_, err := v.WriteTo(&out)
	require.NoError(w.t, err)
	v.Close()
	w.older = out.Bytes()
}

// recover makes a new group of an older state; its clock starts anew, and what is on
// its way to the old one is lost.
func (w *world) recover() {
	m := capacity.New()
	require.NoError(w.t, m.Restore(bytes.NewReader(w.older)))
	w.r.m = m
	w.r.m.Recovered(w.r.summary().GetGeneration() + w.r.lead + 1)
	w.r.lead, w.r.now, w.lag = w.r.lead+1, 0, w.real
	w.mail, w.n = nil, 0
	for _, h := range w.clients {
		h.serial += 100
	}
	w.r.revision = w.r.summary().GetRevision()
	w.configure(w.capacity)
	w.save()
	w.lowered = w.real + 2*longLease // what they hold may be renewed for one lease
}

// used sums up what all use now, but one.
func (w *world) used(but *honest) (sum float64) {
	for _, h := range w.clients {
		if h != but {
			sum += h.uses(w.real)
		}
	}
	return sum
}

// check is the promise: by the clients' own clocks no more is used than there was
// when it was granted.
func (w *world) check() {
	used := w.used(nil)
	if w.real > w.lowered { // leases of a higher capacity have ended
		w.ceiling = w.capacity
	}
	require.LessOrEqual(w.t, used, w.ceiling*(1+1e-12), "at %v", w.real)
	if used > w.capacity*0.9 {
		w.most++
	}
}

// step goes to what happens next.
func (w *world) step() {
	next := w.clients[0]
	for _, h := range w.clients {
		if h.due < next.due {
			next = h
		}
	}
	slices.SortStableFunc(w.mail, func(a, b letter) int { return int(a.at - b.at) })
	if len(w.mail) > 0 && w.mail[0].at <= next.due {
		l := w.mail[0]
		w.mail = w.mail[1:]
		w.real = max(w.real, l.at)
		l.open()
	} else {
		w.real = max(w.real, next.due)
		w.ask(next)
	}
	w.trouble()
	w.check()
}

func TestHonestClientsNeverUseMoreThanThereIs(t *testing.T) {
	for _, a := range []capacitypb.Algorithm{proportional, fair, priority} {
		t.Run(a.String(), func(t *testing.T) {
			grants, most := 0, 0
			for seed := range uint64(honestWorlds) {
				w := newWorld(t, a, seed)
				for range 1500 {
					w.step()
					if t.Failed() {
						t.Fatalf("seed %d", seed)
					}
				}
				grants, most = grants+w.grants, most+w.most
			}
			require.Greater(t, grants, 250*honestWorlds, "the world is not dead")
			require.Greater(t, most, 25*honestWorlds, "and uses what there is")
		})
	}
}
