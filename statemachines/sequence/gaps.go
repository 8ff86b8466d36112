package sequence

import (
	"time"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines/sequence/lent"
)

// gapFree is the gap-free sequence of a key, with no reservation that is over; or why not.
func (m *Machine) gapFree(key string) (series, *sequencepb.Result) {
	x, refused := m.find(key)
	if refused != nil {
		return x, refused
	}
	if x.gaps == nil {
		return x, refuse(sequencepb.Outcome_OUTCOME_WRONG_MODE, "the sequence is not gap-free: ask it for the next numbers")
	}
	x.gaps.Sweep(m.now)
	return x, nil
}

// reserve reserves the least number there is.
func (m *Machine) reserve(r *sequencepb.Reserve) *sequencepb.Result {
	x, refused := m.gapFree(r.GetKey())
	if refused == nil {
		refused = x.stranger(r.GetIncarnation())
	}
	if refused != nil {
		return refused
	}
	if x.gaps.Held.Len() >= MaxReservations {
		return refuse(sequencepb.Outcome_OUTCOME_FULL, "%d numbers are reserved, which is all that can be: commit or cancel some", MaxReservations)
	}
	i, again := x.gaps.Vacant.DeleteMin()
	if !again {
		if x.left() == 0 {
			return refuse(sequencepb.Outcome_OUTCOME_EXHAUSTED, "the sequence has no number left")
		}
		i = x.next
		x.next++
		x.count(1, m.now)
	}
	lease := x.reservation
	if r.GetForMs() > 0 {
		lease = int64(r.GetForMs()) * int64(time.Millisecond)
	}
	m.tokens = m.unique(m.tokens)
	x.gaps.Add(lent.Hold{Index: i, Token: m.tokens, Until: m.now + lease})
	done := ok()
	done.Reservation = &sequencepb.Reservation{Number: x.number(i), Token: m.tokens, ForMs: uint64(lease / int64(time.Millisecond)), Incarnation: x.incarnation}
	return done
}

// finish commits a reserved number, or cancels the reservation.
func (m *Machine) finish(key string, number int64, token uint64, commit bool) *sequencepb.Result {
	x, refused := m.gapFree(key)
	if refused != nil {
		return refused
	}
	i, exact := x.indexOf(number)
	h, found := x.gaps.Held.Get(lent.Hold{Index: i})
	if !exact || !found || h.Token != token {
		return refuse(sequencepb.Outcome_OUTCOME_NOT_HELD, "number %d is not reserved with this token: it may be over, and the number somebody else's", number)
	}
	x.gaps.Remove(h)
	if commit {
		x.gaps.Committed++
	} else {
		x.gaps.Vacant.ReplaceOrInsert(i)
	}
	return ok()
}
