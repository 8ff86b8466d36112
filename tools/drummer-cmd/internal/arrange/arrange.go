// Package arrange puts the words of a command line in the order that urfave/cli v2
// understands.
//
// That library stops to look for flags at the first word that is none, and what
// comes behind it is silently no flag any more. Here flags may stand anywhere; what
// is neither a known flag, nor its value, nor behind "--" is an error with a hint,
// so that no flag is ever ignored.
package arrange

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Error is a mistake on the command line.
type Error struct {
	// Text says what is wrong.
	Text string
	// Hint says what to try; may be empty.
	Hint string
}

// Error is the sentence.
func (e *Error) Error() string { return e.Text }

func mistake(hint, format string, args ...any) *Error {
	return &Error{Text: fmt.Sprintf(format, args...), Hint: hint}
}

// Line is a command line that is being arranged.
type Line struct {
	app     *cli.App
	path    []*cli.Command // the command so far
	verbs   []cli.Flag     // flags of the command found
	global  []string
	local   []string
	args    []string
	given   map[string]bool
	help    bool
	pending []string // words left
}

// Words returns the words in the library's order: flags of the program, the
// command, its flags, "--", arguments.
func Words(app *cli.App, words []string) ([]string, error) {
	l, err := Read(app, words)
	if err != nil {
		return nil, err
	}
	return l.words()
}

