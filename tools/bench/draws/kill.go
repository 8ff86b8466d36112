package draws

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/drumline/drumline/client/sequence"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/tools/bench/measure"
)

const (
	// rate is how many numbers a second a client with a rate takes, supply for how long it
	// has numbers in hand once it has adapted, aftermath how long it is watched after the kill.
	rate      = 1000
	supply    = 5 * time.Second
	aftermath = 4 * time.Second
)

// adapted: a client that takes numbers at a rate, and has fitted its ranges to it, while
// the host that leads the sequence is killed.
func adapted(ctx context.Context, f Fleet, _ measure.Request) (s measure.Sample, err error) {
	q := f.Hosts().Sequence(Cached)
	defer func() { err = errors.Join(err, q.Close()) }()
	pace := time.NewTicker(time.Second / rate)
	defer pace.Stop()
	var last int64
	next := func() error {
		<-pace.C
		last, err = q.Next(ctx)
		return err
	}
	if err := fit(ctx, f, next, &last); err != nil {
		return s, err
	}
	return longest(ctx, f, Cached, next)
}

// fit takes numbers until some seconds of supply are in hand.
func fit(ctx context.Context, f Fleet, next func() error, last *int64) error {
	at := sequencepb.NewSequenceClient(f.Hosts().Hosts())
	for end := time.Now().Add(patience); time.Now().Before(end); {
		for range rate / 2 {
			if err := next(); err != nil {
				return err
			}
		}
		r, err := at.Describe(ctx, &sequencepb.DescribeRequest{Group: Cached, Describe: &sequencepb.Describe{}})
		if err != nil {
			return err
		}
		if float64(r.GetInfo().GetNext()-*last) >= rate*supply.Seconds() {
			return nil
		}
	}
	return fmt.Errorf("after %s the client has not fitted its ranges to its rate", patience)
}

// fixed: a client whose ranges stay as they are, at full speed.
func fixed(ctx context.Context, f Fleet, _ measure.Request) (s measure.Sample, err error) {
	q := f.Hosts().Sequence(Dense, sequence.Buffer(buffer))
	defer func() { err = errors.Join(err, q.Close()) }()
	next := func() error { _, err := q.Next(ctx); return err }
	for range 10 * buffer {
		if err := next(); err != nil {
			return s, err
		}
	}
	return longest(ctx, f, Dense, next)
}

// longest kills the host that leads the group and takes numbers all the time: Max is the
// longest that one took.
func longest(ctx context.Context, f Fleet, group string, next func() error) (s measure.Sample, err error) {
	type felled struct {
		raise func(context.Context) error
		err   error
	}
	done := make(chan felled, 1)
	go func() {
		raise, err := f.Fell(ctx, group)
		done <- felled{raise, err}
	}()
	var most time.Duration
	count := 0
	for end := time.Now().Add(aftermath); time.Now().Before(end); count++ {
		if count%batch == 0 && ctx.Err() != nil {
			break
		}
		began := time.Now()
		if err = next(); err != nil {
			break
		}
		most = max(most, time.Since(began))
	}
	d := <-done
	if d.raise != nil {
		d.err = errors.Join(d.err, d.raise(ctx))
	}
	s.Max = float64(most.Microseconds()) / 1000
	s.Counted = count
	return s, errors.Join(err, d.err)
}
