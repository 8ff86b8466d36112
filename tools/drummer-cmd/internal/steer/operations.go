package steer

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// Operation is one change to a group or a host.
type Operation struct {
	ID       uint64   `json:"id"`
	Kind     string   `json:"kind"`
	Group    string   `json:"group"`
	Region   string   `json:"region"`
	Host     string   `json:"host"`
	Reason   string   `json:"reason"`
	Author   string   `json:"author"`
	Started  string   `json:"started"`
	Ended    string   `json:"ended"`
	Deadline string   `json:"deadline"`
	Late     bool     `json:"late"`
	Result   string   `json:"result"`
	Steps    []string `json:"steps"`
}

func operationOf(o *fleetpb.Operation) Operation {
	return Operation{
		ID: o.GetId(), Kind: o.GetKind(), Group: o.GetGroupName(), Region: o.GetGroupRegion(), Host: o.GetHostName(), Reason: o.GetReason(), Author: o.GetAuthor(),
		Started: moment(o.GetStartedUnixMs()), Ended: moment(o.GetEndedUnixMs()), Deadline: moment(o.GetDeadlineUnixMs()),
		Late:   o.GetEndedUnixMs() == 0 && o.GetDeadlineUnixMs() > 0 && o.GetDeadlineUnixMs() < time.Now().UnixMilli(),
		Result: o.GetResult(), Steps: append([]string{}, o.GetSteps()...),
	}
}

// full is the group's name with its region.
func (o Operation) full() string { return statemachines.NameIn(o.Group, o.Region) }

// state is how far an operation is, in a few words.
func (o Operation) state() string {
	switch {
	case o.Ended != "":
		return o.Result
	case o.Late:
		return "late"
	case len(o.Steps) > 0:
		return o.Steps[len(o.Steps)-1]
	default:
		return "running"
	}
}

// Operations are the verbs of noun operations.
func (r *Room) Operations() []noun.Verb {
	return []noun.Verb{r.listOperations(), r.showOperation(), r.cancel(), r.pause("pause"), r.pause("resume")}
}

func (r *Room) listOperations() noun.Verb {
	return noun.Verb{
		Name: "list", Usage: "list operations, newest first", Watchable: true,
		About: "Those that run, and the last thousand that have ended.",
		Flags: []cli.Flag{&cli.StringFlag{Name: "kind", Usage: "only of this `KIND`"}, noun.Toggle("running", "only those that run")},
		Run: func(ctx context.Context, c *cli.Context) error {
			req := &drummerpb.ListOperationsRequest{Kind: c.String("kind"), Running: c.Bool("running")}
			return r.do(ctx, "list operations", func(ctx context.Context, d drummerpb.DrummerClient) error {
				resp, err := d.ListOperations(ctx, req)
				if err != nil {
					return err
				}
				out, table := []Operation{}, [][]string{{"ID", "KIND", "GROUP", "HOST", "STARTED", "BY", "REASON", "STATE"}}
				for _, o := range resp.GetOperations() {
					s := operationOf(o)
					out = append(out, s)
					table = append(table, []string{fmt.Sprint(s.ID), s.Kind, s.full(), s.Host, s.Started, s.Author, s.Reason, s.state()})
				}
				if paused := resp.GetPaused(); len(paused) > 0 {
					r.Say("paused: %s", strings.Join(paused, ", "))
				}
				return r.Print(out, table)
			})
		},
	}
}

// number reads an operation's id.
func number(word string) (uint64, error) {
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil || n == 0 {
		return 0, noun.Fault(noun.Usage, "%q is no operation: the list has their ids", word)
	}
	return n, nil
}

func (r *Room) show(o *fleetpb.Operation) error {
	s := operationOf(o)
	table := [][]string{
		{"OPERATION", fmt.Sprint(s.ID)},
		{"kind", s.Kind},
		{"group", s.full()},
		{"host", s.Host},
		{"reason", s.Reason},
		{"asked for by", s.Author},
		{"started", s.Started},
		{"ended", s.Ended},
		{"deadline", s.Deadline},
		{"result", s.Result},
	}
	for _, step := range s.Steps {
		table = append(table, []string{"step", step})
	}
	return r.Print(s, table)
}

