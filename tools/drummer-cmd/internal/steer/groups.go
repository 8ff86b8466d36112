package steer

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/proto"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// Groups are the verbs of noun groups that change groups.
func (r *Room) Groups() []noun.Verb {
	return []noun.Verb{r.resize(), r.place(), r.set(), r.move(), r.transfer()}
}

// Shaped is what a change of a group came to.
type Shaped struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	ID     uint64 `json:"id"`
	Result string `json:"result"`
	Detail string `json:"detail"`
	DryRun bool   `json:"dry_run"`
}

func (r *Room) resize() noun.Verb {
	return noun.Verb{
		Name: "resize", Usage: "change the number of a group's replicas", Args: "NAME REPLICAS", Min: 2, Max: 2,
		About: "REPLICAS is 1, 3, 5 or 7. Replicas are added one after the other, each with its vote only once it has caught up, and removed one after the " +
			"other. A group with a rule of regions is resized by place.",
		Flags: []cli.Flag{noun.Region(), author(), dryRun()},
		Run: func(ctx context.Context, c *cli.Context) error {
			n, err := strconv.ParseUint(c.Args().Get(1), 10, 32)
			if err != nil {
				return noun.Fault(noun.Usage, "%q is no number of replicas: use 1, 3, 5 or 7", c.Args().Get(1))
			}
			return r.shape(ctx, c, func(s *fleetpb.Spec) error { s.Replicas = uint32(n); return nil })
		},
	}
}

func (r *Room) place() noun.Verb {
	return noun.Verb{
		Name: "place", Usage: "change where a group's replicas shall be", Args: "NAME", Min: 1, Max: 1,
		About: "The flags replace all rules that the group has; without any it has none. Replicas that break them are moved. Rules that no choice of the hosts " +
			"keeps are refused.",
		Flags: []cli.Flag{
			noun.Region(),
			&cli.StringFlag{Name: "regions", Usage: "so many voters in each region, like `east=2,west=1`"},
			&cli.StringFlag{Name: "require", Usage: "`LABELS` that every host must have, like disk=ssd,rack=7"},
			&cli.StringFlag{Name: "forbid", Usage: "`LABELS` that no host may have"},
			&cli.StringFlag{Name: "isolation", Usage: "what no two replicas may share: `host`, zone or region"},
			&cli.StringFlag{Name: "leaders", Usage: "`REGIONS` whose replicas shall lead, best first"},
			&cli.DurationFlag{Name: "down-after", Usage: "replace its replicas once their host is silent for `DURATION`; 0s for the policy's down_after, and kept as it is when it is not given"},
			author(), dryRun(),
		},
		Run: func(ctx context.Context, c *cli.Context) error {
			return r.shape(ctx, c, func(s *fleetpb.Spec) error { return rules(c, s) })
		},
	}
}

// rules replaces the rules of a spec by what the flags say.
func rules(c *cli.Context, s *fleetpb.Spec) error {
	s.Require, s.Forbid, s.Leaders = list(c.String("require")), list(c.String("forbid")), list(c.String("leaders"))
	isolation, known := map[string]fleetpb.Isolation{
		"": fleetpb.Isolation_ISOLATION_UNSPECIFIED, "host": fleetpb.Isolation_ISOLATION_UNSPECIFIED,
		"zone": fleetpb.Isolation_ISOLATION_ZONE, "region": fleetpb.Isolation_ISOLATION_REGION,
	}[c.String("isolation")]
	if !known {
		return noun.Fault(noun.Usage, "--isolation=%s is not known: use host, zone or region", c.String("isolation"))
	}
	s.Isolation = isolation
	if c.IsSet("down-after") {
		s.DownAfterMs = c.Duration("down-after").Milliseconds()
	}
	rule, sum, err := noun.Rule(c.String("regions"))
	if err != nil {
		return err
	}
	s.Regions = rule
	if sum > 0 {
		s.Replicas = sum
	}
	return nil
}

