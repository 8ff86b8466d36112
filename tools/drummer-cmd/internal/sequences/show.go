package sequences

import (
	"context"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// sequencePage is how many sequences one call asks for.
const sequencePage = 1000

// sequenceApp begins the names of groups of app sequence; on the command line it may be
// left away.
const sequenceApp = "sequence/"

// sequences is the service, which every host has, under the command's time limit.
func (n *Noun) service(ctx context.Context, f func(context.Context, sequencepb.SequenceClient) error) error {
	ctx, cancel := n.Bounded(ctx)
	defer cancel()
	conn, err := n.Client(ctx)
	if err != nil {
		return err
	}
	return f(ctx, sequencepb.NewSequenceClient(conn.Hosts()))
}

// change makes a change and shows what became of it.
func (n *Noun) change(ctx context.Context, what, full string, call func(context.Context, sequencepb.SequenceClient) (*sequencepb.Result, error)) error {
	return n.service(ctx, func(ctx context.Context, s sequencepb.SequenceClient) error {
		r, err := call(ctx, s)
		if err == nil {
			err = refusedSequence(full, r)
		}
		if err != nil {
			return noun.Doing(what+" "+full, err)
		}
		return n.Print(outcome{Name: full, Result: "ok"}, [][]string{{"NAME", "RESULT"}, {full, "ok"}})
	})
}

// refusedSequence is the failure of an outcome that is not OK.
func refusedSequence(full string, r *sequencepb.Result) error {
	code := noun.Conflict
	switch r.GetOutcome() {
	case sequencepb.Outcome_OUTCOME_OK:
		return nil
	case sequencepb.Outcome_OUTCOME_NOT_FOUND:
		code = noun.NotFound
	}
	word := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(r.GetOutcome().String(), "OUTCOME_"), "_", " "))
	return noun.Fault(code, "%s: %s: %s", full, word, r.GetDetail())
}

func (n *Noun) list() noun.Verb {
	return noun.Verb{
		Name: "list", Usage: "list sequences", Args: "[GROUP [PREFIX]]", Max: 2, Watchable: true,
		About: "Lists the sequences of all groups, or those of GROUP whose keys begin with PREFIX, page by page.",
		Flags: []cli.Flag{noun.Region()},
		Run: func(ctx context.Context, c *cli.Context) error {
			groups, err := n.Families(ctx, c, sequenceApp)
			if err != nil {
				return err
			}
			var all []info
			err = n.service(ctx, func(ctx context.Context, s sequencepb.SequenceClient) error {
				for _, g := range groups {
					page, err := listSequences(ctx, s, g, c.Args().Get(1))
					if err != nil {
						return noun.Doing("list "+g.Full, err)
					}
					all = append(all, page...)
				}
				return nil
			})
			if err != nil {
				return err
			}
			if all == nil {
				all = []info{}
			}
			table := [][]string{{"NAME", "MODE", "NEXT", "PER SECOND", "ISSUED", "OUTSTANDING"}}
			for _, s := range all {
				table = append(table, []string{s.full(), s.Mode, nextCell(s), fmt.Sprintf("%.1f", s.PerSecond), fmt.Sprint(s.Issued), fmt.Sprint(s.Outstanding)})
			}
			return n.Print(all, table)
		},
	}
}

// listSequences fetches every page of a group.
func listSequences(ctx context.Context, s sequencepb.SequenceClient, of noun.Keyed, prefix string) ([]info, error) {
	var all []info
	req := &sequencepb.ListRequest{Group: of.Group, Region: of.Region, List: &sequencepb.List{Prefix: prefix, Limit: sequencePage}}
	for {
		page, err := s.List(ctx, req)
		if err != nil {
			return nil, err //nolint:wrapcheck // the caller says what for
		}
		for _, i := range page.GetSequences() {
			all = append(all, infoOf(of, i))
			req.List.After = proto.String(i.GetKey())
		}
		if !page.GetMore() || len(page.GetSequences()) == 0 {
			return all, nil
		}
	}
}

func nextCell(s info) string {
	switch {
	case s.Closed:
		return "closed"
	case s.Next == nil:
		return "-"
	}
	return strconv.FormatInt(*s.Next, 10)
}

func (n *Noun) describe() noun.Verb {
	return noun.Verb{
		Name: "describe", Usage: "show a sequence", Args: "NAME", Min: 1, Max: 1, Watchable: true,
		About: "NAME is sequence/NAME, or sequence/NAME#KEY for one of a family; \"sequence/\" may be left away. Accounts for gaps: " +
			"numbers that were skipped, those that clients gave up unused, and those of clients that went without a word.",
		Flags: []cli.Flag{noun.Region()},
		Run: func(ctx context.Context, c *cli.Context) error {
			of := noun.KeyedBy(c, sequenceApp)
			return n.service(ctx, func(ctx context.Context, s sequencepb.SequenceClient) error {
				r, err := s.Describe(ctx, &sequencepb.DescribeRequest{Group: of.Group, Region: of.Region, Describe: &sequencepb.Describe{Key: of.Key}})
				switch {
				case err != nil:
					return noun.Doing("describe "+of.Full, err)
				case !r.GetFound():
					return noun.Fault(noun.NotFound, "%s was not used yet: it begins with its first number", of.Full)
				}
				return n.described(infoOf(of, r.GetInfo()))
			})
		},
	}
}

