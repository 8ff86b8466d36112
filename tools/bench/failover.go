package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/bench/measure"
	"github.com/drumline/drumline/tools/bench/report"
)

func failoverCommand() *cli.Command {
	return &cli.Command{
		Name: "failover", Usage: "kill one of three hosts and measure when its groups have a leader again, beside plain dragonboat without quiesce",
		Flags: commonFlags(
			&cli.IntFlag{Name: "groups", Value: 1000, Usage: "number of groups, each with a replica on every host"},
			&cli.DurationFlag{Name: "tick", Value: 100 * time.Millisecond, Usage: "Raft's tick; an election timeout is 10 to 20 of them"}),
		Action: func(c *cli.Context) error {
			if err := prepare(c); err != nil {
				return err
			}
			s := measure.Setup{Subject: measure.Ours, Groups: c.Int("groups"), Hosts: 3, Tick: c.Duration("tick")}
			if s.Groups < 1 || s.Tick < time.Millisecond {
				return fmt.Errorf("%w: want at least one group and a tick of a millisecond", errUsage)
			}
			asleep, y := s, s
			asleep.Hibernate = true
			y.Subject, y.Tuned = measure.Plain, true
			return failover(c, []measure.Setup{s, asleep, y})
		},
	}
}

// failover prints one row for each subject; the last is the yardstick.
func failover(c *cli.Context, setups []measure.Setup) error {
	crew, err := beginAll(c, setups...)
	if err != nil {
		return err
	}
	defer crew.stop()
	rounds := make([][]measure.Sample, len(crew))
	for range c.Int("rounds") {
		for i, p := range crew {
			got, err := scenes(p, measure.Request{Op: measure.OpSettle, Time: time.Second + p.Setup.Drowsy()}, measure.Request{Op: measure.OpFail})
			if err != nil {
				return err
			}
			rounds[i] = append(rounds[i], got[1])
		}
	}
	t := report.New(c.App.Writer, "failover", "groups", "groups led there", "p50 s", "p99 s", "max s", "without a leader after 60 s", "p99 ratio")
	var all []measure.Sample
	y := measure.Median(rounds[len(rounds)-1])
	for i := range crew {
		a := measure.Median(rounds[i])
		cells := []string{
			a.Name(), report.Whole(a.Groups), report.Whole(a.Moved), seconds(a.P50 / 1000), seconds(a.P99 / 1000), seconds(a.Max / 1000), report.Whole(a.Failed), report.None,
		}
		if i < len(crew)-1 {
			cells[7] = report.Ratio(a.P99, y.P99)
		}
		t.Row("", cells...)
		all = append(all, rounds[i]...)
	}
	if err := t.Print(); err != nil {
		return err
	}
	return save(c.String("json"), all)
}

func seconds(s float64) string { return report.Positive("%.2f", s) }
