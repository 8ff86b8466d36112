package simulate

import (
	"errors"
	"time"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/lab"
)

// server is the group of one resource, with what its leader has in memory.
type server struct {
	w    *world
	name string
	r    *lab.Resource
	// lag of the lease clock: it stood still while there was no leader.
	lag time.Duration
	// down is how many losses of the leader go on, since when the first of them.
	down  int
	since time.Duration

	parent *server
	// newest answer of the parent, and the token of the newest that was shown.
	newest *capacitypb.Grant
	shown  *capacitypb.Token
	serial uint64
	turn   int           // of the leader's loop; a new leader begins another
	asked  time.Duration // when it last asked
	safe   float64
}

func (w *world) newServer(spec Server) *server {
	v := &server{w: w, name: spec.Name, r: lab.New()}
	if spec.Parent != "" {
		v.parent = w.servers[w.serverAt(spec.Parent)]
	}
	d, err := spec.definition()
	w.check(err)
	w.check(v.r.Configure(d, 0))
	return v
}

// clock sets the lease clock.
func (v *server) clock() { v.r.Now = v.w.now - v.lag }

// lose takes the leader away for a while.
func (v *server) lose(length time.Duration) {
	if v.down == 0 {
		v.since = v.w.now
	}
	v.down++
	v.w.at(v.w.now+length, func() {
		v.down--
		if v.down > 0 {
			return
		}
		v.lag += v.w.now - v.since
		v.r.Lead++
		v.turn++
		if v.parent != nil {
			v.refresh()
		}
	})
}

// answer decides a request; nil when nobody can.
func (v *server) answer(q *capacitypb.Request) *capacitypb.Grant {
	if v.down > 0 {
		return nil
	}
	v.clock()
	g, err := v.r.Ask(q)
	if errors.Is(err, lab.ErrNotReady) {
		return nil
	}
	v.w.check(err)
	if g.GetOutcome() != capacitypb.Outcome_OUTCOME_OK {
		return nil
	}
	if g.GetRetryMs() > 0 {
		v.hurry()
	}
	return g
}

// hurry asks the parent at once, because somebody waits; but not all the time.
func (v *server) hurry() {
	if v.parent != nil && v.w.now >= v.asked+retry {
		v.asked = v.w.now
		v.turn++
		v.w.at(v.w.now, v.refresh)
	}
}

// refresh asks the parent for all clients together, and tells the group what it
// holds: the duty of a leader.
func (v *server) refresh() {
	if v.down > 0 {
		return
	}
	v.clock()
	v.asked = v.w.now
	s, err := v.r.Summary()
	v.w.check(err)
	sent := v.r.Now
	g := v.parent.answer(v.request(s))
	next := retry
	switch {
	case g != nil:
		v.newest, next = g, pause(g)
		v.safe = max(0, g.GetSafeCapacity()) * float64(max(1, s.GetClients()))
		v.w.check(v.r.Parent(g.GetCapacity(), sent+milliseconds(g.GetLeaseMs()), v.safe))
	case s.GetParent() == nil: // a new leader that reaches no parent says so
		v.w.check(v.r.Parent(0, lab.Never, v.safe))
	}
	turn := v.turn
	v.w.at(v.w.now+next, func() {
		if turn == v.turn {
			v.refresh()
		}
	})
}

// request asks for the bands of all clients. The newest answer is shown only when
// the clients use no more than that: to show it frees the rest.
func (v *server) request(s *capacitypb.Summary) *capacitypb.Request {
	if v.newest != nil && s.GetReserved() <= v.newest.GetCapacity() {
		v.shown = v.newest.GetToken()
	}
	v.serial++
	q := &capacitypb.Request{ClientId: v.name, Token: v.shown, Serial: v.serial, Limited: s.GetReserved() <= s.GetWants()}
	for _, b := range s.GetBands() {
		q.Bands = append(q.Bands, &capacitypb.Band{Priority: b.GetPriority(), Clients: b.GetClients(), Wants: b.GetWants()})
	}
	if len(q.Bands) == 0 {
		q.Bands = oneBand(0, 0)
	}
	return q
}
