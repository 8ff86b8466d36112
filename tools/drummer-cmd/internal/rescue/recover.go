package rescue

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"

	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// Recovery is one group of `groups recover`, as -o json shows it.
type Recovery struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	// ID is the number that is banned, Heir the number of the new group; 0 for none.
	ID   uint64 `json:"id"`
	Heir uint64 `json:"heir"`
	// Result is ok, not-found or conflict; Detail says why.
	Result        string     `json:"result"`
	Detail        string     `json:"detail"`
	Voters        uint32     `json:"voters"`
	UnheardQuorum bool       `json:"unheard_quorum"`
	Survivors     []Survivor `json:"survivors"`
}

// Survivor is a replica of a Recovery.
type Survivor struct {
	Replica  uint64 `json:"replica"`
	Host     string `json:"host"`
	Heard    bool   `json:"heard"`
	Applied  uint64 `json:"applied"`
	Furthest bool   `json:"furthest"`
	Detail   string `json:"detail"`
}

func (n *Noun) recover() noun.Verb {
	return noun.Verb{
		Name: "recover", Usage: "bring groups back that have lost their quorum", Args: "[NAME...]", Max: -1, Waits: true,
		About: "What the survivor has that has applied most becomes the state of a new group, which gets the name; the old number is banned for ever. " +
			"Writes that were acknowledged and that no survivor has are lost: shows first which survivor is the furthest, and whether those that are not " +
			"heard could still elect a leader and go on serving. Sequences skip --margin numbers, leases of capacity are held back for one longest lease. " +
			"No host is stopped. What the old replicas have is kept until `groups purge`.",
		Flags: []cli.Flag{
			noun.Region(),
			noun.Toggle("all-lost", "all groups whose quorum is lost for good"),
			noun.Toggle("dry-run", "only show what would be done, and lost"),
			&cli.Uint64Flag{Name: "margin", Value: 1_000_000, Usage: marginUsage},
			&cli.StringFlag{Name: "from", Usage: "use no replica but that on `HOST`"},
			noun.Toggle("wait", "wait until the groups serve"),
		},
		Run: n.runRecover,
	}
}

func (n *Noun) runRecover(ctx context.Context, c *cli.Context) error {
	if c.Bool("all-lost") != (c.NArg() == 0) {
		return noun.Fault(noun.Usage, "name the groups, or give --all-lost")
	}
	req := &drummerpb.RecoverGroupsRequest{
		Names: c.Args().Slice(), Regions: slices.Repeat([]string{c.String("region")}, c.NArg()), AllLost: c.Bool("all-lost"), DryRun: true, Margin: c.Uint64("margin"), From: c.String("from"),
	}
	plan, err := n.askRecovery(ctx, req)
	if err != nil {
		return err
	}
	ready := good(plan)
	if c.Bool("dry-run") || len(ready) == 0 {
		return n.showRecovery(plan, c.Bool("dry-run"))
	}
	n.warn(plan, req.GetMargin())
	question := fmt.Sprintf("recover %s from the furthest survivors; what they do not have is lost", plural(len(ready)))
	if err := n.Confirm(word(len(ready), ready[0].GetName()), question); err != nil {
		return err
	}
	ctx, cancel := n.Bounded(ctx)
	defer cancel()
	req.DryRun, req.AllLost, req.Names, req.Regions = false, false, nil, nil
	for _, item := range ready {
		req.Names, req.Regions = append(req.Names, item.GetName()), append(req.Regions, item.GetRegion())
	}
	done, err := n.askRecovery(ctx, req)
	if err != nil {
		return err
	}
	shown := n.showRecovery(append(done, bad(plan)...), false)
	if !c.Bool("wait") {
		return shown
	}
	heirs := map[string]uint64{}
	for _, item := range good(done) {
		heirs[statemachines.NameOf(item)] = item.GetHeir()
	}
	if err := n.awaitServing(ctx, heirs, "the recovery goes on"); err != nil {
		return err
	}
	return shown
}