func (n *Noun) described(s info) error {
	table := [][]string{{"NAME", s.full()}}
	add := func(what, value string) { table = append(table, []string{what, value}) }
	add("mode", s.Mode)
	add("next", nextCell(s))
	if s.Min != nil && s.Max != nil {
		add("range", fmt.Sprintf("%d to %d, step %d", *s.Min, *s.Max, s.Step))
	}
	if l := s.Layout; l != nil {
		add("layout", fmt.Sprintf("%d/%d/%d bits of milliseconds, worker, counter; from %s; workers leased for %s", l.TimeBits, l.WorkerBits, l.CounterBits,
			time.UnixMilli(int64(l.EpochMS)).UTC().Format(time.RFC3339), time.Duration(l.LeaseMS)*time.Millisecond))
	}
	if s.LogicalBits > 0 {
		add("layout", fmt.Sprintf("milliseconds, then %d bits of a logical part", s.LogicalBits))
	}
	if s.ScatterBits > 0 {
		add("layout", fmt.Sprintf("%d bits in reverse order", s.ScatterBits))
	}
	if s.ReservationMS > 0 {
		add("reserved", fmt.Sprintf("for %s", time.Duration(s.ReservationMS)*time.Millisecond))
	}
	if s.Quota != nil {
		add("quota", fmt.Sprintf("%d in %s", s.Quota.Numbers, time.Duration(s.Quota.PeriodMS)*time.Millisecond))
	}
	if s.Owner != "" {
		add("owner", s.Owner)
	}
	add("per second", fmt.Sprintf("%.1f", s.PerSecond))
	add("issued", fmt.Sprint(s.Issued))
	add("returned", fmt.Sprint(s.Returned))
	add("outstanding", fmt.Sprintf("%d in %d ranges", s.Outstanding, s.OutstandingRanges))
	add("gaps", fmt.Sprintf("%d skipped, %d unused, %d lost", s.Gaps.Skipped, s.Gaps.Unused, s.Gaps.Lost))
	if s.Mode == "gapfree" {
		add("numbers", fmt.Sprintf("%d committed, %d reserved, %d vacant", s.Committed, s.Reserved, s.Vacant))
	}
	if s.Mode == "time" {
		add("workers", fmt.Sprint(s.Workers))
	}
	return n.Print(s, table)
}

func (n *Noun) next() noun.Verb {
	return noun.Verb{
		Name: "next", Usage: "take the next numbers of a sequence", Args: "NAME", Min: 1, Max: 1,
		About: "Prints one number a line. Near the end of a sequence there may be fewer than asked for. The numbers are taken exactly once, " +
			"whatever happens to answers on the way.",
		Flags: []cli.Flag{&cli.Uint64Flag{Name: "count", Aliases: []string{"n"}, Value: 1, Usage: "take `N` numbers, at most 100000"}, noun.Region()},
		Run: func(ctx context.Context, c *cli.Context) error {
			if n := c.Uint64("count"); n == 0 || n > 100_000 {
				return noun.Fault(noun.Usage, "-n %d: take 1 to 100000 numbers at once", n)
			}
			of := noun.KeyedBy(c, sequenceApp)
			return n.service(ctx, func(ctx context.Context, s sequencepb.SequenceClient) error {
				r, err := takeOnce(ctx, s, of, &sequencepb.Next{Key: of.Key, Count: c.Uint64("count")})
				if err == nil {
					err = refusedSequence(of.Full, r)
				}
				if err != nil {
					return noun.Doing("take numbers of "+of.Full, err)
				}
				return n.printNumbers(of.Full, r.GetGrant())
			})
		},
	}
}

// takeOnce takes numbers as a client that is opened for that.
func takeOnce(ctx context.Context, s sequencepb.SequenceClient, of noun.Keyed, next *sequencepb.Next) (*sequencepb.Result, error) {
	opened, err := s.Open(ctx, &sequencepb.OpenRequest{Group: of.Group, Region: of.Region})
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what for
	}
	caller := &sequencepb.Caller{Client: opened.GetClient(), Serial: 1}
	r, err := s.Next(ctx, &sequencepb.NextRequest{Group: of.Group, Region: of.Region, Caller: caller, Next: next})
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what for
	}
	// A client that is not closed is forgotten some time, so a failure does not matter.
	_, _ = s.Close(ctx, &sequencepb.CloseRequest{Group: of.Group, Region: of.Region, Caller: &sequencepb.Caller{Client: opened.GetClient(), Serial: 2, Settled: 1}})
	return r, nil
}

// printNumbers prints the numbers of a grant.
func (n *Noun) printNumbers(full string, g *sequencepb.Grant) error {
	got := taken{Name: full, First: g.GetFirst(), Count: g.GetCount(), Step: g.GetStep(), Numbers: make([]int64, g.GetCount())}
	for i := range got.Numbers {
		v := g.GetFirst() + int64(i)*g.GetStep()
		if b := g.GetScatterBits(); b > 0 {
			v = int64(bits.Reverse64(uint64(v)) >> (64 - b))
		}
		got.Numbers[i] = v
	}
	if !n.Plain() {
		return n.Print(got, nil)
	}
	var out []byte
	for _, v := range got.Numbers {
		out = append(strconv.AppendInt(out, v, 10), '\n')
	}
	return n.Write(out)
}
