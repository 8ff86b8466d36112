package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"

	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/progress"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/shape"
)

// pollEvery is how often a waiting command looks.
const pollEvery = 300 * time.Millisecond

// goal is something to wait for.
type goal struct {
	what  string // like "groups ok"
	still string // what goes on when the watching ends
	total int
	// look says how much is reached, and what is not, in words.
	look func(ctx context.Context) (done int, missing []string, err error)
}

// await looks until all is reached. Servers that do not answer for a while only
// make it longer; Ctrl-C and the time limit end the watching, nothing else.
func (t *tool) await(ctx context.Context, g goal) error {
	p := progress.New(t.err, terminal(t.err), g.what, g.total)
	var missing []string
	reached := fmt.Sprintf("nothing was heard of %d %s", g.total, g.what)
	for {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		done, left, err := g.look(call)
		cancel()
		switch code, _ := classify(err); {
		case err == nil:
			missing, reached = left, fmt.Sprintf("%d of %d %s", done, g.total, g.what)
			p.Show(done)
			if done >= g.total {
				p.End()
				return nil
			}
		case ctx.Err() == nil && code != exitUnreachable:
			p.End()
			return doing("wait for "+g.what, err)
		}
		if !sleep(ctx, pollEvery) {
			p.End()
			return t.stopped(ctx, g.still, reached, missing)
		}
	}
}

// stopped says why the watching ended and what goes on.
func (t *tool) stopped(ctx context.Context, still, reached string, missing []string) error {
	const shown = 10
	for i, m := range missing {
		if i == shown {
			t.say("and %d more", len(missing)-shown)
			break
		}
		t.say("%s", m)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return fail(exitInterrupted, "", "interrupted: the watching has ended, %s", still)
	}
	hint := program + " status"
	if len(missing) > 0 {
		hint = program + " explain " + strings.Fields(missing[0])[0]
	}
	return fail(exitTimeout, strings.TrimSuffix(hint, ":"), "not reached in %s: %s; %s",
		t.opts.timeout, reached, still)
}

// launched: every accepted group is ok. A group that was created anew under a
// higher number counts as the one that was asked for.
func (t *tool) launched(items []*fleetpb.ItemResult) goal {
	return goal{
		what: "groups ok", still: "the launch goes on", total: len(items),
		look: func(ctx context.Context) (int, []string, error) {
			all, err := t.groups(ctx, commonPrefix(items))
			if err != nil {
				return 0, nil, err
			}
			newest := map[string]*drummerpb.GroupInfo{}
			for _, g := range all {
				if full := statemachines.NameOf(g); g.GetId() >= newest[full].GetId() {
					newest[full] = g
				}
			}
			done, missing := 0, []string(nil)
			for _, i := range items {
				full := statemachines.NameOf(i)
				switch g := newest[full]; {
				case g == nil:
					missing = append(missing, full+": not there")
				case g.GetState() != "ok":
					missing = append(missing, full+": "+g.GetState())
				default:
					done++
				}
			}
			return done, missing, nil
		},
	}
}

func commonPrefix(items []*fleetpb.ItemResult) string {
	if len(items) == 0 {
		return ""
	}
	prefix := items[0].GetName()
	for _, i := range items {
		for !strings.HasPrefix(i.GetName(), prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	return strings.ToValidUTF8(prefix, "")
}

// gone: no group of that number is listed any more.
func (t *tool) gone(d shape.Delete) goal {
	return goal{
		what: "groups gone", still: "the deletion goes on", total: 1,
		look: func(ctx context.Context) (int, []string, error) {
			all, err := t.groups(ctx, d.Name)
			if err != nil {
				return 0, nil, err
			}
			for _, g := range all {
				if g.GetId() == d.ID {
					return 0, []string{statemachines.NameOf(g) + ": " + g.GetState()}, nil
				}
			}
			return 1, nil, nil
		},
	}
}