// askRecovery asks within a time limit of its own.
func (n *Noun) askRecovery(ctx context.Context, req *drummerpb.RecoverGroupsRequest) ([]*drummerpb.Recovery, error) {
	ctx, cancel := n.Bounded(ctx)
	defer cancel()
	d, err := n.drummers(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := d.RecoverGroups(ctx, req)
	if err != nil {
		return nil, noun.Doing("recover groups", err)
	}
	return resp.GetItems(), nil
}

func good(items []*drummerpb.Recovery) (out []*drummerpb.Recovery) {
	for _, item := range items {
		if item.GetCode() == fleetpb.Code_CODE_OK {
			out = append(out, item)
		}
	}
	return out
}

func bad(items []*drummerpb.Recovery) (out []*drummerpb.Recovery) {
	for _, item := range items {
		if item.GetCode() != fleetpb.Code_CODE_OK {
			out = append(out, item)
		}
	}
	return out
}

// warn says what a person must know before the name is typed.
func (n *Noun) warn(items []*drummerpb.Recovery, margin uint64) {
	sequences := 0
	for _, item := range good(items) {
		if strings.HasPrefix(item.GetName(), "sequence/") {
			sequences++
		}
		if item.GetUnheardQuorum() {
			n.Say("%s: the voters that are not heard are enough to elect a leader: if they live, they may go on serving clients that find them, "+
				"and what they acknowledge is lost. Make sure that their hosts are gone.", statemachines.NameOf(item))
		}
		for _, s := range item.GetSurvivors() {
			if s.GetFurthest() {
				n.Say("%s: replica %d on %s has applied most, up to entry %d", statemachines.NameOf(item), s.GetReplica(), s.GetHost(), s.GetApplied())
			}
		}
	}
	if sequences > 0 {
		n.Say("the sequences of %s skip %d numbers", plural(sequences), margin)
	}
}

// showRecovery prints what is, or would be, done; that nothing could be is an error.
func (n *Noun) showRecovery(items []*drummerpb.Recovery, dry bool) error {
	shapes := []Recovery{}
	table := [][]string{{"NAME", "ID", "RESULT", "HEIR", "SURVIVORS", "FURTHEST", "DETAIL"}}
	for _, item := range items {
		r := ofRecovery(item)
		shapes = append(shapes, r)
		table = append(table, recoveryRow(&r, dry))
	}
	if err := n.Print(shapes, table); err != nil {
		return err
	}
	if refused := bad(items); len(refused) > 0 && !dry {
		return noun.Fault(exitOf(refused), "%d of %s cannot be recovered", len(refused), plural(len(items)))
	}
	return nil
}

// exitOf is the exit code of refusals: if they are not alike, that of a conflict.
func exitOf(refused []*drummerpb.Recovery) int {
	code := noun.ExitOf(refused[0].GetCode())
	for _, item := range refused {
		if noun.ExitOf(item.GetCode()) != code {
			return noun.Conflict
		}
	}
	return code
}

func recoveryRow(r *Recovery, dry bool) []string {
	result, heir, furthest, heard := r.Result, "-", "-", 0
	if r.Heir != 0 {
		heir = fmt.Sprint(r.Heir)
	}
	if dry && result == "ok" {
		result = "would be recovered"
	}
	for _, s := range r.Survivors {
		if s.Heard {
			heard++
		}
		if s.Furthest {
			furthest = fmt.Sprintf("%s at %d", s.Host, s.Applied)
		}
	}
	detail := r.Detail
	if r.UnheardQuorum && detail == "" {
		detail = "those not heard could still elect"
	}
	return []string{statemachines.NameIn(r.Name, r.Region), fmt.Sprint(r.ID), result, heir, fmt.Sprintf("%d of %d", heard, r.Voters), furthest, detail}
}

func ofRecovery(item *drummerpb.Recovery) Recovery {
	r := Recovery{
		Name: item.GetName(), Region: item.GetRegion(), ID: item.GetId(), Heir: item.GetHeir(), Result: codeWord(item.GetCode()), Detail: item.GetDetail(),
		Voters: item.GetVoters(), UnheardQuorum: item.GetUnheardQuorum(), Survivors: []Survivor{},
	}
	for _, s := range item.GetSurvivors() {
		r.Survivors = append(r.Survivors, Survivor{
			Replica: s.GetReplica(), Host: s.GetHost(), Heard: s.GetHeard(), Applied: s.GetApplied(), Furthest: s.GetFurthest(), Detail: s.GetDetail(),
		})
	}
	return r
}

// codeWord is CODE_NOT_FOUND as not-found.
func codeWord(c fleetpb.Code) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(c.String(), "CODE_"), "_", "-"))
}
