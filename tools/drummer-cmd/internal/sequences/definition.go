package sequences

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// definitionFlags are those of create and set.
func definitionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "mode", Usage: "`MODE`: dense, cached, gapfree, time, tso or scatter"},
		&cli.Int64Flag{Name: "step", DefaultText: "1", Usage: "`STEP` from one number to the next, negative to descend"},
		&cli.Int64Flag{Name: "start", DefaultText: "min", Usage: "first `NUMBER`"},
		&cli.Int64Flag{Name: "min", DefaultText: "1", Usage: "least `NUMBER`"},
		&cli.Int64Flag{Name: "max", DefaultText: "2^63-1", Usage: "greatest `NUMBER`"},
		noun.Toggle("cycle", "begin again when all numbers were handed out"),
		&cli.Uint64Flag{Name: "cache", DefaultText: "none", Usage: "`N` numbers are a good range for clients"},
		&cli.Uint64Flag{Name: "max-range", DefaultText: "none", Usage: "no range has more than `N` numbers"},
		&cli.Uint64Flag{Name: "max-skip", DefaultText: "2^40", Usage: "a client that knows of greater numbers may skip `N` at once"},
		&cli.StringFlag{Name: "owner", Usage: "`TEXT` that says whose the sequence is"},
		&cli.Uint64Flag{Name: "quota", DefaultText: "none", Usage: "at most `N` numbers in each --period; 0 for no quota"},
		&cli.DurationFlag{Name: "period", Value: time.Second, Usage: "`DURATION` that --quota is about"},
		&cli.DurationFlag{Name: "reservation", DefaultText: "30s", Usage: "gapfree: a number stays reserved for `DURATION`"},
		&cli.StringFlag{Name: "layout", DefaultText: "41/10/12", Usage: "time: `BITS` of the milliseconds, the worker and the counter, 63 at most in all"},
		&cli.StringFlag{Name: "epoch", DefaultText: "1970-01-01", Usage: "time: count from `DATE`, like 2026-01-01 or 2026-01-01T12:00:00Z"},
		&cli.DurationFlag{Name: "lease", DefaultText: "10s", Usage: "time: a worker is leased for `DURATION`"},
		&cli.UintFlag{Name: "logical-bits", DefaultText: "18", Usage: "tso: the logical part has `N` bits"},
		&cli.UintFlag{Name: "scatter-bits", DefaultText: "63", Usage: "scatter: `N` bits are reversed"},
	}
}

// definitionOf changes d by the flags that were given, and tells whether there were any.
func definitionOf(c *cli.Context, d *sequencepb.Definition) (given bool, err error) {
	set := func(name string, f func()) {
		if c.IsSet(name) && err == nil {
			given = true
			f()
		}
	}
	set("mode", func() { d.Mode, err = modeOf(c.String("mode")) })
	set("step", func() { d.Step = c.Int64("step") })
	set("start", func() { d.Start = proto.Int64(c.Int64("start")) })
	set("min", func() { d.Min = proto.Int64(c.Int64("min")) })
	set("max", func() { d.Max = proto.Int64(c.Int64("max")) })
	set("cycle", func() { d.Cycle = c.Bool("cycle") })
	set("cache", func() { d.Cache = c.Uint64("cache") })
	set("max-range", func() { d.MaxRange = c.Uint64("max-range") })
	set("max-skip", func() { d.MaxSkip = c.Uint64("max-skip") })
	set("owner", func() { d.Owner = c.String("owner") })
	set("quota", func() {
		if d.Quota = nil; c.Uint64("quota") > 0 {
			d.Quota = &sequencepb.Quota{Numbers: c.Uint64("quota"), PeriodMs: uint64(c.Duration("period").Milliseconds())}
		}
	})
	set("reservation", func() { d.ReservationMs, err = milliseconds(c, "reservation") })
	set("logical-bits", func() { d.LogicalBits = uint32(c.Uint("logical-bits")) })
	set("scatter-bits", func() { d.ScatterBits = uint32(c.Uint("scatter-bits")) })
	layout := &sequencepb.TimeLayout{}
	proto.Merge(layout, d.GetTime())
	set("layout", func() { d.Time, err = layout, splitOf(c.String("layout"), layout) })
	set("epoch", func() {
		d.Time = layout
		layout.EpochMs, err = epochOf(c.String("epoch"))
	})
	set("lease", func() {
		d.Time = layout
		layout.LeaseMs, err = milliseconds(c, "lease")
	})
	if err != nil {
		return given, err
	}
	return given, fits(c, d)
}

// fits refuses flags that are for another mode: the group would not look at them, and
// nobody would notice.
func fits(c *cli.Context, d *sequencepb.Definition) error {
	for _, f := range []struct {
		flag string
		of   sequencepb.Mode
	}{
		{"reservation", sequencepb.Mode_MODE_GAPFREE},
		{"layout", sequencepb.Mode_MODE_TIME},
		{"epoch", sequencepb.Mode_MODE_TIME},
		{"lease", sequencepb.Mode_MODE_TIME},
		{"logical-bits", sequencepb.Mode_MODE_TSO},
		{"scatter-bits", sequencepb.Mode_MODE_SCATTER},
	} {
		if c.IsSet(f.flag) && d.GetMode() != f.of {
			return noun.Fault(noun.Usage, "--%s is for sequences of --mode %s", f.flag, modeWord(f.of))
		}
	}
	return nil
}

// milliseconds is a flag's duration, which has to be a whole one.
func milliseconds(c *cli.Context, flag string) (uint64, error) {
	d := c.Duration(flag)
	if d < time.Millisecond || d%time.Millisecond != 0 {
		return 0, noun.Fault(noun.Usage, "--%s=%s: want a whole number of milliseconds", flag, d)
	}
	return uint64(d.Milliseconds()), nil
}

// splitOf reads how many bits the parts of a number have.
func splitOf(text string, l *sequencepb.TimeLayout) error {
	var rest string
	n, _ := fmt.Sscanf(text+" end", "%d/%d/%d %s", &l.TimeBits, &l.WorkerBits, &l.CounterBits, &rest) // n tells
	if n < 4 || rest != "end" || l.GetTimeBits() == 0 || l.GetWorkerBits() == 0 || l.GetCounterBits() == 0 {
		return noun.Fault(noun.Usage, "--layout=%s: want the bits of milliseconds, worker and counter, like 41/10/12", text)
	}
	return nil
}

// epochOf reads a day, or a moment.
func epochOf(text string) (uint64, error) {
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, text); err == nil && t.UnixMilli() >= 0 {
			return uint64(t.UnixMilli()), nil
		}
	}
	return 0, noun.Fault(noun.Usage, "--epoch=%s: want a day or a moment from 1970 on, like 2026-01-01 or 2026-01-01T12:00:00Z", text)
}

func modeOf(word string) (sequencepb.Mode, error) {
	m, known := sequencepb.Mode_value["MODE_"+strings.ToUpper(word)]
	if !known || m == 0 {
		return 0, noun.Fault(noun.Usage, "--mode=%s is not known: use dense, cached, gapfree, time, tso or scatter", word)
	}
	return sequencepb.Mode(m), nil
}
