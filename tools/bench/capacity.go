package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/bench/holders"
	"github.com/drumline/drumline/tools/bench/measure"
	"github.com/drumline/drumline/tools/bench/report"
)

func capacityCommand() *cli.Command {
	return &cli.Command{
		Name: "capacity", Usage: "measure refreshes of leases, beside the original Doorman's figures",
		Flags: commonFlags(
			&cli.StringFlag{Name: "only", Usage: "measure only rows that contain `TEXT`, like \"doorman fair 100 1 32\""},
			&cli.DurationFlag{Name: "time", Value: 2 * time.Second, Usage: "length of one run"}),
		Action: func(c *cli.Context) error {
			var rows []holders.Row
			for _, row := range holders.Rows() {
				if strings.Contains(row.String(), c.String("only")) {
					rows = append(rows, row)
				}
			}
			if len(rows) == 0 {
				return fmt.Errorf("%w: --only %q: no row has that", errUsage, c.String("only"))
			}
			if err := prepare(c); err != nil {
				return err
			}
			all, err := measureLeases(c, rows)
			if err != nil {
				return err
			}
			return save(c.String("json"), all)
		},
	}
}

// measured is what was measured of a row: refreshes, and an echo beside each.
type measured struct {
	leases, echoes []measure.Sample
}

// measureLeases measures all rows of one fleet, and an echo beside each: a machine is not as
// fast at one moment as at another.
func measureLeases(c *cli.Context, rows []holders.Row) (all []measure.Sample, err error) {
	s := measure.Setup{Subject: measure.Leases, Hosts: 3, Tick: loadTick}
	y := measure.Setup{Subject: measure.EchoGRPC, Groups: 1, Hosts: 1, Tick: loadTick, Connections: holders.Connections}
	both, err := beginAll(c, s, y)
	if err != nil {
		return nil, err
	}
	defer both.stop()
	found := make([]measured, len(rows))
	for range c.Int("rounds") {
		for i, row := range rows {
			a, err := both[0].Run(row.Request(c.Duration("time")))
			if err != nil {
				return all, fmt.Errorf("%v: %w", row, err)
			}
			b, err := both[1].Run(measure.Request{Op: "propose", Callers: holders.FewCallers, Time: c.Duration("time")})
			if err != nil {
				return all, err
			}
			found[i].leases, found[i].echoes = append(found[i].leases, a), append(found[i].echoes, b)
			all = append(all, a, b)
		}
	}
	return all, printLeases(c, rows, found)
}

func printLeases(c *cli.Context, rows []holders.Row, found []measured) error {
	t := report.New(c.App.Writer, "via", "algorithm", "clients", "resources a request", "callers", "requests/s", "grants/s", "p50 ms", "p99 ms",
		"log entries of 1000 grants", "server CPU µs/grant", "of that at the fewest clients", "original, scaled", "ratio")
	fewest := map[string]float64{} // CPU of the first row that differs in the number of clients only
	var echoes []measure.Sample
	for i, row := range rows {
		s := measure.Median(found[i].leases)
		echoes = append(echoes, found[i].echoes...)
		grant := s.CPU / float64(row.Each)
		key := fmt.Sprint(row.Via, row.Algorithm, row.Each, row.Callers)
		if fewest[key] == 0 {
			fewest[key] = grant
		}
		original := row.Original * measure.Median(found[i].echoes).PerSec / holders.OriginalEcho
		t.Row(report.Failures(s), row.Via, row.Algorithm, report.Whole(row.Clients), report.Whole(row.Each), report.Whole(row.Callers),
			fmt.Sprintf("%.0f", s.PerSec), fmt.Sprintf("%.0f", s.PerSec*float64(row.Each)), fmt.Sprintf("%.2f", s.P50), fmt.Sprintf("%.2f", s.P99),
			report.Positive("%.0f", s.Entries), fmt.Sprintf("%.1f", grant), report.Ratio(grant, fewest[key]), report.Positive("%.0f", original), report.Ratio(s.PerSec, original))
	}
	if err := t.Print(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.App.Writer, "\nA bare echo beside each row, %d callers on %d connections: %.0f/s; %d/s where the original was measured.\n",
		holders.FewCallers, holders.Connections, measure.Median(echoes).PerSec, holders.OriginalEcho)
	return err
}
