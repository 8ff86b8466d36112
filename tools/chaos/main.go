// Command chaos runs a fleet of its own on this machine, lets clients write and
// read it, and kills, pauses, wipes and restarts its processes as a seed says. At
// the end everything is healed, every group must be whole, and every history must
// be linearizable; a history that can't be judged in time is a failure.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
)

func main() { os.Exit(run(os.Args, os.Stdout, os.Stderr)) }

// run is main without the process: 0 all promises held, 1 they did not, 2 usage.
func run(args []string, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	code := 2 // until the action begins, what fails is the command line
	app := &cli.App{
		Name:           "chaos",
		Usage:          "break a fleet and judge what it promised",
		Writer:         out,
		ErrWriter:      errOut,
		Flags:          flags(),
		ExitErrHandler: func(*cli.Context, error) {}, // run decides on the exit code
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return fmt.Errorf("unexpected argument %q; see chaos --help", c.Args().First())
			}
			code = 1
			return torment(c)
		},
	}
	if err := app.RunContext(ctx, args); err != nil {
		_, _ = fmt.Fprintln(errOut, "chaos:", err) // nowhere else to say it
		return code
	}
	return 0
}
