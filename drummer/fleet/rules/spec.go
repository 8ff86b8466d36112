package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
)

// CheckSpec says what is wrong with what somebody wants of a group, or nil. Whether
// any host can run the app is not the record's to say: hosts may come later.
func CheckSpec(s *fleetpb.Spec) error {
	if err := errors.Join(statemachines.CheckGroupName(s.GetName()), statemachines.CheckRegion(s.GetRegion())); err != nil {
		return err
	}
	app, _, _ := strings.Cut(s.GetName(), "/")
	if app != s.GetApp() {
		return fmt.Errorf("app %s: the name %q begins with the app %q", Quote(s.GetApp()), s.GetName(), app)
	}
	switch s.GetReplicas() {
	case 1, 3, 5, 7:
	default:
		return fmt.Errorf("%d replicas: want 1, 3, 5 or 7", s.GetReplicas())
	}
	if err := errors.Join(checkRegions(s), checkRaft(s.GetRaft())); err != nil {
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
		if err := CheckText("region", r.GetRegion()); err != nil {
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
	if own := s.GetRegion(); own != "" && (len(s.GetRegions()) != 1 || s.GetRegions()[0].GetRegion() != own) {
		return fmt.Errorf("it is the group of region %q, so all its replicas are there: leave the rule of regions out", own)
	}
	return nil
}

// Settle gives the group of a region the rule that its replicas are all there, unless it
// has another one, which is refused. It changes the spec and returns it.
func Settle(s *fleetpb.Spec) *fleetpb.Spec {
	own := s.GetRegion()
	if others := slices.ContainsFunc(s.GetRegions(), func(r *fleetpb.RegionCount) bool { return r.GetRegion() != own }); own != "" && !others {
		s.Regions = []*fleetpb.RegionCount{{Region: own, Count: s.GetReplicas()}}
	}
	return s
}

// checkRules says what is wrong with a spec's rules beside its regions, or nil.
func checkRules(s *fleetpb.Spec) error {
	if err := checkLabels(s.GetRequire()); err != nil {
		return fmt.Errorf("require: %w", err)
	}
	if err := checkLabels(s.GetForbid()); err != nil {
		return fmt.Errorf("forbid: %w", err)
	}
	for _, l := range s.GetRequire() {
		if slices.Contains(s.GetForbid(), l) {
			return fmt.Errorf("label %q is required and forbidden at once", l)
		}
	}
	if _, known := fleetpb.Isolation_name[int32(s.GetIsolation())]; !known {
		return fmt.Errorf("isolation %d is not known", s.GetIsolation())
	}
	for _, r := range s.GetRegions() {
		if s.GetIsolation() == fleetpb.Isolation_ISOLATION_REGION && r.GetCount() > 1 {
			return fmt.Errorf("region %q shall have %d replicas, and isolation by region allows one", r.GetRegion(), r.GetCount())
		}
	}
	return checkLeaders(s)
}

func checkLeaders(s *fleetpb.Spec) error {
	if len(s.GetLeaders()) > maxRegions {
		return fmt.Errorf("%d regions to lead from: at most %d make sense", len(s.GetLeaders()), maxRegions)
	}
	for i, region := range s.GetLeaders() {
		if err := CheckText("region to lead from", region); err != nil {
			return err
		}
		if slices.Contains(s.GetLeaders()[:i], region) {
			return fmt.Errorf("region %q shall lead twice", region)
		}
		ruled := func(r *fleetpb.RegionCount) bool { return r.GetRegion() == region }
		if len(s.GetRegions()) > 0 && !slices.ContainsFunc(s.GetRegions(), ruled) {
			return fmt.Errorf("region %q shall lead, and the rule has no replica there", region)
		}
	}
	const most = 7 * 24 * 3600 * 1000
	if ms := s.GetDownAfterMs(); ms != 0 && (ms < 1000 || ms > most) {
		return fmt.Errorf("down_after of %d ms: want 1s to a week", ms)
	}
	return nil
}
