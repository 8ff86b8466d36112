// Command bench-peers measures three members of etcd and three of our hosts beside
// each other: real processes on one machine and one disk, fsync on, the same number
// of operations under way, each side through its own Go client as applications use
// it. Rounds are interleaved, and what is printed are medians and their ratios,
// because a shared machine is noisy.
//
// It is a module of its own so that nothing of etcd gets into the project's go.mod.
// The members are processes of this program (the hidden command member) that embed
// etcd with its default settings; the hosts are bin/nodehost and bin/drummer.
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

// errUsage is a mistake in the command line.
var errUsage = errors.New("usage")

// run is main without the process: 0 done, 1 failed, 2 usage.
func run(args []string, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	app := &cli.App{
		Name: "bench-peers", Usage: "measure puts and linearizable reads beside etcd",
		Writer: out, ErrWriter: errOut, HideHelpCommand: true,
		ExitErrHandler: func(*cli.Context, error) {}, // run decides on the exit code
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return fmt.Errorf("%w: %w", errUsage, err) },
		Flags:          flags(),
		Action:         compare,
		Commands:       []*cli.Command{memberCommand()},
	}
	err := app.RunContext(ctx, args)
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(errOut, "bench-peers:", err) // nowhere else to say it
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}
