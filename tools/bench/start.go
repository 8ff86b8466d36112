package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/bench/measure"
	"github.com/drumline/drumline/tools/bench/report"
)

func startCommand() *cli.Command {
	return &cli.Command{
		Name: "start", Usage: "measure how long many groups take to start for the first time and again, until each has a leader",
		Flags: commonFlags(
			&cli.IntFlag{Name: "groups", Value: 1000, Usage: "number of groups, each with a replica on every host"},
			&cli.IntFlag{Name: "hosts", Value: 3, Usage: "number of hosts, all in one process"},
			&cli.DurationFlag{Name: "tick", Value: 100 * time.Millisecond, Usage: "Raft's tick"},
			&cli.BoolFlag{Name: "alone", Usage: "without the yardsticks"}),
		Action: func(c *cli.Context) error {
			if err := prepare(c); err != nil {
				return err
			}
			s := measure.Setup{Subject: measure.Ours, Groups: c.Int("groups"), Hosts: c.Int("hosts"), Tick: c.Duration("tick"), Hibernate: true}
			if s.Groups < 1 || s.Hosts < 1 || s.Tick < time.Millisecond {
				return fmt.Errorf("%w: want at least one group, one host and a tick of a millisecond", errUsage)
			}
			tuned := s
			tuned.Subject, tuned.Tuned, tuned.Hibernate = measure.Plain, true, false
			y := tuned
			y.Tuned = false
			setups := []measure.Setup{s, tuned, y}
			if c.Bool("alone") {
				setups = setups[:1]
			}
			return starts(c, setups)
		},
	}
}

// starts prints one row for each subject; those that follow ours are yardsticks.
func starts(c *cli.Context, setups []measure.Setup) error {
	first, again := make([][]measure.Sample, len(setups)), make([][]measure.Sample, len(setups))
	var all []measure.Sample
	for range c.Int("rounds") {
		for i, s := range setups {
			a, b, err := startTwice(c, s)
			if err != nil {
				return err
			}
			first[i], again[i], all = append(first[i], a), append(again[i], b), append(all, a, b)
		}
	}
	header := []string{"start", "groups", "hosts", "first start s", "restart s", "heap MB a host", "resident MB a host"}
	for _, s := range setups[1:] {
		header = append(header, "first of "+s.Label(), "restart of "+s.Label())
	}
	t := report.New(c.App.Writer, header...)
	for i := range setups {
		a, b := measure.Median(first[i]), measure.Median(again[i])
		n := float64(a.Hosts)
		cells := []string{
			a.Name(), report.Whole(a.Groups), report.Whole(a.Hosts), seconds(a.Seconds), seconds(b.Seconds), fmt.Sprintf("%.0f", b.Heap/n), fmt.Sprintf("%.0f", b.Resident/n),
		}
		for j := range setups[1:] {
			if i > 0 {
				cells = append(cells, report.None, report.None)
				continue
			}
			cells = append(cells, report.Ratio(a.Seconds, measure.Median(first[j+1]).Seconds), report.Ratio(b.Seconds, measure.Median(again[j+1]).Seconds))
		}
		t.Row("", cells...)
	}
	if err := t.Print(); err != nil {
		return err
	}
	return save(c.String("json"), all)
}

// startTwice starts a subject, and then again on its data.
func startTwice(c *cli.Context, s measure.Setup) (first, again measure.Sample, err error) {
	p, err := begin(c, s)
	if err != nil {
		return first, again, err
	}
	defer p.Stop()
	if first, err = p.Ask(measure.Request{Op: measure.OpStart}); err != nil {
		return first, again, err
	}
	again, err = p.Ask(measure.Request{Op: measure.OpRestart})
	return first, again, err
}
