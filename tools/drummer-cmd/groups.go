package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/statemachines"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/shape"
)

func (t *tool) groupsList() verb {
	return verb{
		name: "list", usage: "list groups", args: "[PREFIX]", max: 1, watchable: true,
		about: "Lists every group, or those whose names begin with PREFIX. A star marks the leader.",
		flags: []cli.Flag{&cli.StringFlag{Name: "state", Usage: "only groups in this `STATE`: launching, ok, degraded, unavailable, deleting or retired"}},
		run: func(ctx context.Context, c *cli.Context) error {
			state := c.String("state")
			if err := checkState(state); err != nil {
				return err
			}
			ctx, cancel := t.bounded(ctx)
			defer cancel()
			infos, err := t.groups(ctx, c.Args().First())
			if err != nil {
				return doing("list groups", err)
			}
			var shapes []shape.Group
			for _, g := range infos {
				if state == "" || g.GetState() == state {
					shapes = append(shapes, shape.OfGroup(g))
				}
			}
			return list(t, shapes, []string{"NAME", "REGION", "ID", "APP", "STATE", "WANT", "REPLICAS"}, func(g shape.Group) []string {
				return []string{g.Name, g.Region, fmt.Sprint(g.ID), g.App, g.State, fmt.Sprint(g.Want), shape.ReplicaCell(g.Replicas)}
			})
		},
	}
}

func checkState(state string) error {
	known := []string{"launching", "ok", "degraded", "unavailable", "deleting", "retired"}
	if state != "" && !slices.Contains(known, state) {
		return usage("--state=%s is not known: use %s", state, strings.Join(known, ", "))
	}
	return nil
}

// groups fetches every page.
func (t *tool) groups(ctx context.Context, prefix string) ([]*drummerpb.GroupInfo, error) {
	conn, err := t.client(ctx)
	if err != nil {
		return nil, err
	}
	var all []*drummerpb.GroupInfo
	req := &drummerpb.ListGroupsRequest{Prefix: prefix}
	for {
		page, err := conn.Drummer().ListGroups(ctx, req)
		if err != nil {
			return nil, err
		}
		all = append(all, page.GetGroups()...)
		if !page.GetMore() || len(page.GetGroups()) == 0 {
			return all, nil
		}
		last := page.GetGroups()[len(page.GetGroups())-1]
		req.After, req.AfterRegion, req.AfterId = last.GetName(), last.GetRegion(), last.GetId()
	}
}

// group finds one group by name and region, or by number.
func (t *tool) group(ctx context.Context, ref, region string) (*drummerpb.GroupInfo, error) {
	id, byID := number(ref)
	prefix := ref
	if byID {
		prefix = ""
	}
	all, err := t.groups(ctx, prefix)
	if err != nil {
		return nil, doing("look for group "+ref, err)
	}
	if byID {
		at := slices.IndexFunc(all, func(g *drummerpb.GroupInfo) bool { return g.GetId() == id })
		if at < 0 {
			return nil, fail(exitNotFound, program+" groups list", "there is no group %s", ref)
		}
		return all[at], nil
	}
	found, err := noun.One(all, ref, region)
	if wrong := new(noun.Error); errors.As(err, &wrong) {
		return nil, fail(wrong.Exit, listing(fault.Group), "%s", wrong.Text)
	}
	return found, err
}

// number tells a group's number from its name, which always has a slash.
func number(ref string) (uint64, bool) {
	id, err := strconv.ParseUint(ref, 10, 64)
	return id, err == nil
}

func (t *tool) groupsShow() verb {
	return verb{
		name: "show", usage: "show one group", args: "GROUP", min: 1, max: 1, watchable: true,
		about: "GROUP is a name, like kv/demo, or a number.",
		flags: []cli.Flag{noun.Region()},
		run: func(ctx context.Context, c *cli.Context) error {
			ctx, cancel := t.bounded(ctx)
			defer cancel()
			g, err := t.group(ctx, c.Args().First(), c.String("region"))
			if err != nil {
				return err
			}
			out := shape.DetailOfGroup(g)
			if t.opts.output != "table" {
				return t.print(out, nil)
			}
			return t.write([]byte(groupText(out)))
		},
	}
}

// groupText is a group for people: facts, then its replicas.
func groupText(d shape.GroupDetail) string {
	facts := newGrid("GROUP", d.Name)
	if d.Region != "" {
		facts.add("region", d.Region)
	}
	facts.add("number", fmt.Sprint(d.ID))
	facts.add("app", d.App)
	facts.add("state", d.State)
	facts.add("voters wanted", fmt.Sprint(d.Want))
	if len(d.Regions) > 0 {
		facts.add("regions", counts(d.Regions))
	}
	if r := d.Raft; r != (shape.Raft{}) {
		facts.add("Raft options", fmt.Sprintf("snapshot_entries=%d, election_ticks=%d, heartbeat_ticks=%d; 0: as its hosts have it", r.SnapshotEntries, r.ElectionTicks, r.HeartbeatTicks))
	}
	replicas := newGrid("REPLICA", "HOST", "ROLE", "STATE", "LEADER", "APPLIED", "DETAIL")
	for i, r := range d.Replicas {
		replicas.add(fmt.Sprint(r.ID), r.Host, r.Role, r.State, yesNo(r.Leader), fmt.Sprint(d.Details[i].Applied), d.Details[i].Detail)
	}
	return facts.render(false) + "\n" + replicas.render(false)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (t *tool) groupsCreate() verb {
	return verb{
		name: "create", usage: "create one group", args: "NAME", min: 1, max: 1, waits: true,
		about: "NAME is app/name, like kv/demo. A group of that name with the same wishes is no error. With --region it is the group of that region, all of whose " +
			"replicas are there; other regions may have one of the same name.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "region", Usage: "make the group of this `REGION`"},
			&cli.UintFlag{Name: "replicas", Aliases: []string{"n"}, Usage: "`NUMBER` of voters: 1, 3, 5 or 7; 3 unless --regions says more"},
			&cli.StringFlag{Name: "regions", Usage: "so many voters in each region, like `east=2,west=1`"},
			toggle("wait", "wait until the group is ok"),
			toggle("dry-run", "check it and change nothing"),
		},
		run: func(ctx context.Context, c *cli.Context) error {
			spec, err := specOf(c.Args().First(), uint32(c.Uint("replicas")), c.String("regions"))
			if err != nil {
				return err
			}
			spec.Region = c.String("region")
			return t.launch(ctx, launching{specs: []*fleetpb.Spec{spec}, dryRun: c.Bool("dry-run"), wait: c.Bool("wait")})
		},
	}
}

