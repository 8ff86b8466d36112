package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/bench/measure"
	"github.com/drumline/drumline/tools/bench/report"
	"github.com/drumline/drumline/tools/bench/roads"
)

// loadTick is that of the subjects in process; a fleet of localfleet has the same.
const loadTick = 50 * time.Millisecond

func loadCommand(op string) *cli.Command {
	return &cli.Command{
		Name: op, Usage: "measure " + op + " operations",
		Flags: commonFlags(
			&cli.StringFlag{Name: "groups", Value: "1,16,256", Usage: "numbers of groups, each a cell of the table"},
			&cli.StringFlag{Name: "callers", Value: "1,64,256,1024", Usage: "numbers of operations under way at a time"},
			&cli.StringFlag{Name: "where", Value: "all", Usage: "process, grpc or all"},
			&cli.DurationFlag{Name: "time", Value: 2 * time.Second, Usage: "length of one run"}),
		Action: func(c *cli.Context) error {
			groups, err := numbers(c.String("groups"))
			if err != nil {
				return err
			}
			callers, err := numbers(c.String("callers"))
			if err != nil {
				return err
			}
			pairs, err := pairings(c.String("where"))
			if err != nil {
				return err
			}
			if err := prepare(c); err != nil {
				return err
			}
			var all []measure.Sample
			for _, p := range pairs {
				samples, err := p.measure(c, op, groups, callers)
				if all = append(all, samples...); err != nil {
					return err
				}
			}
			return save(c.String("json"), all)
		},
	}
}

// pairing is a subject, the roads on which it is called, and its yardstick.
type pairing struct {
	subject, yardstick string
	roads              []string
}

func pairings(where string) ([]pairing, error) {
	inProcess, grpc := pairing{measure.Ours, measure.Plain, []string{""}}, pairing{measure.OursGRPC, measure.EchoGRPC, roads.All()}
	switch where {
	case "process":
		return []pairing{inProcess}, nil
	case "grpc":
		return []pairing{grpc}, nil
	case "all":
		return []pairing{inProcess, grpc}, nil
	}
	return nil, fmt.Errorf("%w: --where %q: want process, grpc or all", errUsage, where)
}

// measure fills a table.
func (p pairing) measure(c *cli.Context, op string, groups, callers []int) (all []measure.Sample, err error) {
	header := []string{
		op, "groups", "callers", "op/s", "p50 ms", "p99 ms", "CPU µs/op", "allocs/op",
		"yardstick", "op/s", "p50 ms", "p99 ms", "CPU µs/op", "allocs/op", "ratio",
	}
	if len(p.roads) > 1 {
		header = append(header, "of "+p.roads[0])
	}
	t := report.New(c.App.Writer, header...)
	for _, g := range groups {
		samples, err := p.cells(c, op, g, callers, t)
		if all = append(all, samples...); err != nil {
			return all, err
		}
	}
	return all, t.Print()
}

// cells measures one number of groups, for every number of callers.
func (p pairing) cells(c *cli.Context, op string, groups int, callers []int, t *report.Table) (all []measure.Sample, err error) {
	s := measure.Setup{Subject: p.subject, Groups: groups, Hosts: 3, Tick: loadTick}
	y := s
	y.Subject = p.yardstick
	both, err := beginAll(c, s, y)
	if err != nil {
		return nil, err
	}
	defer both.stop()
	for _, n := range callers {
		r := measure.Request{Op: op, Callers: n, Time: c.Duration("time")}
		mine, theirs := make([][]measure.Sample, len(p.roads)), []measure.Sample{}
		for range c.Int("rounds") {
			for i, road := range p.roads {
				r.Via = road
				a, err := both[0].Run(r)
				if err != nil {
					return all, err
				}
				mine[i] = append(mine[i], a)
			}
			r.Via = ""
			b, err := both[1].Run(r)
			if err != nil {
				return all, err
			}
			theirs = append(theirs, b)
		}
		b := measure.Median(theirs)
		first := measure.Median(mine[0])
		for i := range p.roads {
			p.row(t, measure.Median(mine[i]), b, first)
			all = append(all, mine[i]...)
		}
		all = append(all, theirs...)
	}
	return all, nil
}

func (p pairing) row(t *report.Table, a, b, first measure.Sample) {
	cells := []string{a.Name(), report.Whole(a.Groups), report.Whole(a.Callers)}
	cells = append(append(cells, speed(a)...), b.Name())
	cells = append(append(cells, speed(b)...), report.Ratio(a.PerSec, b.PerSec))
	if len(p.roads) > 1 {
		cells = append(cells, report.Ratio(a.PerSec, first.PerSec))
	}
	t.Row(report.Failures(a, b), cells...)
}

func speed(s measure.Sample) []string {
	allocs := fmt.Sprintf("%.1f", s.Allocs)
	if s.CallerAllocs > 0 {
		allocs += fmt.Sprintf(" + %.1f", s.CallerAllocs)
	}
	return []string{fmt.Sprintf("%.0f", s.PerSec), fmt.Sprintf("%.2f", s.P50), fmt.Sprintf("%.2f", s.P99), fmt.Sprintf("%.1f", s.CPU), allocs}
}
