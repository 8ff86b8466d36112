package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/client"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/arrange"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/reason"
)

// Exit codes; scripts depend on them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitNotFound    = 4
	exitConflict    = 5
	exitTimeout     = 6
	exitPartial     = 7
	exitInterrupted = 130
)

// failure is an error with its exit code and, perhaps, what to try next.
type failure struct {
	code  int
	text  string
	hint  string
	cause error
}

// Error is the sentence.
func (f *failure) Error() string {
	if f.cause == nil {
		return f.text
	}
	return f.text + ": " + sentence(f.cause)
}

// sentence is an error's text; that of a raw call without gRPC's own words.
func sentence(err error) string {
	if st, is := status.FromError(err); is && !isClientError(err) {
		return st.Message()
	}
	return err.Error()
}

func isClientError(err error) bool {
	var e *client.Error
	return errors.As(err, &e)
}

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.cause }

func fail(code int, hint, format string, args ...any) *failure {
	return &failure{code: code, hint: hint, text: fmt.Sprintf(format, args...)}
}

// usage is a mistake on the command line.
func usage(format string, args ...any) *failure {
	return fail(exitUsage, "", format, args...)
}

// doing says what failed; the cause says why, its class how the program ends. A
// failure knows all that already.
func doing(what string, err error) error {
	var f *failure
	if err == nil || errors.As(err, &f) {
		return err
	}
	code, hint := classify(err)
	return &failure{code: code, text: what, hint: hint, cause: err}
}

// finish prints the error, if any, and returns the exit code.
func (t *tool) finish(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	var f *failure
	var m *arrange.Error
	switch {
	case errors.As(err, &m):
		f = &failure{code: exitUsage, text: m.Text, hint: m.Hint}
	case !errors.As(err, &f):
		code, hint := classify(err)
		f = &failure{code: code, text: err.Error(), hint: hint}
	}
	if f.code != exitInterrupted && errors.Is(ctx.Err(), context.Canceled) {
		f = fail(exitInterrupted, "", "interrupted")
	}
	if f.text != "" {
		t.say("error: %s", strings.TrimSpace(f.Error()))
	}
	if f.hint != "" {
		t.say("hint: %s", f.hint)
	}
	return f.code
}

// classify gives the exit code and the hint of an error from a server, or of the
// lack of one.
func classify(err error) (code int, hint string) {
	var f *failure
	if errors.As(err, &f) {
		return f.code, f.hint
	}
	why, group := reason.Of(err)
	switch why {
	case hostpb.Reason_REASON_INVALID, hostpb.Reason_REASON_TOO_LARGE:
		return exitUsage, ""
	case hostpb.Reason_REASON_GROUP_NOT_FOUND:
		return exitNotFound, listing(reason.Missing(err))
	case hostpb.Reason_REASON_EXISTS, hostpb.Reason_REASON_CONFLICT,
		hostpb.Reason_REASON_SEALED, hostpb.Reason_REASON_SESSION_GONE, hostpb.Reason_REASON_LIMIT:
		return exitConflict, ""
	case hostpb.Reason_REASON_NO_QUORUM, hostpb.Reason_REASON_NOT_OPEN, hostpb.Reason_REASON_NOT_LEADER:
		if group != "" {
			return exitUnreachable, program + " explain " + group
		}
		return exitUnreachable, program + " status"
	case hostpb.Reason_REASON_UNAVAILABLE, hostpb.Reason_REASON_DEADLINE, hostpb.Reason_REASON_NOT_SUPERVISOR:
		return exitUnreachable, "check --servers (or DRUMMER_SERVERS) and that the servers run; --timeout waits longer"
	case hostpb.Reason_REASON_BUSY:
		return exitUnreachable, "try again later"
	case hostpb.Reason_REASON_UNKNOWN_OUTCOME:
		return exitFailed, "read the value before you send it again; propose --session is safe to repeat"
	default:
		return exitFailed, ""
	}
}

// listing is the command that lists what was not found; none for nothing in particular.
func listing(what string) string {
	if list := reason.Listing(what); list != "" {
		return program + " " + list
	}
	return ""
}
