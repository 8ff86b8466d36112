// Package noun is what rooms of drummer-cmd that bring commands have in common: the
// program around them, the form of a command, and errors with an exit code.
package noun

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/config"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
)

// Console is the program around the commands of a room. All of it is needed.
type Console struct {
	// Client is the connection to the cluster, Groups lists the groups whose names begin
	// with prefix, and Bounded is the context of one command.
	Client  func(ctx context.Context) (*client.Client, error)
	Groups  func(ctx context.Context, prefix string) ([]*drummerpb.GroupInfo, error)
	Bounded func(ctx context.Context) (context.Context, context.CancelFunc)
	// TLS is how servers are spoken to, for a command that dials them itself: when no
	// drummer answers there is no Client.
	TLS func() config.TLS
	// Print writes data in the format asked for; table (the header first) is for people.
	Print func(data any, table [][]string) error
	// Plain tells whether people read the output, Write writes to them.
	Plain func() bool
	Write func(text []byte) error
	// Say talks to the person, Confirm asks for the name of what will be changed.
	Say func(format string, args ...any)
	// Await waits for a goal, and shows how far it is.
	Await   func(ctx context.Context, g Goal) error
	Confirm func(name, question string) error
}

// Goal is something to wait for.
type Goal struct {
	// What is counted, like "groups ok"; Still is what goes on when the watching ends.
	What, Still string
	Total       int
	// Look says how much is reached, and what is not, in words.
	Look func(ctx context.Context) (done int, missing []string, err error)
}

// Verb is one command.
type Verb struct {
	Name, Usage, About, Args string
	// Min and Max are the number of arguments.
	Min, Max int
	Flags    []cli.Flag
	// Needs names the flags that must be given.
	Needs     []string
	Watchable bool
	// Waits tells that it has --wait, and with it a longer default --timeout.
	Waits bool
	Run   func(ctx context.Context, c *cli.Context) error
}

// Exit codes of the program that errors here have.
const (
	Failed      = 1
	Usage       = 2
	NotFound    = 4
	Conflict    = 5
	Interrupted = 130
)

// Error is what a command fails with: with a cause, which says how the program ends, or
// with an exit code.
type Error struct {
	Exit int
	Text string
	// Missing is what was not found, if it is something that a command lists.
	Missing string
	Cause   error
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

// Fault is an error with an exit code.
func Fault(exit int, format string, args ...any) error {
	return &Error{Exit: exit, Text: fmt.Sprintf(format, args...)}
}

// ExitOf is the exit code of the record's refusal of one group.
func ExitOf(c fleetpb.Code) int {
	switch c {
	case fleetpb.Code_CODE_INVALID:
		return Usage
	case fleetpb.Code_CODE_NOT_FOUND:
		return NotFound
	case fleetpb.Code_CODE_EXISTS, fleetpb.Code_CODE_CONFLICT, fleetpb.Code_CODE_LIMIT:
		return Conflict
	case fleetpb.Code_CODE_OK, fleetpb.Code_CODE_UNSPECIFIED:
	}
	return Failed
}

// NoGroup is the fault of a group that there is not.
func NoGroup(name string) error {
	return &Error{Exit: NotFound, Text: "there is no group " + name, Missing: fault.Group}
}

// Doing says what failed; the cause says why.
func Doing(what string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Text: what, Cause: err}
}

// Toggle is a flag without a value.
func Toggle(name, usage string) cli.Flag {
	return &cli.BoolFlag{Name: name, Usage: usage, DisableDefaultText: true}
}
