package fleet

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	"unicode"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
)

// Limits of what the record holds. They bound a snapshot and the work of one
// command, far above what a deployment needs.
const (
	MaxSpecsPerCommand = 10_000
	MaxGroups          = 1_000_000
	MaxHosts           = 10_000
	MaxText            = 256
	MaxReason          = 1_024
	maxApps            = 256
	maxLabels          = 64
	maxRegions         = 7
	maxMembers         = 64
)

// DefaultPolicy is in force until somebody sets another.
func DefaultPolicy() *fleetpb.Policy {
	return &fleetpb.Policy{
		SuspectAfterMs:    (3 * time.Second).Milliseconds(),
		DownAfterMs:       (30 * time.Second).Milliseconds(),
		OperationsPerHost: 8,
		OperationsTotal:   64,

		OperationsPerRegion: 64,
		BalanceMoves:        8,
		BrakePercent:        40,
		BrakeWindowMs:       time.Minute.Milliseconds(),
		OperationDeadlineMs: (30 * time.Minute).Milliseconds(),
	}
}

// FillPolicy returns p with defaults where it says zero. A host is never down
// before it is suspect, so a short down_after shortens the default of suspect_after.
func FillPolicy(p *fleetpb.Policy) *fleetpb.Policy {
	d := DefaultPolicy()
	if p.GetDownAfterMs() != 0 {
		d.DownAfterMs = p.GetDownAfterMs()
		d.SuspectAfterMs = min(d.GetSuspectAfterMs(), d.GetDownAfterMs())
	}
	if p.GetSuspectAfterMs() != 0 {
		d.SuspectAfterMs = p.GetSuspectAfterMs()
	}
	d.OperationsPerHost = cmp.Or(p.GetOperationsPerHost(), d.GetOperationsPerHost())
	d.OperationsTotal = cmp.Or(p.GetOperationsTotal(), d.GetOperationsTotal())
	d.OperationsPerRegion = cmp.Or(p.GetOperationsPerRegion(), d.GetOperationsPerRegion())
	d.BalanceMoves = cmp.Or(p.GetBalanceMoves(), d.GetBalanceMoves())
	d.BrakePercent = cmp.Or(p.GetBrakePercent(), d.GetBrakePercent())
	d.BrakeWindowMs = cmp.Or(p.GetBrakeWindowMs(), d.GetBrakeWindowMs())
	d.OperationDeadlineMs = cmp.Or(p.GetOperationDeadlineMs(), d.GetOperationDeadlineMs())
	return d
}

// CheckPolicy says what is wrong with a policy, after FillPolicy.
func CheckPolicy(p *fleetpb.Policy) error {
	const least, most = 50 * time.Millisecond, 7 * 24 * time.Hour
	suspect, down := p.GetSuspectAfterMs(), p.GetDownAfterMs()
	switch {
	case suspect < least.Milliseconds() || suspect > most.Milliseconds():
		return fmt.Errorf("suspect_after of %d ms: want %s to %s", suspect, least, most)
	case down < suspect || down > most.Milliseconds():
		return fmt.Errorf("down_after of %d ms: want at least suspect_after (%d ms) and at most %s", down, suspect, most)
	case p.GetOperationsPerHost() > 10_000:
		return fmt.Errorf("operations_per_host of %d: want 1 to 10,000", p.GetOperationsPerHost())
	case p.GetOperationsTotal() > 100_000:
		return fmt.Errorf("operations_total of %d: want 1 to 100,000", p.GetOperationsTotal())
	case p.GetOperationsPerRegion() > 100_000 || p.GetBalanceMoves() > 100_000:
		return fmt.Errorf("operations_per_region of %d and balance_moves of %d: want 1 to 100,000", p.GetOperationsPerRegion(), p.GetBalanceMoves())
	case p.GetBrakePercent() > 100:
		return fmt.Errorf("brake_percent of %d: want 1 to 100", p.GetBrakePercent())
	case p.GetBrakeWindowMs() < least.Milliseconds() || p.GetBrakeWindowMs() > most.Milliseconds():
		return fmt.Errorf("brake_window of %d ms: want %s to %s", p.GetBrakeWindowMs(), least, most)
	case p.GetOperationDeadlineMs() < time.Second.Milliseconds() || p.GetOperationDeadlineMs() > most.Milliseconds():
		return fmt.Errorf("operation_deadline of %d ms: want 1s to %s", p.GetOperationDeadlineMs(), most)
	}
	return nil
}

