// Package masters is the commands about a cluster's servers: who they are, and who belongs to
// the drummers' own group.
package masters

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// pollEvery is how often a command that waits looks.
const pollEvery = 300 * time.Millisecond

// Noun makes the commands.
type Noun struct{ noun.Console }

// Verbs of noun servers.
func (n *Noun) Verbs() []noun.Verb { return []noun.Verb{n.list(), n.add(), n.replace(), n.remove()} }

// Server is a drummer or nodehost.
type Server struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	ID     string `json:"id"`
	API    string `json:"api"`
	Leader bool   `json:"leader"`
	Region string `json:"region"`
	// Number to Detail are of drummers, and empty while none leads.
	Number uint64 `json:"number"`
	State  string `json:"state"`
	Role   string `json:"role"`
	Lag    uint64 `json:"lag"`
	Raft   string `json:"raft"`
	Detail string `json:"detail"`
}

func (n *Noun) list() noun.Verb {
	return noun.Verb{
		Name: "list", Usage: "list drummers and nodehosts", Watchable: true,
		About: "Lists the cluster's servers as the one that answers knows them. Of drummers it shows who leads, who follows, who has no vote yet (observer), " +
			"and how many entries of the record each has still to apply (LAG). While no drummer leads, the list is as the server that answers last knew it.",
		Run: func(ctx context.Context, _ *cli.Context) error {
			ctx, cancel := n.Bounded(ctx)
			defer cancel()
			servers, step, err := n.servers(ctx)
			if err != nil {
				return err
			}
			table := [][]string{{"KIND", "NAME", "ROLE", "LAG", "REGION", "API", "ID"}}
			for _, s := range servers {
				lag := "-"
				if s.State != "" {
					lag = fmt.Sprint(s.Lag)
				}
				table = append(table, []string{s.Kind, s.Name, roleOf(s), lag, s.Region, s.API, s.ID})
				if s.Detail != "" {
					n.Say("%s: %s", s.Name, s.Detail)
				}
			}
			if step != "" {
				n.Say("under way: %s", step)
			}
			return n.Print(servers, table)
		},
	}
}

// roleOf is what a server does, for people; a drummer whose membership changes says so.
func roleOf(s Server) string {
	switch {
	case s.State == "joining" || s.State == "leaving":
		return s.State
	case s.Role != "":
		return s.Role
	case s.Leader:
		return "leader"
	}
	return "-"
}

// servers are all that are known, the drummers as the leader sees them if there is one.
func (n *Noun) servers(ctx context.Context) (list []Server, step string, err error) {
	conn, err := n.Client(ctx)
	if err != nil {
		return nil, "", err
	}
	known, err := conn.Servers(ctx)
	if err != nil {
		return nil, "", noun.Doing("list servers", err)
	}
	seen, err := conn.Drummer().ListDrummers(ctx, &drummerpb.ListDrummersRequest{})
	if err != nil {
		n.Say("no drummer leads: what is shown of drummers may be old")
		seen = nil
	}
	list = []Server{}
	for _, s := range known {
		if s.GetKind() == "drummer" && len(seen.GetDrummers()) > 0 {
			continue
		}
		list = append(list, Server{
			Kind: s.GetKind(), Name: s.GetName(), ID: s.GetId(), API: s.GetApi(), Leader: s.GetLeader(), Region: s.GetRegion(), Number: s.GetNumber(),
		})
	}
	for _, d := range seen.GetDrummers() {
		list = append(list, serverOf(d))
	}
	slices.SortStableFunc(list, func(a, b Server) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), cmp.Compare(a.Number, b.Number), strings.Compare(a.Name, b.Name))
	})
	return list, seen.GetStep(), nil
}

func serverOf(i *drummerpb.DrummerInfo) Server {
	d := i.GetDrummer()
	s := Server{
		Kind: "drummer", Name: d.GetName(), ID: d.GetHostId(), API: d.GetApi(), Leader: i.GetRole() == "leader", Region: d.GetRegion(),
		Number: d.GetNumber(), State: stateOf(d), Role: i.GetRole(), Lag: i.GetLag(), Raft: d.GetRaft(), Detail: i.GetDetail(),
	}
	if s.Name == "" {
		s.Name = fmt.Sprintf("drummer-%d", d.GetNumber())
	}
	return s
}

func stateOf(d *fleetpb.Drummer) string {
	return strings.ToLower(strings.TrimPrefix(d.GetState().String(), "DRUMMER_STATE_"))
}

func flags() []cli.Flag {
	return []cli.Flag{
		noun.Toggle("wait", "wait until it is done, and show how it gets on"),
		noun.Toggle("dry-run", "check it and change nothing"),
		&cli.StringFlag{Name: "author", EnvVars: []string{"USER"}, Usage: "`NAME` that the history shows for the change"},
	}
}

