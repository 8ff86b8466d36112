// Package simulator is the command that runs the simulated cluster: anywhere, without
// one, any part of what the tests run.
package simulator

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/drummer/export"
	"github.com/drumline/drumline/drummer/sim"
	"github.com/drumline/drumline/drummer/sim/cover"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// shrinkRuns bounds the search for the shortest history.
const shrinkRuns = 300

// Report is what a simulation came to.
type Report struct {
	Schedules int     `json:"schedules"`
	Hours     float64 `json:"virtual_hours"`
	Seconds   float64 `json:"seconds"`
	Faults    int     `json:"faults"`
	Steps     int     `json:"steps"`
	Orders    int     `json:"orders"`
	Proposals int     `json:"proposals"`
	// Hash is that of the only schedule; of several, the hashes of all, mixed.
	Hash     string    `json:"hash"`
	Failures []Failure `json:"failures"`
	// Empty are the rows of the coverage table, operation × step × fault, that nothing reached.
	Empty []string `json:"empty_rows,omitempty"`
}

// Failure is a schedule that broke promises.
type Failure struct {
	Seed       uint64   `json:"seed"`
	Violations []string `json:"violations"`
	// Shortest is the command that replays the shortest history found.
	Shortest string `json:"shortest"`
}

// Verb is the command simulate.
func Verb(con noun.Console) noun.Verb {
	return noun.Verb{
		Name: "simulate", Usage: "run the supervisor against simulated hosts, links and groups in virtual time, with faults",
		About: "Every schedule is the life of a cluster of one to four hours: groups are launched, faults drawn from the seed strike, all is " +
			"healed, and the cluster must become what is wanted and then rest. The record, the planner, the leader's loop and the hosts' decisions are " +
			"the real ones. Exit code 1 if a promise is broken; the shortest history that still breaks it is looked for, and the command that " +
			"replays it is printed. The same flags give the same history. It needs no cluster; with --from it begins with a live one's hosts, groups and " +
			"policy, as `record export` saved them.",
		Flags: flags(),
		Run:   func(ctx context.Context, c *cli.Context) error { return run(ctx, con, c) },
	}
}

func flags() []cli.Flag {
	return []cli.Flag{
		&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "`SEED` of the first schedule; the next has the next one"},
		&cli.IntFlag{Name: "schedules", Value: 1, Usage: "run `N` schedules"},
		&cli.IntFlag{Name: "hosts", DefaultText: "drawn, 3 to 12", Usage: "`N` hosts"},
		&cli.IntFlag{Name: "groups", DefaultText: "drawn, 1 to 60", Usage: "`N` groups at first"},
		&cli.IntFlag{Name: "faults", DefaultText: "drawn, 10 to 24", Usage: "draw `N` faults"},
		&cli.IntFlag{Name: "wishes", DefaultText: "drawn, up to 12", Usage: "draw `N` commands of operators; -1 for none"},
		&cli.IntFlag{Name: "blows", DefaultText: "drawn, up to 3", Usage: "draw `N` rarer blows: hosts that flap, lost quorums with their recovery, other drummers; -1 for none"},
		&cli.IntFlag{Name: "errands", DefaultText: "6", Usage: "bring about `N` operations, each with a fault that lies in wait for one of its steps; -1 for none"},
		&cli.StringFlag{Name: "from", DefaultText: "a new cluster", Usage: "begin with the fleet in `FILE`, of record export: its hosts, groups and policy"},
		&cli.StringFlag{Name: "keep", DefaultText: "all", Usage: "let only the faults and wishes of these `PLACES` come true, as 0,4,7"},
		&cli.BoolFlag{Name: "story", DisableDefaultText: true, Usage: "tell what happened; with one schedule"},
		&cli.BoolFlag{Name: "coverage", DisableDefaultText: true, Usage: "print which faults struck which operations at which steps, and how those ended; exit code 1 if one never did"},
	}
}

