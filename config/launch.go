package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// maxLaunch bounds the groups that one file may define.
const maxLaunch = 100_000

// Launch is a launch file: what groups shall be, and the cluster's thresholds.
type Launch struct {
	// Policy to set; fields that are absent are left to the cluster's defaults.
	Policy Policy `yaml:"policy"`
	// Groups wanted.
	Groups []GroupSpec `yaml:"groups"`

	specs []*fleetpb.Spec
}

// Policy holds thresholds; zero means absent.
type Policy struct {
	// SuspectAfter: a host silent for longer gets no new replicas.
	SuspectAfter Duration `yaml:"suspect_after"`
	// DownAfter: the replicas of a host silent for longer are replaced.
	DownAfter Duration `yaml:"down_after"`
	// OperationsPerHost bounds the replicas being built on one host at a time.
	OperationsPerHost uint32 `yaml:"operations_per_host"`
	// OperationsTotal bounds the replacements under way in the cluster.
	OperationsTotal uint32 `yaml:"operations_total"`
	// OperationsPerRegion bounds the replicas being built in one region at a time.
	OperationsPerRegion uint32 `yaml:"operations_per_region"`
	// BalanceMoves bounds the moves under way that only balance the hosts.
	BalanceMoves uint32 `yaml:"balance_moves"`
	// BrakePercent: when more than this share of all hosts, and at least two, vanish within
	// BrakeWindow, nothing is moved. 100 never brakes for a share of the hosts.
	BrakePercent uint32 `yaml:"brake_percent"`
	// BrakeWindow is the time within which hosts vanish at once.
	BrakeWindow Duration `yaml:"brake_window"`
	// OperationDeadline is after how long an operation is shown as late.
	OperationDeadline Duration `yaml:"operation_deadline"`
	// UnreachableAfter: a host that drummers don't hear, but most of its neighbours do, is
	// replaced after so long.
	UnreachableAfter Duration `yaml:"unreachable_after"`
}

// GroupSpec is one entry of a launch file: a group, or Count groups.
type GroupSpec struct {
	// Name is app/name. With a Count it holds one number, like %03d, and the groups
	// are numbered from 1.
	Name string `yaml:"name"`
	// Region is the group's, where each region has one of that name: all its replicas are
	// there. Empty for most groups.
	Region string `yaml:"region"`
	// Count of groups; 0 is one group whose name has no number.
	Count uint32 `yaml:"count"`
	// App is the kind of state machine; empty means the name's part before the slash.
	App string `yaml:"app"`
	// Replicas is the number of voters: 1, 3, 5 or 7; 0 means 3, or what Regions sum up to.
	Replicas uint32 `yaml:"replicas"`
	// Regions is a placement rule: so many voters in each region.
	Regions map[string]uint32 `yaml:"regions"`
	// Require and Forbid are labels, like disk=ssd, that every host of a replica must have,
	// or none may have.
	Require []string `yaml:"require"`
	Forbid  []string `yaml:"forbid"`
	// Isolation is what no two replicas may share beside the host: zone or region.
	Isolation string `yaml:"isolation"`
	// Leaders are the regions whose replicas shall lead, best first.
	Leaders []string `yaml:"leaders"`
	// DownAfter is the group's own down_after; 0 means the policy's.
	DownAfter Duration `yaml:"down_after"`
	// Raft are the group's own Raft options; what is left out is as its hosts are configured.
	Raft RaftSpec `yaml:"raft"`
}

// RaftSpec are Raft options of one group.
type RaftSpec struct {
	// SnapshotEntries is how many entries are applied between two snapshots, at least.
	SnapshotEntries uint64 `yaml:"snapshot_entries"`
	// ElectionTicks and HeartbeatTicks are set both, or none.
	ElectionTicks  uint32 `yaml:"election_ticks"`
	HeartbeatTicks uint32 `yaml:"heartbeat_ticks"`
}

// options makes the message; nil when nothing is set.
func (r RaftSpec) options() *fleetpb.RaftOptions {
	if r == (RaftSpec{}) {
		return nil
	}
	return &fleetpb.RaftOptions{SnapshotEntries: r.SnapshotEntries, ElectionTicks: r.ElectionTicks, HeartbeatTicks: r.HeartbeatTicks}
}

