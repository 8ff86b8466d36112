package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/bench/measure"
	"github.com/drumline/drumline/tools/bench/report"
)

// originalEcho is what a bare echo did, 32 callers on 4 connections, on the machine where
// the original Doorman was measured: its figures are scaled by this run's echo over that.
// fewCallers is the load under which it was.
const (
	originalEcho = 89000
	fewCallers   = 32
)

// leaseRow is a row of the table, with what the original did there: requests a second on
// a quiet machine, except at 5,000 clients, where only figures of a busy one are known.
type leaseRow struct {
	via, algorithm         string
	clients, each, callers int
	original               float64
}

func leaseRows() []leaseRow {
	return []leaseRow{
		{viaDoorman, "none", 100, 1, fewCallers, 27200},
		{viaDoorman, "proportional", 100, 1, fewCallers, 28500},
		{viaDoorman, "proportional", 1000, 1, fewCallers, 16700},
		{viaDoorman, "proportional", 5000, 1, fewCallers, 5600},
		{viaDoorman, "proportional", 50000, 1, fewCallers, 0},
		{viaDoorman, "fair", 100, 1, fewCallers, 26400},
		{viaDoorman, "fair", 1000, 1, fewCallers, 5900},
		{viaDoorman, "fair", 5000, 1, fewCallers, 1200},
		{viaDoorman, "fair", 50000, 1, fewCallers, 0},
		{viaDoorman, "proportional", 100, 10, fewCallers, 14300},
		{viaDoorman, "proportional", 5000, 10, fewCallers, 0},
		{viaDoorman, "proportional", 5000, 1, 256, 5600},
		{viaAnyHost, "proportional", 5000, 1, 256, 5600},
		{viaNative, "proportional", 5000, 1, fewCallers, 5600},
		{viaNative, "proportional", 5000, 1, 256, 5600},
	}
}

func capacityCommand() *cli.Command {
	return &cli.Command{
		Name: "capacity", Usage: "measure refreshes of leases, beside the original Doorman's figures",
		Flags: commonFlags(
			&cli.StringFlag{Name: "only", Usage: "measure only rows that contain `TEXT`, like \"doorman fair 100 1 32\""},
			&cli.DurationFlag{Name: "time", Value: 2 * time.Second, Usage: "length of one run"}),
		Action: func(c *cli.Context) error {
			var rows []leaseRow
			for _, row := range leaseRows() {
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

// String names a row.
func (r leaseRow) String() string {
	return fmt.Sprintf("%s %s %d %d %d", r.via, r.algorithm, r.clients, r.each, r.callers)
}

// measured is what was measured of a row: refreshes, and an echo beside each.
type measured struct {
	leases, echoes []measure.Sample
}

// measureLeases measures all rows of one fleet, and an echo beside each: a machine is not as
// fast at one moment as at another.
func measureLeases(c *cli.Context, rows []leaseRow) (all []measure.Sample, err error) {
	s := measure.Setup{Subject: measure.Leases, Hosts: 3, Tick: loadTick}
	y := measure.Setup{Subject: measure.EchoGRPC, Groups: 1, Hosts: 1, Tick: loadTick, Connections: connections}
	both, err := beginAll(c, s, y)
	if err != nil {
		return nil, err
	}
	defer both.stop()
	found := make([]measured, len(rows))
	for range c.Int("rounds") {
		for i, row := range rows {
			a, err := both[0].run(row.request(c.Duration("time")))
			if err != nil {
				return all, fmt.Errorf("%v: %w", row, err)
			}
			b, err := both[1].run(measure.Request{Op: "propose", Callers: fewCallers, Time: c.Duration("time")})
			if err != nil {
				return all, err
			}
			found[i].leases, found[i].echoes = append(found[i].leases, a), append(found[i].echoes, b)
			all = append(all, a, b)
		}
	}
	return all, printLeases(c, rows, found)
}

func (r leaseRow) request(d time.Duration) measure.Request {
	return measure.Request{
		Op: measure.OpLease, Via: r.via, Algorithm: r.algorithm, Clients: r.clients, Each: r.each, Callers: r.callers, Time: d,
	}
}

func printLeases(c *cli.Context, rows []leaseRow, found []measured) error {
	t := report.New(c.App.Writer, "via", "algorithm", "clients", "resources a request", "callers", "requests/s", "grants/s", "p50 ms", "p99 ms",
		"log entries of 1000 grants", "server CPU µs/grant", "of that at the fewest clients", "original, scaled", "ratio")
	fewest := map[string]float64{} // CPU of the first row that differs in the number of clients only
	var echoes []measure.Sample
	for i, row := range rows {
		s := measure.Median(found[i].leases)
		echoes = append(echoes, found[i].echoes...)
		grant := s.CPU / float64(row.each)
		key := fmt.Sprint(row.via, row.algorithm, row.each, row.callers)
		if fewest[key] == 0 {
			fewest[key] = grant
		}
		original := row.original * measure.Median(found[i].echoes).PerSec / originalEcho
		t.Row(report.Failures(s), row.via, row.algorithm, report.Whole(row.clients), report.Whole(row.each), report.Whole(row.callers),
			fmt.Sprintf("%.0f", s.PerSec), fmt.Sprintf("%.0f", s.PerSec*float64(row.each)), fmt.Sprintf("%.2f", s.P50), fmt.Sprintf("%.2f", s.P99),
			report.Positive("%.0f", s.Entries), fmt.Sprintf("%.1f", grant), report.Ratio(grant, fewest[key]), report.Positive("%.0f", original), report.Ratio(s.PerSec, original))
	}
	if err := t.Print(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.App.Writer, "\nA bare echo beside each row, %d callers on %d connections: %.0f/s; %d/s where the original was measured.\n",
		fewCallers, connections, measure.Median(echoes).PerSec, originalEcho)
	return err
}
