package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/localfleet"
	"github.com/drumline/drumline/tools/bench/hits"
	"github.com/drumline/drumline/tools/bench/measure"
)

func counterCommand() *cli.Command {
	return &cli.Command{
		Name: "counter", Usage: "measure counting, beside a handler of net/http that counts in memory in a process of its own",
		Flags: commonFlags(
			&cli.StringFlag{Name: "only", Usage: "measure only rows that contain `TEXT`, beside the bare handler"},
			&cli.DurationFlag{Name: "time", Value: 2 * time.Second, Usage: "length of one run"}),
		Action: func(c *cli.Context) error {
			if err := prepare(c); err != nil {
				return err
			}
			return measureHits(c)
		},
	}
}

// measureHits measures rows in turn, round by round.
func measureHits(c *cli.Context) error {
	both, err := beginAll(c, measure.Setup{Subject: measure.Counters, Hosts: 3, Regions: []string{hits.Region}}, measure.Setup{Subject: measure.BareHTTP})
	if err != nil {
		return err
	}
	defer both.stop()
	byRow, medians, all := map[string][]measure.Sample{}, map[string]measure.Sample{}, []measure.Sample{}
	for range c.Int("rounds") {
		for _, name := range hits.Names() {
			of := both[0]
			if name == hits.Bare {
				of = both[1]
			} else if !strings.Contains(name, c.String("only")) {
				continue
			}
			s, err := of.Run(measure.Request{Op: measure.OpHits, Via: name, Time: c.Duration("time")})
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			byRow[name], all = append(byRow[name], s), append(all, s)
			medians[name] = measure.Median(byRow[name])
		}
	}
	return errors.Join(hits.Print(c.App.Writer, medians), save(c.String("json"), all))
}

// bareWeb is the yardstick as a subject.
type bareWeb struct{ *hits.Web }

func newWeb(ctx context.Context, _ string, s measure.Setup) (subject, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, hits.ServerCommand().Name)
	cmd.Stderr = os.Stderr
	w, err := hits.NewWeb(s, cmd)
	return bareWeb{w}, err
}

func (w bareWeb) run(ctx context.Context, r measure.Request) (measure.Sample, error) {
	return w.Run(ctx, r)
}

func (w bareWeb) close() error { return w.Close() }

// counters is a fleet of one region that counts, and those who call it.
type counters struct {
	*fleet
	caller *hits.Caller
}

func newCounters(ctx context.Context, dir string, s measure.Setup) (subject, error) {
	f, err := newProcesses(dir, s)
	if err != nil {
		return nil, err
	}
	q := &counters{fleet: f, caller: hits.NewCaller()}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if err = q.boot(ctx); err == nil {
		spec := &fleetpb.Spec{Name: hits.Name, Region: hits.Region, App: "counter", Replicas: uint32(s.Hosts)}
		_, err = q.client.Drummer().CreateGroups(ctx, &drummerpb.CreateGroupsRequest{Specs: []*fleetpb.Spec{spec}})
	}
	if err != nil {
		return nil, errors.Join(err, q.close())
	}
	return q, nil
}

func (q *counters) run(ctx context.Context, r measure.Request) (s measure.Sample, err error) {
	if r.Op == measure.OpPause || r.Op == measure.OpResume {
		return s, q.pause(r.Op == measure.OpPause)
	}
	places, err := q.places(ctx)
	if err != nil {
		return s, err
	}
	w, err := q.caller.Workload(places, &r)
	if err != nil {
		return s, err
	}
	before, err := q.entries(ctx, "", hits.Name)
	if err != nil {
		return s, err
	}
	w, counted := hits.Counted(w)
	err = q.profiledHosts(r, func() error {
		var e error
		s, e = q.Measured(ctx, r, q.usage, w)
		return e
	})
	if err != nil {
		return s, err
	}
	after, err := q.entries(ctx, "", hits.Name)
	if n := float64(counted.Load()); n > 0 {
		s.Entries = 1000 * float64(after-before) / n
	}
	return s, err
}

// places finds the leader: a pause may have cost one.
func (q *counters) places(ctx context.Context) (p hits.Places, err error) {
	addr, err := q.leader(ctx, hits.Name)
	if err != nil {
		return p, err
	}
	for _, host := range q.local.Processes() {
		switch {
		case host.Kind != localfleet.KindNodeHost:
		case host.API == addr:
			p.Leader = host.HTTP
		default:
			p.Others = append(p.Others, host.HTTP)
		}
	}
	p.AtLeader, err = q.conn(addr)
	return p, err
}

func (q *counters) close() error {
	q.caller.Close()
	return q.fleet.close()
}
