// Package appconfig is the commands that keep an app's configuration: apply, set, show,
// history and rollback. They are the same for every app; an app brings its name and the
// reader of its file.
package appconfig

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/config/apps"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/source"
)

// Noun makes the commands of one app. All of it is needed.
type Noun struct {
	// App is the app's name, Read the reader of its file.
	App  string
	Read apps.Reader
	// Do makes a call to the drummers within the time limit.
	Do func(ctx context.Context, call func(context.Context, drummerpb.DrummerClient) error) error
	// Print writes data in the format asked for; tables (a header and rows each) are for people.
	Print func(data any, tables func() []Table) error
	// Raw writes a text for people; Plain tells whether they read the output.
	Raw   func(text []byte) error
	Plain func() bool
	// In is standard input.
	In io.Reader
	// Say talks to the person.
	Say func(format string, args ...any)
}

// Table is rows of cells, the header first.
type Table [][]string

// Verb is one command.
type Verb struct {
	Name, Usage, About, Args string
	// Min and Max are the number of arguments.
	Min, Max  int
	Flags     []cli.Flag
	Watchable bool
	Run       func(ctx context.Context, c *cli.Context) error
}

// Mistake is an error of the command line or of a file.
type Mistake struct {
	// Text says what was done, Cause what is wrong; may be nil.
	Text  string
	Cause error
}

// Error is the sentence.
func (m *Mistake) Error() string {
	if m.Cause == nil {
		return m.Text
	}
	return m.Text + ": " + m.Cause.Error()
}

// Unwrap returns the cause.
func (m *Mistake) Unwrap() error { return m.Cause }

const (
	// maxFile bounds a file above what drummers keep, 256 KiB.
	maxFile = 1 << 20
	// byteOrder is what some editors write before a text.
	byteOrder = "\ufeff"
	// maxShown bounds the groups that people are shown; programs get a thousand.
	maxShown = 20
)

// Verbs are all commands, in the order of the help.
func (n *Noun) Verbs() []Verb { return []Verb{n.apply(), n.set(), n.show(), n.history(), n.rollback()} }

// author is who changes something.
func author() cli.Flag {
	return &cli.StringFlag{Name: "author", EnvVars: []string{"USER"}, Usage: "`NAME` that the history shows for the change"}
}

func dryRun() cli.Flag {
	return &cli.BoolFlag{Name: "dry-run", Usage: "check it, show the difference, and change nothing", DisableDefaultText: true}
}

func (n *Noun) apply() Verb {
	return Verb{
		Name: "apply", Usage: "check a configuration file and put it in force",
		About: "Shows how it differs from the revision in force, and which live groups follow. They do so within two seconds, without a restart; a " +
			"group that no template matches any more keeps what it has. A changed placement counts for groups that are made from then on. Applying " +
			"the same file again changes nothing.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "configuration `FILE`, - for standard input"},
			dryRun(), author(),
			&cli.Uint64Flag{Name: "base", Usage: "refuse it unless this `REVISION` is in force"},
		},
		Run: func(ctx context.Context, c *cli.Context) error {
			file, err := n.file(c.String("file"))
			if err != nil {
				return err
			}
			for _, w := range file.Warnings {
				n.Say("warning: %s", w)
			}
			file.Configuration.Author = c.String("author")
			req := &drummerpb.ApplyConfigurationRequest{Configuration: file.Configuration, Base: c.Uint64("base"), DryRun: c.Bool("dry-run")}
			return n.change(ctx, req.GetDryRun(), func(ctx context.Context, d drummerpb.DrummerClient) (*drummerpb.ConfigurationChange, error) {
				return d.ApplyConfiguration(ctx, req)
			})
		},
	}
}

// file reads and checks a file.
func (n *Noun) file(path string) (apps.File, error) {
	if path == "" {
		return apps.File{}, &Mistake{Text: fmt.Sprintf("apply needs a file: drummer-cmd %s config apply -f config.yml", n.App)}
	}
	raw, err := source.Read(path, n.In, maxFile)
	if err != nil {
		return apps.File{}, &Mistake{Text: err.Error()}
	}
	file, err := n.Read(path, bytes.TrimPrefix(raw, []byte(byteOrder)))
	if err != nil {
		return apps.File{}, &Mistake{Text: "read " + path, Cause: err}
	}
	return file, nil
}

// change makes a change and shows what it came to.
func (n *Noun) change(ctx context.Context, dry bool, call func(context.Context, drummerpb.DrummerClient) (*drummerpb.ConfigurationChange, error)) error {
	var change *drummerpb.ConfigurationChange
	err := n.Do(ctx, func(ctx context.Context, d drummerpb.DrummerClient) (err error) {
		change, err = call(ctx, d)
		return err
	})
	if err != nil {
		return err
	}
	out := changeOf(change, dry)
	return n.Print(out, func() []Table { return changeTables(out) })
}

