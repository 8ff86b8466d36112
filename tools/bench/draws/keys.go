package draws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/tools/bench/measure"
	"github.com/drumline/drumline/tools/bench/report"
)

// Things to ask of a fleet: OpFill makes a family of keys, OpKeys takes numbers of them.
const (
	OpFill = "fill"
	OpKeys = "keys"
)

// Keyed is a fleet that is asked what its hosts use.
type Keyed interface {
	Fleet
	// HostsCPU is processor time of all hosts, and of nobody else.
	HostsCPU() time.Duration
	// HostResident is a host's memory in the eyes of the kernel, on an average, millions of bytes.
	HostResident() float64
}

// Family is the group of that many keys.
func Family(keys int) string { return "sequence/keys-" + strconv.Itoa(keys) }

func keyOf(i int) string { return fmt.Sprintf("user/%07d", i) }

// fillPatience bounds the making of a family, and lets a million keys come on a slow disk.
const fillPatience = 10 * time.Minute

// Fill makes the keys of a family, which has none yet, by taking a number of each. The
// sample has what that took, and the memory that it added to a host.
func Fill(ctx context.Context, f Keyed, keys int) (s measure.Sample, err error) {
	conn, err := f.AtLeader(ctx, Family(keys))
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, fillPatience)
	defer cancel()
	before, began, at := f.HostResident(), time.Now(), 0
	err = flow(ctx, sequencepb.NewSequenceClient(conn), func(uint64) *sequencepb.NextRequest {
		if at == keys {
			return nil
		}
		at++
		return &sequencepb.NextRequest{Group: Family(keys), Next: &sequencepb.Next{Key: keyOf(at - 1)}}
	}, func(time.Time, time.Duration) {})
	s.Seconds, s.Resident, s.Keys = time.Since(began).Seconds(), f.HostResident()-before, keys
	return s, err
}

// OfKeys takes ranges of keys drawn all over a family, over one stream, by clients whose
// retries would get the same again. The sample's CPU is that of the hosts alone.
func OfKeys(ctx context.Context, f Keyed, r measure.Request) (s measure.Sample, err error) {
	group := Family(r.Keys)
	conn, err := f.AtLeader(ctx, group)
	if err != nil {
		return s, err
	}
	at := sequencepb.NewSequenceClient(conn)
	askers, err := openMany(ctx, at, group)
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, measure.Warmup+r.Time+patience)
	defer cancel()
	var times []time.Duration
	draw := func(d time.Duration) error {
		end := time.Now().Add(d)
		times = times[:0]
		return flow(ctx, at, func(i uint64) *sequencepb.NextRequest {
			if !time.Now().Before(end) {
				return nil
			}
			askers[i].request.Next.Key = keyOf(rand.IntN(r.Keys))
			return askers[i].want()
		}, func(_ time.Time, took time.Duration) { times = append(times, took) })
	}
	if err = draw(measure.Warmup); err != nil {
		return s, err
	}
	before, began := f.HostsCPU(), time.Now()
	if err = draw(r.Time); err != nil || len(times) == 0 {
		return s, errors.Join(err, ctx.Err())
	}
	n, took, used := float64(len(times)), time.Since(began), f.HostsCPU()-before
	s.Keys, s.PerSec, s.CPU = r.Keys, n/took.Seconds(), float64(used.Microseconds())/n
	s.Spread(times)
	return s, nil
}

// Families is what was measured of some families: how each was filled, and its runs.
type Families struct {
	filled []measure.Sample
	runs   [][]measure.Sample
}

// MeasureKeys fills families of so many keys each, and measures them in turn, round by round.
func MeasureKeys(ask func(measure.Request) (measure.Sample, error), sizes []int, rounds int, each time.Duration) (*Families, error) {
	f := &Families{runs: make([][]measure.Sample, len(sizes))}
	for _, n := range sizes {
		s, err := ask(measure.Request{Op: OpFill, Keys: n})
		if err != nil {
			return nil, fmt.Errorf("fill a family of %d keys: %w", n, err)
		}
		f.filled = append(f.filled, s)
	}
	for range rounds {
		for i, n := range sizes {
			s, err := ask(measure.Request{Op: OpKeys, Keys: n, Time: each})
			if err != nil {
				return nil, fmt.Errorf("take numbers of %d keys: %w", n, err)
			}
			f.runs[i] = append(f.runs[i], s)
		}
	}
	return f, nil
}

// Samples are all that there are.
func (f *Families) Samples() []measure.Sample {
	return slices.Concat(f.filled, slices.Concat(f.runs...))
}

// Print prints medians, the first family's first, by which the others are divided.
func (f *Families) Print(out io.Writer) error {
	t := report.New(out, "keys", "allocations/s", "of the first", "p50 ms", "p99 ms", "CPU µs each, all hosts", "of the first", "bytes a key, a host", "filled, keys/s")
	first := measure.Median(f.runs[0])
	for i, filled := range f.filled {
		s, each, speed := measure.Median(f.runs[i]), report.None, report.None
		if filled.Keys >= 10_000 { // fewer are lost in what else a host holds
			each, speed = fmt.Sprintf("%.0f", filled.Resident*1e6/float64(filled.Keys)), fmt.Sprintf("%.0f", float64(filled.Keys)/filled.Seconds)
		}
		t.Row(report.Failures(s), report.Whole(filled.Keys), fmt.Sprintf("%.0f", s.PerSec), report.Ratio(s.PerSec, first.PerSec), latency(s.P50), latency(s.P99),
			fmt.Sprintf("%.1f", s.CPU), report.Ratio(s.CPU, first.CPU), each, speed)
	}
	return t.Print()
}
