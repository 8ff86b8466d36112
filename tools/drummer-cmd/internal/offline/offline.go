// Package offline is the commands of noun capacity that need no cluster: they run
// the machine themselves.
package offline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/arrange"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/replay"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/simulate"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/source"
)

// What the commands say of themselves.
const (
	ReplayUsage = "run recorded decisions through the machine and compare its grants"
	ReplayAbout = "The file holds vectors: histories of requests with the grants of the original. Every grant is printed as a line of " +
		"JSON, whatever --output says, then how many vectors passed and how many differ; exit code 1 if any does. A vector of class core has " +
		"to match to 1e-9; of class quirk, where the original is wrong, the grant of its formula within 0 and what was wanted " +
		"will do, or the max-min share. It needs no cluster."
	SimulateUsage = "run a scenario of servers and clients in virtual time and draw it"
	SimulateAbout = "The file describes a tree of servers, their clients and what happens to them; tools/drummer-cmd/scenarios has seven. " +
		"Shows every few seconds what is wanted, leased, and used without a lease, and draws it as an SVG where you are: " +
		"spike.yaml makes spike.svg. The same file gives the same numbers. It needs no cluster."
)

// ErrDiffer says that grants differ; the output says which.
var ErrDiffer = errors.New("grants differ")

// ReplayFlags are the flags of replay.
func ReplayFlags() []cli.Flag { return []cli.Flag{fileFlag("replay")} }

// SimulateFlags are the flags of simulate.
func SimulateFlags() []cli.Flag {
	return []cli.Flag{fileFlag("simulate"), &cli.StringFlag{Name: "picture", Usage: "draw to `FILE` instead"}}
}

func fileFlag(what string) cli.Flag {
	return &cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: what + " `FILE`, - for standard input"}
}

// Replay writes every grant and the tally; ErrDiffer when one differs. It ends with ctx.
func Replay(ctx context.Context, c *cli.Context, in io.Reader, out io.Writer) error {
	data, err := fileOf(c, in)
	if err != nil {
		return err
	}
	f, err := replay.Read(bytes.NewReader(data))
	if err != nil {
		return wrong(c, err)
	}
	tally, err := replay.Run(ctx, f, out)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return wrong(c, err)
	}
	if _, err := fmt.Fprintf(out, "%d passed, %d differ\n", tally.Passed, tally.Differ); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	if tally.Differ > 0 {
		return ErrDiffer
	}
	return nil
}

// Simulate runs the scenario and draws it, unless ctx ends; said is a sentence about both.
func Simulate(ctx context.Context, c *cli.Context, in io.Reader) (r *simulate.Result, said string, err error) {
	data, err := fileOf(c, in)
	if err != nil {
		return nil, "", err
	}
	s, err := simulate.Parse(data)
	if err != nil {
		return nil, "", wrong(c, err)
	}
	if r, err = simulate.Run(ctx, s); err != nil {
		return nil, "", err
	}
	picture := pictureOf(c)
	if err := os.WriteFile(picture, r.Picture(), 0o644); err != nil {
		return nil, "", &arrange.Error{Text: "write the picture: " + err.Error()}
	}
	return r, fmt.Sprintf("%d requests; at most %.1f %% of the capacity was leased, %.1f %% on average; drawn in %s",
		r.Requests, 100*r.Most, 100*r.Mean, picture), nil
}

// pictureOf is where the picture goes.
func pictureOf(c *cli.Context) string {
	if name := c.String("picture"); name != "" {
		return name
	}
	name := filepath.Base(c.String("file"))
	if name == "-" {
		name = "simulation"
	}
	return strings.TrimSuffix(name, filepath.Ext(name)) + ".svg"
}

// fileOf reads the file that a command is about.
func fileOf(c *cli.Context, in io.Reader) ([]byte, error) {
	name := c.String("file")
	if name == "" {
		return nil, &arrange.Error{Text: c.Command.Name + " needs a file", Hint: c.Command.HelpName + " -f FILE"}
	}
	data, err := source.Read(name, in, source.Most)
	if err != nil {
		return nil, &arrange.Error{Text: err.Error()}
	}
	return data, nil
}

// wrong is an error of the file.
func wrong(c *cli.Context, err error) error {
	return &arrange.Error{Text: c.String("file") + ": " + err.Error()}
}