// ReadLaunch reads a launch file and checks every entry; all that is wrong is
// reported with file, line and column.
func ReadLaunch(path string) (Launch, error) {
	var l Launch
	s, err := readStrict(path, &l)
	return l.checked(s, err)
}

// ReadLaunchFrom is ReadLaunch of what is open already, like standard input; name
// stands for the file in errors.
func ReadLaunchFrom(name string, from io.Reader) (Launch, error) {
	var l Launch
	s, err := readStrictFrom(name, from, &l)
	return l.checked(s, err)
}

// checked is the launch that was read, with its groups; err is of the reading.
func (l Launch) checked(s *strict, err error) (Launch, error) {
	if err != nil {
		return Launch{}, err
	}
	if l.specs, err = l.expand(s); err != nil {
		return Launch{}, err
	}
	return l, nil
}

// Specs are the groups of the file, one by one.
func (l Launch) Specs() []*fleetpb.Spec { return l.specs }

// FleetPolicy is the policy for the wire: nil when the file sets none. A field
// that the file leaves out is zero.
func (l Launch) FleetPolicy() *fleetpb.Policy {
	if l.Policy == (Policy{}) {
		return nil
	}
	return &fleetpb.Policy{
		SuspectAfterMs:    l.Policy.SuspectAfter.Milliseconds(),
		DownAfterMs:       l.Policy.DownAfter.Milliseconds(),
		OperationsPerHost: l.Policy.OperationsPerHost,
		OperationsTotal:   l.Policy.OperationsTotal,

		OperationsPerRegion: l.Policy.OperationsPerRegion,
		BalanceMoves:        l.Policy.BalanceMoves,
		BrakePercent:        l.Policy.BrakePercent,
		BrakeWindowMs:       l.Policy.BrakeWindow.Milliseconds(),
		OperationDeadlineMs: l.Policy.OperationDeadline.Milliseconds(),
		UnreachableAfterMs:  l.Policy.UnreachableAfter.Milliseconds(),
	}
}

// expand turns the entries into specs.
func (l Launch) expand(s *strict) ([]*fleetpb.Spec, error) {
	errs := []error{l.Policy.check(s)}
	var specs []*fleetpb.Spec
	first := map[[2]string]string{} // name and region → where it was defined
	for i, g := range l.Groups {
		at := s.where(fmt.Sprintf("groups[%d]", i))
		named, err := g.specs(maxLaunch - len(specs))
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: groups[%d]: %w", at, i, err))
			continue
		}
		for _, spec := range named {
			of := [2]string{spec.GetName(), spec.GetRegion()}
			if where, twice := first[of]; twice {
				errs = append(errs, fmt.Errorf("%s: groups[%d]: group %q is defined at %s too", at, i, spec.GetName(), where))
				break
			}
			first[of] = at
		}
		specs = append(specs, named...)
	}
	return specs, errors.Join(errs...)
}

func (p Policy) check(s *strict) error {
	var errs []error
	fail := func(key, text string) {
		errs = append(errs, fmt.Errorf("%s: policy.%s: %s", s.where("policy."+key), key, text))
	}
	if p.SuspectAfter < 0 || (p.SuspectAfter > 0 && p.SuspectAfter.Milliseconds() == 0) {
		fail("suspect_after", "is not at least 1ms")
	}
	if p.DownAfter < 0 || (p.DownAfter > 0 && p.DownAfter.Milliseconds() == 0) {
		fail("down_after", "is not at least 1ms")
	}
	if p.DownAfter > 0 && p.SuspectAfter > p.DownAfter {
		fail("suspect_after", fmt.Sprintf("%s is longer than down_after (%s)", p.SuspectAfter, p.DownAfter))
	}
	if p.UnreachableAfter < 0 || p.UnreachableAfter > 0 && p.UnreachableAfter < p.DownAfter {
		fail("unreachable_after", "is shorter than down_after")
	}
	return errors.Join(errs...)
}

