package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"
	"go.etcd.io/etcd/api/v3/version"
)

func flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "bin", Usage: "directory of nodehost and drummer (default: this program's)"},
		&cli.StringFlag{Name: "dir", Usage: "where both sides keep their data, in a directory that is removed (default: the system's temporary one)"},
		&cli.IntFlag{Name: "callers", Value: 256, Usage: "operations under way at a time"},
		&cli.IntFlag{Name: "groups", Value: 16, Usage: "groups that drumline's keys are spread over, beside the cells of one group"},
		&cli.IntFlag{Name: "batch", Value: 16, Usage: "operations of one call where drumline is called with batches; the number under way stays the same"},
		&cli.IntFlag{Name: "etcd-clients", Value: 1, Usage: "etcd clients that the callers share; each has a connection to every member"},
		&cli.DurationFlag{Name: "time", Value: 2 * time.Second, Usage: "length of one run"},
		&cli.IntFlag{Name: "rounds", Value: 3, Usage: "interleaved runs of each cell; medians are printed"},
		&cli.StringFlag{Name: "json", Usage: "also write what was measured to `FILE`"},
		&cli.StringFlag{Name: "update", Usage: "also write the table into `FILE`, between its markers"},
	}
}

// compare is the command.
func compare(c *cli.Context) error {
	if err := check(c); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(c.String("dir"), "drumline-peers-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // both sides have ended; a leftover hurts nobody
	r, err := compareIn(c, dir)
	if err != nil {
		return err
	}
	if err := r.print(c.App.Writer); err != nil {
		return err
	}
	if err := save(c.String("json"), r); err != nil {
		return err
	}
	return update(c.String("update"), r)
}

func check(c *cli.Context) error {
	if c.NArg() > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, c.Args().First())
	}
	for _, name := range []string{"callers", "groups", "batch", "etcd-clients", "rounds"} {
		if c.Int(name) < 1 {
			return fmt.Errorf("%w: --%s %d: want 1 or more", errUsage, name, c.Int(name))
		}
	}
	if c.Int("groups") > keyCount {
		return fmt.Errorf("%w: --groups %d: at most %d, each needs a key", errUsage, c.Int("groups"), keyCount)
	}
	if c.Duration("time") <= 0 {
		return fmt.Errorf("%w: --time %s: want more than 0", errUsage, c.Duration("time"))
	}
	return checkMarkers(c.String("update")) // before the minutes that it takes
}

func compareIn(c *cli.Context, dir string) (r *report, err error) {
	r = &report{Etcd: version.Version}
	if r.Sync, err = syncTime(dir); err != nil {
		return nil, err
	}
	bin, err := programs(c.String("bin"))
	if err != nil {
		return nil, err
	}
	set := newKeys()
	e, err := startEtcd(c.Context, filepath.Join(dir, "etcd"), c.Int("etcd-clients"), set)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	d, err := startDrumline(c.Context, filepath.Join(dir, "drumline"), bin, c.Int("groups"), set)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := r.rest(c.Context, e.pids(), d.pids()); err != nil {
		return nil, err
	}
	cells := append(e.cells(set), d.cells(c.Int("batch"))...)
	if err := rounds(c.Context, cells, c.Int("rounds"), func(x *cell) sample {
		return x.measure(c.Context, c.Int("callers"), c.Duration("time"))
	}); err != nil {
		return nil, err
	}
	for _, x := range cells {
		r.Samples = append(r.Samples, x.samples...)
		r.Medians = append(r.Medians, median(x.samples))
	}
	return r, nil
}

// rounds runs every cell once a round, so that what else happens on the machine
// strikes all alike.
func rounds(ctx context.Context, cells []*cell, n int, run func(*cell) sample) error {
	for range n {
		for _, x := range cells {
			if err := ctx.Err(); err != nil {
				return err
			}
			x.samples = append(x.samples, run(x))
		}
	}
	return nil
}

// programs is the directory of our programs.
func programs(given string) (string, error) {
	if given == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("find the programs: %w", err)
		}
		given = filepath.Dir(self)
	}
	abs, err := filepath.Abs(given) // they run in directories of their own
	if err != nil {
		return "", fmt.Errorf("find the programs: %w", err)
	}
	return abs, nil
}

func save(path string, r *report) error {
	if path == "" {
		return nil
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(raw, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("save what was measured: %w", err)
	}
	return nil
}
