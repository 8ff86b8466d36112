package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/client"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/internal/chaos"
	"github.com/drumline/drumline/internal/localfleet"
)

const (
	patience  = 60 * time.Second
	downAfter = 5 * time.Second
)

func flags() []cli.Flag {
	return []cli.Flag{
		&cli.Uint64Flag{Name: "seed", Usage: "seed of the faults; 0 takes the time, and prints it"},
		&cli.IntFlag{Name: "rounds", Value: 8, Usage: "number of faults"},
		&cli.IntFlag{Name: "drummers", Value: 3, Usage: "number of drummers"},
		&cli.IntFlag{Name: "hosts", Value: 5, Usage: "number of nodehosts; one is broken at a time"},
		&cli.IntFlag{Name: "groups", Value: 12, Usage: "number of three-replica groups"},
		&cli.IntFlag{Name: "sequences", Value: 4, Usage: "number of groups of sequences besides; their ranges and jumps are judged, too"},
		&cli.DurationFlag{Name: "pace", Value: 50 * time.Millisecond, Usage: "time between two operations of a client"},
		&cli.StringFlag{Name: "dir", Usage: "directory of the fleet, kept at the end; default is a temporary one, kept only after a failure"},
		&cli.BoolFlag{Name: "dry-run", Usage: "print the faults of the seed and do nothing"},
	}
}

// result is what chaos prints at the end.
type result struct {
	Seed   uint64       `json:"seed"`
	Blows  []chaos.Blow `json:"blows"`
	Report chaos.Report `json:"report"`
	// Sequences is the report of the groups of sequences.
	Sequences chaos.Report `json:"sequences"`
	Passed    bool         `json:"passed"`
	Error     string       `json:"error,omitempty"`
}

// torment runs one seed.
func torment(c *cli.Context) (err error) {
	r := result{Seed: c.Uint64("seed")}
	if r.Seed == 0 {
		r.Seed = uint64(time.Now().UnixNano())
	}
	r.Blows = chaos.Schedule(r.Seed, c.Int("rounds"), numbered("host", c.Int("hosts")), numbered("drummer", c.Int("drummers")))
	say(c.App.ErrWriter, "seed %d, %d faults", r.Seed, len(r.Blows))
	if c.Bool("dry-run") {
		return write(c.App.Writer, r)
	}
	dir, err := directory(c.String("dir"))
	if err != nil {
		return err
	}
	err = errors.Join(inFleet(c, dir, &r))
	r.Passed = err == nil
	if err != nil {
		r.Error = err.Error()
		err = fmt.Errorf("%w\nthe fleet is kept in %s; again with: chaos --seed %d --rounds %d", err, dir, r.Seed, c.Int("rounds"))
	} else if c.String("dir") == "" {
		err = os.RemoveAll(dir)
	}
	return errors.Join(err, write(c.App.Writer, r))
}

func directory(asked string) (string, error) {
	if asked != "" {
		return asked, nil
	}
	return os.MkdirTemp("", "drumline-chaos-")
}

// inFleet runs the fleet, the clients and the faults.
func inFleet(c *cli.Context, dir string, r *result) (err error) {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the programs: %w", err)
	}
	crashed := make(chan string, 64)
	fleet, err := localfleet.Open(localfleet.Options{
		Dir: dir, Bin: filepath.Dir(self), Drummers: c.Int("drummers"), Hosts: c.Int("hosts"),
		Exited: func(name string, err error) { crashed <- fmt.Sprintf("%s ended by itself: %v", name, err) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fleet.Close(), drain(crashed)) }()
	if err := fleet.StartAll(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, patience)
	defer cancel()
	if err := fleet.WaitReady(ctx); err != nil {
		return err
	}
	cl, err := client.Open(ctx, fleet.APIs(localfleet.KindDrummer))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer cl.Close()
	if err := fleet.WaitAttended(ctx, cl); err != nil {
		return err
	}
	if err := launch(ctx, cl, append(named("kv", c.Int("groups")), named("sequence", c.Int("sequences"))...)); err != nil {
		return err
	}
	load := begin(c, cl, dir)
	err = strikeAll(c, fleet, cl, r.Blows)
	return errors.Join(err, load.finish(c, r))
}

// load is clients of both kinds of groups.
type load struct{ puts, counts *chaos.Workload }

func begin(c *cli.Context, cl *client.Client, dir string) load {
	how := chaos.Load{Groups: named("kv", c.Int("groups")), Pace: c.Duration("pace"), Run: "chaos", Drawings: dir}
	puts := chaos.Begin(c.Context, chaos.Clients{Client: cl}, how)
	how.Groups, how.Deadline = named("sequence", c.Int("sequences")), 20*time.Second
	return load{puts, chaos.BeginSequences(c.Context, sequencepb.NewSequenceClient(cl.Hosts()), how)}
}

// finish ends them and judges what they were told.
func (l load) finish(c *cli.Context, r *result) error {
	ctx := context.WithoutCancel(c.Context)
	var puts, counts error
	r.Report, puts = l.puts.Finish(ctx)
	r.Sequences, counts = l.counts.Finish(ctx)
	return errors.Join(puts, counts)
}

// strikeAll makes the blows one by one; the fleet is whole again before the next.
func strikeAll(c *cli.Context, fleet *localfleet.Fleet, cl *client.Client, blows []chaos.Blow) error {
	for i, b := range blows {
		say(c.App.ErrWriter, "%d/%d: %s", i+1, len(blows), b)
		if err := chaos.Strike(c.Context, fleet, b); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.Context, patience)
		err := whole(ctx, cl)
		cancel()
		if err != nil {
			return fmt.Errorf("after %s: %w", b, err)
		}
	}
	return nil
}

// named are names of groups of an app.
func named(app string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("%s/chaos-%03d", app, i+1))
	}
	return names
}

// launch defines groups and waits until they serve.
func launch(ctx context.Context, cl *client.Client, groups []string) error {
	req := &drummerpb.CreateGroupsRequest{Policy: &fleetpb.Policy{
		SuspectAfterMs: 3000, DownAfterMs: downAfter.Milliseconds(), OperationsPerHost: 8, OperationsTotal: 64,
	}}
	for _, name := range groups {
		app, _, _ := strings.Cut(name, "/")
		req.Specs = append(req.Specs, &fleetpb.Spec{Name: name, App: app, Replicas: 3})
	}
	if _, err := cl.Drummer().CreateGroups(ctx, req); err != nil {
		return fmt.Errorf("launch: %w", err)
	}
	return whole(ctx, cl)
}

// whole waits until every group is ok.
func whole(ctx context.Context, cl *client.Client) error {
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for {
		st, err := cl.Drummer().Status(ctx, &drummerpb.StatusRequest{})
		if err == nil && len(st.GetGroups()) == 1 && st.GetGroups()["ok"] > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not all groups are whole within %s: %v %w", patience, st.GetGroups(), errors.Join(err, ctx.Err()))
		case <-poll.C:
		}
	}
}

// drain turns crashes into an error.
func drain(crashed chan string) error {
	var errs []error
	for {
		select {
		case text := <-crashed:
			errs = append(errs, errors.New(text))
		default:
			return errors.Join(errs...)
		}
	}
}

func numbered(kind string, n int) []string {
	out := make([]string, 0, n)
	for i := range n {
		out = append(out, fmt.Sprintf("%s-%d", kind, i+1))
	}
	return out
}

func say(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, "chaos: "+format+"\n", args...) // the terminal is gone or it is not
}

func write(w io.Writer, r result) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
