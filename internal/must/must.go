// Package must is the one place that may panic: it ends the process where going
// on would corrupt replicated state (a snapshot of our own that does not decode,
// an applied index that goes back), never for anything that came from outside.
package must

import "fmt"

// Hold panics with the message unless the invariant holds.
func Hold(invariant bool, format string, args ...any) {
	if !invariant {
		panic("invariant violated: " + fmt.Sprintf(format, args...))
	}
}

// NoError panics if err is not nil; doing names what was being done.
func NoError(err error, doing string) {
	if err != nil {
		panic(doing + ": " + err.Error())
	}
}
