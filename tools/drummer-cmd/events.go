package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"
	"sigs.k8s.io/yaml"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"

	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/shape"
)

// followEvery is how often events --follow looks for more.
const followEvery = time.Second

func (t *tool) eventsVerb() verb {
	return verb{
		name: "events", usage: "list the cluster's history", watchable: true,
		about: "Lists the events that the record keeps, oldest first. With --follow it goes on as they happen; -o json is then one " +
			"object a line and -o yaml one document each. --timeout does not end --follow.",
		flags: []cli.Flag{
			toggle("follow", "go on until interrupted", "f"),
			&cli.StringFlag{Name: "since", Usage: "only events since `TIME`: a duration before now, like 10m, or 2006-01-02T15:04:05Z"},
			&cli.Uint64Flag{Name: "after", Usage: "only events after the one with this `SEQUENCE`"},
		},
		run: func(ctx context.Context, c *cli.Context) error {
			since, err := sinceOf(c.String("since"), time.Now())
			if err != nil {
				return err
			}
			s := &eventStream{t: t, after: c.Uint64("after"), since: since}
			if !c.Bool("follow") {
				return s.all(ctx)
			}
			if t.opts.watch > 0 {
				return usage("--follow and --watch exclude each other")
			}
			return s.follow(ctx)
		},
	}
}

// sinceOf reads --since; 0 is the beginning.
func sinceOf(text string, now time.Time) (int64, error) {
	if text == "" {
		return 0, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d).UnixMilli(), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, usage("--since=%s: write a duration before now, like 10m, or a time, like 2006-01-02T15:04:05Z", text)
	}
	return at.UnixMilli(), nil
}

// eventStream reads the history on from where it was.
type eventStream struct {
	t     *tool
	after uint64
	since int64
}

// next fetches all events that are there now.
func (s *eventStream) next(ctx context.Context) ([]shape.Event, error) {
	ctx, cancel := s.t.bounded(ctx)
	defer cancel()
	conn, err := s.t.client(ctx)
	if err != nil {
		return nil, err
	}
	var events []shape.Event
	for {
		page, err := conn.Drummer().ListEvents(ctx, &drummerpb.ListEventsRequest{After: s.after})
		if err != nil {
			return nil, doing("list events", err)
		}
		for _, e := range page.GetEvents() {
			s.after = e.GetSequence()
			if e.GetAtUnixMs() >= s.since {
				events = append(events, shape.OfEvent(e))
			}
		}
		if !page.GetMore() || len(page.GetEvents()) == 0 {
			return events, nil
		}
	}
}

func eventHeader() []string {
	return []string{"SEQUENCE", "AT", "KIND", "GROUP", "HOST", "TEXT"}
}

func eventRow(e shape.Event) []string {
	return []string{fmt.Sprint(e.Sequence), e.At, e.Kind, statemachines.NameIn(e.Group, e.Region), e.Host, e.Text}
}

func (s *eventStream) all(ctx context.Context) error {
	events, err := s.next(ctx)
	if err != nil {
		return err
	}
	return list(s.t, events, eventHeader(), eventRow)
}

// follow prints events as they come; what was fetched before a server went away is
// not fetched again.
func (s *eventStream) follow(ctx context.Context) error {
	for first := true; ; first = false {
		events, err := s.next(ctx)
		switch {
		case ctx.Err() != nil:
			return fail(exitInterrupted, "", "")
		case err != nil && (first || !s.t.passes(err)):
			return err
		}
		for _, e := range events {
			if err := s.line(e); err != nil {
				return err
			}
		}
		if !sleep(ctx, followEvery) {
			return fail(exitInterrupted, "", "")
		}
	}
}

func (s *eventStream) line(e shape.Event) error {
	switch s.t.opts.output {
	case "json":
		raw, err := marshal(e, "")
		if err != nil {
			return fmt.Errorf("write json: %w", err)
		}
		return s.t.write(raw)
	case "yaml":
		raw, err := yaml.Marshal(e)
		if err != nil {
			return fmt.Errorf("write yaml: %w", err)
		}
		return s.t.write(append([]byte("---\n"), raw...))
	default:
		return s.t.write(fmt.Appendf(nil, "%s  %s  %s\n", e.At, e.Kind, about(e)))
	}
}

// about is an event's sentence with whom it concerns.
func about(e shape.Event) string {
	text := e.Text
	for _, who := range []string{e.Host, e.Group} {
		if who != "" {
			text = who + ": " + text
		}
	}
	return text
}
