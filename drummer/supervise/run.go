package supervise

import (
	"context"
	"time"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/loop"
)

// Run supervises whenever this drummer leads, until ctx ends; then it sends every
// host away, and returns when all that it started has ended.
func (s *Supervisor) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	s.ctx = ctx
	tick := time.NewTicker(s.o.PassEvery)
	defer tick.Stop()
	due := time.NewTimer(s.o.PassEvery)
	defer due.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case f := <-s.inbox:
			f()
		case <-s.poke:
			s.dirty = true
			s.checkLead()
		case <-tick.C:
			s.dirty = true
			s.checkLead()
		case <-due.C:
		}
		s.maybePass(due)
	}
	s.unlead()
	cancel()
	close(s.quit)
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.wg.Wait()
}

// checkLead follows the leadership of the drummers' group.
func (s *Supervisor) checkLead() {
	term, leading := s.o.Record.Leading()
	if s.led && (!leading || term != s.term) {
		s.unlead()
	}
	s.metrics.leading.Set(oneIf(s.led))
	s.metrics.leaderKnown.Set(oneIf(s.led || s.o.Leader() != ""))
	if !leading || s.led || s.taking {
		return
	}
	s.taking = true
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, s.o.ProposeTimeout)
		defer cancel()
		view, err := s.o.Record.TakeOver(ctx)
		// A failed post means that Run has ended.
		_ = s.post(s.ctx, func() { s.lead(term, view, err) })
	})
}

// lead begins a leadership.
func (s *Supervisor) lead(term uint64, view *fleet.View, err error) {
	s.taking = false
	if err != nil {
		s.o.Log.Warn("take the lead", "term", term, "err", err)
		return
	}
	now, leading := s.o.Record.Leading()
	if !leading || now != term {
		s.Poke()
		return
	}
	s.led, s.term = true, term
	s.reign++
	s.o.Log.Info("this drummer leads", "term", term, "revision", view.Revision())
	s.setStage(stage{leading: true, term: term})
	s.metrics.leading.Set(1)
	s.step(loop.Led{Term: term})
	s.pass(view)
}

// unlead ends the leadership, if there is one: every host is sent to the new leader.
func (s *Supervisor) unlead() {
	if !s.led {
		return
	}
	s.led = false
	s.reign++
	s.waiting, s.events = nil, nil
	s.seen.Store(nil)
	s.o.Log.Info("this drummer no longer leads", "term", s.term)
	s.setStage(stage{})
	s.metrics.leading.Set(0)
	for _, c := range s.sessions { // before the Core disconnects them
		s.end(c, redirectTo(s.o.Leader()), nil)
	}
	s.step(loop.Unled{})
}

func (s *Supervisor) setStage(next stage) {
	next.changed = make(chan struct{})
	close(s.stage.Swap(&next).changed)
}

// maybePass makes a pass that is wanted as soon as the last one is old enough.
func (s *Supervisor) maybePass(due *time.Timer) {
	if !s.led || !s.dirty {
		return
	}
	if wait := s.rest - time.Since(s.passed); wait > 0 {
		due.Reset(wait)
		return
	}
	view, err := s.o.Record.LocalView()
	if err != nil {
		s.o.Log.Warn("look at the record", "err", err)
		s.passed = time.Now()
		return
	}
	s.pass(view)
}

func (s *Supervisor) pass(view *fleet.View) {
	s.dirty = false
	begin := time.Now()
	s.step(loop.Pass{View: view, UnixMs: begin.UnixMilli()})
	took := time.Since(begin)
	s.passed = time.Now()
	s.rest = min(max(passGap, took*(passShare-1)), loop.PassPeriod)
	s.metrics.passes.Inc()
	s.metrics.passSeconds.Observe(took.Seconds())
}

// step feeds one event to the Core, and those that carrying out its effects causes.
func (s *Supervisor) step(e loop.Event) {
	s.events = append(s.events, e)
	for len(s.events) > 0 {
		next := s.events[0]
		s.events = s.events[1:]
		for _, f := range s.o.Core.Step(next, s.now()) {
			s.do(f)
		}
	}
	s.propose()
}

// do carries out one effect.
func (s *Supervisor) do(f loop.Effect) {
	switch f := f.(type) {
	case loop.Send:
		s.send(f)
	case loop.Propose:
		s.waiting = append(s.waiting, f)
	case loop.Disconnect:
		s.disconnect(f)
	}
}

// propose starts what waits, as far as the bound allows.
func (s *Supervisor) propose() {
	for s.led && len(s.waiting) > 0 && s.inFlight < s.o.Proposals {
		p := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.inFlight++
		reign := s.reign
		s.wg.Go(func() {
			e := s.proposed(p)
			// A failed post means that Run has ended.
			_ = s.post(s.ctx, func() {
				s.inFlight--
				if reign != s.reign {
					s.propose()
					return
				}
				s.dirty = true
				s.step(e)
			})
		})
	}
}

// proposed proposes p and makes an event of the outcome.
func (s *Supervisor) proposed(p loop.Propose) loop.Event {
	ctx, cancel := context.WithTimeout(s.ctx, s.o.ProposeTimeout)
	defer cancel()
	r, err := s.o.Record.Propose(ctx, p.Command)
	s.metrics.proposed(r, err)
	if err != nil {
		return loop.Proposed{Token: p.Token, Err: err.Error()}
	}
	return loop.Proposed{Token: p.Token, Result: r}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