func (r *Room) showOperation() noun.Verb {
	return noun.Verb{
		Name: "show", Usage: "show one operation with its steps", Args: "ID", Min: 1, Max: 1, Watchable: true,
		Run: func(ctx context.Context, c *cli.Context) error {
			id, err := number(c.Args().First())
			if err != nil {
				return err
			}
			return r.do(ctx, "show the operation", func(ctx context.Context, d drummerpb.DrummerClient) error {
				resp, err := d.ListOperations(ctx, &drummerpb.ListOperationsRequest{Id: id})
				if err != nil {
					return err
				}
				return r.show(resp.GetOperations()[0])
			})
		},
	}
}

func (r *Room) cancel() noun.Verb {
	return noun.Verb{
		Name: "cancel", Usage: "give an operation up", Args: "ID", Min: 1, Max: 1,
		About: "A replica that is being built is taken back; once it has its vote the operation goes on to its end. The drain of a host ends. What is wanted is not " +
			"changed by it: pause the kind, or change the wish, or it begins again.",
		Flags: []cli.Flag{author()},
		Run: func(ctx context.Context, c *cli.Context) error {
			id, err := number(c.Args().First())
			if err != nil {
				return err
			}
			return r.do(ctx, "cancel the operation", func(ctx context.Context, d drummerpb.DrummerClient) error {
				resp, err := d.CancelOperation(ctx, &drummerpb.CancelOperationRequest{Id: id, Author: c.String("author")})
				if err != nil {
					return err
				}
				return r.show(resp.GetOperation())
			})
		},
	}
}

// Paused is what is paused.
type Paused struct {
	Paused []string `json:"paused"`
}

func (r *Room) pause(verb string) noun.Verb {
	usage := "begin no new operations of a kind"
	if verb == "resume" {
		usage = "begin operations of a kind again"
	}
	return noun.Verb{
		Name: verb, Usage: usage, Args: "KIND", Min: 1, Max: 1,
		About: "KIND is balance, drain, move, place, replace, resize, transfer or tune. Those that run go on.",
		Flags: []cli.Flag{author()},
		Run: func(ctx context.Context, c *cli.Context) error {
			req := &drummerpb.PauseOperationsRequest{Kind: c.Args().First(), Resume: verb == "resume", Author: c.String("author")}
			return r.do(ctx, verb+" operations", func(ctx context.Context, d drummerpb.DrummerClient) error {
				resp, err := d.PauseOperations(ctx, req)
				if err != nil {
					return err
				}
				out := Paused{Paused: append([]string{}, resp.GetPaused()...)}
				shown := "nothing"
				if len(out.Paused) > 0 {
					shown = strings.Join(out.Paused, ", ")
				}
				return r.Print(out, [][]string{{"PAUSED"}, {shown}})
			})
		},
	}
}

// Explained is why a host or an operation is as it is.
type Explained struct {
	Host       *Host       `json:"host,omitempty"`
	Group      string      `json:"group,omitempty"`
	Region     string      `json:"region,omitempty"`
	Reasons    []string    `json:"reasons"`
	Operations []Operation `json:"operations"`
}

// Explain says why a host is as it is, or, with an id, an operation.
func (r *Room) Explain(ctx context.Context, host string, id uint64) error {
	what := host
	if id != 0 {
		what = fmt.Sprintf("operation %d", id)
	}
	return r.do(ctx, "explain "+what, func(ctx context.Context, d drummerpb.DrummerClient) error {
		resp, err := d.Explain(ctx, &drummerpb.ExplainRequest{Host: host, Operation: id})
		if err != nil {
			return err
		}
		out := Explained{Group: resp.GetGroup().GetName(), Region: resp.GetGroup().GetRegion(), Reasons: append([]string{}, resp.GetReasons()...), Operations: []Operation{}}
		table := [][]string{{"WHAT", ""}}
		if resp.GetHost() != nil {
			h := hostOf(&drummerpb.ChangeHostRequest{}, &drummerpb.ChangeHostResponse{Host: resp.GetHost()})
			out.Host = &h
			table = append(table, []string{"host", fmt.Sprintf("%s: %s, %s, %d replicas, %d leaders", h.Name, h.State, h.Duty, h.Replicas, h.Leaders)})
		}
		if out.Group != "" {
			table = append(table, []string{"group", statemachines.NameIn(out.Group, out.Region) + ": " + resp.GetGroup().GetState()})
		}
		for _, reason := range out.Reasons {
			table = append(table, []string{"because", reason})
		}
		for _, o := range resp.GetOperations() {
			s := operationOf(o)
			out.Operations = append(out.Operations, s)
			table = append(table, []string{fmt.Sprintf("operation %d", s.ID), fmt.Sprintf("%s %s%s: %s", s.Kind, s.full(), s.Host, s.state())})
		}
		return r.Print(out, table)
	})
}
