// Package draws is what bench does with sequences: clients that take numbers one by one
// and by ranges, in the forms of rr_seq's own benchmarks, and rr_seq's figures beside them.
package draws

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/client/sequence"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/tools/bench/measure"
)

// Groups that a fleet must have for the runs: one dense sequence and one for clients that
// fit their ranges to their rate.
const (
	Dense  = "sequence/dense"
	Cached = "sequence/cached"
)

const (
	// goroutines is what rr_seq's figures were measured with (-cpu 8), clients how many
	// contend, buffer the size of their ranges, outstanding how many requests are under way.
	goroutines, clients, buffer, outstanding = 8, 32, 1024, 256
	patience                                 = 30 * time.Second
)

// Fleet is where numbers come from.
type Fleet interface {
	// Hosts is a client that knows the hosts.
	Hosts() *client.Client
	// AtLeader connects to the host that leads a group; the caller does not close it.
	AtLeader(ctx context.Context, group string) (*grpc.ClientConn, error)
	// Fell kills the host that leads a group; raise starts it again and waits for it.
	Fell(ctx context.Context, group string) (raise func(context.Context) error, err error)
}

// run is one way to take numbers.
type run func(ctx context.Context, f Fleet, r measure.Request) (measure.Sample, error)

func runs() map[string]run {
	return map[string]run{
		One: ofClients(1), Many: ofClients(clients),
		Single: ofRanges(1, 1), Local: ofRanges(1, goroutines), Distributed: ofRanges(clients, goroutines),
		Warm: warm, Channel: channel, Stream: overStream, Unary: unary,
		Adapted: adapted, Fixed: fixed,
	}
}

// Run makes one run, which the request's Via names.
func Run(ctx context.Context, f Fleet, r measure.Request) (measure.Sample, error) {
	do := runs()[r.Via]
	if do == nil {
		return measure.Sample{}, fmt.Errorf("no run %q of numbers", r.Via)
	}
	before := runtime.GOMAXPROCS(goroutines)
	defer runtime.GOMAXPROCS(before)
	return do(ctx, f, r)
}

// open opens clients of the dense sequence. close closes them.
func open(f Fleet, n int, opts ...sequence.Option) (all []*sequence.Sequence, end func() error) {
	for range n {
		all = append(all, f.Hosts().Sequence(Dense, opts...))
	}
	return all, func() error {
		var errs []error
		for _, q := range all {
			errs = append(errs, q.Close())
		}
		return errors.Join(errs...)
	}
}

// ofClients: that many clients, each takes number after number, unbuffered.
func ofClients(n int) run {
	return func(ctx context.Context, f Fleet, r measure.Request) (measure.Sample, error) {
		all, end := open(f, n)
		r.Callers = n
		next := func(ctx context.Context, i int) error { _, err := all[i].Next(ctx); return err }
		s := measure.Run(ctx, r, measure.OwnUsage, measure.Workload{Call: next, Weight: 1})
		return s, end()
	}
}

// ofRanges: clients with ranges of a fixed size, of which each goroutine reads one, as
// fast as it can.
func ofRanges(n, readers int) run {
	return func(ctx context.Context, f Fleet, r measure.Request) (measure.Sample, error) {
		all, end := open(f, n, sequence.Buffer(buffer))
		for _, q := range all {
			if _, err := q.Next(ctx); err != nil {
				return measure.Sample{}, errors.Join(err, end())
			}
		}
		s, err := spin(ctx, r.Time, readers, func(i int) error { _, err := all[i%n].Next(ctx); return err })
		return s, errors.Join(err, end())
	}
}

// batch is how many numbers a spinning reader takes between two looks at the clock.
const batch = 256

// spin lets readers take numbers as fast as they can.
func spin(ctx context.Context, d time.Duration, readers int, next func(i int) error) (measure.Sample, error) {
	var measuring, over atomic.Bool
	counts, errs := make([]int, readers), make([]error, readers)
	var work sync.WaitGroup
	for i := range readers {
		work.Go(func() {
			n := 0
			for begun := false; !over.Load(); {
				for range batch {
					if errs[i] = next(i); errs[i] != nil {
						return
					}
				}
				if n += batch; !begun && measuring.Load() {
					begun, n = true, 0
				}
			}
			counts[i] = n
		})
	}
	measure.Pause(ctx, measure.Warmup)
	measuring.Store(true)
	began := time.Now()
	measure.Pause(ctx, d)
	over.Store(true)
	took := time.Since(began)
	work.Wait()
	var s measure.Sample
	for _, n := range counts {
		s.PerSec += float64(n) / took.Seconds()
	}
	return s, errors.Join(errs...)
}

// warm: numbers of a range that is in hand, by one reader.
func warm(ctx context.Context, f Fleet, _ measure.Request) (measure.Sample, error) {
	const in = 1 << 24
	q := f.Hosts().Sequence(Dense, sequence.Buffer(in))
	if _, err := q.Next(ctx); err != nil {
		return measure.Sample{}, errors.Join(err, q.Close())
	}
	const count = in / 4 // below the mark at which the next range is asked for
	began := time.Now()
	for range count {
		if _, err := q.Next(ctx); err != nil {
			return measure.Sample{}, errors.Join(err, q.Close())
		}
	}
	took := time.Since(began)
	return measure.Sample{PerSec: count / took.Seconds()}, q.Close()
}

// channel is rr_seq's yardstick, SimpleBufSeq: one goroutine that counts into a channel.
func channel(ctx context.Context, _ Fleet, r measure.Request) (measure.Sample, error) {
	numbers, stop := make(chan uint64, buffer), make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		defer close(numbers)
		for n := uint64(1); ; n++ {
			select {
			case numbers <- n:
			case <-stop:
				return
			}
		}
	})
	s, err := spin(ctx, r.Time, 1, func(int) error { <-numbers; return nil })
	close(stop)
	work.Wait()
	return s, err
}

// unary: ranges in calls of their own at the leader's host, by clients whose retries
// would get the same again.
func unary(ctx context.Context, f Fleet, r measure.Request) (measure.Sample, error) {
	conn, err := f.AtLeader(ctx, Dense)
	if err != nil {
		return measure.Sample{}, err
	}
	at := sequencepb.NewSequenceClient(conn)
	callers, err := openMany(ctx, at, Dense)
	if err != nil {
		return measure.Sample{}, err
	}
	r.Callers = outstanding
	call := func(ctx context.Context, i int) error {
		_, err := at.Next(ctx, callers[i].want())
		return err
	}
	return measure.Run(ctx, r, measure.OwnUsage, measure.Workload{Call: call, Weight: 1}), nil
}
