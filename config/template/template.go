// Package template finds the template that a group's name matches. Drummer's record,
// hosts and drummer-cmd all use it, so that they never differ about a name.
//
// A template's match is compared with the name without its app: of capacity/team/db it
// is team/db. The first template whose match is that very text is the one, whatever it
// would mean as a glob; if there is none, the first that matches as a glob. Globs are
// those of path.Match: * and ? stand for characters other than a slash, [a-c] and [^x]
// for one of some characters, a backslash takes the next one as it is, and the whole
// name must match. So * does not match team/db; */* does.
//
// The package is pure, and safe for any number of goroutines.
package template

import (
	"fmt"
	"path"
	"strings"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Check says what is wrong with a match as a glob, or nil.
func Check(match string) error {
	if _, err := path.Match(match, ""); err != nil {
		return fmt.Errorf("%q is no glob: a bracket is not closed or is empty, or a backslash stands last", match)
	}
	return nil
}

// Find returns the template that a name without its app matches, or nil.
func Find(templates []*fleetpb.Template, name string) *fleetpb.Template {
	for _, t := range templates {
		if t.GetMatch() == name {
			return t
		}
	}
	for _, t := range templates {
		if ok, err := path.Match(t.GetMatch(), name); ok && err == nil {
			return t
		}
	}
	return nil
}

// Hint says why a name that no template matches may be a surprise to whoever wrote them: the
// first of them that would match if * and ? stood for a slash too, and what to write for
// such names. It is empty when there is none.
func Hint(templates []*fleetpb.Template, name string) string {
	if !strings.Contains(name, "/") {
		return ""
	}
	plain := strings.NewReplacer("/", "\x00")
	for _, t := range templates {
		match := t.GetMatch()
		if ok, err := path.Match(plain.Replace(match), plain.Replace(name)); !ok || err != nil {
			continue
		}
		why := fmt.Sprintf("%q does not match it, because * and ? stand for no slash", match)
		switch glob := widened(match, name); {
		case glob == "":
			return why
		case match == "*": // a file of Doorman's is refused unless * is its last entry
			return why + fmt.Sprintf(": a template %q would, in front of \"*\", which comes last", glob)
		default:
			return why + fmt.Sprintf(": a template %q would", glob)
		}
	}
	return ""
}

// widened is a glob with slashes in the place of one star, so that it matches the name; empty
// if one star is not enough.
func widened(match, name string) string {
	missing := strings.Count(name, "/") - strings.Count(match, "/")
	if missing <= 0 {
		return ""
	}
	for i, c := range match {
		if c != '*' {
			continue
		}
		glob := match[:i] + "*" + strings.Repeat("/*", missing) + match[i+1:]
		if ok, err := path.Match(glob, name); ok && err == nil {
			return glob
		}
	}
	return ""
}

// Of returns the template of a configuration that a group's whole name matches, or
// nil: also when the group is of another app.
func Of(c *fleetpb.Configuration, group string) *fleetpb.Template {
	app, name, ok := strings.Cut(group, "/")
	if !ok || app != c.GetApp() {
		return nil
	}
	return Find(c.GetTemplates(), name)
}
