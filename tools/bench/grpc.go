package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/drumline/drumline/client"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/localfleet"
	"github.com/drumline/drumline/tools/bench/echo"
	"github.com/drumline/drumline/tools/bench/hostprofile"
	"github.com/drumline/drumline/tools/bench/measure"
	"github.com/drumline/drumline/tools/bench/roads"
)

// bareEcho is the yardstick as a subject.
type bareEcho struct{ *echo.Echo }

func newEcho(_ context.Context, _ string, s measure.Setup) (subject, error) {
	e, err := echo.New(s, dial)
	return bareEcho{e}, err
}

func (e bareEcho) run(ctx context.Context, r measure.Request) (measure.Sample, error) {
	return e.Run(ctx, r)
}

func (e bareEcho) close() error { return e.Close() }

func dial(addr string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return conn, nil
}

// fleet is real processes: a drummer and three hosts.
type fleet struct {
	measure.Setup
	dir    string
	local  *localfleet.Fleet
	client *client.Client
	groups []*client.Group
	conns  map[string]*grpc.ClientConn // by address
	near   []roads.Target              // by group, at its leader's host
	far    []roads.Target              // by group, at another
}

func newFleet(ctx context.Context, dir string, s measure.Setup) (subject, error) {
	f, err := newProcesses(dir, s)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if err := f.launch(ctx); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// newProcesses prepares a fleet that has not started yet.
func newProcesses(dir string, s measure.Setup) (*fleet, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the programs: %w", err)
	}
	o := localfleet.Options{Dir: dir, Bin: filepath.Dir(self), Drummers: 1, Hosts: s.Hosts, Regions: s.Regions}
	if s.Profile != "" {
		if o.NodeHostBin, err = hostprofile.Link(dir, self); err != nil {
			return nil, err
		}
	}
	local, err := localfleet.Open(o)
	if err != nil {
		return nil, err
	}
	return &fleet{Setup: s, dir: dir, local: local, conns: map[string]*grpc.ClientConn{}}, nil
}

// boot starts the processes and connects to them.
func (f *fleet) boot(ctx context.Context) (err error) {
	if err = errors.Join(f.local.StartAll(), f.local.WaitReady(ctx)); err != nil {
		return err
	}
	if f.client, err = client.Open(ctx, f.local.APIs(localfleet.KindDrummer)); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return f.local.WaitAttended(ctx, f.client)
}

// launch defines the groups and waits for them.
func (f *fleet) launch(ctx context.Context) (err error) {
	if err = f.boot(ctx); err != nil {
		return err
	}
	for g := range f.Groups {
		name := "kv/bench-" + strconv.Itoa(g)
		req := &drummerpb.CreateGroupsRequest{Specs: []*fleetpb.Spec{{Name: name, App: "kv", Replicas: uint32(f.Hosts)}}}
		if _, err = f.client.Drummer().CreateGroups(ctx, req); err != nil {
			return fmt.Errorf("launch: %w", err)
		}
		f.groups = append(f.groups, f.client.Group(name))
	}
	return f.locate(ctx)
}

// locate finds every group's leader: before each run, because it may have moved.
func (f *fleet) locate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	f.near, f.far = nil, nil
	for _, g := range f.groups {
		var where *hostpb.Location
		var last error
		err := every(ctx, quickPoll, func() bool {
			where, last = g.Locate(ctx)
			return last == nil && where.GetLeaderApi() != ""
		}, func() string { return "find the leader of " + g.Name() })
		if err != nil {
			return errors.Join(err, last)
		}
		if err := f.aim(where); err != nil {
			return err
		}
	}
	return nil
}

// leader finds the host that leads a group.
func (f *fleet) leader(ctx context.Context, group string) (addr string, err error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	err = every(ctx, quickPoll, func() bool {
		where, err := f.client.Group(group).Locate(ctx)
		addr = where.GetLeaderApi()
		return err == nil && addr != ""
	}, func() string { return "find the leader of " + group })
	return addr, err
}

