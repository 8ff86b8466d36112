// Package leases is drummer-cmd's commands about resources of app capacity: to see them,
// to lease shares of them, and to give these back.
//
// It knows nothing of the program around it but Console, which prints, connects, and makes
// exit codes of errors.
package leases

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/client"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/statemachines"
)

// Console is the program around the commands.
type Console interface {
	// Client is the connection to the cluster; the program closes it.
	Client(ctx context.Context) (*client.Client, error)
	// Groups lists the groups whose names begin with prefix, Group finds one by its name, and
	// its region if that is not empty.
	Groups(ctx context.Context, prefix string) ([]*drummerpb.GroupInfo, error)
	Group(ctx context.Context, name, region string) (*drummerpb.GroupInfo, error)
	// Print writes data in the format asked for; tables makes it readable for people.
	Print(data any, tables func() []Table) error
	// Plain tells whether people read the output.
	Plain() bool
	// Streams of the program; terminal tells whether a person sits at the input.
	Streams() (in io.Reader, out, err io.Writer, terminal bool)
	// Passes tells whether an error may be gone the next time, and says it.
	Passes(err error) bool
	// Timeout bounds an ordinary command.
	Timeout() time.Duration
}

// Table is rows of cells, the header first.
type Table [][]string

// Verb is one command.
type Verb struct {
	Name, Usage, About, Args string
	// Min and Max are the number of arguments.
	Min, Max int
	Flags    []cli.Flag
	// Watchable: it does nothing but show. Long: it ends by itself, so no time limit does.
	Watchable, Long bool
	Run             func(ctx context.Context, c *cli.Context) error
}

// Noun makes the commands.
type Noun struct{ Console Console }

// Verbs are all commands, in the order of the help.
func (n *Noun) Verbs() []Verb {
	return []Verb{n.list(), n.show(), n.get(), n.release(), n.watch(), n.shell()}
}

// Kind is a class of errors, each with an exit code.
type Kind int

// Kinds of errors.
const (
	// Doing: the cause decides.
	Doing Kind = iota
	// Usage: a mistake on the command line.
	Usage
	// Conflict: the state of things forbids it.
	Conflict
	// Failed is all others.
	Failed
)

// Error is what a command fails with.
type Error struct {
	Kind Kind
	// Text says what failed, Hint what to try next; may be empty.
	Text, Hint string
	// Cause of an error of kind Doing.
	Cause error
}

// Error is the sentence.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Text
	}
	return e.Text + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// doing says what failed.
func doing(what string, err error) error { return &Error{Text: what, Cause: err} }

// usage is a mistake on the command line.
func usage(format string, args ...any) error {
	return &Error{Kind: Usage, Text: fmt.Sprintf(format, args...)}
}

// place is a resource: its name, and the region whose group is meant, which may be empty.
type place struct{ name, region string }

// placeOf reads the argument at that place, and --region.
func placeOf(c *cli.Context, at int) place { return place{c.Args().Get(at), c.String("region")} }

// String is for people.
func (p place) String() string { return statemachines.NameIn(readable(p.name), p.region) }

// readable shows a name to a person, quoted when it would play tricks on a terminal.
func readable(name string) string {
	if strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) >= 0 {
		return fmt.Sprintf("%q", name)
	}
	return name
}

// amount writes a capacity in its shortest form, a very large one with its power of ten.
func amount(v float64) string {
	if v >= 1e21 {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}
