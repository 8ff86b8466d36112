package steer

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// Hosts are the verbs of noun hosts that change something.
func (r *Room) Hosts() []noun.Verb {
	forced := noun.Toggle("force", "do it in spite of what blocks it")
	waits := noun.Toggle("wait", "wait until nothing is left on it, and show how it gets on")
	verbs := []noun.Verb{
		r.hostVerb("cordon", "give a host no new replicas and no leaders", "What it has stays. Uncordon ends it."),
		r.hostVerb("uncordon", "let a host serve again", "Ends cordon, drain, decommission and maintenance."),
		r.hostVerb("drain", "move everything off a host", "First its leaders are handed over, then each replica is built elsewhere, given its vote and removed here: the group "+
			"has all its replicas at every moment. --dry-run says what would block it. Uncordon ends it.", forced, waits),
		r.hostVerb("maintenance", "wait for a host for a while, however long it is silent", "Its leaders are handed over, it gets nothing new, and its replicas are not "+
			"replaced until the time is over. Uncordon ends it early.", &cli.DurationFlag{Name: "for", Usage: "`DURATION` of the maintenance, like 30m"}),
		r.hostVerb("decommission", "move everything off a host that shall go for good", "As drain; a host that has left can be removed.", forced, waits),
		r.hostVerb("remove", "take a host that has left, or is lost, out of every list", "Its data directory never comes back. With --force a host that has not left is "+
			"declared lost: its replicas are replaced at once, and it is taken out when that is done.", noun.Toggle("force", "declare it lost")),
	}
	weight := r.hostVerb("weight", "give a host more or fewer replicas than others", "PERCENT of an ordinary host's share of replicas and leaders.")
	weight.Args, weight.Min, weight.Max = "HOST PERCENT", 2, 2
	return append(verbs, weight)
}

// Host is what a change came to.
type Host struct {
	Name          string   `json:"name"`
	ID            string   `json:"id"`
	Duty          string   `json:"duty"`
	State         string   `json:"state"`
	Replicas      uint32   `json:"replicas"`
	Leaders       uint32   `json:"leaders"`
	Operation     uint64   `json:"operation"`
	Blockers      []string `json:"blockers"`
	BlockersTotal uint32   `json:"blockers_total"`
	DryRun        bool     `json:"dry_run"`
}

func (r *Room) hostVerb(verb, usage, about string, flags ...cli.Flag) noun.Verb {
	flags = append(flags, &cli.StringFlag{Name: "reason", Usage: "`TEXT` for the others"}, author(), dryRun())
	return noun.Verb{
		Name: verb, Usage: usage, About: about, Args: "HOST", Min: 1, Max: 1, Flags: flags, Waits: verb == "drain" || verb == "decommission",
		Run: func(ctx context.Context, c *cli.Context) error {
			req := &drummerpb.ChangeHostRequest{
				Host: c.Args().First(), Verb: verb, ForMs: c.Duration("for").Milliseconds(), Reason: c.String("reason"), Author: c.String("author"),
				Force: c.Bool("force"), DryRun: c.Bool("dry-run"),
			}
			if verb == "weight" {
				n, err := strconv.ParseUint(c.Args().Get(1), 10, 32)
				if err != nil {
					return noun.Fault(noun.Usage, "%q is no weight: write percent of an ordinary host's share, like 200", c.Args().Get(1))
				}
				req.Weight = uint32(n)
			}
			if verb == "remove" && !req.GetDryRun() {
				if err := r.Confirm(req.GetHost(), "host "+req.GetHost()+" is taken out for good; its data directory never comes back"); err != nil {
					return err
				}
			}
			return r.changeHost(ctx, req, c.Bool("wait") && !req.GetDryRun())
		},
	}
}

func (r *Room) changeHost(ctx context.Context, req *drummerpb.ChangeHostRequest, wait bool) error {
	ctx, cancel := r.Bounded(ctx)
	defer cancel()
	var out Host
	err := r.do(ctx, req.GetVerb()+" host "+req.GetHost(), func(ctx context.Context, d drummerpb.DrummerClient) error {
		resp, err := d.ChangeHost(ctx, req)
		if err != nil {
			return err
		}
		out = hostOf(req, resp)
		return nil
	})
	if err != nil {
		return err
	}
	for _, b := range out.Blockers {
		r.Say("%s", b)
	}
	if wait {
		if out, err = r.awaitEmpty(ctx, out); err != nil {
			return err
		}
	}
	return r.Print(out, [][]string{
		{"HOST", "DUTY", "STATE", "REPLICAS", "LEADERS", "OPERATION", "BLOCKED BY"},
		{out.Name, out.Duty, out.State, fmt.Sprint(out.Replicas), fmt.Sprint(out.Leaders), fmt.Sprint(out.Operation), fmt.Sprintf("%d groups", out.BlockersTotal)},
	})
}

func hostOf(req *drummerpb.ChangeHostRequest, resp *drummerpb.ChangeHostResponse) Host {
	i := resp.GetHost()
	h := Host{
		Name: i.GetHost().GetName(), ID: i.GetHost().GetId(), Duty: i.GetDuty(), State: i.GetState(), Replicas: i.GetReplicas(), Leaders: i.GetLeaders(),
		Operation: resp.GetOperation(), Blockers: append([]string{}, resp.GetBlockers()...), BlockersTotal: resp.GetBlockersTotal(), DryRun: req.GetDryRun(),
	}
	if i == nil { // it is in no list any more
		h.Name, h.Duty = req.GetHost(), "removed"
	}
	return h
}

// awaitEmpty looks until nothing is left on the host, and says how it gets on.
func (r *Room) awaitEmpty(ctx context.Context, h Host) (Host, error) {
	said := ""
	for {
		err := r.do(ctx, "wait for host "+h.Name, func(ctx context.Context, d drummerpb.DrummerClient) error {
			resp, err := d.ListHosts(ctx, &drummerpb.ListHostsRequest{})
			for _, i := range resp.GetHosts() {
				if i.GetHost().GetId() == h.ID {
					h.Duty, h.State, h.Replicas, h.Leaders = i.GetDuty(), i.GetState(), i.GetReplicas(), i.GetLeaders()
				}
			}
			return err
		})
		if err != nil {
			return h, err
		}
		if now := fmt.Sprintf("%s: %d leaders and %d replicas are left", h.Name, h.Leaders, h.Replicas); now != said {
			r.Say("%s", now)
			said = now
		}
		switch h.Duty {
		case "draining", "leaving":
		default:
			return h, nil
		}
		timer := time.NewTimer(pollEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return h, noun.Fault(noun.Interrupted, "the watching has ended, the host goes on being emptied: see drummer-cmd explain %s", h.Name)
		case <-timer.C:
		}
	}
}
