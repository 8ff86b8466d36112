package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"google.golang.org/grpc"

	"github.com/drumline/drumline/client"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/internal/localfleet"
	"github.com/drumline/drumline/tools/bench/draws"
	"github.com/drumline/drumline/tools/bench/measure"
)

func sequenceCommand() *cli.Command {
	return &cli.Command{
		Name: "sequence", Usage: "measure numbers of sequences, beside rr_seq's figures",
		Flags: commonFlags(
			&cli.StringFlag{Name: "only", Usage: "measure only rows that contain `TEXT`, and SimpleBufSeq"},
			&cli.StringFlag{Name: "keys", Usage: "measure families of `N,…` keys instead, beside the first one"},
			&cli.DurationFlag{Name: "time", Value: 2 * time.Second, Usage: "length of one run"}),
		Action: func(c *cli.Context) error {
			if err := prepare(c); err != nil {
				return err
			}
			if c.IsSet("keys") {
				sizes, err := numbers(c.String("keys"))
				if err != nil {
					return err
				}
				return measureKeys(c, sizes)
			}
			if rows := chosen(c.String("only")); len(rows) > 1 {
				return measureNumbers(c, rows)
			}
			return fmt.Errorf("%w: --only %q: no row has that", errUsage, c.String("only"))
		},
	}
}

// chosen are the rows with a text in them, and always the yardstick.
func chosen(text string) []string {
	return slices.DeleteFunc(draws.Names(), func(name string) bool { return name != draws.Channel && !strings.Contains(name, text) })
}

// measureNumbers measures rows in turn, round by round.
func measureNumbers(c *cli.Context, rows []string) error {
	both, err := beginAll(c, measure.Setup{Subject: measure.Sequences, Hosts: 3},
		measure.Setup{Subject: measure.EchoGRPC, Groups: 1, Hosts: 1, Tick: loadTick, Connections: 1})
	if err != nil {
		return err
	}
	defer both.stop()
	byRow, medians, all := map[string][]measure.Sample{}, map[string]measure.Sample{}, []measure.Sample{}
	for range c.Int("rounds") {
		for _, name := range rows {
			of, r := both[0], measure.Request{Op: measure.OpNumbers, Via: name, Time: c.Duration("time")}
			if name == draws.Echo {
				of, r = both[1], measure.Request{Op: "propose", Callers: 256, Time: r.Time}
			}
			s, err := of.Run(r)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			byRow[name], all = append(byRow[name], s), append(all, s)
			medians[name] = measure.Median(byRow[name])
		}
	}
	return errors.Join(draws.Print(c.App.Writer, medians), save(c.String("json"), all))
}

// measureKeys measures families in turn, round by round, when all are filled.
func measureKeys(c *cli.Context, sizes []int) error {
	one, err := begin(c, measure.Setup{Subject: measure.Sequences, Hosts: 3})
	if err != nil {
		return err
	}
	defer one.Stop()
	f, err := draws.MeasureKeys(one.Run, sizes, c.Int("rounds"), c.Duration("time"))
	if err != nil {
		return err
	}
	return errors.Join(f.Print(c.App.Writer), save(c.String("json"), f.Samples()))
}

// sequences is a fleet with sequences; it is a draws.Keyed fleet.
type sequences struct {
	*fleet
	hosts *client.Client
}

func newSequences(ctx context.Context, dir string, s measure.Setup) (subject, error) {
	f, err := newProcesses(dir, s)
	if err != nil {
		return nil, err
	}
	q := &sequences{fleet: f}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if err := q.begin(ctx); err != nil {
		return nil, errors.Join(err, q.close())
	}
	return q, nil
}

