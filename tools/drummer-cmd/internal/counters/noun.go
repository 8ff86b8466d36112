// Package counters is the commands about counters: it counts, and shows values, windows
// and rates.
package counters

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	counterpb "github.com/drumline/drumline/drummerpb/counter"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// Noun makes the commands.
type Noun struct{ noun.Console }

// Verbs are all commands.
func (n *Noun) Verbs() []noun.Verb {
	return []noun.Verb{
		n.list(), n.get(), n.status(), n.add(), n.windows(), n.rate(), n.watch(), n.create(), n.reset(), n.remove(), n.transfer(), n.retire(),
	}
}

// counterApp begins the names of groups of app counter; on the command line it may be
// left away.
const counterApp = "counter/"

// regionFlag is of every command: without it whichever host answers means its own region.
func regionFlag() cli.Flag {
	return &cli.StringFlag{Name: "region", Usage: "by the group of this `REGION`; else by that of the region whose host is asked"}
}

// aboutName says what NAME is.
const aboutName = "NAME is counter/NAME, or counter/NAME#KEY for one of a family; \"counter/\" may be left away. "

// service is what every host has, under the command's time limit.
func (n *Noun) service(ctx context.Context, f func(context.Context, counterpb.CounterClient) error) error {
	ctx, cancel := n.Bounded(ctx)
	defer cancel()
	conn, err := n.Client(ctx)
	if err != nil {
		return err
	}
	return f(ctx, counterpb.NewCounterClient(conn.Hosts()))
}

// refused is the failure of an outcome that is not OK.
func refused(full string, r *counterpb.Result) error {
	code := noun.Conflict
	switch r.GetOutcome() { //nolint:exhaustive // the others are conflicts with what is there
	case counterpb.Outcome_OUTCOME_OK:
		return nil
	case counterpb.Outcome_OUTCOME_NOT_FOUND:
		code = noun.NotFound
	}
	word := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(r.GetOutcome().String(), "OUTCOME_"), "_", " "))
	return noun.Fault(code, "%s: %s: %s", full, word, r.GetDetail())
}

// call makes a change.
type call func(context.Context, counterpb.CounterClient) (*counterpb.Result, error)

// change makes a change and hands out what became of it.
func (n *Noun) change(ctx context.Context, what, full string, c call) (r *counterpb.Result, err error) {
	err = n.service(ctx, func(ctx context.Context, s counterpb.CounterClient) error {
		if r, err = c(ctx, s); err == nil {
			err = refused(full, r)
		}
		return noun.Doing(what+" "+full, err)
	})
	return r, err
}

// changed makes a change and shows the value after it.
func (n *Noun) changed(ctx context.Context, what, full string, c call) error {
	r, err := n.change(ctx, what, full, c)
	if err != nil {
		return err
	}
	return n.Print(value{Name: full, Value: r.GetValue(), Repeated: r.GetRepeated()}, [][]string{{"NAME", "VALUE"}, {full, decimal(r.GetValue())}})
}
