package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/client"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
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
	Passed bool         `json:"passed"`
	Error  string       `json:"error,omitempty"`
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
	groups, err := launch(ctx, cl, c.Int("groups"))
	if err != nil {
		return err
	}
	load := chaos.Begin(c.Context, chaos.Clients{Client: cl}, chaos.Load{Groups: groups, Pace: c.Duration("pace"), Run: "chaos", Drawings: dir})
	strikes := strikeAll(c, fleet, cl, r.Blows)
	report, err := load.Finish(context.WithoutCancel(c.Context))
	r.Report = report
	return errors.Join(strikes, err)
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

// launch defines groups and waits until they serve.
func launch(ctx context.Context, cl *client.Client, n int) ([]string, error) {
	req := &drummerpb.CreateGroupsRequest{Policy: &fleetpb.Policy{
		SuspectAfterMs: 3000, DownAfterMs: downAfter.Milliseconds(), OperationsPerHost: 8, OperationsTotal: 64,
	}}
	groups := []string{}
	for i := range n {
		groups = append(groups, fmt.Sprintf("kv/chaos-%03d", i+1))
		req.Specs = append(req.Specs, &fleetpb.Spec{Name: groups[i], App: "kv", Replicas: 3})
	}
	if _, err := cl.Drummer().CreateGroups(ctx, req); err != nil {
		return nil, fmt.Errorf("launch: %w", err)
	}
	return groups, whole(ctx, cl)
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
