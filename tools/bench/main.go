// Command bench measures speed, latency, CPU, memory, healing and start-up, each beside
// its yardstick in the same run: groups of this project in process beside plain
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
	"path/filepath"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/bench/hits"
	"github.com/drumline/drumline/tools/bench/hostprofile"
)

func main() {
	if filepath.Base(os.Args[0]) == hostprofile.Program {
		os.Exit(hostprofile.Main())
	}
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

// errUsage is a mistake in the command line.
var errUsage = errors.New("usage")

// run is main without the process: 0 done, 1 failed, 2 usage.
func run(args []string, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := application(out, errOut).RunContext(ctx, args)
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(errOut, "bench:", err) // nowhere else to say it
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

func application(out, errOut io.Writer) *cli.App {
	return &cli.App{
		Name: "bench", Usage: "measure speed, latency, CPU, memory, healing and start-up beside yardsticks",
		Writer: out, ErrWriter: errOut, HideHelpCommand: true,
		ExitErrHandler: func(*cli.Context, error) {}, // run decides on the exit code
		Commands: []*cli.Command{
			loadCommand("propose"), loadCommand("read"), idleCommand(), failoverCommand(), startCommand(), capacityCommand(), sequenceCommand(), counterCommand(), allCommand(), subjectCommand(), hits.ServerCommand(),
		},
	}
}

func commonFlags(more ...cli.Flag) []cli.Flag {
	return append(more,
		&cli.IntFlag{Name: "rounds", Value: 3, Usage: "interleaved runs of each subject; medians are printed"},
		&cli.StringFlag{Name: "json", Usage: "also write every sample to `FILE`"},
		&cli.StringFlag{Name: "profile", Usage: "write a CPU profile of every subject's last run of each kind to `DIR`"},
		&cli.BoolFlag{Name: "profile-heap", Usage: "with --profile: heap and allocation profiles as well"})
}
