package leases

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// leastWatch bounds how often a resource is read.
const leastWatch = 50 * time.Millisecond

func (n *Noun) watch() Verb {
	return Verb{
		Name: "watch", Usage: "say each change of who holds what of a resource", Args: "RESOURCE", Min: 1, Max: 1, Long: true,
		About: "Reads the resource again and again and says what differs; changes between two readings are seen as one. " +
			"A server that does not answer is asked again.",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "interval", Value: time.Second, Usage: "read every `DURATION`"},
			noun.Region(),
			&cli.IntFlag{Name: "changes", Usage: "end after `N` changes", DefaultText: "go on"},
		},
		Run: func(ctx context.Context, c *cli.Context) error {
			every := c.Duration("interval")
			if every < leastWatch {
				return usage("--interval=%s is too short: at least %s", every, leastWatch)
			}
			w := &watcher{n: n, resource: placeOf(c, 0), left: c.Int("changes"), held: map[string]Holder{}}
			return w.run(ctx, every)
		},
	}
}

// watcher says how a resource changes.
type watcher struct {
	n        *Noun
	resource place
	left     int // changes to say; 0 at first for all
	held     map[string]Holder
}

func (w *watcher) run(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	bounded := w.left > 0
	for {
		now, err := w.look(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !w.n.Console.Passes(err):
			return doing("watch "+w.resource.String(), err)
		case err == nil:
			if err := w.say(now, bounded); err != nil {
				return err
			}
		}
		if bounded && w.left == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look reads who holds what.
func (w *watcher) look(ctx context.Context) ([]Holder, error) {
	ctx, cancel := context.WithTimeout(ctx, w.n.Console.Timeout())
	defer cancel()
	detail, err := w.n.resource(ctx, w.resource)
	return detail.Holders, err
}

// say prints what differs from the reading before.
func (w *watcher) say(now []Holder, bounded bool) error {
	changes := w.changes(now)
	if bounded {
		changes = changes[:min(len(changes), w.left)]
		w.left -= len(changes)
	}
	if len(changes) == 0 {
		return nil
	}
	if !w.n.Console.Plain() {
		return w.n.Console.Print(changes, nil)
	}
	_, out, _, _ := w.n.Console.Streams()
	for _, c := range changes {
		if _, err := fmt.Fprintln(out, c.at.Format(time.TimeOnly), c.text()); err != nil {
			return fmt.Errorf("write the output: %w", err)
		}
	}
	return nil
}

// change is one difference.
type change struct {
	HolderChange
	at time.Time
}

// text is a change in a line.
func (c change) text() string {
	who := readable(c.Client)
	switch c.Kind {
	case "gone":
		return fmt.Sprintf("%s holds nothing any more (was %s)", who, amount(c.WasGranted))
	case "new":
		return fmt.Sprintf("%s has %s, wants %s", who, amount(c.Granted), amount(c.Wants))
	default:
		return fmt.Sprintf("%s has %s (was %s), wants %s (was %s)", who, amount(c.Granted), amount(c.WasGranted), amount(c.Wants), amount(c.WasWants))
	}
}

// changes compares with the reading before, and keeps this one.
func (w *watcher) changes(now []Holder) []change {
	var out []change
	at := time.Now()
	add := func(c HolderChange) {
		c.Time, c.Resource, c.Region = at.UTC().Format(time.RFC3339Nano), w.resource.name, w.resource.region
		out = append(out, change{HolderChange: c, at: at})
	}
	seen := map[string]bool{}
	for _, h := range now {
		seen[h.Client] = true
		was, known := w.held[h.Client]
		w.held[h.Client] = h
		c := HolderChange{Client: h.Client, Granted: h.Granted, Wants: h.Wants, WasGranted: was.Granted, WasWants: was.Wants}
		switch {
		case !known:
			c.Kind = "new"
			add(c)
		case was.Granted != h.Granted || was.Wants != h.Wants:
			c.Kind = "changed"
			add(c)
		}
	}
	for _, client := range sortedKeys(w.held) {
		if !seen[client] {
			add(HolderChange{Client: client, Kind: "gone", WasGranted: w.held[client].Granted, WasWants: w.held[client].Wants})
			delete(w.held, client)
		}
	}
	return out
}
