package smtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing/iotest"

	"github.com/drumline/drumline/statemachines"
)

// inputNotKept: the adapter reuses its buffers, and answers belong to whoever got
// them, so scribbling over both afterwards changes nothing; nor does the Machine
// write into what it is given.
func inputNotKept(s Suite, seed uint64) error {
	log, queries := s.log(seed), s.queries(seed)
	calm, disturbed := s.fresh(), s.fresh()
	calm.apply(log, 1, random(seed, 3))
	for i := range log {
		given := copyLog(log[i : i+1])
		results := make([]statemachines.Result, 1)
		disturbed.Apply(given, results)
		if !bytes.Equal(given[0].Data, log[i].Data) {
			return fmt.Errorf("command %d: the machine wrote into its input", i)
		}
		scribble(given[0].Data)
		if err := sameResults(calm.results[i:i+1], results); err != nil {
			return fmt.Errorf("the answer shares bytes with the command: %w", err)
		}
		scribble(results[0].Data)
		given[0], results[0] = statemachines.Command{}, statemachines.Result{}
	}
	return wrap("inputs and answers overwritten after use", sameState(calm, disturbed, queries))
}

// frozen: a View shows the moment it was taken at, whatever is applied later, and
// however many there are.
func frozen(s Suite, seed uint64) error {
	log := s.log(seed)
	r := random(seed, 3)
	u := s.fresh()
	var views []statemachines.View
	var then [][]byte
	for len(log) > 0 {
		n := min(len(log), 1+r.IntN(max(len(log)/3, 1)))
		snap, err := u.snapshot()
		if err != nil {
			return err
		}
		views, then = append(views, u.Snapshot()), append(then, snap)
		u.apply(log[:n], 7, r)
		log = log[n:]
	}
	for i, v := range views {
		for range 2 {
			now, err := written(v)
			if err != nil {
				return err
			}
			if err := sameBytes(then[i], now); err != nil {
				return fmt.Errorf("view %d, written when it was taken and later: %w", i, err)
			}
		}
		v.Close()
	}
	return nil
}

// brokenSnapshots: cut short, changed or extended, a snapshot is an error.
func brokenSnapshots(s Suite, seed uint64) error {
	r := random(seed, 3)
	u := s.fresh()
	u.apply(s.log(seed)[:1+r.IntN(s.Length)], 7, r)
	snap, err := u.snapshot()
	if err != nil {
		return err
	}
	step := 1 + len(snap)/300
	for at := 0; at < len(snap); at += 1 + r.IntN(step) {
		if s.accepts(snap[:at]) {
			return fmt.Errorf("a snapshot of %d bytes cut to %d is accepted", len(snap), at)
		}
		changed := bytes.Clone(snap)
		changed[at] ^= 1 << r.IntN(8)
		if s.accepts(changed) {
			return fmt.Errorf("a snapshot with a changed bit in byte %d is accepted: write a checksum", at)
		}
	}
	if s.accepts(append(bytes.Clone(snap), 0)) {
		return errors.New("a snapshot with a byte behind its end is accepted")
	}
	noise := make([]byte, 200)
	scribbleRandom(r, noise)
	if s.accepts(noise) {
		return errors.New("random bytes are accepted as a snapshot")
	}
	return nil
}

func (s Suite) accepts(snap []byte) bool {
	return s.fresh().Restore(bytes.NewReader(snap)) == nil
}

func reload(u *subject, snap []byte) error {
	return wrap("restore over a used machine", u.Restore(bytes.NewReader(snap)))
}

// errStream is what the failing streams fail with.
var errStream = errors.New("stream failed")

// streams: a snapshot may come byte by byte, and a stream's error is passed on,
// not taken for the end.
func streams(s Suite, seed uint64) error {
	r := random(seed, 3)
	u := s.fresh()
	u.apply(s.log(seed), 7, r)
	snap, err := u.snapshot()
	if err != nil {
		return err
	}
	slow := s.fresh()
	if err := slow.Restore(iotest.OneByteReader(bytes.NewReader(snap))); err != nil {
		return fmt.Errorf("restore byte by byte: %w", err)
	}
	if err := sameState(u, slow, s.queries(seed)); err != nil {
		return fmt.Errorf("restored byte by byte: %w", err)
	}
	broken := io.MultiReader(bytes.NewReader(snap[:r.IntN(len(snap))]), iotest.ErrReader(errStream))
	if err := s.fresh().Restore(broken); !errors.Is(err, errStream) {
		return fmt.Errorf("restore from a stream that fails: want the stream's error wrapped, got %w", orNil(err))
	}
	v := u.Snapshot()
	defer v.Close()
	if _, err := v.WriteTo(&failing{room: r.IntN(len(snap))}); !errors.Is(err, errStream) {
		return fmt.Errorf("write to a stream that fails: want the stream's error wrapped, got %w", orNil(err))
	}
	return nil
}

// orNil makes a nil error printable under %w.
func orNil(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}

// failing is a stream with room for so many bytes.
type failing struct{ room int }

// Write implements io.Writer.
func (f *failing) Write(p []byte) (int, error) {
	if len(p) <= f.room {
		f.room -= len(p)
		return len(p), nil
	}
	n := f.room
	f.room = 0
	return n, errStream
}

// concurrent: under the adapter's locking, Apply goes on while views taken before
// are written, and queries and snapshots run beside each other. The race detector
// does the judging; what is seen must be right all the same.
func concurrent(s Suite, seed uint64) error {
	log, queries := s.log(seed), s.queries(seed)
	calm := s.fresh()
	calm.apply(log, 7, random(seed, 3))
	c := &contest{u: s.fresh()}
	var readers sync.WaitGroup
	for i := range 4 {
		readers.Go(func() { c.read(queries[i:], i == 0) }) // one snapshot at a time
	}
	r := random(seed, 3)
	for rest := log; len(rest) > 0; {
		n := min(len(rest), 5)
		c.locked(func() { c.u.apply(rest[:n], 3, r) })
		rest = rest[n:]
	}
	c.locked(func() { c.done = true })
	readers.Wait()
	if err := errors.Join(c.errs...); err != nil {
		return err
	}
	return wrap("with readers beside it", sameState(calm, c.u, queries))
}

// contest is a Machine under the adapter's lock.
type contest struct {
	mu   sync.RWMutex // as in the adapter: Apply alone, Query and Snapshot together
	u    *subject
	done bool
	bad  sync.Mutex // guards errs
	errs []error
}

func (c *contest) locked(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// read queries, and takes views and writes them outside the lock, until the log
// is applied; at least once.
func (c *contest) read(queries [][]byte, views bool) {
	for i, last := 0, false; !last; i++ {
		var v statemachines.View
		c.mu.RLock()
		last = c.done
		err := guarded(func() error {
			_, err := c.u.Query(bytes.Clone(queries[i%len(queries)]))
			if views {
				v = c.u.Snapshot()
			}
			return ignoreInvalid(err)
		})
		c.mu.RUnlock()
		if v != nil {
			err = errors.Join(err, guarded(func() error { _, err := written(v); return err }))
			v.Close()
		}
		c.report(err)
	}
}

func (c *contest) report(err error) {
	if err == nil {
		return
	}
	c.bad.Lock()
	defer c.bad.Unlock()
	c.errs = append(c.errs, err)
}

func ignoreInvalid(err error) error {
	if errors.Is(err, statemachines.ErrInvalidQuery) {
		return nil
	}
	return err
}
