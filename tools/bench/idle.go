package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/bench/measure"
	"github.com/drumline/drumline/tools/bench/process"
	"github.com/drumline/drumline/tools/bench/report"
)

// crowdOf is the number of groups from which subjects run one after the other, because
// a machine does not hold two of them, and start in waves, because the elections of all at
// once would outlast the patience of each.
const (
	crowdOf = 4000
	wave    = 2000
)

func idleCommand() *cli.Command {
	return &cli.Command{
		Name: "idle", Usage: "measure what idle groups cost (all hosts of a subject in one process), beside plain dragonboat with our soft settings",
		Flags: commonFlags(
			&cli.IntFlag{Name: "groups", Value: 1000, Usage: "number of groups, each with a replica on every host"},
			&cli.DurationFlag{Name: "tick", Value: 100 * time.Millisecond, Usage: "Raft's tick"},
			&cli.BoolFlag{Name: "hibernate", Usage: "let them sleep, those of dragonboat by Quiesce"},
			&cli.DurationFlag{Name: "unload", Usage: "have ours unloaded after so long; implies --hibernate"},
			&cli.BoolFlag{Name: "alone", Usage: "without the yardstick"},
			&cli.DurationFlag{Name: "time", Value: 10 * time.Second, Usage: "length of one run"}),
		Action: func(c *cli.Context) error {
			if err := prepare(c); err != nil {
				return err
			}
			s := measure.Setup{
				Subject: measure.Ours, Groups: c.Int("groups"), Hosts: 3, Tick: c.Duration("tick"),
				Hibernate: c.Bool("hibernate") || c.Duration("unload") > 0, UnloadAfter: c.Duration("unload"),
			}
			if s.Groups < 1 || s.Tick < time.Millisecond {
				return fmt.Errorf("%w: want at least one group and a tick of a millisecond", errUsage)
			}
			y := s
			y.Subject, y.Tuned, y.UnloadAfter = measure.Plain, true, 0
			setups := []measure.Setup{s, y}
			if c.Bool("alone") {
				setups = setups[:1]
			}
			return idle(c, setups)
		},
	}
}

// idle prints one row for each subject; the last is the yardstick.
func idle(c *cli.Context, setups []measure.Setup) error {
	var rests, firsts [][]measure.Sample
	var err error
	if setups[0].Groups >= crowdOf || setups[0].Hibernate { // a pause is a silence that wakes all who sleep
		rests, firsts, err = idleInTurn(c, setups)
	} else {
		rests, firsts, err = idleTogether(c, setups)
	}
	if err != nil {
		return err
	}
	t := report.New(c.App.Writer, "idle", "groups", "hosts", "% of a core a host", "heap MB a host", "resident MB a host",
		"first command p50 ms", "max ms", "CPU ratio", "heap ratio")
	var all []measure.Sample
	y := measure.Median(rests[len(rests)-1])
	for i := range setups {
		a, f := measure.Median(rests[i]), measure.Median(firsts[i])
		n := float64(a.Hosts)
		cells := []string{
			a.Name(), report.Whole(a.Groups), report.Whole(a.Hosts), fmt.Sprintf("%.1f", a.CPU/n), fmt.Sprintf("%.0f", a.Heap/n), fmt.Sprintf("%.0f", a.Resident/n),
			fmt.Sprintf("%.1f", f.P50), fmt.Sprintf("%.1f", f.Max), report.None, report.None,
		}
		if i < len(setups)-1 {
			cells[8], cells[9] = report.Ratio(a.CPU, y.CPU), report.Ratio(a.Heap, y.Heap)
		}
		t.Row(report.Failures(f), cells...)
		all = append(append(all, rests[i]...), firsts[i]...)
	}
	if err := t.Print(); err != nil {
		return err
	}
	return save(c.String("json"), all)
}

// idleTogether measures interleaved runs.
func idleTogether(c *cli.Context, setups []measure.Setup) (rests, firsts [][]measure.Sample, err error) {
	all, err := beginAll(c, setups...)
	if err != nil {
		return nil, nil, err
	}
	defer all.stop()
	rests, firsts = make([][]measure.Sample, len(all)), make([][]measure.Sample, len(all))
	for range c.Int("rounds") {
		for i, p := range all {
			// A second for what has to be made up for after the pause.
			got, err := scenes(p, measure.Request{Op: measure.OpSettle, Time: time.Second}, measure.Request{Op: measure.OpIdle, Time: c.Duration("time")})
			if err != nil {
				return nil, nil, err
			}
			rests[i] = append(rests[i], got[1])
		}
	}
	for i, p := range all {
		got, err := scenes(p, measure.Request{Op: measure.OpFirst})
		if err != nil {
			return nil, nil, err
		}
		firsts[i] = got
	}
	return rests, firsts, nil
}

// idleInTurn measures one subject after the other.
func idleInTurn(c *cli.Context, setups []measure.Setup) (rests, firsts [][]measure.Sample, err error) {
	for _, s := range setups {
		if s.Groups >= crowdOf {
			s.Wave = wave
		}
		r, f, err := idleAlone(c, s)
		if err != nil {
			return nil, nil, err
		}
		rests, firsts = append(rests, r), append(firsts, f)
	}
	return rests, firsts, nil
}

func idleAlone(c *cli.Context, s measure.Setup) (rests, firsts []measure.Sample, err error) {
	p, err := begin(c, s)
	if err != nil {
		return nil, nil, err
	}
	defer p.Stop()
	if _, err := p.Ask(measure.Request{Op: measure.OpSettle, Time: s.Drowsy()}); err != nil {
		return nil, nil, err
	}
	for range c.Int("rounds") {
		got, err := p.Ask(measure.Request{Op: measure.OpIdle, Time: c.Duration("time")})
		if err != nil {
			return nil, nil, err
		}
		rests = append(rests, got)
	}
	first, err := p.Ask(measure.Request{Op: measure.OpFirst})
	return rests, []measure.Sample{first}, err
}

// scenes wakes a subject for some things in a row.
func scenes(p *process.Process, requests ...measure.Request) (all []measure.Sample, err error) {
	if err = p.Wake(); err != nil {
		return nil, err
	}
	for _, r := range requests {
		s, err := p.Ask(r)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, p.Sleep()
}
