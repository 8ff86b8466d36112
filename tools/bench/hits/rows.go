package hits

import (
	"fmt"
	"io"

	"github.com/drumline/drumline/tools/bench/measure"
	"github.com/drumline/drumline/tools/bench/report"
)

// Runs, by the names that their rows have.
const (
	Bare     = "a bare handler in memory, 32 connections"
	AtLeader = "inc at the leader's host, 32 connections"
	AtOther  = "inc at another host, 32 connections"
	Alone    = "inc at the leader's host, one connection"
	Read     = "value at the leader's host, 32 connections"
	Single   = "AddBatch of 1, 32 calls under way"
	Batch    = "AddBatch of 200, 32 calls under way"
)

// theTalk is how many increments a second the talk's first program makes, one process in
// memory, 32 connections, where it was measured; alone is that of one connection.
const theTalk, alone = 40_100, 14_200

// row is a line of the table.
type row struct {
	name string
	// target is how often as fast as the yardstick it has to be; 0: none.
	target float64
	// original is what the talk's programs did; 0 where they have no such thing.
	original float64
}

func rows() []row {
	return []row{
		{name: Bare, original: theTalk},
		{name: AtLeader, target: 0.5, original: theTalk},
		{name: AtOther, original: theTalk},
		{name: Alone, original: alone},
		{name: Read, original: 32_500},
		{name: Single},
		{name: Batch, target: 5, original: theTalk},
	}
}

// Names of all runs, in the order of the table.
func Names() (all []string) {
	for _, r := range rows() {
		all = append(all, r.name)
	}
	return all
}

// Print prints the table of medians by run; runs that were not made have no line. The talk's figures are scaled by the bare
// handler of this run: its program is nothing else.
func Print(out io.Writer, medians map[string]measure.Sample) error {
	scale := medians[Bare].PerSec / theTalk
	t := report.New(out, "counting", "increments/s", "p50 ms", "p99 ms", "CPU µs each", "log entries of 1000", "of the bare handler", "the talk's, scaled", "ratio", "target", "met")
	for _, r := range rows() {
		s, ran := medians[r.name]
		if !ran {
			continue
		}
		target, met := report.None, report.None
		if r.target > 0 {
			target, met = fmt.Sprintf("≥ %.1f× the talk's", r.target), "no"
			if s.PerSec >= r.target*r.original*scale {
				met = "yes"
			}
		}
		t.Row(report.Failures(s), r.name, fmt.Sprintf("%.0f", s.PerSec), fmt.Sprintf("%.2f", s.P50), fmt.Sprintf("%.2f", s.P99), fmt.Sprintf("%.1f", s.CPU), report.Positive("%.0f", s.Entries),
			report.Ratio(s.PerSec, medians[Bare].PerSec), report.Positive("%.0f", r.original*scale), report.Ratio(s.PerSec, r.original*scale), target, met)
	}
	if err := t.Print(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\nThe bare handler counted %.0f times a second, the talk's program %d times where it was measured: its figures are multiplied by %.2f.\n",
		medians[Bare].PerSec, theTalk, scale)
	return err
}
