package rescue

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"

	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// Made is a group that a command makes, as -o json shows it.
type Made struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	ID     uint64 `json:"id"`
	// From is the file or group that its state is of.
	From string `json:"from"`
}

func (n *Noun) clone() noun.Verb {
	return noun.Verb{
		Name: "clone", Usage: "make a group with the state of another one", Args: "NAME COPY", Min: 2, Max: 2, Waits: true,
		About: "COPY begins with what NAME has at some moment after the command; NAME is not disturbed. Both are of the same app.",
		Flags: []cli.Flag{
			noun.Region(),
			&cli.StringFlag{Name: "to-region", Usage: "make COPY the group of this `REGION`"},
			&cli.UintFlag{Name: "replicas", Aliases: []string{"n"}, Usage: "`NUMBER` of voters; as many as NAME unless given"},
			noun.Toggle("wait", "wait until the copy serves"),
		},
		Run: func(ctx context.Context, c *cli.Context) error {
			ctx, cancel := n.Bounded(ctx)
			defer cancel()
			d, err := n.drummers(ctx)
			if err != nil {
				return err
			}
			name, copied := c.Args().Get(0), c.Args().Get(1)
			req := &drummerpb.CloneGroupRequest{Name: name, Region: c.String("region"), To: copied, ToRegion: c.String("to-region"), Replicas: uint32(c.Uint("replicas"))}
			resp, err := d.CloneGroup(ctx, req)
			if err != nil {
				return noun.Doing("clone group "+statemachines.NameOf(req), err)
			}
			return n.made(ctx, []Made{{Name: copied, Region: req.GetToRegion(), ID: resp.GetId(), From: statemachines.NameOf(req)}}, c.Bool("wait"))
		},
	}
}

// made prints the groups that are being made, and waits for them.
func (n *Noun) made(ctx context.Context, groups []Made, wait bool) error {
	table, ids := [][]string{{"NAME", "ID", "FROM"}}, map[string]uint64{}
	for _, m := range groups {
		full := statemachines.NameIn(m.Name, m.Region)
		table = append(table, []string{full, fmt.Sprint(m.ID), m.From})
		ids[full] = m.ID
	}
	if err := n.Print(groups, table); err != nil || !wait {
		return err
	}
	return n.awaitServing(ctx, ids, "they are still being made")
}

// Purged is one group of `groups purge`, as -o json shows it.
type Purged struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	ID     uint64 `json:"id"`
	Result string `json:"result"`
	Detail string `json:"detail"`
}

func (n *Noun) purge() noun.Verb {
	return noun.Verb{
		Name: "purge", Usage: "remove what was kept of banned groups", Args: "[NAME...]", Max: -1,
		About: "After `groups recover` and `groups restore --replace` the replicas of the old group are stopped and their data is kept. This removes it for ever.",
		Flags: []cli.Flag{noun.Region(), noun.Toggle("all", "of all banned groups"), noun.Toggle("dry-run", "only show what would be removed")},
		Run:   n.runPurge,
	}
}

func (n *Noun) runPurge(ctx context.Context, c *cli.Context) error {
	if c.Bool("all") != (c.NArg() == 0) {
		return noun.Fault(noun.Usage, "name the groups, or give --all")
	}
	found, err := n.retired(ctx, c.Args().Slice(), c.String("region"))
	if err != nil {
		return err
	}
	switch {
	case len(found) > 0:
	case c.Bool("all"):
		return noun.Fault(noun.NotFound, "there is nothing to purge: no banned group is kept")
	default:
		return noun.Fault(noun.NotFound, "there is nothing to purge: no banned group is kept under that name")
	}
	if c.Bool("dry-run") {
		return n.printPurged(found)
	}
	question := fmt.Sprintf("remove all that was kept of %s, banned under that name", plural(len(found)))
	if err := n.Confirm(word(len(found), found[0].Name), question); err != nil {
		return err
	}
	ctx, cancel := n.Bounded(ctx)
	defer cancel()
	d, err := n.drummers(ctx)
	if err != nil {
		return err
	}
	req := &drummerpb.PurgeGroupsRequest{}
	for _, p := range found {
		req.Ids = append(req.Ids, p.ID)
	}
	resp, err := d.PurgeGroups(ctx, req)
	if err != nil {
		return noun.Doing("purge groups", err)
	}
	refused := 0
	for i, item := range resp.GetItems() {
		found[i].Result, found[i].Detail = codeWord(item.GetCode()), item.GetDetail()
		if item.GetCode() != fleetpb.Code_CODE_OK {
			refused++
		}
	}
	if err := n.printPurged(found); err != nil || refused == 0 {
		return err
	}
	return noun.Fault(noun.Conflict, "%d of %s cannot be purged yet", refused, plural(len(found)))
}

// retired finds banned groups by name, all of them without names; in one region if it is given.
func (n *Noun) retired(ctx context.Context, names []string, region string) ([]Purged, error) {
	ctx, cancel := n.Bounded(ctx)
	defer cancel()
	all, err := n.Groups(ctx, "")
	if err != nil {
		return nil, noun.Doing("look for banned groups", err)
	}
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	found := []Purged{}
	for _, g := range all {
		meant := (len(names) == 0 || wanted[g.GetName()]) && (region == "" || region == g.GetRegion())
		if g.GetState() == "retired" && meant {
			found = append(found, Purged{Name: g.GetName(), Region: g.GetRegion(), ID: g.GetId(), Result: "would be purged"})
		}
	}
	return found, nil
}

func (n *Noun) printPurged(found []Purged) error {
	table := [][]string{{"NAME", "ID", "RESULT", "DETAIL"}}
	for _, p := range found {
		table = append(table, []string{statemachines.NameIn(p.Name, p.Region), fmt.Sprint(p.ID), p.Result, p.Detail})
	}
	return n.Print(found, table)
}