func (n *Noun) add() noun.Verb {
	return noun.Verb{
		Name: "add", Usage: "let a new drummer join the others", Args: "ADDRESS", Min: 1, Max: 1, Flags: flags(), Waits: true,
		About: "ADDRESS is the gRPC address of a drummer that was started with --join and an empty data directory. It copies the record without a vote, and gets its vote " +
			"when it has caught up and most drummers answer. One change at a time. One that is to leave stays when it is added again before it has left. Safe to repeat.",
		Run: func(ctx context.Context, c *cli.Context) error {
			return n.join(ctx, c, &drummerpb.AddDrummerRequest{Address: c.Args().First()})
		},
	}
}

func (n *Noun) replace() noun.Verb {
	return noun.Verb{
		Name: "replace", Usage: "let a new drummer take the place of another", Args: "DRUMMER ADDRESS", Min: 2, Max: 2, Flags: flags(), Waits: true,
		About: "DRUMMER is the name or number of the one that goes, ADDRESS the gRPC address of one that was started with --join and an empty data directory; it may " +
			"be the same address, after the disk was lost. One that is dead is removed as soon as the new one has caught up, one that lives after that has its vote. " +
			"Who went never comes back under its number. Safe to repeat.",
		Run: func(ctx context.Context, c *cli.Context) error {
			return n.join(ctx, c, &drummerpb.AddDrummerRequest{Replaces: c.Args().First(), Address: c.Args().Get(1)})
		},
	}
}

func (n *Noun) remove() noun.Verb {
	return noun.Verb{
		Name: "remove", Usage: "remove a drummer for good", Args: "DRUMMER", Min: 1, Max: 1, Flags: flags(), Waits: true,
		About: "DRUMMER is a name or number. Refused while the others could not go on without it; the one that leads hands the lead over first. Of one that joins, " +
			"it gives the join up. Its process stops by itself; its data directory is of no use any more. Safe to repeat.",
		Run: func(ctx context.Context, c *cli.Context) error {
			ref := c.Args().First()
			if !c.Bool("dry-run") {
				if err := n.Confirm(ref, "drummer "+ref+" is removed for good"); err != nil {
					return err
				}
			}
			return n.change(ctx, c, "remove drummer "+ref, func(ctx context.Context, d drummerpb.DrummerClient) (*drummerpb.DrummerResponse, error) {
				return d.RemoveDrummer(ctx, &drummerpb.RemoveDrummerRequest{Drummer: ref, Author: c.String("author"), DryRun: c.Bool("dry-run")})
			})
		},
	}
}

func (n *Noun) join(ctx context.Context, c *cli.Context, r *drummerpb.AddDrummerRequest) error {
	r.Author, r.DryRun = c.String("author"), c.Bool("dry-run")
	return n.change(ctx, c, "add the drummer at "+r.GetAddress(), func(ctx context.Context, d drummerpb.DrummerClient) (*drummerpb.DrummerResponse, error) {
		return d.AddDrummer(ctx, r)
	})
}

// Change is what a change came to.
type Change struct {
	Number uint64 `json:"number"`
	Name   string `json:"name"`
	API    string `json:"api"`
	State  string `json:"state"`
	DryRun bool   `json:"dry_run"`
}

func (n *Noun) change(ctx context.Context, c *cli.Context, doing string, call func(context.Context, drummerpb.DrummerClient) (*drummerpb.DrummerResponse, error)) error {
	bounded, cancel := n.Bounded(ctx)
	defer cancel()
	conn, err := n.Client(bounded)
	if err != nil {
		return err
	}
	resp, err := call(bounded, conn.Drummer())
	if err != nil {
		return noun.Doing(doing, err)
	}
	d := resp.GetDrummer()
	out := Change{Number: d.GetNumber(), Name: d.GetName(), API: d.GetApi(), State: stateOf(d), DryRun: c.Bool("dry-run")}
	if d == nil { // the change was through before the answer
		out.State = "removed"
	}
	if c.Bool("wait") && !out.DryRun {
		if out.State, err = n.await(bounded, out); err != nil {
			return err
		}
	}
	return n.Print(out, [][]string{{"NUMBER", "NAME", "API", "STATE"}, {fmt.Sprint(out.Number), out.Name, out.API, out.State}})
}

// await looks until the drummer's membership changes no more, and says how it gets on.
func (n *Noun) await(ctx context.Context, out Change) (state string, err error) {
	said := ""
	for out.State == "joining" || out.State == "leaving" {
		if conn, err := n.Client(ctx); err == nil {
			if resp, err := conn.Drummer().ListDrummers(ctx, &drummerpb.ListDrummersRequest{}); err == nil { // a leader that changes only makes it longer
				if now := resp.GetStep(); now != "" && now != said {
					n.Say("%s", now)
					said = now
				}
				out.State = "removed"
				for _, i := range resp.GetDrummers() {
					if i.GetDrummer().GetNumber() == out.Number {
						out.State = stateOf(i.GetDrummer())
					}
				}
			}
		}
		timer := time.NewTimer(pollEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return "", noun.Fault(noun.Interrupted, "the watching has ended, the change goes on: see drummer-cmd servers list")
		case <-timer.C:
		}
	}
	return out.State, nil
}
