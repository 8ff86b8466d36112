package sim

import (
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
)

// session is a stream between a host and a drummer. Both ends keep the order of what is
// said. While a direction is cut its messages wait, as those of a TCP connection do,
// and are lost with the stream.
type session struct {
	id    uint64
	h     *host
	d     *drummer
	reign int // of the drummer's
	life  int // of the host's process

	// open at the host's end and at the drummer's.
	atHost, atDrummer bool
	verdict           loop.Verdict
	sent, came        time.Duration // of the last message up and down
	waiting           int           // messages up that have not come
	heldUp, heldDown  []func()
	// heard is when the drummer heard the host last, and how long it had been asleep then.
	heard, asleep time.Duration
	told          map[uint64]uint64 // config change of its replica by group
}

// hears tells that what the host says comes to the drummer.
func (s *session) hears() bool {
	return !s.h.mute && !s.h.dark && !s.d.deaf
}

// obeys tells that what the drummer says comes to the host.
func (s *session) obeys() bool {
	return !s.h.deaf && !s.h.dark && !s.d.mute
}

// dial opens a stream to a drummer that says that it leads.
func (h *host) dial() {
	if !h.running || h.session != nil || h.refused {
		return
	}
	life := h.life
	h.w.routine(h.w.between(100*time.Millisecond, 900*time.Millisecond), func() {
		if h.life != life || h.session != nil {
			return
		}
		var able []*drummer
		for _, d := range h.w.drummers {
			s := session{h: h, d: d}
			if d.up && !d.paused && d.leads && s.hears() && s.obeys() {
				able = append(able, d)
			}
		}
		if len(able) == 0 || h.paused {
			h.dial()
			return
		}
		h.connect(able[h.w.rng.IntN(len(able))])
	})
}

func (h *host) connect(d *drummer) {
	h.w.active = h.w.now
	h.w.sessions++
	s := &session{id: h.w.sessions, h: h, d: d, reign: d.reign, life: h.life, atHost: true, atDrummer: true, told: map[uint64]uint64{}}
	h.session, h.tried = s, h.w.now
	d.sessions = append(d.sessions, s)
	h.w.note("%s connects to drummer %d, session %d", h.name, d.index, s.id)
	h.w.book.mark('s', h.w.now, s.id, uint64(d.index))
	hello := h.hello()
	s.up(func() loop.Event { return loop.Connected{Session: s.id, Hello: hello} })
	h.beat(s)
}

// up sends what the host says.
func (s *session) up(e func() loop.Event) {
	w := s.h.w
	s.sent = max(s.sent, w.now+w.lag())
	s.waiting++
	w.later(s.sent-w.now, func() {
		if !s.hears() || len(s.heldUp) > 0 {
			s.heldUp = append(s.heldUp, func() { s.arrive(e()) })
			return
		}
		s.arrive(e())
	})
}

func (s *session) arrive(e loop.Event) {
	s.waiting--
	if !s.atDrummer {
		return
	}
	s.learn(e)
	if _, gone := e.(loop.Gone); gone {
		s.drop()
	} else {
		s.heard, s.asleep = s.h.w.now, s.d.slept()
	}
	s.d.tell(s.reign, e)
}

// learn keeps the newest membership that the host told of, without saying which it is.
func (s *session) learn(e loop.Event) {
	var told []*drummerpb.ReplicaReport
	switch e := e.(type) {
	case loop.Connected:
		told = e.Hello.GetReplicas()
	case loop.Reported:
		told = e.Report.GetChanged()
	}
	for _, r := range told {
		s.told[r.GetGroup()] = r.GetConfigChange()
	}
}

// down sends what the drummer says.
func (s *session) down(m *drummerpb.SupervisorMessage) {
	w := s.h.w
	s.came = max(s.came, w.now+w.lag())
	twice, late := w.lossy && w.one(15), 15*time.Second
	if m.GetOrder().GetDestroy() != nil { // the most dangerous one to hear again
		twice, late = w.lossy && w.one(2), 2*time.Minute
	}
	w.later(s.came-w.now, func() {
		do := func() {
			s.h.receive(s, m)
			if twice { // and late
				w.later(w.between(0, late), func() { s.h.receive(s, m) })
			}
		}
		if !s.obeys() || s.h.paused || len(s.heldDown) > 0 {
			s.heldDown = append(s.heldDown, do)
			return
		}
		do()
	})
}

// flow lets go what waited for a link or a process.
func (s *session) flow() {
	if s.hears() {
		held := s.heldUp
		s.heldUp = nil
		for _, do := range held {
			do()
		}
	}
	if s.obeys() && !s.h.paused && s.atHost {
		held := s.heldDown
		s.heldDown = nil
		for _, do := range held {
			do()
		}
	}
}

// suspect has the host look, after its patience, whether the stream still works.
func (s *session) suspect() {
	w := s.h.w
	w.later(w.between(3*time.Second, 4*time.Second), func() {
		if s.atHost && !s.h.paused && (s.d.paused || !s.d.up || !s.hears() || !s.obeys()) {
			s.hangUp()
		}
	})
}

// hangUp ends the stream from the host's side; the drummer learns it if it can.
func (s *session) hangUp() {
	if !s.atHost {
		return
	}
	s.atHost, s.heldDown = false, nil
	if s.h.session == s {
		s.h.session = nil
		s.h.dial()
	}
	s.up(func() loop.Event { return loop.Gone{Session: s.id} })
}

// closeFromDrummer ends the stream from the drummer's side.
func (s *session) closeFromDrummer() {
	if !s.atDrummer {
		return
	}
	s.drop()
	w := s.h.w
	w.later(w.lag(), func() {
		end := func() {
			if s.atHost {
				s.atHost = false
				s.h.ended(s)
			}
		}
		if s.obeys() && !s.h.paused {
			end()
		} else {
			s.heldDown = append(s.heldDown, end)
			s.suspect()
		}
	})
}

// drop forgets the stream at the drummer's end.
func (s *session) drop() {
	s.atDrummer = false
	if i := slices.Index(s.d.sessions, s); i >= 0 {
		s.d.sessions = slices.Delete(s.d.sessions, i, i+1)
	}
}

// linksChanged lets waiting messages go and makes hosts look at broken streams.
func (w *world) linksChanged() {
	for _, d := range w.drummers {
		for _, s := range slices.Clone(d.sessions) {
			s.settleLinks()
		}
	}
	for _, h := range w.hosts {
		if h.session != nil && !h.session.atDrummer {
			h.session.settleLinks()
		}
	}
	w.lookToLead()
}

func (s *session) settleLinks() {
	s.flow()
	if !s.hears() || !s.obeys() {
		s.suspect()
	}
}