// aim notes where calls for a group go.
func (f *fleet) aim(where *hostpb.Location) error {
	other := ""
	for _, api := range f.local.APIs(localfleet.KindNodeHost) {
		if api != where.GetLeaderApi() {
			other = api
		}
	}
	for addr, to := range map[string]*[]roads.Target{where.GetLeaderApi(): &f.near, other: &f.far} {
		conn, err := f.conn(addr)
		if err != nil {
			return err
		}
		*to = append(*to, roads.Target{At: hostpb.NewGroupsClient(conn), Ref: &hostpb.GroupRef{Id: where.GetId()}})
	}
	return nil
}

// conn is the connection to a host; close closes it.
func (f *fleet) conn(addr string) (*grpc.ClientConn, error) {
	if known := f.conns[addr]; known != nil {
		return known, nil
	}
	conn, err := dial(addr)
	if err == nil {
		f.conns[addr] = conn
	}
	return conn, err
}

func (f *fleet) run(ctx context.Context, r measure.Request) (s measure.Sample, err error) {
	if r.Op == measure.OpPause || r.Op == measure.OpResume {
		return s, f.pause(r.Op == measure.OpPause)
	}
	if err = f.locate(ctx); err != nil {
		return s, err
	}
	w, err := f.workload(r)
	if err != nil {
		return s, err
	}
	err = f.profiledHosts(r, func() error {
		var e error
		s, e = f.Measured(ctx, r, f.usage, w)
		return e
	})
	return s, err
}

func (f *fleet) workload(r measure.Request) (w measure.Workload, err error) {
	w.Weight = 1
	switch r.Via {
	case roads.ViaLeader:
		w.Call, err = roads.Unary(r.Op, f.near)
	case roads.ViaOther:
		w.Call, err = roads.Unary(r.Op, f.far)
	case roads.ViaStream:
		w.Call, err = roads.ThroughClient(r.Op, f.groups)
	case roads.ViaBatch:
		return roads.InBatches(r.Op, f.groups, r.Callers)
	default:
		err = fmt.Errorf("%w: no road %q", errUsage, r.Via)
	}
	return w, err
}

// profiledHosts makes a run, with profiles of the hosts if they are wanted.
func (f *fleet) profiledHosts(r measure.Request, run func() error) error {
	return hostprofile.Fleet{Setup: f.Setup, Local: f.local, Dir: f.dir}.Around(r, run)
}

// pause stops or continues the fleet.
func (f *fleet) pause(stop bool) error {
	var errs []error
	for _, p := range f.local.Processes() {
		if stop {
			errs = append(errs, f.local.Pause(p.Name))
		} else {
			errs = append(errs, f.local.Resume(p.Name))
		}
	}
	return errors.Join(errs...)
}

// usage is that of this process, which makes the calls, and of the fleet's.
func (f *fleet) usage() measure.Usage {
	u := measure.Usage{CPU: measure.OwnCPU(), CallerAllocs: measure.OwnAllocs()}
	for _, p := range f.local.Processes() {
		u.CPU += measure.ProcessCPU(p.PID)
		if p.Kind == localfleet.KindNodeHost {
			n, _ := measure.ProcessMetric(p.HTTP, "go_memstats_mallocs_total") // an odd number in the table shows that there was none
			u.Allocs += uint64(n)
		}
	}
	return u
}

// entries is how many entries the logs of some groups of an app have.
func (f *fleet) entries(ctx context.Context, app string, names ...string) (n uint64, err error) {
	newest := map[string]uint64{}
	for _, p := range f.local.Processes() {
		if p.Kind != localfleet.KindNodeHost {
			continue
		}
		var status struct {
			Replicas []struct {
				Name    string `json:"name"`
				Applied uint64 `json:"applied"`
			} `json:"replicas"`
		}
		if err := measure.ProcessStatus(ctx, p.HTTP, &status); err != nil {
			return 0, err
		}
		for _, r := range status.Replicas {
			newest[r.Name] = max(newest[r.Name], r.Applied)
		}
	}
	for _, name := range names {
		n += newest[app+name]
	}
	return n, nil
}

func (f *fleet) close() error {
	var errs []error
	if f.client != nil {
		f.client.Close()
	}
	for _, c := range f.conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(append(errs, f.local.Close())...)
}
