// Package steer is the commands by which people say what they want of hosts and groups,
// and look at what the supervisor makes of it: host lifecycle, changes of groups,
// operations, the brake, and plans.
package steer

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/config"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// pollEvery is how often a command that waits looks.
const pollEvery = 500 * time.Millisecond

// Room makes the commands. All of it is needed.
type Room struct {
	noun.Console
	// Launch reads a launch file.
	Launch func(name string) (config.Launch, error)
}

// do makes a call to the drummers within the time limit.
func (r *Room) do(ctx context.Context, doing string, call func(context.Context, drummerpb.DrummerClient) error) error {
	ctx, cancel := r.Bounded(ctx)
	defer cancel()
	conn, err := r.Client(ctx)
	if err != nil {
		return err
	}
	return noun.Doing(doing, call(ctx, conn.Drummer()))
}

// author is who asks for a change.
func author() cli.Flag {
	return &cli.StringFlag{Name: "author", EnvVars: []string{"USER"}, Usage: "`NAME` that the history shows for the change"}
}

func dryRun() cli.Flag { return noun.Toggle("dry-run", "check it and change nothing") }

// moment is a wall clock time in UTC, or empty for none.
func moment(unixMS int64) string {
	if unixMS == 0 {
		return ""
	}
	return time.UnixMilli(unixMS).UTC().Format("2006-01-02T15:04:05.000Z")
}

// ReleaseBrake is the verb that lets the supervisor go on.
func (r *Room) ReleaseBrake() noun.Verb {
	return noun.Verb{
		Name: "release", Usage: "let the supervisor go on after many hosts vanished at once",
		About: "While the brake is on nothing is moved: the network is likelier to be broken than so many hosts. It is released by itself when all " +
			"are back. Released by hand, the replicas of the hosts that are gone now are replaced; these hosts engage it again only after they have returned.",
		Flags: []cli.Flag{author()},
		Run: func(ctx context.Context, c *cli.Context) error {
			return r.do(ctx, "release the brake", func(ctx context.Context, d drummerpb.DrummerClient) error {
				resp, err := d.ReleaseBrake(ctx, &drummerpb.ReleaseBrakeRequest{Author: c.String("author")})
				if err != nil {
					return err
				}
				b := Brake{Engaged: resp.GetBrake().GetEngaged(), Accepted: append([]string{}, resp.GetBrake().GetAccepted()...)}
				return r.Print(b, [][]string{{"BRAKE", "HOSTS THAT STAY AWAY"}, {"released", fmt.Sprint(len(b.Accepted))}})
			})
		},
	}
}

// Brake is what a release came to.
type Brake struct {
	Engaged  bool     `json:"engaged"`
	Accepted []string `json:"accepted"`
}

// Plan is the verb that tells what would happen.
func (r *Room) Plan() noun.Verb {
	return noun.Verb{
		Name: "plan", Usage: "show what the supervisor would do",
		About: "Plays the supervisor's own plans to their end on a copy of what it knows, where every host obeys at once. Alone it shows what would " +
			"happen now; with hosts taken for lost, or drained, or added, or with a launch file, what would happen then. Nothing is changed.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "with", Usage: "add an empty host, `NAME=REGION` or NAME=REGION/ZONE; may be given several times"},
			&cli.StringSliceFlag{Name: "without", Usage: "take `HOST` for lost; may be given several times"},
			&cli.StringSliceFlag{Name: "drain", Usage: "take `HOST` for drained; may be given several times"},
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "launch `FILE` that would be launched"},
			noun.Toggle("steps", "show every step, not only the sums"),
		},
		Run: func(ctx context.Context, c *cli.Context) error {
			req := &drummerpb.PlanRequest{Without: c.StringSlice("without"), Drain: c.StringSlice("drain")}
			for _, text := range c.StringSlice("with") {
				h, err := added(text)
				if err != nil {
					return err
				}
				req.Added = append(req.Added, h)
			}
			if name := c.String("file"); name != "" {
				file, err := r.Launch(name)
				if err != nil {
					return err
				}
				req.Specs, req.Policy = file.Specs(), file.FleetPolicy()
			}
			return r.do(ctx, "plan", func(ctx context.Context, d drummerpb.DrummerClient) error {
				resp, err := d.Plan(ctx, req)
				if err != nil {
					return err
				}
				return r.showPlan(planOf(resp), c.Bool("steps"))
			})
		},
	}
}