// Read sorts the words; the line may be unfinished, as it is for completion.
func Read(app *cli.App, words []string) (*Line, error) {
	l := &Line{app: app, given: map[string]bool{}, pending: words}
	for len(l.pending) > 0 {
		word := l.pending[0]
		l.pending = l.pending[1:]
		if word == "--" {
			l.args = append(l.args, l.pending...)
			break
		}
		if err := l.take(word); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Leaf is the command found; nil while a verb is still missing.
func (l *Line) Leaf() *cli.Command {
	if len(l.path) == 0 || len(l.path[len(l.path)-1].Subcommands) > 0 {
		return nil
	}
	return l.path[len(l.path)-1]
}

// Choices are the names of the commands that may come next.
func (l *Line) Choices() []string { return names(l.choices()) }

// Args are the arguments so far.
func (l *Line) Args() []string { return l.args }

// Flags are those that may be given: the command's, then the program's.
func (l *Line) Flags() []cli.Flag { return slices.Concat(l.verbs, l.app.Flags) }

// Global returns the value of a flag of the program, when it was given.
func (l *Line) Global(name string) (string, bool) {
	for _, f := range l.global {
		if value, is := strings.CutPrefix(f, "--"+name+"="); is {
			return value, true
		}
	}
	return "", false
}

// optionalValue are flags that mean this value when they stand alone; a value must
// be attached: --watch=5s.
func optionalValue(name string) (string, bool) {
	if name == "watch" {
		return "2s", true
	}
	return "", false
}

// take sorts one word in, with the value that belongs to it.
func (l *Line) take(word string) error {
	switch {
	case strings.HasPrefix(word, "-") && word != "-":
		return l.takeFlag(word)
	case l.Leaf() != nil:
		l.args = append(l.args, word)
		return nil
	case word == "help" && !l.help:
		l.help = true
		return nil
	default:
		return l.descend(word)
	}
}

// choices are the commands that may come next.
func (l *Line) choices() []*cli.Command {
	if len(l.path) == 0 {
		return l.app.Commands
	}
	return l.path[len(l.path)-1].Subcommands
}

func (l *Line) descend(word string) error {
	var names []string
	for _, c := range l.choices() {
		if c.HasName(word) {
			l.path, l.verbs = append(l.path, c), c.Flags
			return nil
		}
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	hint := l.app.Name + " " + strings.Join(append(l.pathNames(), "--help"), " ")
	if near := nearest(word, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	return mistake(hint, "there is no command %q", strings.Join(append(l.pathNames(), word), " "))
}

func (l *Line) pathNames() []string {
	var names []string
	for _, c := range l.path {
		names = append(names, c.Name)
	}
	return names
}

func (l *Line) takeFlag(word string) error {
	name, value, attached := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-"), "=")
	switch name {
	case "help", "h":
		l.help = true
		return nil
	case "version":
		if len(l.path) == 0 {
			return l.descend("version")
		}
	}
	flag, global := l.find(name)
	if flag == nil {
		return l.unknown(word, name)
	}
	first := flag.Names()[0]
	if _, several := flag.(*cli.StringSliceFlag); l.given[first] && !several {
		return mistake("", "the flag --%s is given twice", first)
	}
	l.given[first] = true
	if !attached {
		var err error
		if value, err = l.valueOf(flag); err != nil {
			return err
		}
	}
	out := "--" + first + "=" + value
	if global {
		l.global = append(l.global, out)
	} else {
		l.local = append(l.local, out)
	}
	return nil
}

// valueOf finds the value of a flag that has none attached.
func (l *Line) valueOf(flag cli.Flag) (string, error) {
	if _, is := flag.(*cli.BoolFlag); is {
		return "true", nil
	}
	name := flag.Names()[0]
	if value, is := optionalValue(name); is {
		return value, nil
	}
	if len(l.pending) == 0 || l.pending[0] == "--" {
		return "", mistake("", "the flag --%s needs a value", name)
	}
	// A value that looks like a flag is far more often a value forgotten.
	if next := l.pending[0]; len(next) > 1 && next[0] == '-' {
		return "", mistake("if "+next+" is the value, write --"+name+"="+next, "the flag --%s needs a value", name)
	}
	value := l.pending[0]
	l.pending = l.pending[1:]
	return value, nil
}

// find looks a flag up: those of the command, then those of the program.
func (l *Line) find(name string) (flag cli.Flag, global bool) {
	has := func(f cli.Flag) bool { return slices.Contains(f.Names(), name) }
	if i := slices.IndexFunc(l.verbs, has); i >= 0 {
		return l.verbs[i], false
	}
	if i := slices.IndexFunc(l.app.Flags, has); i >= 0 {
		return l.app.Flags[i], true
	}
	return nil, false
}

// unknown refuses a flag, with what may have been meant.
func (l *Line) unknown(word, name string) error {
	if l.Leaf() == nil && l.belongsToAVerb(name) {
		return mistake("write the command first, then "+word, "the flag %s belongs to a command", word)
	}
	var known []string
	for _, f := range l.Flags() {
		known = append(known, f.Names()...)
	}
	hint := "arguments that begin with a hyphen go behind --"
	if near := nearest(name, known); near != "" {
		hint = "did you mean " + Dashed(near) + "?"
	}
	where := strings.Join(append([]string{l.app.Name}, l.pathNames()...), " ")
	return mistake(hint, "%s has no flag %s", where, word)
}

func (l *Line) belongsToAVerb(name string) bool {
	for _, c := range leaves(l.choices()) {
		for _, f := range c.Flags {
			if slices.Contains(f.Names(), name) {
				return true
			}
		}
	}
	return false
}

// leaves lists the commands that do something.
func leaves(commands []*cli.Command) []*cli.Command {
	var out []*cli.Command
	for _, c := range commands {
		if len(c.Subcommands) == 0 {
			out = append(out, c)
		}
		out = append(out, leaves(c.Subcommands)...)
	}
	return out
}

// words is the line as the library reads it.
func (l *Line) words() ([]string, error) {
	path := l.pathNames()
	if l.help {
		return append(path, "--help"), nil
	}
	if l.Leaf() == nil {
		if len(l.args) > 0 {
			return nil, mistake("", "there is no command %q", l.args[0])
		}
		if len(path) > 0 {
			return nil, mistake(l.app.Name+" "+path[0]+" --help", "%s needs a verb: %s",
				path[0], strings.Join(names(l.choices()), ", "))
		}
		return []string{"--help"}, nil
	}
	return slices.Concat(l.global, path, l.local, []string{"--"}, l.args), nil
}

func names(commands []*cli.Command) []string {
	var out []string
	for _, c := range commands {
		if !c.Hidden {
			out = append(out, c.Name)
		}
	}
	return out
}

// Dashed is a flag as it is written.
func Dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// nearest returns the candidate that word is a slip of, or nothing.
func nearest(word string, candidates []string) string {
	best, at := "", 1+len(word)/4 // a short word is a slip of almost anything
	for _, c := range candidates {
		if len(c) > 1 && strings.HasPrefix(c, word) && word != "" {
			return c
		}
		if d := distance(word, c); d <= at && len(c) > 1 {
			best, at = c, d-1
		}
	}
	return best
}

// distance is that of Levenshtein.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