// changeTables sums a change up, then lists what differs.
func changeTables(c Change) []Table {
	result := "applied"
	switch {
	case c.DryRun:
		result = "nothing was changed"
	case c.Revision == c.Before:
		result = "in force already"
	}
	tables := []Table{{
		{"APP", "REVISION", "BEFORE", "MAX GROUPS", "GROUPS THAT FOLLOW", "RESULT"},
		{c.App, number(c.Revision), number(c.Before), fmt.Sprint(c.MaxGroups), fmt.Sprintf("%d of %d", c.GroupsChanged, c.GroupsLive), result},
	}}
	if len(c.Templates) > 0 {
		t := Table{{"TEMPLATE", "CHANGE", "WHAT"}}
		for _, d := range c.Templates {
			t = append(t, []string{d.Match, d.Kind, strings.Join(d.What, ", ")})
		}
		tables = append(tables, t)
	}
	if len(c.Groups) > 0 {
		t := Table{{"GROUP", "TEMPLATE BEFORE", "TEMPLATE"}}
		shown := c.Groups[:min(len(c.Groups), maxShown)]
		for _, g := range shown {
			t = append(t, []string{statemachines.NameIn(g.Name, g.Region), none(g.Before), g.After})
		}
		if more := c.GroupsChanged - uint64(len(shown)); more > 0 {
			t = append(t, []string{fmt.Sprintf("and %d more", more), "", ""})
		}
		tables = append(tables, t)
	}
	return tables
}

func none(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// number shows a revision, or that there is none.
func number(n uint64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatUint(n, 10)
}

func (n *Noun) show() Verb {
	return Verb{
		Name: "show", Usage: "print the configuration in force, or an older revision", Args: "[REVISION]", Max: 1,
		About: "Prints the text that was applied, so that it can be kept in a file; what the revision is goes to standard error.",
		Run: func(ctx context.Context, c *cli.Context) error {
			revision := uint64(0)
			if c.NArg() > 0 {
				var err error
				if revision, err = parse(c.Args().First()); err != nil {
					return err
				}
			}
			var found *drummerpb.ShowConfigurationResponse
			err := n.Do(ctx, func(ctx context.Context, d drummerpb.DrummerClient) (err error) {
				found, err = d.ShowConfiguration(ctx, &drummerpb.ShowConfigurationRequest{App: n.App, Revision: revision})
				return err
			})
			if err != nil {
				return err
			}
			out := Source{Revision: revisionOf(found.GetConfiguration(), found.GetCurrent()), Source: string(found.GetConfiguration().GetSource())}
			if !n.Plain() {
				return n.Print(out, nil)
			}
			n.Say("%s", about(out.Revision))
			return n.Raw(found.GetConfiguration().GetSource())
		},
	}
}

// about says what a revision is.
func about(c Revision) string {
	text := fmt.Sprintf("revision %d of app %s, applied %s", c.Number, c.App, c.At)
	if c.Author != "" {
		text += " by " + c.Author
	}
	if c.Restores > 0 {
		text += fmt.Sprintf(", with the content of revision %d", c.Restores)
	}
	if !c.Current {
		text += ", not in force"
	}
	return text
}

func (n *Noun) history() Verb {
	return Verb{
		Name: "history", Usage: "list the revisions that are kept, the newest first", Watchable: true,
		About: "The newest one is in force. Twenty are kept.",
		Run: func(ctx context.Context, _ *cli.Context) error {
			kept, err := n.kept(ctx)
			if err != nil {
				return err
			}
			out := []Revision{}
			for _, c := range kept {
				out = append(out, revisionOf(c, kept[0].GetRevision()))
			}
			return n.Print(out, func() []Table {
				t := Table{{"REVISION", "AT", "BY", "TEMPLATES", "RESTORES", "IN FORCE"}}
				for _, c := range out {
					t = append(t, []string{number(c.Number), c.At, none(c.Author), fmt.Sprint(len(c.Templates)), number(c.Restores), yes(c.Current)})
				}
				return []Table{t}
			})
		},
	}
}

// kept are the revisions that there are, the newest first.
func (n *Noun) kept(ctx context.Context) (list []*fleetpb.Configuration, err error) {
	err = n.Do(ctx, func(ctx context.Context, d drummerpb.DrummerClient) error {
		found, err := d.ListConfigurations(ctx, &drummerpb.ListConfigurationsRequest{App: n.App})
		list = found.GetConfigurations()
		return err
	})
	return list, err
}

// Instead is the command for who asked for a revision that there is not: the one that lists
// them, or makes the first.
func (n *Noun) Instead(ctx context.Context) string {
	if list, err := n.kept(ctx); err == nil && len(list) == 0 {
		return n.App + " config apply -f FILE"
	}
	return n.App + " config history"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func (n *Noun) rollback() Verb {
	return Verb{
		Name: "rollback", Usage: "bring the content of an older revision back, as a new one", Args: "REVISION", Min: 1, Max: 1,
		About: "Shows the difference as apply does; live groups follow the same way.",
		Flags: []cli.Flag{dryRun(), author()},
		Run: func(ctx context.Context, c *cli.Context) error {
			revision, err := parse(c.Args().First())
			if err != nil {
				return err
			}
			req := &drummerpb.RollbackConfigurationRequest{App: n.App, Revision: revision, Author: c.String("author"), DryRun: c.Bool("dry-run")}
			return n.change(ctx, req.GetDryRun(), func(ctx context.Context, d drummerpb.DrummerClient) (*drummerpb.ConfigurationChange, error) {
				return d.RollbackConfiguration(ctx, req)
			})
		},
	}
}

// parse reads a revision.
func parse(word string) (uint64, error) {
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil || n == 0 {
		return 0, &Mistake{Text: fmt.Sprintf("%q is no revision: the history lists them", word)}
	}
	return n, nil
}
