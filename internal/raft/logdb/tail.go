package logdb

import (
	"slices"

	pb "github.com/lni/dragonboat/v3/raftpb"
)

// maxRuns bounds what is kept of a log: the terms that come now and then, not the log of a
// group that elects for ever.
const maxRuns = 4

// tail is what is known of the terms at the end of a replica's log. dragonboat asks for one
// whenever it votes, sends or logs a line, and looks on the disk unless the entry is one of
// those that it still has in memory: after a start it has none.
//
// Entries of one term stand side by side, so that a few runs tell of very many entries. The
// zero tail knows nothing.
type tail struct {
	// array has the runs, which are few, without an object of their own.
	array [maxRuns]run
	n     int
	// last is the index of the last entry, if there are runs.
	last uint64
}

// run is neighbours of one term, the first of them at from.
type run struct{ from, term uint64 }

// term returns the term of the entry at an index, 0 if it is not known.
func (t *tail) term(index uint64) uint64 {
	if index > t.last {
		return 0
	}
	for _, r := range slices.Backward(t.runs()) {
		if r.from <= index {
			return r.term
		}
	}
	return 0
}

func (t *tail) runs() []run { return t.array[:t.n] }

// cut forgets the entry at an index and all behind it.
func (t *tail) cut(index uint64) {
	for t.n > 0 && t.array[t.n-1].from >= index {
		t.n--
	}
	t.last = min(t.last, index-1)
}

// extend notes entries that are in the log now, in place of all from the first one on.
func (t *tail) extend(entries []pb.Entry) {
	first, last := &entries[0], &entries[len(entries)-1]
	if first.Index > t.last+1 {
		t.n = 0
	}
	t.cut(first.Index)
	// Terms never fall along a log, and nearly always all are that of the last run.
	if t.n == 0 || t.array[t.n-1].term != last.Term {
		for i := range entries {
			t.add(&entries[i])
		}
	}
	t.last = last.Index
}

func (t *tail) add(e *pb.Entry) {
	if t.n > 0 && t.array[t.n-1].term == e.Term {
		return
	}
	if t.n == maxRuns {
		copy(t.array[:], t.array[1:])
		t.n--
	}
	t.array[t.n] = run{from: e.Index, term: e.Term}
	t.n++
}