// begin starts the fleet and makes its sequences.
func (q *sequences) begin(ctx context.Context) (err error) {
	if err = q.boot(ctx); err != nil {
		return err
	}
	if q.hosts, err = client.Open(ctx, q.local.APIs(localfleet.KindNodeHost)); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if err = q.make(ctx, draws.Dense, draws.Cached); err != nil {
		return err
	}
	cached := &sequencepb.Create{Definition: &sequencepb.Definition{Mode: sequencepb.Mode_MODE_CACHED}}
	_, err = sequencepb.NewSequenceClient(q.hosts.Hosts()).Create(ctx, &sequencepb.CreateRequest{Group: draws.Cached, Create: cached})
	return err
}

// make makes groups of sequences and waits for their leaders.
func (q *sequences) make(ctx context.Context, names ...string) error {
	req := &drummerpb.CreateGroupsRequest{}
	for _, name := range names {
		req.Specs = append(req.Specs, &fleetpb.Spec{Name: name, App: "sequence", Replicas: uint32(q.Setup.Hosts)})
	}
	if _, err := q.client.Drummer().CreateGroups(ctx, req); err != nil {
		return fmt.Errorf("launch: %w", err)
	}
	return q.led(ctx, names...)
}

// led waits for leaders: a pause may have cost one.
func (q *sequences) led(ctx context.Context, names ...string) error {
	for _, name := range names {
		if _, err := q.leader(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (q *sequences) run(ctx context.Context, r measure.Request) (s measure.Sample, err error) {
	if r.Op == measure.OpPause || r.Op == measure.OpResume {
		return s, q.pause(r.Op == measure.OpPause)
	}
	if r.Op == draws.OpFill {
		if err = q.make(ctx, draws.Family(r.Keys)); err != nil {
			return s, err
		}
		return draws.Fill(ctx, q, r.Keys)
	}
	if err = q.led(ctx, draws.Dense, draws.Cached); err != nil {
		return s, err
	}
	do := func() (measure.Sample, error) { return draws.Run(ctx, q, r) }
	if r.Op == draws.OpKeys {
		do = func() (measure.Sample, error) { return draws.OfKeys(ctx, q, r) }
	}
	err = q.profiledHosts(r, func() error {
		return q.Profiled(r, func() {
			if s, err = do(); err != nil {
				s.Failed, s.Error = s.Failed+1, err.Error()
			}
		})
	})
	return s, err
}

// HostsCPU implements draws.Keyed.
func (q *sequences) HostsCPU() (sum time.Duration) {
	for _, p := range q.hostProcesses() {
		sum += measure.ProcessCPU(p.PID)
	}
	return sum
}

// HostResident implements draws.Keyed.
func (q *sequences) HostResident() (mean float64) {
	all := q.hostProcesses()
	for _, p := range all {
		mean += measure.ProcessResident(p.PID) / float64(len(all))
	}
	return mean
}

func (q *sequences) hostProcesses() []localfleet.Process {
	return slices.DeleteFunc(q.local.Processes(), func(p localfleet.Process) bool { return p.Kind != localfleet.KindNodeHost })
}

// Hosts implements draws.Fleet.
func (q *sequences) Hosts() *client.Client { return q.hosts }

// AtLeader implements draws.Fleet.
func (q *sequences) AtLeader(ctx context.Context, group string) (*grpc.ClientConn, error) {
	addr, err := q.leader(ctx, group)
	if err != nil {
		return nil, err
	}
	return q.conn(addr)
}

// Fell implements draws.Fleet.
func (q *sequences) Fell(ctx context.Context, group string) (func(context.Context) error, error) {
	addr, err := q.leader(ctx, group)
	if err != nil {
		return nil, err
	}
	for _, p := range q.local.Processes() {
		if p.API == addr {
			raise := func(ctx context.Context) error {
				return errors.Join(q.local.Start(p.Name), q.local.WaitReady(ctx, p.Name))
			}
			return raise, q.local.Kill(p.Name)
		}
	}
	return nil, fmt.Errorf("no process has the address %s", addr)
}

func (q *sequences) close() error {
	if q.hosts != nil {
		q.hosts.Close()
	}
	return q.fleet.close()
}
