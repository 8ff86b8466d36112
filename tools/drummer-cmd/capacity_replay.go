package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/replay"
)

// capacityReplay needs no cluster: it runs the machine itself.
func (t *tool) capacityReplay() verb {
	return verb{
		name: "replay", usage: "run recorded decisions through the machine and compare its grants",
		about: "The file holds vectors: histories of requests with the grants of the original. Every grant is printed as a line of " +
			"JSON, whatever --output says, then how many vectors passed and how many differ; exit code 1 if any does. A vector of class core has " +
			"to match to 1e-9; of class quirk, where the original is wrong, the grant of its formula within 0 and what was wanted " +
			"will do, or the max-min share. It needs no cluster.",
		flags: []cli.Flag{&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "replay `FILE`, - for standard input"}},
		run: func(_ context.Context, c *cli.Context) error {
			data, err := t.fileOf(c, "replay")
			if err != nil {
				return err
			}
			f, err := replay.Read(bytes.NewReader(data))
			if err != nil {
				return &failure{code: exitUsage, text: c.String("file"), cause: err}
			}
			tally, err := replay.Run(f, t.out)
			if err != nil {
				return &failure{code: exitUsage, text: c.String("file"), cause: err}
			}
			if err := t.write(fmt.Appendf(nil, "%d passed, %d differ\n", tally.Passed, tally.Differ)); err != nil {
				return err
			}
			if tally.Differ > 0 {
				return &failure{code: exitFailed} // the last line says it all
			}
			return nil
		},
	}
}

// fileOf reads the file that a command is about; "-" is standard input.
func (t *tool) fileOf(c *cli.Context, what string) ([]byte, error) {
	switch name := c.String("file"); name {
	case "":
		return nil, usage("%s needs a file: %s -f FILE", what, c.Command.HelpName)
	case "-":
		data, err := io.ReadAll(t.in)
		return data, doing("read standard input", err)
	default:
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, &failure{code: exitUsage, text: what, cause: err}
		}
		return data, nil
	}
}