// specs expands one entry into at most limit groups.
func (g GroupSpec) specs(limit int) ([]*fleetpb.Spec, error) {
	spec, err := g.spec()
	if err != nil {
		return nil, err
	}
	numbered := numberVerb.FindAllString(g.Name, -1)
	switch {
	case g.Count == 0 && len(numbered) == 0 && !strings.Contains(g.Name, "%"):
		return []*fleetpb.Spec{spec(g.Name)}, checkGroup(g.Name, spec(g.Name).GetApp())
	case g.Count == 0:
		return nil, fmt.Errorf("name %q has a number's place but no count; add count, or write the name out", g.Name)
	case len(numbered) != 1 || strings.Count(g.Name, "%") != 1:
		return nil, fmt.Errorf("name %q with a count needs exactly one number's place, like %%03d", g.Name)
	case int64(g.Count) > int64(limit):
		return nil, fmt.Errorf("count %d takes the file over %d groups", g.Count, maxLaunch)
	}
	specs := make([]*fleetpb.Spec, 0, g.Count)
	for n := range g.Count {
		s := spec(fmt.Sprintf(g.Name, n+1))
		if err := checkGroup(s.GetName(), s.GetApp()); err != nil {
			return nil, err
		}
		specs = append(specs, s)
	}
	return specs, nil
}

// numberVerb is the number's place in a name: %d, %3d is not one, %03d is.
var numberVerb = regexp.MustCompile(`%(0[1-9])?d`) //nolint:gochecknoglobals // a constant in all but type

// spec checks all but the name and returns what makes a spec of a name.
func (g GroupSpec) spec() (func(name string) *fleetpb.Spec, error) {
	var rules []*fleetpb.RegionCount
	sum := uint64(0)
	for _, r := range slices.Sorted(maps.Keys(g.Regions)) {
		if g.Regions[r] == 0 || r == "" {
			return nil, fmt.Errorf("regions: %q wants %d replicas; name a region and want 1 or more", r, g.Regions[r])
		}
		sum += uint64(g.Regions[r])
		rules = append(rules, &fleetpb.RegionCount{Region: r, Count: g.Regions[r]})
	}
	replicas := uint64(g.Replicas)
	if replicas == 0 {
		if replicas = 3; sum > 0 {
			replicas = sum
		}
	}
	if replicas > 7 || replicas%2 == 0 {
		return nil, fmt.Errorf("replicas %d; use 1, 3, 5 or 7", replicas)
	}
	if sum > 0 && sum != replicas {
		return nil, fmt.Errorf("regions sum up to %d, but replicas is %d; make them equal", sum, replicas)
	}
	if g.Region != "" && len(rules) > 0 {
		return nil, fmt.Errorf("region %q: all replicas of a region's group are there; leave regions out", g.Region)
	}
	isolation, err := g.isolation()
	if err != nil {
		return nil, err
	}
	return func(name string) *fleetpb.Spec {
		app := g.App
		if app == "" {
			app, _, _ = strings.Cut(name, "/")
		}
		return &fleetpb.Spec{
			Name: name, Region: g.Region, App: app, Replicas: uint32(replicas), Regions: rules,
			Require: slices.Sorted(slices.Values(g.Require)), Forbid: slices.Sorted(slices.Values(g.Forbid)),
			Isolation: isolation, Leaders: g.Leaders, DownAfterMs: g.DownAfter.Milliseconds(), Raft: g.Raft.options(),
		}
	}, nil
}

func (g GroupSpec) isolation() (fleetpb.Isolation, error) {
	switch g.Isolation {
	case "", "host":
		return fleetpb.Isolation_ISOLATION_UNSPECIFIED, nil
	case "zone":
		return fleetpb.Isolation_ISOLATION_ZONE, nil
	case "region":
		return fleetpb.Isolation_ISOLATION_REGION, nil
	}
	return 0, fmt.Errorf("isolation %q; use host, zone or region", g.Isolation)
}

// checkGroup finds what people get wrong in a name; the record checks the rest.
func checkGroup(name, app string) error {
	before, after, ok := strings.Cut(name, "/")
	switch {
	case name == "":
		return errors.New("has no name; write name: app/name, like kv/demo")
	case !ok || before == "" || after == "":
		return fmt.Errorf("name %q is not app/name, like kv/demo", name)
	case before != app:
		return fmt.Errorf("name %q begins with app %q, but app is %q; make them equal", name, before, app)
	case !printable(name) || strings.Contains(name, "#"):
		return fmt.Errorf("name %q has a hash sign or a character that does not print", name)
	}
	return nil
}