// CheckSpec says what is wrong with what somebody wants of a group, or nil. Whether
// any host can run the app is not the record's to say: hosts may come later.
func CheckSpec(s *fleetpb.Spec) error {
	app, err := statemachines.AppOf(s.GetName())
	if err != nil {
		return err
	}
	if app != s.GetApp() {
		return fmt.Errorf("app %s: the name %q begins with the app %q", quote(s.GetApp()), s.GetName(), app)
	}
	switch s.GetReplicas() {
	case 1, 3, 5, 7:
	default:
		return fmt.Errorf("%d replicas: want 1, 3, 5 or 7", s.GetReplicas())
	}
	if err := checkRegions(s); err != nil {
		return err
	}
	return checkRules(s)
}

func checkRegions(s *fleetpb.Spec) error {
	if len(s.GetRegions()) > maxRegions {
		return fmt.Errorf("%d regions: at most %d make sense", len(s.GetRegions()), maxRegions)
	}
	var sum uint64
	for i, r := range s.GetRegions() {
		if err := checkText("region", r.GetRegion()); err != nil {
			return err
		}
		if i > 0 && s.GetRegions()[i-1].GetRegion() >= r.GetRegion() {
			return errors.New("regions must be sorted and named once each")
		}
		if r.GetCount() == 0 {
			return fmt.Errorf("region %q: a count of 0 says nothing; leave the region out", r.GetRegion())
		}
		sum += uint64(r.GetCount())
	}
	if len(s.GetRegions()) > 0 && sum != uint64(s.GetReplicas()) {
		return fmt.Errorf("the regions' counts add up to %d, and %d replicas are wanted", sum, s.GetReplicas())
	}
	return nil
}

// CheckHost says what is wrong with what a host says of itself, or nil.
func CheckHost(h *fleetpb.Host) error {
	for _, f := range []struct{ what, text string }{{"id", h.GetId()}, {"name", h.GetName()}, {"raft address", h.GetRaft()}, {"api address", h.GetApi()}} {
		if err := checkText(f.what, f.text); err != nil {
			return err
		}
	}
	if err := checkOptional("region", h.GetRegion()); err != nil {
		return err
	}
	if err := checkOptional("zone", h.GetZone()); err != nil {
		return err
	}
	if h.GetBootEpoch() == 0 || h.GetBootEpoch() > math.MaxInt64 {
		return fmt.Errorf("boot epoch %d: a host counts its starts from 1", h.GetBootEpoch())
	}
	if h.GetLost() || h.GetRemoved() || h.GetWanted() != nil {
		return errors.New("a host does not say of itself that it is lost, removed, or what is wanted of it")
	}
	if err := checkLabels(h.GetLabels()); err != nil {
		return err
	}
	return checkApps(h.GetApps())
}

func checkLabels(labels []string) error {
	if len(labels) > maxLabels {
		return fmt.Errorf("%d labels: at most %d are kept", len(labels), maxLabels)
	}
	for i, l := range labels {
		if err := checkText("label", l); err != nil {
			return err
		}
		if i > 0 && labels[i-1] >= l {
			return errors.New("labels must be sorted and given once each")
		}
	}
	return nil
}

func checkApps(apps []*fleetpb.App) error {
	if len(apps) > maxApps {
		return fmt.Errorf("%d apps: at most %d are kept", len(apps), maxApps)
	}
	for i, a := range apps {
		if err := statemachines.CheckAppName(a.GetName()); err != nil {
			return err
		}
		if a.GetVersion() == 0 {
			return fmt.Errorf("app %s: versions count from 1", a.GetName())
		}
		if i > 0 && apps[i-1].GetName() >= a.GetName() {
			return errors.New("apps must be sorted and named once each")
		}
	}
	return nil
}

// checkText refuses what is empty, too long, or would break a terminal.
func checkText(what, s string) error {
	if s == "" {
		return fmt.Errorf("the %s is empty", what)
	}
	return checkOptional(what, s)
}

func checkOptional(what, s string) error {
	if len(s) > MaxText {
		return fmt.Errorf("the %s has %d bytes, at most %d are kept", what, len(s), MaxText)
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return fmt.Errorf("the %s has a character that is not printable", what)
		}
	}
	return nil
}

// knows tells whether the host's program has the app.
func knows(h *fleetpb.Host, app string) bool { return VersionOf(h, app) > 0 }

// VersionOf returns the newest behaviour version of the app that the host's
// program knows; 0 when it does not know the app.
func VersionOf(h *fleetpb.Host, app string) uint32 {
	i, ok := slices.BinarySearchFunc(h.GetApps(), app, func(a *fleetpb.App, name string) int {
		return compare(a.GetName(), name)
	})
	if !ok {
		return 0
	}
	return h.GetApps()[i].GetVersion()
}

// quote bounds what is repeated of somebody's input.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
