package sequences

import (
	"context"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/audit"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

func (n *Noun) create() noun.Verb {
	return noun.Verb{
		Name: "create", Usage: "make a sequence", Args: "NAME", Min: 1, Max: 1, Flags: append(definitionFlags(), noun.Region()),
		About: "Makes a sequence in a group that exists. Without flags it is what the group makes on first use. " +
			"How numbers are put together (--layout, --epoch, --logical-bits, --scatter-bits) is fixed then.",
		Run: func(ctx context.Context, c *cli.Context) error {
			of := noun.KeyedBy(c, sequenceApp)
			d := &sequencepb.Definition{}
			given, err := definitionOf(c, d)
			if err != nil {
				return err
			}
			if !given {
				d = nil
			}
			return n.change(ctx, "create", of.Full, func(ctx context.Context, s sequencepb.SequenceClient) (*sequencepb.Result, error) {
				return s.Create(ctx, &sequencepb.CreateRequest{Group: of.Group, Region: of.Region, Create: &sequencepb.Create{Key: of.Key, Definition: d}})
			})
		},
	}
}

// again is what commands ask before they make numbers come a second time.
const again = "numbers may be handed out a second time by that"

func (n *Noun) restart() noun.Verb {
	return noun.Verb{
		Name: "restart", Usage: "begin a sequence anew", Args: "NAME", Min: 1, Max: 1,
		About: "Goes on with the definition's start, or with another number. Numbers may be handed out a second time by that, so it asks first.",
		Flags: []cli.Flag{&cli.Int64Flag{Name: "with", DefaultText: "start", Usage: "`NUMBER` to go on with"}, noun.Region()},
		Run: func(ctx context.Context, c *cli.Context) error {
			of := noun.KeyedBy(c, sequenceApp)
			if err := n.Confirm(of.Full, "restart "+of.Full+": "+again); err != nil {
				return err
			}
			r := &sequencepb.Restart{Key: of.Key}
			if c.IsSet("with") {
				r.With = proto.Int64(c.Int64("with"))
			}
			return n.change(ctx, "restart", of.Full, func(ctx context.Context, s sequencepb.SequenceClient) (*sequencepb.Result, error) {
				return s.Restart(ctx, &sequencepb.RestartRequest{Group: of.Group, Region: of.Region, Restart: r})
			})
		},
	}
}

func (n *Noun) set() noun.Verb {
	return noun.Verb{
		Name: "set", Usage: "change a sequence", Args: "NAME", Min: 1, Max: 1,
		About: "Changes what the flags say and leaves the rest. --next sets the next number; numbers may be handed out a second time by that, so it asks first.",
		Flags: append(definitionFlags(), &cli.Int64Flag{Name: "next", DefaultText: "as it is", Usage: "`NUMBER` to go on with"}, noun.Region()),
		Run: func(ctx context.Context, c *cli.Context) error {
			of := noun.KeyedBy(c, sequenceApp)
			if c.IsSet("next") {
				if err := n.Confirm(of.Full, "set "+of.Full+": "+again); err != nil {
					return err
				}
			}
			return n.change(ctx, "set", of.Full, func(ctx context.Context, s sequencepb.SequenceClient) (*sequencepb.Result, error) {
				return setSequence(ctx, s, c, &sequencepb.SetRequest{Group: of.Group, Region: of.Region, Set: &sequencepb.Set{Key: of.Key}})
			})
		},
	}
}

// setSequence changes the definition that the sequence has.
func setSequence(ctx context.Context, s sequencepb.SequenceClient, c *cli.Context, req *sequencepb.SetRequest) (*sequencepb.Result, error) {
	if c.IsSet("next") {
		req.Set.Next = proto.Int64(c.Int64("next"))
	}
	info, err := s.Describe(ctx, &sequencepb.DescribeRequest{Group: req.GetGroup(), Region: req.GetRegion(), Describe: &sequencepb.Describe{Key: req.GetSet().GetKey()}})
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what for
	}
	d := info.GetInfo().GetDefinition()
	if d == nil {
		return &sequencepb.Result{Outcome: sequencepb.Outcome_OUTCOME_NOT_FOUND, Detail: "it was not used yet: create it"}, nil
	}
	given, err := definitionOf(c, d)
	switch {
	case err != nil:
		return nil, err
	case given:
		req.Set.Definition = d
	case !c.IsSet("next"):
		return nil, noun.Fault(noun.Usage, "nothing to set: give a flag")
	}
	return s.Set(ctx, req) //nolint:wrapcheck // the caller says what for
}

