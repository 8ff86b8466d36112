package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/config"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/operand"
)

const program = "drummer-cmd"

// Defaults of the flags.
const (
	defaultServer  = "localhost:9121" // a drummer's default port
	defaultTimeout = 10 * time.Second
	waitTimeout    = 5 * time.Minute
	// callTimeout bounds one call of a command that goes on for longer.
	callTimeout = 5 * time.Second
)

// options are the flags of the program.
type options struct {
	servers []string
	tls     config.TLS
	output  string
	watch   time.Duration
	timeout time.Duration
	noColor bool
	noInput bool
	yes     bool
}

// tool is one run of the program.
type tool struct {
	streams
	opts options
	conn *client.Client // opened by the first command that needs it
}

func newTool(s streams) *tool { return &tool{streams: s} }

// say talks to the person; data goes through print.
func (t *tool) say(format string, args ...any) {
	_, _ = fmt.Fprintf(t.err, format+"\n", args...) // there is nowhere else to say it
}

// verb is a command that does something.
type verb struct {
	name, usage string
	about       string // sentences for the reference; may be empty
	args        string // like "GROUP [DATA]"
	min, max    int    // number of arguments; max -1 for any
	flags       []cli.Flag
	needs       []string // names of flags that must be given
	watchable   bool     // does nothing but show
	waits       bool     // has --wait, and with it a longer default --timeout
	hidden      bool
	run         func(ctx context.Context, c *cli.Context) error
}

// command makes the library's command of a verb.
func (t *tool) command(v verb) *cli.Command {
	return &cli.Command{
		Name: v.name, Usage: v.usage, Description: v.about, ArgsUsage: v.args, Flags: v.flags, Hidden: v.hidden,
		HideHelpCommand: true, OnUsageError: onUsageError, CustomHelpTemplate: verbHelp,
		Action: func(c *cli.Context) error {
			if err := t.readOptions(c, v); err != nil {
				return err
			}
			if n := c.NArg(); n < v.min || (v.max >= 0 && n > v.max) {
				return fail(exitUsage, t.countHint(c), "%s takes %s, got %d %s", c.Command.HelpName, orNothing(v.args), n, plural(n, "argument"))
			}
			if text := operand.Wrong(v.args, c.Args().Slice()); text != "" {
				return fail(exitUsage, c.Command.HelpName+" --help", "%s: %s", c.Command.HelpName, text)
			}
			for _, name := range v.needs {
				if !c.IsSet(name) || c.String(name) == "" {
					return fail(exitUsage, c.Command.HelpName+" --help", "%s needs --%s", c.Command.HelpName, name)
				}
			}
			defer t.close()
			if t.opts.watch > 0 {
				return t.watched(c.Context, func(ctx context.Context) error { return v.run(ctx, c) })
			}
			return v.run(c.Context, c)
		},
	}
}

// countHint says what to do about a wrong number of arguments: most often the interval
// stands beside --watch, where it is taken for one.
func (t *tool) countHint(c *cli.Context) string {
	for _, arg := range c.Args().Slice() {
		if _, err := time.ParseDuration(arg); err == nil && t.opts.watch > 0 {
			return "write --watch=" + arg
		}
	}
	return c.Command.HelpName + " --help"
}

func plural(n int, one string) string {
	if n == 1 {
		return one
	}
	return one + "s"
}

func orNothing(args string) string {
	if args == "" {
		return "no arguments"
	}
	return args
}

// noun groups verbs.
func (t *tool) noun(name, about string, verbs ...verb) *cli.Command {
	c := &cli.Command{Name: name, Usage: about, HideHelpCommand: true, OnUsageError: onUsageError, CustomHelpTemplate: nounHelp}
	for _, v := range verbs {
		c.Subcommands = append(c.Subcommands, t.command(v))
	}
	return c
}

func onUsageError(c *cli.Context, err error, _ bool) error {
	name := program
	if c != nil && c.Command != nil && c.Command.HelpName != "" {
		name = c.Command.HelpName
	}
	return &failure{code: exitUsage, text: err.Error(), hint: name + " --help"}
}

// readOptions takes the program's flags and refuses those that the verb has no use
// for: a flag works or fails.
func (t *tool) readOptions(c *cli.Context, v verb) error {
	t.opts = options{
		servers: strings.Split(c.String("servers"), ","),
		tls:     config.TLS{CA: c.String("ca"), Cert: c.String("cert"), Key: c.String("key"), ServerName: c.String("server-name")},
		output:  c.String("output"), watch: c.Duration("watch"), timeout: c.Duration("timeout"),
		noColor: c.Bool("no-color") || os.Getenv("NO_COLOR") != "", noInput: c.Bool("no-input"), yes: c.Bool("yes"),
	}
	if v.waits && c.Bool("wait") && !c.IsSet("timeout") {
		t.opts.timeout = waitTimeout
	}
	switch {
	case t.opts.output != "table" && t.opts.output != "json" && t.opts.output != "yaml":
		return usage("-o %s is not known: use table, json or yaml", t.opts.output)
	case c.IsSet("watch") && !v.watchable:
		return usage("%s cannot be watched: --watch is for commands that only show", c.Command.HelpName)
	case c.IsSet("watch") && t.opts.watch < 100*time.Millisecond:
		return usage("--watch=%s is too short: at least 100ms", t.opts.watch)
	case t.opts.timeout <= 0:
		return usage("--timeout=%s is not positive", t.opts.timeout)
	}
	return nil
}

// client connects, once. Only the connecting is bounded here.
func (t *tool) client(ctx context.Context) (*client.Client, error) {
	if t.conn != nil {
		return t.conn, nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(t.opts.timeout, defaultTimeout))
	defer cancel()
	conn, err := client.Open(ctx, t.opts.servers, client.WithTLS(t.opts.tls))
	if err != nil {
		return nil, doing(fmt.Sprintf("connect to %v", t.opts.servers), err)
	}
	t.conn = conn
	return conn, nil
}

func (t *tool) close() {
	if t.conn != nil {
		t.conn.Close()
		t.conn = nil
	}
}

// bounded is the context of an ordinary command.
func (t *tool) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, t.opts.timeout)
}

// sleep waits, or returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// terminal tells whether a stream is one where a person sits.
func terminal(stream any) bool {
	f, is := stream.(*os.File)
	return is && term.IsTerminal(int(f.Fd()))
}

// confirm asks for the name of what will be destroyed. Without a person to ask it
// takes --yes and nothing else.
func (t *tool) confirm(name, question string) error {
	if t.opts.yes {
		return nil
	}
	if t.opts.noInput || !terminal(t.in) {
		return fail(exitUsage, "repeat with --yes", "%s: there is nobody to confirm it", question)
	}
	_, _ = fmt.Fprintf(t.err, "%s\nType %s to go on: ", question, name) // a terminal
	var typed string
	if _, err := fmt.Fscanln(t.in, &typed); err != nil && !errors.Is(err, io.EOF) && typed == "" {
		return fail(exitFailed, "", "not confirmed; nothing was changed")
	}
	if typed != name {
		return fail(exitFailed, "", "%q is not %q; nothing was changed", typed, name)
	}
	return nil
}
