package spread

import (
	"fmt"
	"slices"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Ruled tells whether a spec says where its replicas or its leader shall be.
func Ruled(s *fleetpb.Spec) bool {
	return len(s.GetRegions())+len(s.GetRequire())+len(s.GetForbid())+len(s.GetLeaders()) > 0 || s.GetIsolation() != fleetpb.Isolation_ISOLATION_UNSPECIFIED
}

// RuleOf is how many replicas a spec with a rule wants in a region.
func RuleOf(s *fleetpb.Spec, region string) int {
	for _, rule := range s.GetRegions() {
		if rule.GetRegion() == region {
			return int(rule.GetCount())
		}
	}
	return 0
}

// cellOf is the region, or region and zone, that no two replicas may share; empty when
// they may.
func cellOf(s *fleetpb.Spec, h *fleetpb.Host) [2]string {
	switch s.GetIsolation() {
	case fleetpb.Isolation_ISOLATION_REGION:
		return [2]string{h.GetRegion(), " "}
	case fleetpb.Isolation_ISOLATION_ZONE:
		return [2]string{h.GetRegion(), h.GetZone() + " "}
	default:
		return [2]string{}
	}
}

func cellText(s *fleetpb.Spec, h *fleetpb.Host) string {
	if s.GetIsolation() == fleetpb.Isolation_ISOLATION_REGION {
		return fmt.Sprintf("region %q too", h.GetRegion())
	}
	return fmt.Sprintf("zone %q of region %q too", h.GetZone(), h.GetRegion())
}

// Unfit says which label keeps a host from having a replica of the spec; empty for none.
func Unfit(s *fleetpb.Spec, h *fleetpb.Host) string {
	for _, l := range s.GetRequire() {
		if !slices.Contains(h.GetLabels(), l) {
			return "lacks the label " + l
		}
	}
	for _, l := range s.GetForbid() {
		if slices.Contains(h.GetLabels(), l) {
			return "has the forbidden label " + l
		}
	}
	return ""
}

// Misplaced is which of the hosts a rule wants to be another one, and the rule in words;
// -1 for none.
func Misplaced(spec *fleetpb.Spec, hosts []*fleetpb.Host) (int, string) {
	if !Ruled(spec) {
		return -1, ""
	}
	counts := map[string]int{}
	taken := map[[2]string]bool{}
	found := -1
	var why string
	for i, h := range hosts {
		counts[h.GetRegion()]++
		cell := cellOf(spec, h)
		switch text := Unfit(spec, h); {
		case text != "":
			return i, "its host " + text
		case len(spec.GetRegions()) > 0 && counts[h.GetRegion()] > RuleOf(spec, h.GetRegion()):
			found, why = i, fmt.Sprintf("region %q has more replicas than the %d of the rule", h.GetRegion(), RuleOf(spec, h.GetRegion()))
		case cell != [2]string{} && taken[cell]:
			found, why = i, fmt.Sprintf("another replica is in %s", cellText(spec, h))
		}
		taken[cell] = true
	}
	return found, why
}

// Crowding is how badly hosts share regions and zones; less is better, and 0 is one in
// each.
func Crowding(at []*fleetpb.Host) int {
	const region = 1_000 // sharing a region weighs more than any number of zones
	sum := 0
	for i, a := range at {
		for _, b := range at[:i] {
			if a.GetRegion() == b.GetRegion() {
				sum += region
				if a.GetZone() == b.GetZone() {
					sum++
				}
			}
		}
	}
	return sum
}