// specOf makes a spec of a command line; what the record must check it checks.
func specOf(name string, replicas uint32, regions string) (*fleetpb.Spec, error) {
	app, _, slash := strings.Cut(name, "/")
	if !slash {
		return nil, usage("%q is no group's name: write app/name, like kv/demo", name)
	}
	rule, sum, err := noun.Rule(regions)
	if err != nil {
		return nil, roomError(err)
	}
	spec := &fleetpb.Spec{Name: name, App: app, Regions: rule}
	if replicas == 0 {
		replicas = max(sum, 3)
		if sum > 0 {
			replicas = sum
		}
	}
	if sum > 0 && sum != replicas {
		return nil, usage("the regions want %d voters, --replicas wants %d", sum, replicas)
	}
	spec.Replicas = replicas
	return spec, nil
}

// forceRisk is what --force means; the documentation says the same.
const forceRisk = "forced: the group is not sealed first. Its name is free at once, and replicas that cannot be reached now may go on serving " +
	"those who still find them: writes that they acknowledge are lost."

func (t *tool) groupsDelete() verb {
	return verb{
		name: "delete", usage: "delete a group and its data, for ever", args: "NAME", min: 1, max: 1, waits: true,
		about: "Asks for the name on a terminal; elsewhere --yes is needed. The group is sealed first, so that nothing that it " +
			"acknowledges afterwards can be lost; that needs its quorum. --force does without: its name is free at once, and replicas " +
			"that cannot be reached now may go on serving those who still find them, and what they acknowledge is lost.",
		flags: []cli.Flag{
			noun.Region(),
			toggle("force", "do not seal first, see above"),
			toggle("wait", "wait until nothing of it is left"),
			toggle("dry-run", "only show what would be deleted"),
		},
		run: func(ctx context.Context, c *cli.Context) error {
			return t.deleteGroup(ctx, c.Args().First(), c)
		},
	}
}

// deleteGroup shows, asks and deletes. The time that a person takes to answer does
// not count.
func (t *tool) deleteGroup(ctx context.Context, name string, c *cli.Context) error {
	g, err := t.groupInTime(ctx, name, c.String("region"))
	if err != nil {
		return err
	}
	out := shape.Delete{Name: g.GetName(), Region: g.GetRegion(), ID: g.GetId(), DryRun: c.Bool("dry-run"), Forced: c.Bool("force")}
	if out.Forced {
		t.say("%s", forceRisk)
	}
	if out.DryRun {
		return t.print(out, func() *grid { return deleteTable(out) })
	}
	question := fmt.Sprintf("delete group %s (number %d, %s) and all its data", statemachines.NameOf(g), g.GetId(), whereIs(g))
	if err := t.confirm(g.GetName(), question); err != nil {
		return err
	}
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	conn, err := t.client(ctx)
	if err != nil {
		return err
	}
	resp, err := conn.Drummer().DeleteGroup(ctx, &drummerpb.DeleteGroupRequest{Name: g.GetName(), Region: g.GetRegion(), Force: out.Forced})
	if err != nil {
		return doing("delete group "+statemachines.NameOf(g), err)
	}
	out.ID = resp.GetId()
	if err := t.print(out, func() *grid { return deleteTable(out) }); err != nil || !c.Bool("wait") {
		return err
	}
	return t.await(ctx, t.gone(out))
}

// groupInTime is group with a time limit of its own.
func (t *tool) groupInTime(ctx context.Context, ref, region string) (*drummerpb.GroupInfo, error) {
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	return t.group(ctx, ref, region)
}

func deleteTable(d shape.Delete) *grid {
	g := newGrid("NAME", "ID", "RESULT")
	result := "deleting"
	if d.DryRun {
		result = "would be deleted"
	}
	g.add(statemachines.NameIn(d.Name, d.Region), fmt.Sprint(d.ID), result)
	return g
}

// whereIs says on which hosts a group is.
func whereIs(g *drummerpb.GroupInfo) string {
	if len(g.GetReplicas()) == 0 {
		return "on no host yet"
	}
	var names []string
	for _, r := range g.GetReplicas() {
		names = append(names, shape.HostName(r))
	}
	return "on " + strings.Join(names, ", ")
}
