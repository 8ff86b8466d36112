package smtest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/drumline/drumline/statemachines"
)

// random makes the source of a seed; stream keeps the choices of a check apart
// from those that made the log.
func random(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) } //nolint:gosec // must repeat

// log makes the log of a seed: indexes and lease-clock times as the adapter gives
// them, several commands to an index now and then.
func (s Suite) log(seed uint64) []statemachines.Command {
	r := random(seed, 1)
	out := make([]statemachines.Command, 0, s.Length)
	index, now, lead := uint64(3), int64(0), uint64(2)
	for range s.Length {
		if r.IntN(3) > 0 {
			index += 1 + r.Uint64N(2)
			now += r.Int64N(2e9)
		}
		if index%16 == 0 { // another leader, or a command that no leader stamped
			lead = (index - 1) * (index / 16 % 3 % 2)
		}
		out = append(out, statemachines.Command{Index: index, Time: now, Lead: lead, Version: s.App.Version, Data: s.Command(r)})
	}
	return out
}

// queries makes a few queries of a seed.
func (s Suite) queries(seed uint64) [][]byte {
	r := random(seed, 2)
	out := make([][]byte, 50)
	for i := range out {
		out[i] = s.Query(r)
	}
	return out
}

// subject is one instance of the Machine, with what it answered so far.
type subject struct {
	statemachines.Machine
	results []statemachines.Result
}

func (s Suite) fresh() *subject {
	return &subject{Machine: s.App.New(statemachines.Group{ID: 1000, Name: s.App.Name + "/suite"})}
}

// apply hands the log over in batches of random size up to most, as it is
// coalesced differently on each host, and keeps the answers. Results begin as
// what an earlier batch may have left there: a Machine must write every one.
func (u *subject) apply(log []statemachines.Command, most int, r *rand.Rand) {
	for len(log) > 0 {
		n := min(len(log), 1+r.IntN(most))
		results := make([]statemachines.Result, n)
		for i := range results {
			results[i] = statemachines.Result{Value: r.Uint64(), Data: []byte("left from before")}
		}
		u.Apply(copyLog(log[:n]), results)
		u.results = append(u.results, copyResults(results)...)
		log = log[n:]
	}
}

func copyLog(log []statemachines.Command) []statemachines.Command {
	out := make([]statemachines.Command, len(log))
	for i, c := range log {
		c.Data = bytes.Clone(c.Data)
		out[i] = c
	}
	return out
}

func copyResults(results []statemachines.Result) []statemachines.Result {
	out := make([]statemachines.Result, len(results))
	for i, r := range results {
		out[i] = statemachines.Result{Value: r.Value, Data: bytes.Clone(r.Data)}
	}
	return out
}

// snapshot writes the state as it is.
func (u *subject) snapshot() ([]byte, error) {
	v := u.Snapshot()
	defer v.Close()
	return written(v)
}

func written(v statemachines.View) ([]byte, error) {
	var out bytes.Buffer
	n, err := v.WriteTo(&out)
	if err != nil {
		return nil, fmt.Errorf("write a snapshot: %w", err)
	}
	if n != int64(out.Len()) {
		return nil, fmt.Errorf("WriteTo says that it wrote %d bytes, it wrote %d", n, out.Len())
	}
	return out.Bytes(), nil
}

// restored makes an instance from a snapshot.
func (s Suite) restored(snap []byte) (*subject, error) {
	u := s.fresh()
	if err := u.Restore(bytes.NewReader(snap)); err != nil {
		return nil, fmt.Errorf("restore a snapshot of %d bytes: %w", len(snap), err)
	}
	return u, nil
}

// sameResults compares the answers to one log.
func sameResults(a, b []statemachines.Result) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d and %d results", len(a), len(b))
	}
	for i := range a {
		if a[i].Value != b[i].Value || !bytes.Equal(a[i].Data, b[i].Data) {
			return fmt.Errorf("command %d is answered (%d, %q) and (%d, %q)", i, a[i].Value, a[i].Data, b[i].Value, b[i].Data)
		}
	}
	return nil
}

// sameState compares snapshots and the answers to queries.
func sameState(a, b *subject, queries [][]byte) error {
	one, err := a.snapshot()
	if err != nil {
		return err
	}
	two, err := b.snapshot()
	if err != nil {
		return err
	}
	if err := sameBytes(one, two); err != nil {
		return err
	}
	for _, q := range queries {
		if err := sameAnswer(a, b, q); err != nil {
			return err
		}
	}
	return nil
}

func sameBytes(a, b []byte) error {
	if bytes.Equal(a, b) {
		return nil
	}
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	return fmt.Errorf("snapshots of %d and %d bytes differ from byte %d on", len(a), len(b), at)
}

func sameAnswer(a, b *subject, query []byte) error {
	one, err1 := a.Query(bytes.Clone(query))
	two, err2 := b.Query(bytes.Clone(query))
	for _, err := range []error{err1, err2} {
		if err != nil && !errors.Is(err, statemachines.ErrInvalidQuery) {
			return fmt.Errorf("query %q: the error does not wrap ErrInvalidQuery: %w", query, err)
		}
	}
	if (err1 == nil) != (err2 == nil) || !bytes.Equal(one, two) {
		return fmt.Errorf("query %q is answered %q (%w) and %q (%w)", query, one, orNil(err1), two, orNil(err2))
	}
	return nil
}
