package cluster

import (
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/loop"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
)

// Session is a stream between a host and a drummer. Both ends keep the order of what is
// said. While a direction is cut its messages wait, as those of a TCP connection do,
// and are lost with the stream.
type Session struct {
	id      uint64
	h       *Host
	Drummer *Drummer
	Reign   int // of the drummer's
	life    int // of the host's process

	// open at the host's end and at the drummer's.
	atHost, AtDrummer bool
	verdict           loop.Verdict
	sent, came        time.Duration // of the last message up and down
	waiting           int           // messages up that have not come
	heldUp, heldDown  []func()
	// Heard is when the drummer heard the host last, and how long it had been asleep then.
	Heard, Asleep time.Duration
	Told          map[uint64]uint64 // config change of its replica by group
	// Unheard is what the drummer was told last of the host's neighbours, at Opined; 0 for
	// never. opined: the host has said it.
	Unheard []string
	Opined  time.Duration
	opined  bool
}

// Host whose stream it is.
func (s *Session) Host() *Host { return s.h }

// hears tells that what the host says comes to the drummer.
func (s *Session) hears() bool {
	return !s.h.Mute && !s.h.Dark && !s.Drummer.Deaf
}

// obeys tells that what the drummer says comes to the host.
func (s *Session) obeys() bool {
	return !s.h.Deaf && !s.h.Dark && !s.Drummer.Mute
}

// dial opens a stream to a drummer that says that it leads.
func (h *Host) dial() {
	if !h.Running || h.session != nil || h.Refused {
		return
	}
	life := h.life
	h.w.Routine(h.w.Between(100*time.Millisecond, 900*time.Millisecond), func() {
		if h.life != life || h.session != nil {
			return
		}
		var able []*Drummer
		for _, d := range h.w.Drummers {
			s := Session{h: h, Drummer: d}
			if d.up && !d.Paused && d.leads && s.hears() && s.obeys() {
				able = append(able, d)
			}
		}
		if len(able) == 0 || h.Paused {
			h.dial()
			return
		}
		h.connect(able[h.w.Rng.IntN(len(able))])
	})
}

func (h *Host) connect(d *Drummer) {
	h.w.Active = h.w.Now
	h.w.sessions++
	s := &Session{id: h.w.sessions, h: h, Drummer: d, Reign: d.Reign, life: h.life, atHost: true, AtDrummer: true, Told: map[uint64]uint64{}}
	h.session, h.tried = s, h.w.Now
	d.sessions = append(d.sessions, s)
	h.w.Note("%s connects to drummer %d, session %d", h.Name, d.Index, s.id)
	h.w.Book.Mark('s', h.w.Now, s.id, uint64(d.Index))
	hello := h.hello()
	s.up(func() loop.Event { return loop.Connected{Session: s.id, Hello: hello} })
	h.beat(s)
}

// up sends what the host says.
func (s *Session) up(e func() loop.Event) {
	w := s.h.w
	s.sent = max(s.sent, w.Now+w.lag())
	s.waiting++
	w.Later(s.sent-w.Now, func() {
		if !s.hears() || len(s.heldUp) > 0 {
			s.heldUp = append(s.heldUp, func() { s.arrive(e()) })
			return
		}
		s.arrive(e())
	})
}

func (s *Session) arrive(e loop.Event) {
	s.waiting--
	if !s.AtDrummer {
		return
	}
	s.learn(e)
	if _, gone := e.(loop.Gone); gone {
		s.drop()
	} else {
		s.Heard, s.Asleep = s.h.w.Now, s.Drummer.Slept()
	}
	s.Drummer.tell(s.Reign, e)
}

// learn keeps the newest membership that the host told of, without saying which it is.
func (s *Session) learn(e loop.Event) {
	var told []*drummerpb.ReplicaReport
	switch e := e.(type) {
	case loop.Connected:
		told = e.Hello.GetReplicas()
	case loop.Reported:
		told = e.Report.GetChanged()
	case loop.Opined:
		s.Unheard, s.Opined = e.Unheard, s.h.w.Now
	}
	for _, r := range told {
		s.Told[r.GetGroup()] = r.GetConfigChange()
	}
}

// down sends what the drummer says.
func (s *Session) down(m *drummerpb.SupervisorMessage) {
	w := s.h.w
	s.came = max(s.came, w.Now+w.lag())
	twice, late := w.Lossy && w.One(15), 15*time.Second
	if m.GetOrder().GetDestroy() != nil { // the most dangerous one to hear again
		twice, late = w.Lossy && w.One(2), 2*time.Minute
	}
	w.Later(s.came-w.Now, func() {
		again := func() {
			if s.h.Paused { // it hears nothing before it goes on
				s.heldDown = append(s.heldDown, func() { s.h.receive(s, m) })
				return
			}
			s.h.receive(s, m)
		}
		do := func() {
			s.h.receive(s, m)
			if twice { // and late
				w.Later(w.Between(0, late), again)
			}
		}
		if !s.obeys() || s.h.Paused || len(s.heldDown) > 0 {
			s.heldDown = append(s.heldDown, do)
			return
		}
		do()
	})
}

// flow lets go what waited for a link or a process.
func (s *Session) flow() {
	if s.hears() {
		held := s.heldUp
		s.heldUp = nil
		for _, do := range held {
			do()
		}
	}
	if s.obeys() && !s.h.Paused && s.atHost {
		held := s.heldDown
		s.heldDown = nil
		for _, do := range held {
			do()
		}
	}
}

// suspect has the host look, after its patience, whether the stream still works.
func (s *Session) suspect() {
	w := s.h.w
	w.Later(w.Between(3*time.Second, 4*time.Second), func() {
		if s.atHost && !s.h.Paused && (s.Drummer.Paused || !s.Drummer.up || !s.hears() || !s.obeys()) {
			s.hangUp()
		}
	})
}

// hangUp ends the stream from the host's side; the drummer learns it if it can.
func (s *Session) hangUp() {
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
func (s *Session) closeFromDrummer() {
	if !s.AtDrummer {
		return
	}
	s.drop()
	w := s.h.w
	w.Later(w.lag(), func() {
		end := func() {
			if s.atHost {
				s.atHost = false
				s.h.ended(s)
			}
		}
		if s.obeys() && !s.h.Paused {
			end()
		} else {
			s.heldDown = append(s.heldDown, end)
			s.suspect()
		}
	})
}

// drop forgets the stream at the drummer's end.
func (s *Session) drop() {
	s.AtDrummer = false
	if i := slices.Index(s.Drummer.sessions, s); i >= 0 {
		s.Drummer.sessions = slices.Delete(s.Drummer.sessions, i, i+1)
	}
}

// LinksChanged lets waiting messages go and makes hosts look at broken streams.
func (w *World) LinksChanged() {
	for _, d := range w.Drummers {
		for _, s := range slices.Clone(d.sessions) {
			s.settleLinks()
		}
	}
	for _, h := range w.Hosts {
		if h.session != nil && !h.session.AtDrummer {
			h.session.settleLinks()
		}
	}
	w.LookToLead()
}

func (s *Session) settleLinks() {
	s.flow()
	if !s.hears() || !s.obeys() {
		s.suspect()
	}
}
