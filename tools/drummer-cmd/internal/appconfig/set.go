package appconfig

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/config/apps"
	"github.com/drumline/drumline/config/apps/edit"
	"github.com/drumline/drumline/config/template"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

func (n *Noun) set() Verb {
	return Verb{
		Name: "set", Usage: "change one entry of the configuration in force", Args: "NAME [KEY=VALUE…]", Min: 1, Max: 1000,
		About: "NAME is what an entry matches, as the file has it: that entry is changed. Or it is the name of one group, without its app: it gets an entry of its own, " +
			"before the one that it had, as a copy of that. KEY is a key of an entry, with dots for those below it, and VALUE is YAML on one line. The text that is in " +
			"force is changed in these places alone, checked as apply checks a file, and becomes a new revision, which rollback takes back.",
		Flags: []cli.Flag{&cli.StringSliceFlag{Name: "unset", Usage: "take `KEY` out; may be given several times"}, dryRun(), author()},
		Run: func(ctx context.Context, c *cli.Context) error {
			steps, err := stepsOf(c.Args().Tail(), c.StringSlice("unset"))
			if err != nil {
				return err
			}
			found, err := n.inForce(ctx)
			if err != nil {
				return err
			}
			file, err := n.edited(found, c.Args().First(), steps)
			if err != nil {
				return err
			}
			for _, w := range file.Warnings {
				n.Say("warning: %s", w)
			}
			file.Configuration.Author = c.String("author")
			req := &drummerpb.ApplyConfigurationRequest{Configuration: file.Configuration, Base: found.GetRevision(), DryRun: c.Bool("dry-run")}
			return n.change(ctx, req.GetDryRun(), func(ctx context.Context, d drummerpb.DrummerClient) (*drummerpb.ConfigurationChange, error) {
				return d.ApplyConfiguration(ctx, req)
			})
		},
	}
}

// stepsOf reads what is to be changed.
func stepsOf(words, unset []string) (steps []edit.Step, err error) {
	for _, w := range words {
		s, err := edit.Parse(w)
		if err != nil {
			return nil, &Mistake{Text: err.Error()}
		}
		steps = append(steps, s)
	}
	for _, w := range unset {
		s, err := edit.ParseUnset(w)
		if err != nil {
			return nil, &Mistake{Text: "--unset: " + err.Error()}
		}
		steps = append(steps, s)
	}
	if len(steps) == 0 {
		return nil, &Mistake{Text: "nothing is to be changed: name keys, like replicas=5, or --unset KEY"}
	}
	return steps, nil
}

// inForce is the configuration that is to be changed, with its text.
func (n *Noun) inForce(ctx context.Context) (*fleetpb.Configuration, error) {
	var found *drummerpb.ShowConfigurationResponse
	err := n.Do(ctx, func(ctx context.Context, d drummerpb.DrummerClient) (err error) {
		found, err = d.ShowConfiguration(ctx, &drummerpb.ShowConfigurationRequest{App: n.App})
		return err
	})
	return found.GetConfiguration(), err
}

// edited changes the text of a revision, and sees to it that nothing but the one entry says
// something else then: a text may use what it says in one place in another.
func (n *Noun) edited(now *fleetpb.Configuration, name string, steps []edit.Step) (apps.File, error) {
	file := fmt.Sprintf("revision %d", now.GetRevision())
	before, err := n.Read(file, now.GetSource())
	if err != nil || !same(before.Configuration.GetTemplates(), now.GetTemplates()) {
		return apps.File{}, &Mistake{Text: file + " has no text that says what is in force: apply a file instead", Cause: err}
	}
	at, own, err := n.place(now, name)
	if err != nil {
		return apps.File{}, err
	}
	form, text, all := edit.FormOf(n.App), now.GetSource(), slices.Clone(now.GetTemplates())
	if own {
		text, err = edit.Change(text, form, at, steps)
	} else {
		text, err = edit.Copy(text, form, at, name, steps)
		all = slices.Insert(all, at, &fleetpb.Template{})
	}
	if err != nil {
		return apps.File{}, &Mistake{Text: "change " + file, Cause: err}
	}
	after, err := n.Read(file+", changed", text)
	if err != nil {
		return apps.File{}, &Mistake{Text: "the change is refused", Cause: err}
	}
	if got := after.Configuration.GetTemplates(); at < len(got) {
		all[at] = got[at]
	}
	if !same(after.Configuration.GetTemplates(), all) || after.Configuration.GetMaxGroups() != now.GetMaxGroups() || all[at].GetMatch() != name {
		return apps.File{}, &Mistake{Text: "the change would reach other entries, or the names that this one is for: edit the file, and apply it"}
	}
	return after, nil
}

// place is where the entry is that a name means, and whether it is the name's own.
func (n *Noun) place(c *fleetpb.Configuration, name string) (at int, own bool, err error) {
	is := func(t *fleetpb.Template) func(*fleetpb.Template) bool {
		return func(other *fleetpb.Template) bool { return other == t }
	}
	t := template.Find(c.GetTemplates(), name)
	at = slices.IndexFunc(c.GetTemplates(), is(t))
	switch {
	case t.GetMatch() == name && t != nil:
		return at, true, nil
	case strings.HasPrefix(name, n.App+"/") && template.Of(c, name) != nil:
		short := strings.TrimPrefix(name, n.App+"/")
		return 0, false, &Mistake{Text: fmt.Sprintf("write the name without its app: %s", short)}
	case t == nil || strings.ContainsAny(name, `*?[]\`):
		return 0, false, &Mistake{Text: fmt.Sprintf("no entry is for %q, and a new one is written into the file: those in force are for %s", name, matches(c))}
	}
	return at, false, nil
}

// matches lists what a configuration's entries are for.
func matches(c *fleetpb.Configuration) string {
	var list []string
	for _, t := range c.GetTemplates()[:min(len(c.GetTemplates()), maxShown)] {
		list = append(list, fmt.Sprintf("%q", t.GetMatch()))
	}
	if more := len(c.GetTemplates()) - len(list); more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}

// same tells whether two lists of templates say the same.
func same(a, b []*fleetpb.Template) bool {
	return slices.EqualFunc(a, b, func(x, y *fleetpb.Template) bool { return proto.Equal(x, y) })
}
