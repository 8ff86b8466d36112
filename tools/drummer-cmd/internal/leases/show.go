package leases

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client"
	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/shape"
)

// app is in front of a resource's name in that of its group.
const app = "capacity/"

// resourcesAtOnce bounds the resources that are asked at a time.
const resourcesAtOnce = 16

// describe reads the summary of a resource.
func describe(ctx context.Context, conn *client.Client, of place) (*capacitypb.Answer, error) {
	return askResource(ctx, conn, of, &capacitypb.Query{Op: &capacitypb.Query_Describe{Describe: &capacitypb.Describe{}}})
}

// askResource puts a query to a resource's group.
func askResource(ctx context.Context, conn *client.Client, of place, q *capacitypb.Query) (*capacitypb.Answer, error) {
	query, err := proto.Marshal(q)
	if err != nil {
		return nil, usage("resource %q: %v", of.name, err)
	}
	data, err := conn.In(of.region).Group(app+of.name).Read(ctx, query)
	if err != nil {
		return nil, err
	}
	a := &capacitypb.Answer{}
	if err := proto.Unmarshal(data, a); err != nil {
		return nil, fmt.Errorf("resource %s gave an answer that is none of app capacity: %w", of, err)
	}
	return a, nil
}

func (n *Noun) list() Verb {
	return Verb{
		Name: "list", Usage: "list resources", Args: "[PREFIX]", Max: 1, Watchable: true,
		About: "Lists every resource, or those whose names begin with PREFIX, with what is leased of them. RESERVED is what clients may " +
			"still use: after a cut it falls to GRANTED as they show that they know.",
		Flags: []cli.Flag{noun.Region()},
		Run: func(ctx context.Context, c *cli.Context) error {
			conn, err := n.Console.Client(ctx)
			if err != nil {
				return err
			}
			groups, err := n.Console.Groups(ctx, app+c.Args().First())
			if err != nil {
				return doing("list resources", err)
			}
			if region := c.String("region"); region != "" {
				groups = slices.DeleteFunc(groups, func(g *drummerpb.GroupInfo) bool { return g.GetRegion() != region })
			}
			header := []string{"RESOURCE", "LEADER", "ALGORITHM", "CAPACITY", "GRANTED", "RESERVED", "WANTS", "CLIENTS", "PROBLEM"}
			all := rows(ctx, conn, groups)
			return n.Console.Print(all, func() []Table {
				table := Table{header}
				for _, r := range all {
					table = append(table, []string{
						r.place().String(), r.Leader, r.Algorithm, amount(r.Capacity), amount(r.Granted), amount(r.Reserved),
						amount(r.Wants), strconv.FormatInt(r.Clients, 10), r.Problem,
					})
				}
				return []Table{table}
			})
		},
	}
}

// rows asks the groups for their summaries, several at a time.
func rows(ctx context.Context, conn *client.Client, groups []*drummerpb.GroupInfo) []Resource {
	out := make([]Resource, len(groups))
	var work sync.WaitGroup
	turns := make(chan struct{}, resourcesAtOnce)
	for i, g := range groups {
		work.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			out[i] = row(ctx, conn, g)
		})
	}
	work.Wait()
	return out
}

func row(ctx context.Context, conn *client.Client, g *drummerpb.GroupInfo) Resource {
	r := Resource{Resource: strings.TrimPrefix(g.GetName(), app), Region: g.GetRegion(), State: g.GetState()}
	for _, m := range shape.OfGroup(g).Replicas {
		if m.Leader {
			r.Leader = m.Host
		}
	}
	a, err := describe(ctx, conn, r.place())
	if err != nil {
		r.Problem = err.Error()
		return r
	}
	r.Fill(a.GetSummary())
	return r
}

func (n *Noun) show() Verb {
	return Verb{
		Name: "show", Usage: "show one resource and who holds it", Args: "RESOURCE", Min: 1, Max: 1, Watchable: true,
		About: "Shows the definition in force, the sums, the level that nobody gets more of, and who holds what until when. The times " +
			"are those of the group's last command.",
		Flags: []cli.Flag{noun.Region()},
		Run: func(ctx context.Context, c *cli.Context) error {
			of := placeOf(c, 0)
			detail, err := n.resource(ctx, of)
			if err != nil {
				return doing("show "+of.String(), err)
			}
			return n.Console.Print(detail, func() []Table { return tables(detail) })
		},
	}
}

// resource reads all of one resource.
func (n *Noun) resource(ctx context.Context, of place) (ResourceDetail, error) {
	var out ResourceDetail
	conn, err := n.Console.Client(ctx)
	if err != nil {
		return out, err
	}
	g, err := n.Console.Group(ctx, app+of.name, of.region)
	if err != nil {
		return out, err
	}
	out.Resource = row(ctx, conn, g)
	a, err := describe(ctx, conn, of)
	if err != nil {
		return out, err
	}
	out.Detail(a)
	for page := (&capacitypb.List{Limit: 1000}); ; {
		list, err := askResource(ctx, conn, of, &capacitypb.Query{Op: &capacitypb.Query_List{List: page}})
		if err != nil {
			return out, err
		}
		for _, h := range list.GetHolders() {
			out.Holders = append(out.Holders, OfHolder(h, list.GetTime()))
		}
		if page.After = list.GetNext(); page.After == 0 {
			break
		}
	}
	slices.SortFunc(out.Holders, func(a, b Holder) int { return strings.Compare(a.Client, b.Client) })
	return out, nil
}

// tables shows a resource to people: its facts, then its holders.
func tables(r ResourceDetail) []Table {
	facts := Table{{"RESOURCE", r.place().String()}}
	add := func(name, value string) { facts = append(facts, []string{name, value}) }
	add("leader", r.Leader)
	add("state", r.State)
	add("algorithm", r.Algorithm)
	add("capacity", amount(r.Capacity))
	if r.Parent != "" {
		add("parent", r.Parent)
	}
	add("granted", amount(r.Granted))
	add("reserved", amount(r.Reserved))
	add("wants", amount(r.Wants))
	add("clients", strconv.FormatInt(r.Clients, 10))
	if r.Level != nil {
		add("level", amount(*r.Level))
	}
	add("lease", fmt.Sprintf("%ss, refreshed every %ss", amount(r.LeaseSeconds), amount(r.RefreshSeconds)))
	if r.SafeCapacity != nil {
		add("safe capacity", amount(*r.SafeCapacity))
	}
	if r.Learning {
		add("learning", "yes")
	}
	add("revision", strconv.FormatUint(r.Revision, 10))
	holders := Table{{"CLIENT", "PRIORITY", "CLIENTS", "WANTS", "HAS", "RESERVED", "ENDS IN"}}
	for _, h := range r.Holders {
		holders = append(holders, []string{
			readable(h.Client), strconv.FormatInt(h.Priority, 10), strconv.FormatInt(h.Clients, 10),
			amount(h.Wants), amount(h.Granted), amount(h.Reserved), fmt.Sprintf("%.1fs", h.Seconds),
		})
	}
	return []Table{facts, holders}
}
