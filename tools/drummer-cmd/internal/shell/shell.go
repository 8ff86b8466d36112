// Package shell is the interactive shell of app capacity: Doorman's doorman_shell, its
// commands and its output, over whatever leases.
package shell

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Prompt is what a person types behind.
const Prompt = "> "

// Help is what help prints.
const Help = `get CLIENT RESOURCE CAPACITY   client CLIENT wants CAPACITY of RESOURCE
release CLIENT RESOURCE        client CLIENT gives RESOURCE back
show                           what all clients hold
master                         the server that each client asks
help                           this list
quit                           release everything and leave (also: q, bye)
`

// Leaser holds leases for the clients of a session.
type Leaser interface {
	// Get makes the client want that much, and returns once it has an answer.
	Get(ctx context.Context, client, resource string, wants float64) error
	// Release gives a resource back.
	Release(ctx context.Context, client, resource string) error
	// Holdings is what all clients hold, in any order.
	Holdings() []Holding
	// Masters maps each client to the server that it asks.
	Masters() map[string]string
}

// Holding is what a client holds of a resource.
type Holding struct {
	Client, Resource string
	Capacity         float64
}

// Lines yields what is typed, line by line; io.EOF ends the session.
type Lines interface {
	Next() (string, error)
}

// Shell is one session.
type Shell struct {
	// Leaser does what is asked.
	Leaser Leaser
	// Out gets what is shown, Err errors and help.
	Out, Err io.Writer
}

// Run obeys line after line until one is quit, the input ends, or ctx does.
func (s *Shell) Run(ctx context.Context, in Lines) error {
	for ctx.Err() == nil {
		line, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a command: %w", err)
		}
		quit, err := s.Obey(ctx, line)
		if err != nil {
			s.say("ERROR: %v", err)
		}
		if quit {
			return nil
		}
	}
	return ctx.Err()
}

// Obey does what one line says, and tells whether it is the last.
func (s *Shell) Obey(ctx context.Context, line string) (quit bool, err error) {
	words, err := Split(line)
	if err != nil || len(words) == 0 {
		return false, err
	}
	args := words[1:]
	switch words[0] {
	case "get":
		return false, s.get(ctx, args)
	case "release":
		if len(args) != 2 {
			return false, errors.New("release takes CLIENT RESOURCE")
		}
		return false, s.Leaser.Release(ctx, args[0], args[1])
	case "show":
		if len(args) != 0 {
			return false, errors.New("show takes no arguments")
		}
		return false, s.show()
	case "master":
		return false, s.master()
	case "help":
		_, err := io.WriteString(s.Err, Help)
		return false, err
	case "quit", "q", "bye":
		return true, nil
	default:
		return false, fmt.Errorf("unrecognised command %q: try help", words[0])
	}
}

func (s *Shell) get(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return errors.New("get takes CLIENT RESOURCE CAPACITY")
	}
	wants, err := strconv.ParseFloat(args[2], 64)
	if err != nil {
		return fmt.Errorf("%q is no capacity: write a number, like 12.5", args[2])
	}
	return s.Leaser.Get(ctx, args[0], args[1], wants)
}

func (s *Shell) show() error {
	all := s.Leaser.Holdings()
	slices.SortFunc(all, func(a, b Holding) int {
		return cmp.Or(strings.Compare(a.Resource, b.Resource), strings.Compare(a.Client, b.Client))
	})
	var out strings.Builder
	for _, h := range all {
		fmt.Fprintf(&out, "client: %q\nresource: %q\ncapacity: %v\n\n", h.Client, h.Resource, h.Capacity)
	}
	_, err := io.WriteString(s.Out, out.String())
	return err
}

func (s *Shell) master() error {
	masters := s.Leaser.Masters()
	clients := make([]string, 0, len(masters))
	for c := range masters {
		clients = append(clients, c)
	}
	slices.Sort(clients)
	var out strings.Builder
	for _, c := range clients {
		fmt.Fprintf(&out, "%s: %s\n", c, masters[c])
	}
	_, err := io.WriteString(s.Out, out.String())
	return err
}

// say tells the person something that is no answer.
func (s *Shell) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.Err, format+"\n", args...) // there is nowhere else to say it
}
