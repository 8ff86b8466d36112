package chaos

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// verb is what a client asked of a sequence.
type verb int

const (
	verbNext verb = iota
	verbGiveBack
	verbJump
	verbDescribe
	verbDrop
	verbCreate
)

// request is a call, and reply its answer; nil when there was none.
type request struct {
	verb verb
	// count of numbers that are asked for, or given back.
	count uint64
	// first number of the range whose tail is given back, or the one to jump to or begin
	// with; behind is the one behind that range.
	first, behind int64
	// of is the incarnation that the range is of, or that numbers are wanted of; 0 means any.
	of uint64
}

type reply struct {
	// found tells whether there was such a sequence. Who takes numbers makes it.
	found bool
	// other is true when there was one, but of another incarnation than was wanted.
	other bool
	// first number granted, or the one that comes next.
	first int64
	// count of numbers that were granted, or taken back.
	count uint64
	// of is the incarnation.
	of uint64
}

// counting is the state of a sequence: whether it is there, and what comes next.
type counting struct {
	made bool
	next int64
	// of is its incarnation; 0 while nobody has been told.
	of uint64
	// top is the newest incarnation that anybody was told of: later ones are greater.
	top uint64
}

// model: each range begins where the last one ended, in one life of a sequence.
func (*counts) model() porcupine.Model {
	return porcupine.Model{
		Init:              func() any { return counting{} },
		Step:              func(state, in, out any) (bool, any) { return step(state.(counting), in.(request), out) },
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v: %+v", in, out) },
	}
}

// step is a call at one instant: whether it can have had that answer, and what is then.
func step(s counting, q request, out any) (bool, counting) {
	r, answered := out.(reply)
	switch q.verb {
	case verbNext:
		return s.take(q, r, answered)
	case verbGiveBack:
		return s.giveBack(q, r, answered)
	case verbJump:
		fits := !answered || r.found == s.made
		if s.made {
			s.next = q.first
		}
		return fits, s
	case verbDescribe:
		if !answered || !s.made {
			return !answered || !r.found, s
		}
		return r.found && r.first == s.next && s.tell(r.of), s
	case verbDrop:
		fits := !answered || r.found == s.made
		s.made = false
		return fits, s
	case verbCreate:
		if s.made {
			return !answered || r.found, s
		}
		s.make(q.first)
		return !answered || !r.found && s.tell(r.of), s
	}
	return false, s
}

// make makes the sequence, whose incarnation nobody knows yet.
func (s *counting) make(first int64) { s.made, s.next, s.of = true, first, 0 }

// tell notes what somebody was told to be the incarnation; false if that can't be.
func (s *counting) tell(of uint64) bool {
	if s.of == 0 && of > s.top {
		s.of, s.top = of, of
	}
	return s.of == of
}

// take hands numbers out, of a sequence that it makes if there is none.
func (s counting) take(q request, r reply, answered bool) (bool, counting) {
	if !s.made {
		s.make(1)
	}
	// Of an incarnation that nobody was told of yet, nobody can have asked for more.
	if q.of != 0 && q.of != s.of {
		return !answered || r.other, s
	}
	first := s.next
	s.next += int64(q.count)
	return !answered || r.found && !r.other && r.first == first && r.count == q.count && s.tell(r.of), s
}

// giveBack takes the tail of a range back if nothing was handed out after it.
func (s counting) giveBack(q request, r reply, answered bool) (bool, counting) {
	switch {
	case !s.made || q.of != s.of:
		return !answered || !r.found, s
	case q.behind != s.next:
		return !answered || r.found && r.count == 0, s
	}
	s.next -= int64(q.count)
	return !answered || r.found && r.count == q.count, s
}
