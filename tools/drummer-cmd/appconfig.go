package main

import (
	"context"
	"errors"
	"strings"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/config/apps"
	counterpb "github.com/drumline/drumline/drummerpb/counter"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines/counter"
	"github.com/drumline/drumline/statemachines/sequence"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/appconfig"
)

// configNoun is the commands that keep the configuration of an app whose file read reads.
func (t *tool) configNoun(app string, read apps.Reader) *cli.Command {
	n := appconfig.Noun{App: app, Read: read, Do: t.callDrummer, Plain: func() bool { return t.opts.output == "table" }, Say: t.say, In: t.in}
	n.Raw = func(text []byte) error {
		if terminal(t.out) {
			text = appconfig.Legible(text)
		}
		return t.write(text)
	}
	n.Print = func(data any, tables func() []appconfig.Table) error {
		if !n.Plain() {
			return t.print(data, nil)
		}
		var parts []string
		for _, rows := range tables() {
			g := newGrid(rows[0]...)
			g.rows = rows[1:]
			parts = append(parts, g.render(t.colored()))
		}
		return t.write([]byte(strings.Join(parts, "\n")))
	}
	var verbs []verb
	for _, v := range n.Verbs() {
		verbs = append(verbs, verb{
			name: v.Name, usage: v.Usage, about: v.About, args: v.Args, min: v.Min, max: v.Max, flags: v.Flags, watchable: v.Watchable,
			run: func(ctx context.Context, c *cli.Context) error {
				err := v.Run(ctx, c)
				var mistake *appconfig.Mistake
				if errors.As(err, &mistake) {
					return &failure{code: exitUsage, text: mistake.Text, cause: mistake.Cause}
				}
				return hinted(ctx, err, &n)
			},
		})
	}
	return t.noun("config", "apply and show the configuration of app "+app, verbs...)
}

// sequenceSettings reads the configuration of app sequence: the options are its Settings.
func sequenceSettings() apps.Reader {
	return apps.Of(sequence.Name, func() proto.Message { return &sequencepb.Settings{} }, func(m proto.Message) error {
		s, _ := m.(*sequencepb.Settings) // it is what was made
		return sequence.CheckSettings(s)
	})
}

// counterSettings reads the configuration of app counter: the options are its Settings.
func counterSettings() apps.Reader {
	return apps.Of(counter.Name, func() proto.Message { return &counterpb.Settings{} }, func(m proto.Message) error {
		s, _ := m.(*counterpb.Settings) // it is what was made
		return counter.CheckSettings(s)
	})
}

// hinted says what to do about a revision that there is not.
func hinted(ctx context.Context, err error, n *appconfig.Noun) error {
	var f *failure
	if errors.As(err, &f) && f.code == exitNotFound {
		f.hint = program + " " + n.Instead(ctx)
	}
	return err
}

// callDrummer makes one call to the drummers within the time limit.
func (t *tool) callDrummer(ctx context.Context, call func(context.Context, drummerpb.DrummerClient) error) error {
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	conn, err := t.client(ctx)
	if err != nil {
		return err
	}
	return doing("ask the drummers", call(ctx, conn.Drummer()))
}

// under puts nouns below a noun, before its verbs.
func under(c *cli.Command, nouns ...*cli.Command) *cli.Command {
	c.Subcommands = append(nouns, c.Subcommands...)
	return c
}
