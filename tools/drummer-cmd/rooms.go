package main

import (
	"context"
	"errors"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/config"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/counters"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/keys"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/rescue"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/sequences"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/simulator"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/steer"
)

// console is the program as rooms that bring commands see it.
func (t *tool) console() noun.Console {
	return noun.Console{
		Client: t.client, Groups: t.groups, Bounded: t.bounded, Write: t.write, Say: t.say, Confirm: t.confirm,
		TLS: func() config.TLS { return t.opts.tls },
		Await: func(ctx context.Context, g noun.Goal) error {
			return t.await(ctx, goal{what: g.What, still: g.Still, total: g.Total, look: g.Look})
		},
		Plain: func() bool { return t.opts.output == "table" },
		Print: func(data any, table [][]string) error {
			return t.print(data, func() *grid { return &grid{header: table[0], rows: table[1:]} })
		},
	}
}

func (t *tool) kvVerbs() []verb {
	n := &keys.Noun{Console: t.console(), Data: t.dataOf, DataFlags: dataFlags("VALUE"), RawFlag: rawFlag(), Readable: readable, ReadableText: readableText}
	return roomVerbs(n.Verbs())
}

func (t *tool) sequenceVerbs() []verb {
	return roomVerbs((&sequences.Noun{Console: t.console()}).Verbs())
}

func (t *tool) simulateVerb() verb { return roomVerbs([]noun.Verb{simulator.Verb(t.console())})[0] }

// groupVerbs are what a person has against the loss of groups.
func (t *tool) groupVerbs() []verb {
	return roomVerbs((&rescue.Noun{Console: t.console()}).GroupVerbs())
}

func (t *tool) counterVerbs() []verb {
	return roomVerbs((&counters.Noun{Console: t.console()}).Verbs())
}

// steering is the room of what people want of hosts and groups.
func (t *tool) steering() *steer.Room {
	return &steer.Room{Console: t.console(), Launch: t.launchFile}
}

// explainOther explains a host, or an operation that has the number while no group has it;
// false when ref is a group's.
func (t *tool) explainOther(ctx context.Context, ref string) (bool, error) {
	id, byID := number(ref)
	switch {
	case strings.Contains(ref, "/"):
		return false, nil
	case !byID:
		return true, roomError(t.steering().Explain(ctx, ref, 0))
	}
	if _, err := t.group(ctx, ref, ""); err == nil {
		return false, nil
	}
	return true, roomError(t.steering().Explain(ctx, "", id))
}

func roomVerbs(verbs []noun.Verb) (all []verb) {
	for _, v := range verbs {
		all = append(all, verb{
			name: v.Name, usage: v.Usage, about: v.About, args: v.Args, min: v.Min, max: v.Max, flags: v.Flags, needs: v.Needs, watchable: v.Watchable, waits: v.Waits,
			run: func(ctx context.Context, c *cli.Context) error { return roomError(v.Run(ctx, c)) },
		})
	}
	return all
}

// roomError gives an error of a room its exit code.
func roomError(err error) error {
	var e *noun.Error
	switch {
	case !errors.As(err, &e):
		return err
	case e.Cause != nil:
		return doing(e.Text, roomError(e.Cause))
	}
	return fail(e.Exit, listing(e.Missing), "%s", e.Text)
}
