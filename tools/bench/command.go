package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
)

// pairing is a subject and its yardstick.
type pairing struct{ subject, yardstick string }

func pairings(where string) ([]pairing, error) {
	inProcess, grpc := pairing{"drumline", "dragonboat"}, pairing{"drumline-grpc", "echo-grpc"}
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

func loadCommand(op string) *cli.Command {
	return &cli.Command{
		Name: op, Usage: "measure " + op + " operations",
		Flags: append(commonFlags(),
			&cli.StringFlag{Name: "groups", Value: "1,16,256", Usage: "numbers of groups, each a cell of the table"},
			&cli.StringFlag{Name: "callers", Value: "1,64,256,1024", Usage: "numbers of operations under way at a time"},
			&cli.StringFlag{Name: "where", Value: "all", Usage: "process, grpc or all"}),
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
			return report(c, op, pairs, groups, callers)
		},
	}
}

func idleCommand() *cli.Command {
	return &cli.Command{
		Name: "idle", Usage: "measure what idle groups cost (three hosts in one process)",
		Flags: append(commonFlags(), &cli.StringFlag{Name: "groups", Value: "100", Usage: "numbers of groups"}),
		Action: func(c *cli.Context) error {
			groups, err := numbers(c.String("groups"))
			if err != nil {
				return err
			}
			return report(c, "idle", []pairing{{"drumline", "dragonboat"}}, groups, []int{0})
		},
	}
}

func numbers(list string) ([]int, error) {
	var out []int
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%w: %q is no list of positive numbers", errUsage, list)
		}
		out = append(out, n)
	}
	return out, nil
}

// report measures every cell and prints the table.
func report(c *cli.Context, op string, pairs []pairing, groups, callers []int) error {
	if c.NArg() > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, c.Args().First())
	}
	var all []sample
	t := tabwriter.NewWriter(c.App.Writer, 0, 4, 2, ' ', 0)
	header(t, op)
	for _, p := range pairs {
		for _, g := range groups {
			samples, err := cellsOf(c, op, p, g, callers, t)
			all = append(all, samples...)
			if err != nil {
				return err
			}
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return save(c.String("json"), all)
}

// cellsOf measures a pairing on one number of groups, for every number of callers.
func cellsOf(c *cli.Context, op string, p pairing, groups int, callers []int, t io.Writer) (all []sample, err error) {
	ours, err := startSubject(c.Context, p.subject, groups)
	if err != nil {
		return nil, err
	}
	defer ours.stop()
	if err = ours.sleep(); err != nil {
		return nil, err
	}
	other, err := startSubject(c.Context, p.yardstick, groups)
	if err != nil {
		return nil, err
	}
	defer other.stop()
	if err = other.sleep(); err != nil {
		return nil, err
	}
	for _, n := range callers {
		var mine, theirs []sample
		for range c.Int("rounds") {
			req := request{Op: op, Callers: n, Time: c.Duration("time")}
			a, err := ours.run(req)
			if err != nil {
				return all, err
			}
			b, err := other.run(req)
			if err != nil {
				return all, err
			}
			mine, theirs = append(mine, a), append(theirs, b)
		}
		all = append(append(all, mine...), theirs...)
		row(t, op, median(mine), median(theirs))
	}
	return all, nil
}

func header(w io.Writer, op string) {
	if op == "idle" {
		line(w, "| subject | groups | %% of a core | yardstick | %% of a core | ratio |")
		line(w, "|---|---|---|---|---|---|")
		return
	}
	line(w, "| %s | groups | callers | op/s | p50 ms | p99 ms | CPU µs/op | allocs/op | yardstick | op/s | p50 ms | p99 ms | CPU µs/op | allocs/op | ratio |", op)
	line(w, "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
}

func row(w io.Writer, op string, a, b sample) {
	if op == "idle" {
		line(w, "| %s | %d | %.1f | %s | %.1f | %.2f |", a.Subject, a.Groups, a.CPU, b.Subject, b.CPU, a.CPU/b.CPU)
		return
	}
	line(w, "| %s | %d | %d | %s | %s | %s | %.2f |%s", a.Subject, a.Groups, a.Callers, load(a), b.Subject, load(b), a.PerSec/b.PerSec, failures(a, b))
}

func load(s sample) string {
	allocs := fmt.Sprintf("%.1f", s.Allocs)
	if s.CallerAllocs > 0 {
		allocs += fmt.Sprintf(" + %.1f", s.CallerAllocs)
	}
	return fmt.Sprintf("%.0f | %.2f | %.2f | %.0f | %s", s.PerSec, s.P50, s.P99, s.CPU, allocs)
}

// failures says after a row what makes it doubtful.
func failures(samples ...sample) string {
	text := ""
	for _, s := range samples {
		if s.Failed > 0 {
			text += fmt.Sprintf(" %s: %d failed, last: %s", s.Subject, s.Failed, s.Error)
		}
	}
	return text
}

func line(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, format+"\n", args...) // Flush reports it
}

func save(path string, all []sample) error {
	if path == "" {
		return nil
	}
	raw, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(raw, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("save the samples: %w", err)
	}
	return nil
}

// startPatience bounds the start of a subject.
const startPatience = 2 * time.Minute