func (n *Noun) drop() noun.Verb {
	return noun.Verb{
		Name: "drop", Usage: "remove a sequence", Args: "NAME", Min: 1, Max: 1,
		About: "Removes the sequence; its group stays. One of the same name that is made later is another one, and clients of this one are refused there.",
		Flags: []cli.Flag{noun.Region()},
		Run: func(ctx context.Context, c *cli.Context) error {
			of := noun.KeyedBy(c, sequenceApp)
			if err := n.Confirm(of.Full, "drop "+of.Full+": "+again); err != nil {
				return err
			}
			return n.change(ctx, "drop", of.Full, func(ctx context.Context, s sequencepb.SequenceClient) (*sequencepb.Result, error) {
				return s.Drop(ctx, &sequencepb.DropRequest{Group: of.Group, Region: of.Region, Drop: &sequencepb.Drop{Key: of.Key}})
			})
		},
	}
}

func (n *Noun) resume() noun.Verb {
	return noun.Verb{
		Name: "resume", Usage: "open sequences of a group that was recovered", Args: "NAME", Min: 1, Max: 1,
		About: "After a recovery the newest numbers may be forgotten, so sequences stay closed until it is said how many numbers to skip. " +
			"--all opens the whole group NAME, and makes sequences that are made later skip as many.",
		Flags: []cli.Flag{
			&cli.Uint64Flag{Name: "margin", DefaultText: "none", Usage: "skip `N` numbers (of a time sequence: milliseconds); required"},
			&cli.Int64Flag{Name: "floor", DefaultText: "none", Usage: "hand out nothing below `NUMBER`"},
			noun.Toggle("all", "all sequences of the group"),
			noun.Region(),
		},
		Needs: []string{"margin"},
		Run: func(ctx context.Context, c *cli.Context) error {
			of := noun.KeyedBy(c, sequenceApp)
			r := &sequencepb.Resume{Key: &of.Key, Margin: c.Uint64("margin")}
			switch {
			case c.Bool("all") && (of.Key != "" || c.IsSet("floor")):
				return noun.Fault(noun.Usage, "--all is about a whole group: no key and no --floor")
			case c.Bool("all"):
				r.Key = nil
			case c.IsSet("floor"):
				r.Floor = proto.Int64(c.Int64("floor"))
			}
			return n.change(ctx, "resume", of.Full, func(ctx context.Context, s sequencepb.SequenceClient) (*sequencepb.Result, error) {
				return s.Resume(ctx, &sequencepb.ResumeRequest{Group: of.Group, Region: of.Region, Resume: r})
			})
		},
	}
}

func (n *Noun) verify() noun.Verb {
	return noun.Verb{
		Name: "verify", Usage: "prove that logs of issued numbers are disjoint", Args: "DIR", Min: 1, Max: 1,
		About: "Reads every file in DIR, one for each client, and asks no cluster. A line is a number, \"Got: NUMBER\", or a range like " +
			"{\"first\":1,\"step\":1,\"count\":1000}. Numbers that two have, or that a file has out of order, are exit code 5.",
		Run: func(_ context.Context, c *cli.Context) error {
			r, err := audit.Read(os.DirFS(c.Args().First()))
			if err != nil {
				return noun.Doing("read "+c.Args().First(), err)
			}
			return n.verdict(findings{
				Files: r.Files, Numbers: r.Numbers, Least: r.Least, Greatest: r.Greatest, Missing: r.Missing,
				Duplicates: r.Duplicates, Disordered: r.Disordered, Findings: append([]string{}, r.Findings...),
			})
		},
	}
}

// verdict prints what was found, and fails if it is bad.
func (n *Noun) verdict(a findings) error {
	row := []string{}
	for _, v := range []any{a.Files, a.Numbers, a.Least, a.Greatest, a.Missing, a.Duplicates, a.Disordered} {
		row = append(row, fmt.Sprint(v))
	}
	err := n.Print(a, [][]string{{"FILES", "NUMBERS", "LEAST", "GREATEST", "MISSING", "DUPLICATES", "DISORDERED"}, row})
	if err != nil || (a.Duplicates == 0 && a.Disordered == 0) {
		return err
	}
	for _, f := range a.Findings {
		n.Say("%s", f)
	}
	return noun.Fault(noun.Conflict, "%d numbers were issued more than once, %d are out of order", a.Duplicates, a.Disordered)
}
