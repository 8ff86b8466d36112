package statemachines

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// checkText refuses what would break a terminal, a log line or a family's key.
func checkText(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%w: %q is not valid UTF-8", ErrInvalidName, s)
	}
	if strings.Contains(s, "#") {
		return fmt.Errorf("%w: %q: a hash sign introduces the key of a family and is no part of a group's name", ErrInvalidName, s)
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return fmt.Errorf("%w: %q has a character that is not printable", ErrInvalidName, s)
		}
	}
	return nil
}
