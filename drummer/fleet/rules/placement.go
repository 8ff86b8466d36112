package rules

import (
	"fmt"

	"github.com/drumline/drumline/drummer/fleet/words"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// CheckPlacement wants a host for each replica; a group with a first state may begin with
// fewer, since it is to live again at once.
func CheckPlacement(g *fleetpb.Group, hosts []string, find func(id string) *fleetpb.Host) error {
	spec := g.GetSpec()
	few := g.GetOrigin() != nil && len(hosts)%2 == 1 && len(hosts) < int(spec.GetReplicas())
	if len(hosts) != int(spec.GetReplicas()) && !few {
		return fmt.Errorf("%d hosts for %d replicas", len(hosts), spec.GetReplicas())
	}
	for i, id := range hosts {
		if err := CheckTarget(spec, id, find(id)); err != nil {
			return err
		}
		for _, other := range hosts[:i] {
			if other == id {
				return fmt.Errorf("host %q is named twice", find(id).GetName())
			}
		}
	}
	for _, rule := range spec.GetRegions() {
		n := uint32(0)
		for _, id := range hosts {
			if find(id).GetRegion() == rule.GetRegion() {
				n++
			}
		}
		if n > rule.GetCount() || n < rule.GetCount() && !few {
			return fmt.Errorf("%d replicas in region %q, and the rule says %d", n, rule.GetRegion(), rule.GetCount())
		}
	}
	return nil
}

// CheckTarget says why a host cannot hold a replica of the spec's app.
func CheckTarget(spec *fleetpb.Spec, id string, h *fleetpb.Host) error {
	switch {
	case h == nil:
		return fmt.Errorf("no host has the id %s", Quote(id))
	case h.GetLost():
		return fmt.Errorf("host %q is lost", h.GetName())
	case h.GetWanted().GetDuty() != fleetpb.HostDuty_HOST_DUTY_UNSPECIFIED:
		return fmt.Errorf("host %q is %s", h.GetName(), words.DutyWord(h.GetWanted().GetDuty()))
	case !knows(h, spec.GetApp()):
		return fmt.Errorf("host %q does not know the app %q", h.GetName(), spec.GetApp())
	}
	return nil
}

// AllStarted tells whether a group has all the replicas that it begins with, and they run.
func AllStarted(g *fleetpb.Group) bool {
	for _, r := range g.GetReplicas() {
		if r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_STARTED {
			return false
		}
	}
	return len(g.GetReplicas()) == int(g.GetSpec().GetReplicas()) || g.GetOrigin() != nil
}
