package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/config"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"

	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/shape"
)

// launchChunk is how many groups go into one call, so that it stays far from the
// limits of a message and of an entry of the record's log.
const launchChunk = 500

func (t *tool) launchVerb() verb {
	return verb{
		name: "launch", usage: "create the groups of a file", waits: true,
		about: "The file holds a policy and groups; config/examples/cluster.yaml is one. Launching a file again creates what is " +
			"missing, changes what the file says otherwise now, and leaves the rest as it is. With --wait, Ctrl-C ends the watching, not the launch.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "launch `FILE`, - for standard input"},
			toggle("wait", "wait until every group of the file is ok"),
			toggle("dry-run", "check it and change nothing"),
		},
		run: func(ctx context.Context, c *cli.Context) error {
			if c.String("file") == "" {
				return usage("launch needs a file: drummer-cmd launch -f cluster.yaml")
			}
			file, err := t.launchFile(c.String("file"))
			if err != nil {
				return err
			}
			return t.launch(ctx, launching{
				specs: file.Specs(), policy: file.FleetPolicy(), dryRun: c.Bool("dry-run"), wait: c.Bool("wait"), changes: true,
			})
		},
	}
}

// launchFile reads what shall be launched; "-" is standard input, so that a program can
// write the file.
func (t *tool) launchFile(name string) (config.Launch, error) {
	read := func() (config.Launch, error) { return config.ReadLaunch(name) }
	if name == "-" {
		name = "standard input"
		read = func() (config.Launch, error) { return config.ReadLaunchFrom(name, t.in) }
	}
	file, err := read()
	if err != nil {
		return config.Launch{}, &failure{code: exitUsage, text: "launch file", cause: err} // the cause names the file
	}
	if len(file.Specs()) == 0 && file.FleetPolicy() == nil {
		return config.Launch{}, usage("%s: there is nothing to launch: it names no group, and no threshold other than 0", name)
	}
	return file, nil
}

// launching is one launch.
type launching struct {
	specs  []*fleetpb.Spec
	policy *fleetpb.Policy
	dryRun bool
	wait   bool
	// changes tells that groups that exist with another spec are changed.
	changes bool
}

// launch creates groups and reports on each; with wait it stays until all are ok.
func (t *tool) launch(ctx context.Context, l launching) error {
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	items, callErr := t.create(ctx, l)
	if callErr != nil && len(items) == 0 {
		return doing("launch", callErr)
	}
	out := shape.Launch{DryRun: l.dryRun, Groups: []shape.Item{}}
	for _, i := range items {
		out.Groups = append(out.Groups, shape.OfItem(i))
	}
	if err := t.printLaunch(l, out); err != nil {
		return err
	}
	err := t.refusals(items, len(l.specs), callErr)
	if !l.wait || l.dryRun {
		return err
	}
	if waited := t.await(ctx, t.launched(accepted(items))); waited != nil {
		return waited
	}
	return err
}

// printLaunch shows what became of a launch. A file with a policy alone has no groups to
// count.
func (t *tool) printLaunch(l launching, out shape.Launch) error {
	if t.opts.output != "table" || len(l.specs) > 0 || l.policy == nil {
		return t.print(out, func() *grid { return launchTable(out) })
	}
	if l.dryRun {
		return t.write([]byte("policy ok (nothing was changed)\n"))
	}
	return t.write([]byte("policy set\n"))
}

// create sends the specs in chunks and returns the answers so far, also when a call
// fails.
func (t *tool) create(ctx context.Context, l launching) ([]*fleetpb.ItemResult, error) {
	conn, err := t.client(ctx)
	if err != nil {
		return nil, err
	}
	var items []*fleetpb.ItemResult
	policy := l.policy
	for chunk := range slices.Chunk(l.specs, launchChunk) {
		resp, err := conn.Drummer().CreateGroups(ctx, &drummerpb.CreateGroupsRequest{Specs: chunk, Policy: policy, DryRun: l.dryRun})
		if err != nil {
			return items, err
		}
		chunkItems, err := t.reshape(ctx, conn.Drummer(), chunk, resp.GetItems(), l)
		items = append(items, chunkItems...)
		if err != nil {
			return items, err
		}
		policy = nil // it is set once
	}
	if len(l.specs) == 0 && policy != nil { // a file may hold a policy alone
		_, err = conn.Drummer().CreateGroups(ctx, &drummerpb.CreateGroupsRequest{Policy: policy, DryRun: l.dryRun})
	}
	return items, err
}

// reshape changes the groups that exist with another spec, when a file says so.
func (t *tool) reshape(ctx context.Context, d drummerpb.DrummerClient, specs []*fleetpb.Spec, items []*fleetpb.ItemResult, l launching) ([]*fleetpb.ItemResult, error) {
	req := &drummerpb.ShapeGroupsRequest{DryRun: l.dryRun, Author: os.Getenv("USER")}
	var places []int
	for i, item := range items {
		if l.changes && item.GetCode() == fleetpb.Code_CODE_EXISTS && i < len(specs) {
			req.Specs, places = append(req.Specs, specs[i]), append(places, i)
		}
	}
	if len(places) == 0 {
		return items, nil
	}
	resp, err := d.ShapeGroups(ctx, req)
	if err != nil {
		return items, err
	}
	for n, item := range resp.GetItems() {
		if item.GetCode() == fleetpb.Code_CODE_OK && item.GetDetail() == "" {
			item.Detail = "changed"
		}
		items[places[n]] = item
	}
	return items, nil
}

// launchTable counts: a thousand lines that say ok help nobody. What was refused is
// said line by line, on the other stream.
func launchTable(l shape.Launch) *grid {
	g := newGrid("RESULT", "GROUPS")
	byResult := map[string]int{}
	for _, i := range l.Groups {
		byResult[i.Result]++
	}
	for _, word := range sortedKeys(byResult) {
		shown := word
		if word == "ok" && l.DryRun {
			shown = "ok (nothing was changed)"
		}
		g.add(shown, fmt.Sprint(byResult[word]))
	}
	return g
}

func accepted(items []*fleetpb.ItemResult) []*fleetpb.ItemResult {
	return slices.DeleteFunc(slices.Clone(items), func(i *fleetpb.ItemResult) bool { return i.GetCode() != fleetpb.Code_CODE_OK })
}

// refusals lists what was not accepted and makes the error of it.
func (t *tool) refusals(items []*fleetpb.ItemResult, wanted int, callErr error) error {
	code, refused := exitOK, 0
	for _, i := range items {
		if i.GetCode() == fleetpb.Code_CODE_OK {
			continue
		}
		refused++
		t.say("%s: %s: %s", statemachines.NameOf(i), shape.OfItem(i).Result, i.GetDetail())
		if one := noun.ExitOf(i.GetCode()); code == exitOK || code == one {
			code = one
		} else {
			code = exitFailed
		}
	}
	switch ok := len(items) - refused; {
	case callErr != nil:
		_, hint := classify(callErr)
		return &failure{
			code: exitPartial, hint: hint, cause: callErr,
			text: fmt.Sprintf("%d of %d groups were not sent; launch the file again to complete it", wanted-len(items), wanted),
		}
	case refused == 0:
		return nil
	case ok > 0:
		return fail(exitPartial, "", "%d of %d groups were refused", refused, len(items))
	case len(items) == 1:
		return fail(code, "", "group %s was refused", statemachines.NameOf(items[0]))
	default:
		return fail(code, "", "all %d groups were refused", refused)
	}
}
