package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/bench/report"
)

// chapter is a table of docs/performance.md and the command that makes it.
type chapter struct {
	name    string
	command string
}

func chapters() []chapter {
	return []chapter{
		{"propose", "propose --where process --time 1s"},
		{"read", "read --where process --time 1s"},
		{"propose-grpc", "propose --where grpc --groups 1,16 --callers 1,256 --time 1500ms"},
		{"read-grpc", "read --where grpc --groups 1,16 --callers 1,256 --time 1500ms"},
		{"idle", "idle --groups 1000"},
		{"hibernate", "idle --groups 10000 --hibernate --tick 200ms"},
		{"unload", "idle --groups 10000 --unload 30s --tick 200ms --alone"},
		{"failover", "failover --groups 1000"},
		{"start", "start --groups 1000"},
		{"capacity", "capacity"},
		{"sequence", "sequence"},
		{"keys", "sequence --keys 1,100000,1000000"},
		{"counter", "counter"},
		{"start-many", "start --groups 10000 --hosts 1 --rounds 1 --alone"},
	}
}

func names(all []chapter) (list []string) {
	for _, ch := range all {
		list = append(list, ch.name)
	}
	return list
}

func allCommand() *cli.Command {
	return &cli.Command{
		Name: "all", Usage: "make the tables of docs/performance.md: " + strings.Join(names(chapters()), ", "),
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "only", Usage: "make only this table; may be repeated"},
			&cli.StringFlag{Name: "update", Usage: "put the tables into `FILE`, each between its markers"},
			&cli.StringFlag{Name: "json", Usage: "write the samples of each table to `DIR`/TABLE.json"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return fmt.Errorf("%w: unexpected argument %q", errUsage, c.Args().First())
			}
			only := c.StringSlice("only")
			for _, name := range only {
				if !slices.Contains(names(chapters()), name) {
					return fmt.Errorf("%w: --only %s: want one of %s", errUsage, name, strings.Join(names(chapters()), ", "))
				}
			}
			for _, ch := range chapters() {
				if len(only) > 0 && !slices.Contains(only, ch.name) {
					continue
				}
				if err := ch.make(c); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// make runs the table's command, and updates the file at once: a later table may fail.
func (ch chapter) make(c *cli.Context) error {
	args := append([]string{"bench"}, strings.Fields(ch.command)...)
	if dir := c.String("json"); dir != "" {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return fmt.Errorf("save the samples: %w", err)
		}
		args = append(args, "--json", filepath.Join(dir, ch.name+".json"))
	}
	if _, err := fmt.Fprintf(c.App.Writer, "## %s: bench %s\n\n", ch.name, ch.command); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	var text bytes.Buffer
	if err := application(io.MultiWriter(c.App.Writer, &text), c.App.ErrWriter).RunContext(c.Context, args); err != nil {
		return fmt.Errorf("make table %s: %w", ch.name, err)
	}
	_, _ = fmt.Fprintln(c.App.Writer) // the table's own print reports what is wrong
	if path := c.String("update"); path != "" {
		return report.Update(path, ch.name, ch.command, text.String())
	}
	return nil
}
