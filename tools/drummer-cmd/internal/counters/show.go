package counters

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/statemachines"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// page is how many counters one call asks for.
const page = 1000

// value is a counter's value after a change.
type value struct {
	Name     string `json:"name" yaml:"name"`
	Value    int64  `json:"value" yaml:"value"`
	Repeated bool   `json:"repeated" yaml:"repeated"`
}

// slot is what one region counted.
type slot struct {
	Region      string `json:"region" yaml:"region"`
	Incarnation string `json:"incarnation" yaml:"incarnation"`
	Added       uint64 `json:"added" yaml:"added"`
	Subtracted  uint64 `json:"subtracted" yaml:"subtracted"`
	State       string `json:"state" yaml:"state"`
	AsOf        string `json:"as_of" yaml:"as_of"`
}

// info is a counter.
type info struct {
	Name       string `json:"name" yaml:"name"`
	Region     string `json:"region" yaml:"region"`
	Value      int64  `json:"value" yaml:"value"`
	Overflow   bool   `json:"overflow" yaml:"overflow"`
	Generation uint64 `json:"generation" yaml:"generation"`
	Slots      []slot `json:"slots" yaml:"slots"`
	// Stale are regions that a global read had no answer from.
	Stale []string `json:"stale,omitempty" yaml:"stale,omitempty"`
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// moment is a time in UTC; empty for none.
func moment(ms uint64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(int64(ms)).UTC().Format("2006-01-02T15:04:05.000Z")
}

// infoOf joins a counter with what is known of its origins.
func infoOf(of noun.Keyed, i *counterpb.Info, regions []*counterpb.Region) info {
	out := info{Name: of.Group, Region: of.Region, Value: i.GetValue(), Overflow: i.GetOverflow(), Generation: i.GetGeneration(), Slots: []slot{}}
	if i.GetKey() != "" {
		out.Name += "#" + i.GetKey()
	}
	for _, s := range i.GetSlots() {
		next := slot{
			Region: s.GetOrigin().GetRegion(), Incarnation: fmt.Sprintf("%016x", s.GetOrigin().GetIncarnation()),
			Added: s.GetAdded() - s.GetBaseAdded(), Subtracted: s.GetSubtracted() - s.GetBaseSubtracted(), State: "relayed",
		}
		for _, r := range regions {
			if proto.Equal(r.GetOrigin(), s.GetOrigin()) {
				next.State, next.AsOf = stateOf(r), moment(r.GetWallMs())
			}
		}
		out.Slots = append(out.Slots, next)
	}
	return out
}

func stateOf(r *counterpb.Region) string {
	switch {
	case r.GetOwn():
		return "own"
	case r.GetRetired():
		return "retired"
	case r.GetPast():
		return "past"
	}
	return "live"
}

func (n *Noun) list() noun.Verb {
	return noun.Verb{
		Name: "list", Usage: "list counters", Args: "[GROUP [PREFIX]]", Max: 2, Watchable: true,
		About: "Lists the counters of all groups, or those of GROUP whose keys begin with PREFIX, page by page.",
		Flags: []cli.Flag{regionFlag()},
		Run: func(ctx context.Context, c *cli.Context) error {
			groups, err := n.Families(ctx, c, counterApp)
			if err != nil {
				return err
			}
			all := []info{}
			err = n.service(ctx, func(ctx context.Context, s counterpb.CounterClient) error {
				for _, g := range groups {
					more, err := listCounters(ctx, s, g, c.Args().Get(1))
					if err != nil {
						return noun.Doing("list "+g.Full, err)
					}
					all = append(all, more...)
				}
				return nil
			})
			if err != nil {
				return err
			}
			table := [][]string{{"NAME", "VALUE", "SLOTS"}}
			for _, i := range all {
				table = append(table, []string{statemachines.NameIn(i.Name, i.Region), decimal(i.Value), strconv.Itoa(len(i.Slots))})
			}
			return n.Print(all, table)
		},
	}
}

// listCounters fetches every page of a group.
func listCounters(ctx context.Context, s counterpb.CounterClient, of noun.Keyed, prefix string) ([]info, error) {
	var all []info
	req := &counterpb.ListRequest{Group: of.Group, Region: of.Region, List: &counterpb.List{Prefix: prefix, Limit: page}}
	for {
		got, err := s.List(ctx, req)
		if err != nil {
			return nil, err //nolint:wrapcheck // the caller says what for
		}
		for _, i := range got.GetCounters() {
			all = append(all, infoOf(of, i, nil))
			req.List.After = proto.String(i.GetKey())
		}
		if !got.GetMore() || len(got.GetCounters()) == 0 {
			return all, nil
		}
	}
}

// look is a verb that shows something of one counter.
type look struct {
	name, usage, about string
	flags              []cli.Flag
	// ask is given the flags before anybody is asked, and returns what asks.
	ask func(c *cli.Context) (question, error)
}

// question asks about a counter: for the answer as it is, and as a table.
type question func(ctx context.Context, s counterpb.CounterClient, of noun.Keyed) (answer any, table [][]string, err error)

func (n *Noun) look(v look) noun.Verb {
	return noun.Verb{
		Name: v.name, Usage: v.usage, Args: "NAME", Min: 1, Max: 1, Watchable: true, About: aboutName + v.about, Flags: append(v.flags, regionFlag()),
		Run: func(ctx context.Context, c *cli.Context) error {
			ask, err := v.ask(c)
			if err != nil {
				return err
			}
			return n.service(ctx, func(ctx context.Context, s counterpb.CounterClient) error {
				answer, table, err := ask(ctx, s, noun.KeyedBy(c, counterApp))
				if err != nil {
					return err
				}
				return n.Print(answer, table)
			})
		},
	}
}

func (n *Noun) get() noun.Verb {
	return n.look(look{
		name: "get", usage: "show a counter",
		about: "Shows the value, and what each region counted up to when, as a region knows it; --region says which. --read=global asks all " +
			"regions and names those that do not answer as stale; --read=exact fails then.",
		flags: []cli.Flag{&cli.StringFlag{Name: "read", Value: "linearizable", Usage: "`LEVEL` of the read: local, linearizable, global or exact"}},
		ask: func(c *cli.Context) (question, error) {
			word := c.String("read")
			level, known := counterpb.Level_value["LEVEL_"+strings.ToUpper(word)]
			if !known || level == 0 {
				return nil, noun.Fault(noun.Usage, "--read=%s is not known: use local, linearizable, global or exact", word)
			}
			return askValue(counterpb.Level(level)), nil
		},
	})
}

func askValue(level counterpb.Level) question {
	return func(ctx context.Context, s counterpb.CounterClient, of noun.Keyed) (any, [][]string, error) {
		r, err := s.Get(ctx, &counterpb.GetRequest{Group: of.Group, Region: of.Region, Key: of.Key, Level: level})
		switch {
		case err != nil:
			return nil, nil, noun.Doing("get "+of.Full, err)
		case !r.GetFound():
			return nil, nil, uncounted(of)
		}
		i := infoOf(of, r.GetInfo(), r.GetRegions())
		i.Stale = r.GetStale()
		table := [][]string{{"NAME", statemachines.NameIn(i.Name, i.Region)}, {"value", decimal(i.Value)}}
		for _, s := range i.Slots {
			table = append(table, []string{
				"region " + or(s.Region, "-"),
				fmt.Sprintf("%d added, %d subtracted, %s as of %s, incarnation %s", s.Added, s.Subtracted, s.State, or(s.AsOf, "-"), s.Incarnation),
			})
		}
		if len(i.Stale) > 0 {
			table = append(table, []string{"stale", strings.Join(i.Stale, ", ") + ": no answer, as old as it says above"})
		}
		return i, table, nil
	}
}

// uncounted is the failure of a counter that does not exist.
func uncounted(of noun.Keyed) error {
	return noun.Fault(noun.NotFound, "%s was not counted on yet: it is at 0", of.Full)
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

// window is a window of a counter.
type window struct {
	Start      string  `json:"start" yaml:"start"`
	Seconds    float64 `json:"seconds" yaml:"seconds"`
	Added      uint64  `json:"added" yaml:"added"`
	Subtracted uint64  `json:"subtracted" yaml:"subtracted"`
	Sealed     bool    `json:"sealed" yaml:"sealed"`
}

func (n *Noun) windows() noun.Verb {
	return n.look(look{
		name: "windows", usage: "show what was counted when", about: "Windows in which nothing was counted are left out. A sealed one never changes again.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "resolution", Aliases: []string{"r"}, Value: "minute", Usage: "`LENGTH` of the windows: second, ten-seconds, minute, hour or day"},
			&cli.UintFlag{Name: "last", Aliases: []string{"n"}, Value: 20, Usage: "the newest `N` windows; 0 for all that are kept"},
		},
		ask: func(c *cli.Context) (question, error) {
			word := c.String("resolution")
			r, known := counterpb.Resolution_value["RESOLUTION_"+strings.ToUpper(strings.ReplaceAll(word, "-", "_"))]
			if !known || r == 0 {
				return nil, noun.Fault(noun.Usage, "--resolution=%s is not known: use second, ten-seconds, minute, hour or day", word)
			}
			return askWindows(counterpb.Resolution(r), uint32(min(c.Uint("last"), 100_000))), nil
		},
	})
}

func askWindows(r counterpb.Resolution, last uint32) question {
	return func(ctx context.Context, s counterpb.CounterClient, of noun.Keyed) (any, [][]string, error) {
		got, err := s.Windows(ctx, &counterpb.WindowsRequest{Group: of.Group, Region: of.Region, Windows: &counterpb.Windows{Key: of.Key, Resolution: r, Limit: last}})
		if err != nil {
			return nil, nil, noun.Doing("windows of "+of.Full, err)
		}
		if !got.GetFound() {
			return nil, nil, uncounted(of)
		}
		all, table := []window{}, [][]string{{"START", "ADDED", "SUBTRACTED", "SEALED"}}
		for _, x := range got.GetWindows() {
			all = append(all, window{moment(x.GetStartMs()), float64(x.GetLengthMs()) / 1000, x.GetAdded(), x.GetSubtracted(), x.GetSealed()})
			table = append(table, []string{moment(x.GetStartMs()), fmt.Sprint(x.GetAdded()), fmt.Sprint(x.GetSubtracted()), yes(x.GetSealed())})
		}
		return all, table, nil
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// rated is how fast a counter grows.
type rated struct {
	Name       string  `json:"name" yaml:"name"`
	PerSecond  float64 `json:"per_second" yaml:"per_second"`
	Added      uint64  `json:"added" yaml:"added"`
	Subtracted uint64  `json:"subtracted" yaml:"subtracted"`
	From       string  `json:"from" yaml:"from"`
	To         string  `json:"to" yaml:"to"`
}

func (n *Noun) rate() noun.Verb {
	return n.look(look{
		name: "rate", usage: "show how fast a counter grows", about: "Adds up the full windows of the time before now.",
		flags: []cli.Flag{&cli.DurationFlag{Name: "over", Value: time.Minute, Usage: "look back for `DURATION`"}},
		ask: func(c *cli.Context) (question, error) {
			if c.Duration("over") < time.Second {
				return nil, noun.Fault(noun.Usage, "--over=%v: look back for a second or more", c.Duration("over"))
			}
			return askRate(c.Duration("over")), nil
		},
	})
}

func askRate(over time.Duration) question {
	return func(ctx context.Context, s counterpb.CounterClient, of noun.Keyed) (any, [][]string, error) {
		r, err := s.Rate(ctx, &counterpb.RateRequest{Group: of.Group, Region: of.Region, Key: of.Key, OverMs: uint64(over.Milliseconds())})
		if err != nil {
			return nil, nil, noun.Doing("rate of "+of.Full, err)
		}
		if !r.GetFound() {
			return nil, nil, uncounted(of)
		}
		out := rated{of.Full, r.GetPerSecond(), r.GetAdded(), r.GetSubtracted(), moment(r.GetFromMs()), moment(r.GetToMs())}
		return out, [][]string{
			{"NAME", "PER SECOND", "ADDED", "SUBTRACTED", "FROM", "TO"},
			{of.Full, fmt.Sprintf("%.2f", out.PerSecond), fmt.Sprint(out.Added), fmt.Sprint(out.Subtracted), out.From, out.To},
		}, nil
	}
}

func (n *Noun) watch() noun.Verb {
	return noun.Verb{
		Name: "watch", Usage: "print the value whenever it changes", Args: "NAME", Min: 1, Max: 1,
		About: aboutName + "Prints one value a line until the time is over, or until --times values were printed.",
		Flags: []cli.Flag{
			regionFlag(),
			&cli.DurationFlag{Name: "every", Value: time.Second, Usage: "look every `DURATION`, 100ms at least"},
			&cli.UintFlag{Name: "times", Aliases: []string{"n"}, DefaultText: "no end", Usage: "end after `N` values"},
		},
		Run: func(ctx context.Context, c *cli.Context) error {
			of := noun.KeyedBy(c, counterApp)
			conn, err := n.Client(ctx)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			stream, err := counterpb.NewCounterClient(conn.Hosts()).Watch(ctx, &counterpb.WatchRequest{Group: of.Group, Region: of.Region, Key: of.Key, EveryMs: uint64(max(c.Duration("every").Milliseconds(), 0))})
			for seen := uint(0); err == nil && (c.Uint("times") == 0 || seen < c.Uint("times")); seen++ {
				var r *counterpb.GetResponse
				if r, err = stream.Recv(); err == nil {
					err = n.Write([]byte(decimal(r.GetInfo().GetValue()) + "\n"))
				}
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return noun.Doing("watch "+of.Full, err)
		},
	}
}
