package sequences

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/client/sequence"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

func (n *Noun) stream() noun.Verb {
	return noun.Verb{
		Name: "stream", Usage: "print numbers of a sequence as they come", Args: "NAME", Min: 1, Max: 1,
		About: "Behaves like the example client of rr_seq: every --delay it prints \"Got: NUMBER\" if a number is there, and nothing otherwise; " +
			"without a delay it prints as fast as numbers come. When it is interrupted, or has printed -n numbers, it gives back what is left of its range.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "buffer", Value: 1000, Usage: "take ranges of `N` numbers"},
			&cli.DurationFlag{Name: "delay", Usage: "look for a number every `DURATION`"},
			&cli.Uint64Flag{Name: "count", Aliases: []string{"n"}, DefaultText: "no end", Usage: "end after `N` numbers"},
			noun.Region(),
		},
		Run: func(ctx context.Context, c *cli.Context) error {
			conn, err := n.Client(ctx)
			if err != nil {
				return err
			}
			of := noun.KeyedBy(c, sequenceApp)
			q := conn.In(of.Region).Sequence(of.Name, sequence.Buffer(c.Int("buffer")))
			err = n.got(ctx, q, pacing{delay: c.Duration("delay"), count: c.Uint64("count")})
			if closed := q.Close(); err == nil && closed != nil {
				n.Say("warning: %s", closed)
			}
			if err != nil {
				return noun.Doing("stream "+of.Full, err)
			}
			return nil
		},
	}
}

// pacing is how numbers are printed: one each delay, count in all; 0 means no bound.
type pacing struct {
	delay time.Duration
	count uint64
}

// got prints numbers until ctx ends or there are enough.
func (n *Noun) got(ctx context.Context, q *sequence.Sequence, p pacing) error {
	for printed := uint64(0); p.count == 0 || printed < p.count; {
		v, ready, err := one(ctx, q, p.delay)
		switch {
		case ctx.Err() != nil:
			return noun.Fault(noun.Interrupted, "")
		case err != nil:
			return err
		case ready:
			if err := n.Write(fmt.Appendf(nil, "Got: %d\n", v)); err != nil {
				return err
			}
			printed++
		}
		if p.delay > 0 && !sleep(ctx, p.delay) {
			return noun.Fault(noun.Interrupted, "")
		}
	}
	return nil
}

// one takes one number: with a delay only if one comes within it.
func one(ctx context.Context, q *sequence.Sequence, delay time.Duration) (n int64, ready bool, err error) {
	if delay <= 0 {
		n, err = q.Next(ctx)
		return n, err == nil, err
	}
	soon, cancel := context.WithTimeout(ctx, delay)
	defer cancel()
	n, err = q.Next(soon)
	if err != nil && soon.Err() != nil && ctx.Err() == nil {
		return 0, false, nil // there was none
	}
	return n, err == nil, err
}

// sleep waits, or returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
