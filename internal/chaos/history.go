package chaos

import (
	"math"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// Limits of one history: the checker's cost grows steeply with both.
const (
	maxOperations = 300
	maxUnknown    = 4
)

// Part is the history of one key of one group.
type Part struct {
	// Group and Key name it.
	Group, Key string

	operations []porcupine.Operation
	unknown    int
}

// log records the operations of one group, a part for each key.
type log struct {
	group string
	start time.Time
	app   app

	mu       sync.Mutex
	parts    []*Part       // guarded by mu; the last one is current
	acked    int           // guarded by mu
	unknown  int           // guarded by mu
	refused  int           // guarded by mu
	lastAck  time.Duration // guarded by mu
	longest  time.Duration // guarded by mu
	gapStart time.Duration // guarded by mu; when the longest gap began
}

func newLog(group string, start time.Time, a app) *log {
	return &log{group: group, start: start, app: a}
}

// part returns the part that the next operation belongs to.
func (l *log) part(newKey func(int) string) *Part {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.parts); n > 0 {
		if p := l.parts[n-1]; len(p.operations) < maxOperations && p.unknown < maxUnknown {
			return p
		}
	}
	p := &Part{Group: l.group, Key: newKey(len(l.parts))}
	l.parts = append(l.parts, p)
	return p
}

// outcome is what became of an operation.
type outcome int

const (
	acknowledged outcome = iota
	notApplied
	unknown
)

// operation is one call of one client: what it asked and was told, in the app's own words.
type operation struct {
	client     int
	in, out    any
	changes    bool // it may change the state
	call, done time.Time
	outcome    outcome
}

// add records one operation. A refused one, or a read without an answer, constrains nothing.
func (l *log) add(p *Part, o operation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	back := o.done.Sub(l.start)
	switch {
	case o.outcome == acknowledged && o.changes:
		l.acked++
		l.gap(back)
		l.lastAck = back
	case o.outcome == acknowledged:
	case o.outcome == notApplied || !o.changes:
		l.refused++
		return
	default:
		l.unknown++
		p.unknown++
		back = math.MaxInt64
	}
	p.operations = append(p.operations, porcupine.Operation{
		ClientId: o.client, Input: o.in, Call: int64(o.call.Sub(l.start)), Output: o.out, Return: int64(back),
	})
}

// gap notes the time since the last acknowledgement; l.mu is held.
func (l *log) gap(now time.Duration) {
	if gap := now - l.lastAck; gap > l.longest {
		l.longest, l.gapStart = gap, l.lastAck
	}
}

// end notes the gap that the end of the workload leaves open.
func (l *log) end(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gap(at.Sub(l.start))
}
