package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/drumline/drumline/nodehost/replicas"
)

// ledger is what a run leaves: what was broken, what happened, and its hash.
type ledger struct {
	hash       uint64
	telling    bool
	story      []string
	violations []string

	ran     map[uint64]string              // replica ids that ever ran, and on which disk
	heard   map[string]uint64              // the newest term that each disk was welcomed in
	wiped   map[replicas.Key]time.Duration // data that faults destroyed, and when
	changes map[uint64]*order              // the last membership order of each group
	struck  map[uint64][]cell              // what hit operations that have not ended
	cover   Coverage

	proposals, orders, faults int
}

func newLedger() ledger {
	return ledger{
		hash: 0xcbf29ce484222325, ran: map[uint64]string{}, heard: map[string]uint64{},
		changes: map[uint64]*order{}, wiped: map[replicas.Key]time.Duration{}, struck: map[uint64][]cell{}, cover: Coverage{},
	}
}

// mark mixes something that happened into the hash.
func (b *ledger) mark(kind byte, at time.Duration, x, y uint64) {
	for _, v := range [...]uint64{uint64(kind), uint64(at), x, y} {
		b.hash = (b.hash ^ v) * 0x100000001b3
		b.hash ^= b.hash >> 29
	}
}

// note tells what happened, to whoever wants the story.
func (w *world) note(format string, args ...any) {
	if w.book.telling {
		w.book.story = append(w.book.story, fmt.Sprintf("%9.3f ", w.virtual().Seconds())+fmt.Sprintf(format, args...))
	}
}

// maxViolations of a run are kept: the first is what matters.
const maxViolations = 20

// violate notes a broken promise.
func (w *world) violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.note("VIOLATION %s", text)
	if len(w.book.violations) < maxViolations {
		w.book.violations = append(w.book.violations, fmt.Sprintf("%.3fs: %s", w.virtual().Seconds(), text))
	}
}

// lazy is text that is made only when the story is told.
type lazy struct{ m fmt.Stringer }

func text(m fmt.Stringer) lazy { return lazy{m} }

func (l lazy) String() string { return strings.Join(strings.Fields(l.m.String()), " ") }
