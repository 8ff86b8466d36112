package smtest

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/drumline/drumline/statemachines"
)

// sameLog: the same log gives the same results, state and snapshot bytes, however
// it is cut into batches.
func sameLog(s Suite, seed uint64) error {
	log, queries := s.log(seed), s.queries(seed)
	first := s.fresh()
	first.apply(log, 1, random(seed, 3))
	for i, most := range []int{1, 7, len(log)} {
		other := s.fresh()
		other.apply(log, most, random(seed, 4+uint64(i))) //nolint:gosec // a small index
		if err := sameResults(first.results, other.results); err != nil {
			return fmt.Errorf("batches of 1 and of up to %d: %w", most, err)
		}
		if err := sameState(first, other, queries); err != nil {
			return fmt.Errorf("batches of 1 and of up to %d: %w", most, err)
		}
	}
	return nil
}

// isolated: what one group's Machine does is not seen in another's.
func isolated(s Suite, seed uint64) error {
	before := s.fresh()
	busy := s.fresh()
	busy.apply(s.log(seed), 7, random(seed, 3))
	if err := sameState(before, s.fresh(), s.queries(seed)); err != nil {
		return fmt.Errorf("a machine that nobody used: %w", err)
	}
	return nil
}

// readsChangeNothing: queries and snapshots leave the state alone, also when the
// caller scribbles over what it gave and what it got.
func readsChangeNothing(s Suite, seed uint64) error {
	log, queries := s.log(seed), s.queries(seed)
	read, quiet := s.fresh(), s.fresh()
	r := random(seed, 3)
	for i := range log {
		quiet.apply(log[i:i+1], 1, r)
		read.apply(log[i:i+1], 1, r)
		query := queries[i%len(queries)]
		scribbled := append([]byte(nil), query...)
		answer, err := read.Query(scribbled)
		if err == nil {
			scribble(answer)
		}
		scribble(scribbled)
		read.Snapshot().Close()
	}
	if err := sameResults(read.results, quiet.results); err != nil {
		return fmt.Errorf("with and without reads: %w", err)
	}
	return wrap("with and without reads", sameState(read, quiet, queries))
}

// restoreAnywhere: a Machine that was restored, into a fresh or a used instance,
// goes on as if nothing had happened.
func restoreAnywhere(s Suite, seed uint64) error {
	log, queries := s.log(seed), s.queries(seed)
	r := random(seed, 3)
	whole := s.fresh()
	whole.apply(log, 7, r)
	for _, cut := range []int{0, 1, r.IntN(len(log)), r.IntN(len(log)), len(log)} {
		if err := restoreAt(s, log, cut, whole, queries); err != nil {
			return fmt.Errorf("restored after command %d: %w", cut, err)
		}
	}
	return nil
}

func restoreAt(s Suite, log []statemachines.Command, cut int, whole *subject, queries [][]byte) error {
	r := random(uint64(cut), 4) //nolint:gosec // a small index
	before, used := s.fresh(), s.fresh()
	before.apply(log[:cut], 7, r)
	snap, err := before.snapshot()
	if err != nil {
		return err
	}
	fresh, err := s.restored(snap)
	if err != nil {
		return err
	}
	used.apply(log, 7, r)
	used.results = nil
	if err := reload(used, snap); err != nil {
		return err
	}
	for _, u := range []*subject{fresh, used} {
		if err := sameState(before, u, queries); err != nil {
			return err
		}
		u.apply(log[cut:], 7, r)
		if err := sameResults(whole.results[cut:], u.results); err != nil {
			return fmt.Errorf("what follows: %w", err)
		}
		if err := sameState(whole, u, queries); err != nil {
			return fmt.Errorf("what follows: %w", err)
		}
	}
	return nil
}

// recovered: a new generation is the same on every replica, and part of the state.
func recovered(s Suite, seed uint64) error {
	log, queries := s.log(seed), s.queries(seed)
	cut := len(log) / 2
	r := random(seed, 3)
	a, b := s.fresh(), s.fresh()
	for _, u := range []*subject{a, b} {
		u.apply(log[:cut], 7, r)
		u.Recovered(seed + 2)
	}
	if err := sameState(a, b, queries); err != nil {
		return fmt.Errorf("two recovered machines: %w", err)
	}
	snap, err := a.snapshot()
	if err != nil {
		return err
	}
	c, err := s.restored(snap)
	if err != nil {
		return err
	}
	b.results = nil
	b.apply(log[cut:], 7, r)
	c.apply(log[cut:], 7, r)
	if err := sameResults(b.results, c.results); err != nil {
		return fmt.Errorf("recovered, then restored: %w", err)
	}
	return wrap("recovered, then restored", sameState(b, c, queries))
}

// garbage: whatever bytes a client sends, no panic, and the same results and
// state everywhere; the state can still be written and read.
func garbage(s Suite, seed uint64) error {
	r := random(seed, 3)
	log := s.log(seed)
	for i := range log {
		if r.IntN(4) > 0 {
			log[i].Data = mutate(r, log[i].Data)
		}
	}
	queries := s.queries(seed)
	for i, q := range queries {
		if i%2 == 0 {
			queries[i] = mutate(r, q)
		}
	}
	a, b := s.fresh(), s.fresh()
	a.apply(log, 1, r)
	b.apply(log, 9, r)
	if err := sameResults(a.results, b.results); err != nil {
		return err
	}
	if err := sameState(a, b, queries); err != nil {
		return err
	}
	snap, err := a.snapshot()
	if err != nil {
		return err
	}
	c, err := s.restored(snap)
	if err != nil {
		return err
	}
	return wrap("restored after garbage", sameState(a, c, queries))
}

// mutate makes something wrong of valid input, or something random.
func mutate(r *rand.Rand, data []byte) []byte {
	out := append([]byte(nil), data...)
	switch r.IntN(6) {
	case 0:
		return nil
	case 1:
		out = make([]byte, r.IntN(64))
		scribbleRandom(r, out)
	case 2:
		return out[:r.IntN(len(out)+1)]
	case 3:
		return slices.Concat(data, data)
	case 4:
		at := r.IntN(len(out) + 1)
		out = append(out[:at:at], append([]byte{byte(r.IntN(256))}, out[at:]...)...)
	default:
		for range 1 + r.IntN(3) {
			if len(out) > 0 {
				out[r.IntN(len(out))] ^= 1 << r.IntN(8)
			}
		}
	}
	return out
}

func scribble(p []byte) {
	for i := range p {
		p[i] ^= 0x5a
	}
}

func scribbleRandom(r *rand.Rand, p []byte) {
	for i := range p {
		p[i] = byte(r.IntN(256))
	}
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
