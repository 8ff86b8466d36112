package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/bench/measure"
	"github.com/drumline/drumline/tools/bench/process"
)

func numbers(list string) ([]int, error) {
	var out []int
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%w: %q is no list of positive numbers", errUsage, list)
		}
		out = append(out, n)
	}
	return out, nil
}

// prepare checks what all commands have in common.
func prepare(c *cli.Context) error {
	if c.NArg() > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, c.Args().First())
	}
	if c.Int("rounds") < 1 {
		return fmt.Errorf("%w: --rounds %d: want at least one", errUsage, c.Int("rounds"))
	}
	if d := c.String("profile"); d != "" {
		if err := os.MkdirAll(d, 0o750); err != nil {
			return fmt.Errorf("profile: %w", err)
		}
	}
	return nil
}

// profileTo completes a setup; the directory must hold for another working directory.
func profileTo(c *cli.Context, s measure.Setup) (measure.Setup, error) {
	if c.String("profile") == "" {
		return s, nil
	}
	dir, err := filepath.Abs(c.String("profile"))
	if err != nil {
		return s, fmt.Errorf("profile: %w", err)
	}
	s.Profile, s.Heap = dir, c.Bool("profile-heap")
	return s, nil
}

func begin(c *cli.Context, s measure.Setup) (*process.Process, error) {
	s, err := profileTo(c, s)
	if err != nil {
		return nil, err
	}
	return process.Start(c.Context, s)
}

// crew is subjects that are measured in turn; those that are not sleep.
type crew []*process.Process

func beginAll(c *cli.Context, setups ...measure.Setup) (crew, error) {
	var all crew
	for _, s := range setups {
		p, err := begin(c, s)
		if err != nil {
			all.stop()
			return nil, err
		}
		all = append(all, p)
		if err := p.Sleep(); err != nil {
			all.stop()
			return nil, err
		}
	}
	return all, nil
}

func (all crew) stop() {
	for _, p := range all {
		p.Stop()
	}
}

func save(path string, all []measure.Sample) error {
	if path == "" {
		return nil
	}
	raw, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(raw, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("save the samples: %w", err)
	}
	return nil
}