// added reads NAME=REGION[/ZONE].
func added(text string) (*fleetpb.Host, error) {
	name, place, ok := strings.Cut(text, "=")
	region, zone, _ := strings.Cut(place, "/")
	if !ok || name == "" || region == "" {
		return nil, noun.Fault(noun.Usage, "--with: %q is not NAME=REGION or NAME=REGION/ZONE, like host-6=east", text)
	}
	return &fleetpb.Host{Name: name, Region: region, Zone: zone}, nil
}

// Plan is what would happen.
type Plan struct {
	Steps      []Step     `json:"steps"`
	StepsTotal uint64     `json:"steps_total"`
	Moves      uint64     `json:"moves"`
	Open       []Open     `json:"open"`
	Unfinished bool       `json:"unfinished"`
	Hosts      []PlanHost `json:"hosts"`
}

// Step is one step of a plan.
type Step struct {
	Kind   string `json:"kind"`
	Group  string `json:"group"`
	Region string `json:"region"`
	Host   string `json:"host"`
	Why    string `json:"why"`
}

// Open is a group that would not be as it is wanted.
type Open struct {
	Group  string `json:"group"`
	Region string `json:"region"`
	Reason string `json:"reason"`
}

// PlanHost is how many replicas a host would have.
type PlanHost struct {
	Host   string `json:"host"`
	Before uint32 `json:"before"`
	After  uint32 `json:"after"`
}

func planOf(r *drummerpb.PlanResponse) Plan {
	p := Plan{Steps: []Step{}, StepsTotal: r.GetStepsTotal(), Moves: r.GetMoves(), Open: []Open{}, Unfinished: r.GetUnfinished(), Hosts: []PlanHost{}}
	for _, s := range r.GetSteps() {
		p.Steps = append(p.Steps, Step{Kind: s.GetKind(), Group: s.GetGroup(), Region: s.GetRegion(), Host: s.GetHost(), Why: s.GetWhy()})
	}
	for _, o := range r.GetOpen() {
		p.Open = append(p.Open, Open{Group: o.GetGroup(), Region: o.GetRegion(), Reason: o.GetReason()})
	}
	for _, h := range r.GetHosts() {
		p.Hosts = append(p.Hosts, PlanHost{Host: h.GetHost(), Before: h.GetBefore(), After: h.GetAfter()})
	}
	return p
}

func (r *Room) showPlan(p Plan, steps bool) error {
	if !r.Plain() {
		return r.Print(p, nil)
	}
	sum := fmt.Sprintf("%d steps, %d of them build a replica", p.StepsTotal, p.Moves)
	if p.StepsTotal == 0 {
		sum = "nothing is to be done"
	}
	if p.Unfinished {
		sum += "; the plan is longer than was looked at"
	}
	r.Say("%s", sum)
	for _, o := range p.Open {
		r.Say("%s: %s", statemachines.NameIn(o.Group, o.Region), o.Reason)
	}
	if steps {
		table := [][]string{{"STEP", "GROUP", "HOST", "WHY"}}
		for _, s := range p.Steps {
			table = append(table, []string{s.Kind, statemachines.NameIn(s.Group, s.Region), s.Host, s.Why})
		}
		return r.Print(p, table)
	}
	table := [][]string{{"HOST", "REPLICAS", "THEN"}}
	for _, h := range p.Hosts {
		table = append(table, []string{h.Host, fmt.Sprint(h.Before), fmt.Sprint(h.After)})
	}
	return r.Print(p, table)
}

// list splits a,b,c; nothing gives nothing.
func list(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return c == ',' })
}
