package cluster

import (
	"fmt"
	"strings"
	"time"

	"github.com/drumline/drumline/nodehost/replicas"
)

// ledger is what a run leaves: what was broken, what happened, and its hash.
type ledger struct {
	Hash       uint64
	Telling    bool
	Story      []string
	Violations []string

	Ran     map[uint64]string              // replica ids that ever ran, and on which disk
	Heard   map[string]uint64              // the newest term that each disk was welcomed in
	Wiped   map[replicas.Key]time.Duration // data that faults destroyed, and when
	Changes map[uint64]*Order              // the last membership order of each group

	Proposals, Orders, Faults int
}

func newLedger() ledger {
	return ledger{
		Hash: 0xcbf29ce484222325, Ran: map[uint64]string{}, Heard: map[string]uint64{},
		Changes: map[uint64]*Order{}, Wiped: map[replicas.Key]time.Duration{},
	}
}

// Mark mixes something that happened into the hash.
func (b *ledger) Mark(kind byte, at time.Duration, x, y uint64) {
	for _, v := range [...]uint64{uint64(kind), uint64(at), x, y} {
		b.Hash = (b.Hash ^ v) * 0x100000001b3
		b.Hash ^= b.Hash >> 29
	}
}

// hear notes the newest term that a host was welcomed in.
func (b *ledger) hear(disk string, term uint64) {
	b.Heard[disk] = max(b.Heard[disk], term)
}

// settled notes that the answer to an order has come.
func (b *ledger) settled(o *Order) {
	if c := b.Changes[o.GetGroup()]; c != nil && c.Session == o.Session && c.GetId() == o.GetId() {
		c.Answered = true
	}
}

// Note tells what happened, to whoever wants the story.
func (w *World) Note(format string, args ...any) {
	if w.Book.Telling {
		w.Book.Story = append(w.Book.Story, fmt.Sprintf("%9.3f ", w.Virtual().Seconds())+fmt.Sprintf(format, args...))
	}
}

// maxViolations of a run are kept: the first is what matters.
const maxViolations = 20

// Violate notes a broken promise.
func (w *World) Violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.Note("VIOLATION %s", text)
	if len(w.Book.Violations) < maxViolations {
		w.Book.Violations = append(w.Book.Violations, fmt.Sprintf("%.3fs: %s", w.Virtual().Seconds(), text))
	}
}

// lazy is text that is made only when the story is told.
type lazy struct{ m fmt.Stringer }

func text(m fmt.Stringer) lazy { return lazy{m} }

func (l lazy) String() string { return strings.Join(strings.Fields(l.m.String()), " ") }
