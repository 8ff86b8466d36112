package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/client"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/leases"
)

// capacityVerbs are the commands about resources.
func (t *tool) capacityVerbs() []verb {
	var all []verb
	for _, v := range (&leases.Noun{Console: console{t}}).Verbs() {
		all = append(all, verb{
			name: v.Name, usage: v.Usage, about: v.About, args: v.Args, min: v.Min, max: v.Max, flags: v.Flags, watchable: v.Watchable,
			run: func(ctx context.Context, c *cli.Context) error {
				if !v.Long {
					bounded, cancel := t.bounded(ctx)
					defer cancel()
					ctx = bounded
				}
				return leaseError(v.Run(ctx, c))
			},
		})
	}
	return all
}

// leaseError gives an error of package leases its exit code.
func leaseError(err error) error {
	var e *leases.Error
	switch {
	case errors.Is(err, context.Canceled):
		return fail(exitInterrupted, "", "")
	case !errors.As(err, &e):
		return err
	case e.Kind == leases.Doing:
		return doing(e.Text, leaseError(e.Cause))
	}
	codes := map[leases.Kind]int{leases.Usage: exitUsage, leases.Conflict: exitConflict}
	if code, known := codes[e.Kind]; known {
		return fail(code, e.Hint, "%s", e.Text)
	}
	return fail(exitFailed, e.Hint, "%s", e.Text)
}

// console is the program as package leases sees it.
type console struct{ *tool }

func (c console) Client(ctx context.Context) (*client.Client, error) { return c.client(ctx) }

func (c console) Groups(ctx context.Context, prefix string) ([]*drummerpb.GroupInfo, error) {
	return c.groups(ctx, prefix)
}

func (c console) Group(ctx context.Context, name, region string) (*drummerpb.GroupInfo, error) {
	return c.group(ctx, name, region)
}

func (c console) Print(data any, tables func() []leases.Table) error {
	if !c.Plain() {
		return c.print(data, nil)
	}
	var parts []string
	for _, rows := range tables() {
		g := newGrid(rows[0]...)
		for _, row := range rows[1:] {
			g.add(row...)
		}
		parts = append(parts, g.render(c.colored()))
	}
	return c.write([]byte(strings.Join(parts, "\n")))
}

func (c console) Plain() bool            { return c.opts.output == "table" }
func (c console) Passes(err error) bool  { return c.passes(err) }
func (c console) Timeout() time.Duration { return c.opts.timeout }

func (c console) Streams() (in io.Reader, out, err io.Writer, person bool) {
	return c.in, c.out, c.err, terminal(c.in)
}
