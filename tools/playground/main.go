// Command playground runs a whole cluster on this machine: drummers and nodehosts
// as separate processes under one directory, launched from a file, with their logs
// on the terminal. A second start on the same directory is a restart of the same
// cluster. `playground ctl` kills, pauses, wipes and restarts single processes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
)

func main() { os.Exit(run(os.Args, os.Stdout, os.Stderr)) }

// run is main without the process: 0 done, 1 failed, 2 usage.
func run(args []string, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	app := &cli.App{
		Name:           "playground",
		Usage:          "run a whole cluster on this machine",
		Writer:         out,
		ErrWriter:      errOut,
		Flags:          runFlags(),
		Action:         play,
		Commands:       []*cli.Command{ctlCommand()},
		ExitErrHandler: func(*cli.Context, error) {}, // run decides on the exit code
	}
	err := app.RunContext(ctx, args)
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(errOut, "playground:", err) // nowhere else to say it
	var usage usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

// usageError is a mistake in the command line.
type usageError struct{ error }
