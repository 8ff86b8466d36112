package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/offline"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/simulate"
)

func (t *tool) capacityReplay() verb {
	return verb{
		name: "replay", usage: offline.ReplayUsage, about: offline.ReplayAbout, flags: offline.ReplayFlags(),
		run: func(ctx context.Context, c *cli.Context) error {
			err := offline.Replay(ctx, c, t.in, t.out)
			if errors.Is(err, offline.ErrDiffer) {
				return &failure{code: exitFailed} // the last line says it all
			}
			return err
		},
	}
}

func (t *tool) capacitySimulate() verb {
	return verb{
		name: "simulate", usage: offline.SimulateUsage, about: offline.SimulateAbout, flags: offline.SimulateFlags(),
		run: func(ctx context.Context, c *cli.Context) error {
			r, said, err := offline.Simulate(ctx, c, t.in)
			if err != nil {
				return err
			}
			t.say("%s", said)
			return t.print(r, func() *grid { return &grid{header: simulate.Header(), rows: r.Cells()} })
		},
	}
}