// setup reads the flags.
func setup(c *cli.Context) (sim.Setup, error) {
	s := sim.Setup{Seed: c.Uint64("seed"), Hosts: c.Int("hosts"), Groups: c.Int("groups"), Faults: c.Int("faults"), Wishes: c.Int("wishes"), Blows: c.Int("blows"), Errands: c.Int("errands"), Story: c.Bool("story")}
	switch {
	case c.Int("schedules") < 1:
		return s, usage("--schedules: want at least 1")
	case s.Story && c.Int("schedules") > 1:
		return s, usage("--story tells of one schedule: leave --schedules out")
	case s.Hosts < 0 || s.Hosts > 100 || s.Hosts > 0 && s.Hosts < 3:
		return s, usage("--hosts: want 3 to 100")
	case min(s.Groups, s.Faults) < 0 || max(s.Groups, s.Faults, s.Wishes, s.Blows, s.Errands) > 10_000:
		return s, usage("--groups, --faults, --wishes, --blows and --errands: want at most 10,000")
	case c.IsSet("from") && (c.IsSet("hosts") || c.IsSet("groups")):
		return s, usage("--from: hosts and groups are those of the file; leave --hosts and --groups out")
	}
	for _, word := range strings.FieldsFunc(c.String("keep"), func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(word)
		if err != nil || n < 0 {
			return s, usage("--keep: %q is no place of a fault", word)
		}
		s.Keep = append(s.Keep, n)
	}
	err := from(&s, c.String("from"))
	return s, err
}

// from reads the fleet to begin with, if there is one.
func from(s *sim.Setup, name string) error {
	if name == "" {
		return nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return noun.Doing("read the fleet to begin with", err)
	}
	if s.From, err = export.Read(data); err != nil {
		return noun.Doing("read "+name, err)
	}
	s.File = name
	return nil
}

func usage(format string, args ...any) error {
	return &noun.Error{Exit: noun.Usage, Text: fmt.Sprintf(format, args...)}
}

func run(ctx context.Context, con noun.Console, c *cli.Context) error {
	first, err := setup(c)
	if err != nil {
		return err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(1500)) // little is kept, much is made
	r := &runner{con: con, cover: cover.Table{}, begun: time.Now(), total: c.Int("schedules")}
	r.report.Failures = []Failure{}
	sim.Many(first, r.total, runtime.GOMAXPROCS(0), func(o *sim.Outcome) bool {
		r.take(o)
		return ctx.Err() == nil
	})
	for _, line := range r.story {
		con.Say("%s", line)
	}
	return r.finish(c)
}

// runner gathers outcomes.
type runner struct {
	con    noun.Console
	report Report
	cover  cover.Table
	story  []string
	begun  time.Time
	total  int
	hash   uint64
	told   time.Duration
}

// maxFailures are shrunk and reported.
const maxFailures = 5

func (r *runner) take(o *sim.Outcome) {
	p := &r.report
	p.Schedules++
	p.Hours += o.Virtual.Hours()
	p.Faults += o.Setup.Faults
	p.Steps += o.Steps
	p.Orders += o.Orders
	p.Proposals += o.Proposals
	r.hash ^= o.Hash
	r.cover.Add(o.Coverage)
	r.story = o.Story
	if len(o.Violations) > 0 && len(p.Failures) < maxFailures {
		short := sim.Shrink(o.Setup, shrinkRuns)
		f := Failure{Seed: o.Setup.Seed, Violations: o.Violations, Shortest: short.Setup.Command()}
		p.Failures = append(p.Failures, f)
		r.con.Say("seed %d: %s\nreplay the shortest history with: %s --story", f.Seed, f.Violations[0], f.Shortest)
	}
	if since := time.Since(r.begun); since-r.told > 10*time.Second {
		r.told = since
		r.con.Say("%d of %d schedules, %.0f a second", p.Schedules, r.total, float64(p.Schedules)/since.Seconds())
	}
}

func (r *runner) finish(c *cli.Context) error {
	p := &r.report
	p.Seconds = time.Since(r.begun).Seconds()
	p.Hash = fmt.Sprintf("%016x", r.hash)
	if c.Bool("coverage") {
		p.Empty = r.cover.Empty(sim.Kinds())
		r.con.Say("%s", r.cover.Text(sim.Kinds()))
	}
	err := r.con.Print(p, [][]string{
		{"SCHEDULES", "VIRTUAL", "TOOK", "FAULTS", "STEPS", "ORDERS", "PROPOSALS", "HASH", "FAILURES"},
		{
			strconv.Itoa(p.Schedules), fmt.Sprintf("%.1fh", p.Hours), fmt.Sprintf("%.1fs", p.Seconds), strconv.Itoa(p.Faults),
			strconv.Itoa(p.Steps), strconv.Itoa(p.Orders), strconv.Itoa(p.Proposals), p.Hash, strconv.Itoa(len(p.Failures)),
		},
	})
	switch {
	case err != nil:
		return err
	case len(p.Failures) > 0:
		return &noun.Error{Exit: 1, Text: "promises are broken; the histories are printed above"}
	case len(p.Empty) > 0:
		return &noun.Error{Exit: 1, Text: "faults that never struck at these steps, so run more schedules: " + strings.Join(p.Empty, ", ")}
	}
	return nil
}
