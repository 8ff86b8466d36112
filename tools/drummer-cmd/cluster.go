package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/shape"
)

func (t *tool) hostsList() verb {
	return verb{
		name: "list", usage: "list the hosts that run replicas", watchable: true,
		about: "Lists every host that the record knows. state is up, suspect, unreachable (not heard by drummers, heard by its neighbours), down or lost; silent is the time since it was last heard. " +
			"A host that has just begun says how many of its replicas it has started: those serve already. IN MEMORY is a host " +
			"with storage: memory, whose replicas end with its process. --gossip lists hosts and drummers as the leading drummer knows them by gossip instead.",
		flags: []cli.Flag{&cli.BoolFlag{Name: "gossip", Usage: "list hosts and drummers by what they say of themselves, and whether they are heard"}},
		run: func(ctx context.Context, c *cli.Context) error {
			if c.Bool("gossip") {
				return t.gossip(ctx)
			}
			hosts, err := t.hosts(ctx)
			if err != nil {
				return err
			}
			header := []string{"NAME", "STATE", "REGION", "ZONE", "REPLICAS", "LEADERS", "SILENT", "API", "ID"}
			return list(t, hosts, header, func(h shape.Host) []string {
				return []string{h.Name, hostState(h), h.Region, h.Zone, fmt.Sprint(h.Replicas), fmt.Sprint(h.Leaders), silence(h), h.API, h.ID}
			})
		},
	}
}

// hostState is a host's state, how far it is when it starts its replicas, and that
// nothing of it lasts if that is so.
func hostState(h shape.Host) string {
	state := h.State
	if h.Boot != nil {
		state = fmt.Sprintf("%s, started %d/%d", state, h.Boot.Done, h.Boot.Total)
	}
	if h.Duty != "" && h.Duty != "serving" && h.Duty != h.State {
		state += ", " + h.Duty
	}
	if h.InMemory {
		state += ", IN MEMORY"
	}
	return state
}

func silence(h shape.Host) string {
	return (time.Duration(h.SilentMS) * time.Millisecond).Round(100 * time.Millisecond).String()
}

