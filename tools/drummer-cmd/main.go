// Command drummer-cmd is what operators use: it launches, lists, explains and
// deletes groups, shows hosts, servers and events, and reads and writes groups by
// hand. docs/cli.md describes every command, docs/cli-json.md what -o json prints.
//
// Data goes to standard output, everything else to standard error. The exit code
// says what became of it: see the constants in exit.go.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/arrange"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends what the first one does not reach
	code := run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}

// streams are the three of a process.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run is the program.
func run(ctx context.Context, args []string, s streams) int {
	t := newTool(s)
	app := t.app()
	words, err := arrange.Words(app, args)
	if err == nil {
		err = app.RunContext(ctx, append([]string{program}, words...))
	}
	return t.finish(ctx, err)
}
