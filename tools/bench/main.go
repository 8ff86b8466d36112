// Command bench measures operations per second, latency and CPU, each beside its
// yardstick in the same run: groups of this project in process beside raw
// dragonboat, and a fleet of real processes through gRPC beside a bare gRPC echo.
// Runs are interleaved, and what is printed are medians and their ratios, because
// a shared machine is noisy.
//
// Each subject is a process of its own (the hidden command subject): dragonboat's
// settings are global to a process, and the CPU of one subject is then its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
)

func main() { os.Exit(run(os.Args, os.Stdout, os.Stderr)) }

// errUsage is a mistake in the command line.
var errUsage = errors.New("usage")

// run is main without the process: 0 done, 1 failed, 2 usage.
func run(args []string, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	app := &cli.App{
		Name: "bench", Usage: "measure throughput, latency and the idle cost beside yardsticks",
		Writer: out, ErrWriter: errOut, HideHelpCommand: true,
		ExitErrHandler: func(*cli.Context, error) {}, // run decides on the exit code
		Commands:       []*cli.Command{loadCommand("propose"), loadCommand("read"), idleCommand(), subjectCommand()},
	}
	err := app.RunContext(ctx, args)
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(errOut, "bench:", err) // nowhere else to say it
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

func commonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "time", Value: 2 * time.Second, Usage: "length of one run"},
		&cli.IntFlag{Name: "rounds", Value: 3, Usage: "interleaved runs of each subject; medians are printed"},
		&cli.StringFlag{Name: "json", Usage: "also write every sample to `FILE`"},
	}
}