func (t *tool) listHosts(ctx context.Context, gossip bool) (*drummerpb.ListHostsResponse, error) {
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	conn, err := t.client(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := conn.Drummer().ListHosts(ctx, &drummerpb.ListHostsRequest{Gossip: gossip})
	return resp, doing("list hosts", err)
}

func (t *tool) hosts(ctx context.Context) ([]shape.Host, error) {
	resp, err := t.listHosts(ctx, false)
	return shape.OfHosts(resp), err
}

// gossip lists those that the leading drummer knows by gossip.
func (t *tool) gossip(ctx context.Context) error {
	resp, err := t.listHosts(ctx, true)
	if err == nil && len(resp.GetMembers()) == 0 {
		err = fail(exitNotFound, program+" hosts list", "the leading drummer does not gossip: set gossip.key_file on drummers and hosts")
	}
	if err != nil {
		return err
	}
	return list(t, shape.OfMembers(resp), shape.MemberHeader(), shape.Member.Row)
}

func (t *tool) hostsShow() verb {
	return verb{
		name: "show", usage: "show one host", args: "HOST", min: 1, max: 1, watchable: true,
		about: "HOST is a name or an id. Of several with one name (a wiped host comes back under a new id) it shows the one that is not lost.",
		run: func(ctx context.Context, c *cli.Context) error {
			ref := c.Args().First()
			hosts, err := t.hosts(ctx)
			if err != nil {
				return err
			}
			hosts = slices.DeleteFunc(hosts, func(h shape.Host) bool { return h.Name != ref && h.ID != ref })
			if len(hosts) == 0 {
				return fail(exitNotFound, listing(fault.Host), "there is no host %s", ref)
			}
			slices.SortStableFunc(hosts, func(a, b shape.Host) int {
				return cmp.Or(compareBool(a.State == "lost", b.State == "lost"), cmp.Compare(a.SilentMS, b.SilentMS))
			})
			return t.print(hosts[0], func() *grid { return hostTable(hosts[0]) })
		},
	}
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

func hostTable(h shape.Host) *grid {
	g := newGrid("HOST", h.Name)
	var apps []string
	for _, a := range h.Apps {
		apps = append(apps, fmt.Sprintf("%s (version %d)", a.Name, a.Version))
	}
	for _, row := range [][]string{
		{"id", h.ID},
		{"state", hostState(h)},
		{"duty", h.Duty},
		{"weight", fmt.Sprintf("%d%%", h.Weight)},
		{"silent", silence(h)},
		{"region", h.Region},
		{"zone", h.Zone},
		{"labels", strings.Join(h.Labels, " ")},
		{"replicas", fmt.Sprint(h.Replicas)},
		{"leaders", fmt.Sprint(h.Leaders)},
		{"unloaded", fmt.Sprint(h.Unloaded)},
		{"api", h.API},
		{"raft", h.Raft},
		{"boot epoch", fmt.Sprint(h.BootEpoch)},
		{"apps", strings.Join(apps, ", ")},
		{"version", h.Version},
	} {
		g.add(row...)
	}
	return g
}

func (t *tool) servers(ctx context.Context) ([]*hostpb.Server, error) {
	conn, err := t.client(ctx)
	if err != nil {
		return nil, err
	}
	servers, err := conn.Servers(ctx)
	return servers, doing("list servers", err)
}

func (t *tool) statusVerb() verb {
	return verb{
		name: "status", usage: "sum the cluster up", watchable: true,
		about: "Shows who supervises, how many groups and hosts are in which state, and the policy in force.",
		run: func(ctx context.Context, _ *cli.Context) error {
			ctx, cancel := t.bounded(ctx)
			defer cancel()
			conn, err := t.client(ctx)
			if err != nil {
				return err
			}
			resp, err := conn.Drummer().Status(ctx, &drummerpb.StatusRequest{})
			if err != nil {
				return doing("ask for the status", err)
			}
			s := shape.OfStatus(resp)
			return t.print(s, func() *grid { return statusTable(s) })
		},
	}
}

func statusTable(s shape.Status) *grid {
	g := newGrid("CLUSTER", s.Deployment)
	millis := func(ms int64) string { return (time.Duration(ms) * time.Millisecond).String() }
	for _, row := range [][]string{
		{"leader", fmt.Sprintf("%s (term %d)", s.Leader, s.Term)},
		{"groups", counts(s.Groups)},
		{"hosts", counts(s.Hosts)},
		{"operations", fmt.Sprintf("%d under way", s.Operations)},
		{"suspect after", millis(s.Policy.SuspectAfterMS)},
		{"down after", millis(s.Policy.DownAfterMS)},
		{"operations per host", fmt.Sprint(s.Policy.OperationsPerHost)},
		{"operations in all", fmt.Sprint(s.Policy.OperationsTotal)},
		{"brake", brakeWord(s)},
		{"paused", orNone(strings.Join(s.Paused, ", "))},
		{"record", fmt.Sprintf("incarnation %d, revision %d", s.Incarnation, s.Revision)},
	} {
		g.add(row...)
	}
	return g
}

// brakeWord says whether the brake is on, and when it would be.
func brakeWord(s shape.Status) string {
	if s.Brake.Engaged {
		return "ON, nothing is moved: " + s.Brake.Reason
	}
	return fmt.Sprintf("off; on when more than %d%% of the hosts vanish within %s", s.Policy.BrakePercent, time.Duration(s.Policy.BrakeWindowMS)*time.Millisecond)
}

func orNone(text string) string { return cmp.Or(text, "none") }

// counts shows a map of numbers in a fixed order.
func counts(m map[string]uint32) string {
	var parts []string
	for _, k := range sortedKeys(m) {
		parts = append(parts, fmt.Sprintf("%d %s", m[k], k))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (t *tool) explainVerb() verb {
	return verb{
		name: "explain", usage: "say why a group, a host or an operation is as it is", args: "GROUP|HOST|OPERATION", min: 1, max: 1, watchable: true,
		about: "Shows it, the supervisor's reasons for what it does and does not do about it, and its operations, newest first. " +
			"GROUP is a name or a number, HOST a name or an id, OPERATION a number.",
		flags: []cli.Flag{noun.Region()},
		run: func(ctx context.Context, c *cli.Context) error {
			ctx, cancel := t.bounded(ctx)
			defer cancel()
			name := c.Args().First()
			if other, err := t.explainOther(ctx, name); other {
				return err
			}
			region := c.String("region")
			if _, byID := number(name); byID {
				g, err := t.group(ctx, name, "")
				if err != nil {
					return err
				}
				name, region = g.GetName(), g.GetRegion()
			}
			conn, err := t.client(ctx)
			if err != nil {
				return err
			}
			resp, err := conn.Drummer().Explain(ctx, &drummerpb.ExplainRequest{Name: name, Region: region})
			if err != nil {
				return doing("explain "+name, err)
			}
			out := shape.OfExplain(resp)
			if t.opts.output != "table" {
				return t.print(out, nil)
			}
			return t.write([]byte(explainText(out)))
		},
	}
}

func explainText(s shape.Explain) string {
	var out strings.Builder
	out.WriteString(groupText(s.Group))
	out.WriteString("\nREASONS\n")
	switch {
	case len(s.Reasons) == 0 && s.Group.State == "ok":
		out.WriteString("nothing is to be done\n")
	case len(s.Reasons) == 0:
		out.WriteString("none yet: the supervisor has not looked at it since it changed, or waits for hosts to do what it ordered\n")
	}
	for _, r := range s.Reasons {
		out.WriteString(r + "\n")
	}
	ops := newGrid("OPERATION", "KIND", "STARTED", "ENDED", "REASON", "RESULT")
	for _, o := range s.Operations {
		ops.add(fmt.Sprint(o.ID), o.Kind, o.Started, o.Ended, o.Reason, o.Result)
	}
	return out.String() + "\n" + ops.render(false)
}