// shape changes the spec that a group has.
func (r *Room) shape(ctx context.Context, c *cli.Context, change func(*fleetpb.Spec) error) error {
	spec, err := r.spec(ctx, c.Args().First(), c.String("region"))
	if err != nil {
		return err
	}
	if err := change(spec); err != nil {
		return err
	}
	return r.do(ctx, "change group "+statemachines.NameOf(spec), func(ctx context.Context, d drummerpb.DrummerClient) error {
		resp, err := d.ShapeGroups(ctx, &drummerpb.ShapeGroupsRequest{Specs: []*fleetpb.Spec{spec}, Author: c.String("author"), DryRun: c.Bool("dry-run")})
		if err != nil {
			return err
		}
		for _, i := range resp.GetItems() {
			out := Shaped{Name: i.GetName(), Region: i.GetRegion(), ID: i.GetId(), Result: strings.ToLower(strings.TrimPrefix(i.GetCode().String(), "CODE_")), Detail: i.GetDetail(), DryRun: c.Bool("dry-run")}
			if i.GetCode() != fleetpb.Code_CODE_OK {
				return noun.Fault(noun.ExitOf(i.GetCode()), "change group %s: %s", statemachines.NameOf(spec), out.Detail)
			}
			if err := r.Print(out, [][]string{{"GROUP", "RESULT", "DETAIL"}, {statemachines.NameIn(out.Name, out.Region), out.Result, out.Detail}}); err != nil {
				return err
			}
		}
		return nil
	})
}

// spec is what is wanted of a group now.
func (r *Room) spec(ctx context.Context, name, region string) (*fleetpb.Spec, error) {
	ctx, cancel := r.Bounded(ctx)
	defer cancel()
	all, err := r.Console.Groups(ctx, name)
	if err != nil {
		return nil, noun.Doing("look for group "+name, err)
	}
	all = slices.DeleteFunc(all, func(g *drummerpb.GroupInfo) bool { return g.GetState() == "deleting" })
	g, err := noun.One(all, name, region)
	if err != nil {
		return nil, err
	}
	return proto.CloneOf(g.GetSpec()), nil
}

// Begun is an operation that has begun.
type Begun struct {
	Group     string `json:"group"`
	Region    string `json:"region"`
	Operation uint64 `json:"operation"`
	DryRun    bool   `json:"dry_run"`
}

func (r *Room) begun(b Begun) error {
	operation := fmt.Sprint(b.Operation)
	if b.Operation == 0 {
		operation = "none"
	}
	return r.Print(b, [][]string{{"GROUP", "OPERATION"}, {statemachines.NameIn(b.Group, b.Region), operation}})
}

func (r *Room) move() noun.Verb {
	return noun.Verb{
		Name: "move", Usage: "move one replica of a group to another host", Args: "NAME", Min: 1, Max: 1,
		About: "The new replica has its vote before the old one is removed. The balance of hosts may move others in return; see pause.",
		Flags: []cli.Flag{
			noun.Region(),
			&cli.StringFlag{Name: "from", Usage: "`HOST` that has the replica (required)"},
			&cli.StringFlag{Name: "to", Usage: "`HOST` that shall have one (required)"}, author(), dryRun(),
		},
		Needs: []string{"from", "to"},
		Run: func(ctx context.Context, c *cli.Context) error {
			req := &drummerpb.MoveReplicaRequest{Name: c.Args().First(), Region: c.String("region"), From: c.String("from"), To: c.String("to"), Author: c.String("author"), DryRun: c.Bool("dry-run")}
			return r.do(ctx, "move a replica of group "+statemachines.NameOf(req), func(ctx context.Context, d drummerpb.DrummerClient) error {
				resp, err := d.MoveReplica(ctx, req)
				if err != nil {
					return err
				}
				return r.begun(Begun{Group: req.GetName(), Region: req.GetRegion(), Operation: resp.GetOperation(), DryRun: req.GetDryRun()})
			})
		},
	}
}

func (r *Room) transfer() noun.Verb {
	return noun.Verb{
		Name: "transfer", Usage: "choose the host that a group is led from", Args: "NAME [HOST]", Min: 1, Max: 2,
		About: "The replica on HOST leads from now on whenever it is up. Without a host any replica may lead again.",
		Flags: []cli.Flag{noun.Region(), author()},
		Run: func(ctx context.Context, c *cli.Context) error {
			req := &drummerpb.TransferLeaderRequest{Name: c.Args().First(), Region: c.String("region"), To: c.Args().Get(1), Author: c.String("author")}
			return r.do(ctx, "transfer the leader of group "+statemachines.NameOf(req), func(ctx context.Context, d drummerpb.DrummerClient) error {
				resp, err := d.TransferLeader(ctx, req)
				if err != nil {
					return err
				}
				return r.begun(Begun{Group: req.GetName(), Region: req.GetRegion(), Operation: resp.GetOperation()})
			})
		},
	}
}
