package route

import (
	"math/rand/v2"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
)

// target is where a request is tried: on this host, or at an address. The zero
// target stands for a group of which nobody's address is known.
type target struct {
	here bool
	addr string
}

// String names the target in a sentence.
func (t target) String() string {
	if t.here {
		return "this host"
	}
	return t.addr
}

// round is one turn through all the places that may do a request.
type round struct {
	tried   map[target]bool
	hint    string // address that an answer named; tried next if set
	hints   int    // hints followed in this round
	answers []answer
}

// reset begins a new round.
func (d *round) reset() { *d = round{} }

// next returns where to try: the hinted leader, the leader as this host or the
// directory believes, then all members in random order.
func (d *round) next(w *walk) target {
	t := target{addr: d.hint}
	if d.hint == "" {
		t, _ = d.pick(w)
	}
	d.hint = ""
	if d.tried == nil {
		d.tried = map[target]bool{}
	}
	d.tried[t] = true
	return t
}

// note keeps what was said at t.
func (d *round) note(t target, f *fault.Error) {
	if t == (target{}) {
		return
	}
	d.answers = append(d.answers, answer{at: t.String(), err: f})
}

// again tells whether the round goes on without a pause after f: with the leader that
// f names, or with a place that was not tried yet. A group that is not open is not
// elsewhere either.
func (d *round) again(w *walk, f *fault.Error) bool {
	if f.Reason == fault.NotOpen {
		return false
	}
	addr := f.Leader
	if addr == "" {
		addr = w.r.api(ids.Host(f.LeaderHost), w.where)
	}
	if f.LeaderHost == string(w.r.o.Self) {
		addr = ""
	}
	if addr != "" && d.hints < maxHints && !w.r.peers.suspected(addr) {
		d.hints++
		d.hint = addr
		return true
	}
	_, ok := d.pick(w)
	return ok
}

// pick returns the best place not tried in this round. Hosts that did not answer
// lately come last.
func (d *round) pick(w *walk) (target, bool) {
	var last target
	for _, t := range d.places(w) {
		switch {
		case d.tried[t] || t == target{}:
		case t.here || !w.r.peers.suspected(t.addr):
			return t, true
		case last == target{}:
			last = t
		}
	}
	return last, last != target{}
}

// places lists where the request may be done, best first.
func (d *round) places(w *walk) []target {
	s, local := w.r.o.Raft.Status(ids.Group(w.where.GetId()))
	if local && s.Leading && len(d.tried) == 0 {
		return []target{{here: true}} // the common case costs no more than this
	}
	var out []target
	if local && (s.Leading || w.o.anywhere && s.Ready) {
		out = append(out, target{here: true})
	}
	// What the replica of this host believes is newer than any hint.
	if local && s.LeaderHost != w.r.o.Self {
		out = append(out, target{addr: w.r.api(s.LeaderHost, w.where)})
	}
	if leader := ids.Host(w.where.GetLeaderHost()); leader != w.r.o.Self {
		addr := w.where.GetLeaderApi()
		if leader != "" {
			addr = w.r.api(leader, w.where)
		}
		out = append(out, target{addr: addr})
	}
	members := len(out)
	for _, m := range w.where.GetMembers() {
		if !m.GetObserver() && ids.Host(m.GetHostId()) != w.r.o.Self {
			out = append(out, target{addr: w.r.memberAPI(m, w.where)})
		}
	}
	rest := out[members:]
	rand.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	if local {
		// It knows soonest of a new leader, even if it is not the one.
		out = append(out, target{here: true})
	}
	return out
}
