package noun

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/statemachines"
)

// Keyed is what NAME and --region of a command say, where a group may be a family: the name,
// the group and the key in it, the region whose group is meant, and all of it for people.
type Keyed struct{ Name, Group, Key, Region, Full string }

// KeyedBy reads the first argument and --region. The app's name and a slash, which begin
// prefix and the names of its groups, may be left away.
func KeyedBy(c *cli.Context, prefix string) Keyed {
	name := c.Args().First()
	if !strings.HasPrefix(name, prefix) {
		name = prefix + name
	}
	of := Keyed{Name: name, Region: c.String("region"), Full: statemachines.NameIn(name, c.String("region"))}
	of.Group, of.Key, _ = strings.Cut(name, "#")
	return of
}

// Families are the groups that a command to list keys is about: the one that was named, or
// all of the app that there are; those of one region if it is given.
func (con *Console) Families(ctx context.Context, c *cli.Context, prefix string) ([]Keyed, error) {
	if c.NArg() > 0 {
		of := KeyedBy(c, prefix)
		if of.Key != "" {
			return nil, Fault(Usage, "%s has a key: write %s list %s %s", of.Full, strings.TrimSuffix(prefix, "/"), of.Group, of.Key)
		}
		return []Keyed{of}, nil
	}
	ctx, cancel := con.Bounded(ctx)
	defer cancel()
	all, err := con.Groups(ctx, prefix)
	if err != nil {
		return nil, Doing("list groups", err)
	}
	var groups []Keyed
	for _, g := range all {
		if only := c.String("region"); g.GetState() != "deleting" && (only == "" || only == g.GetRegion()) {
			groups = append(groups, Keyed{Name: g.GetName(), Group: g.GetName(), Region: g.GetRegion(), Full: statemachines.NameOf(g)})
		}
	}
	return groups, nil
}
