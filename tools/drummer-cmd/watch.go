package main

import (
	"context"
	"errors"
	"time"
)

// clearScreen moves to the corner and clears what is below.
const clearScreen = "\x1b[H\x1b[2J"

// watched shows again and again until it is interrupted. A server that does not
// answer is said and asked again; other errors end it.
func (t *tool) watched(ctx context.Context, show func(context.Context) error) error {
	screen := terminal(t.out)
	for first := true; ; first = false {
		text, err := t.capture(func() error { return show(ctx) })
		switch {
		case ctx.Err() != nil:
			return fail(exitInterrupted, "", "")
		case err != nil && !t.passes(err):
			return err
		}
		if err == nil {
			if err := t.frame(text, screen, first); err != nil {
				return err
			}
		}
		if !sleep(ctx, t.opts.watch) {
			return fail(exitInterrupted, "", "")
		}
	}
}

// passes tells whether an error may be gone the next time, and says it.
func (t *tool) passes(err error) bool {
	code, _ := classify(err)
	if code != exitUnreachable {
		return false
	}
	t.say("%s: %v; trying again", time.Now().Format(time.TimeOnly), err)
	return true
}

// frame writes one view: over the last one on a terminal, below it elsewhere.
func (t *tool) frame(text []byte, screen, first bool) error {
	var err error
	switch {
	case screen:
		err = t.write([]byte(clearScreen))
	case !first && t.opts.output == "yaml":
		err = t.write([]byte("---\n"))
	case !first && t.opts.output == "table":
		err = t.write([]byte("\n"))
	}
	return errors.Join(err, t.write(text))
}
