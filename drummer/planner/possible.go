package planner

import (
	"fmt"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/planner/spread"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Possible says why the rules of a spec can be kept on no choice of the hosts that there
// are, up or not; nil when they can, or when the spec has no rules: a group without rules
// waits for hosts that may come. A fleet without hosts keeps every rule.
func Possible(v *fleet.View, spec *fleetpb.Spec) error {
	if !spread.Ruled(spec) {
		return nil
	}
	f := spread.New[*post](spec)
	known, fits := 0, 0
	for h := range v.Hosts() {
		if h.GetLost() || h.GetWanted().GetDuty() == fleetpb.HostDuty_HOST_DUTY_LEAVING {
			continue
		}
		known++
		if spread.Unfit(spec, h) == "" {
			fits++
			f.Hosts = append(f.Hosts, &post{rec: h, seen: &Host{}})
		}
	}
	if known == 0 {
		return nil
	}
	for n := range f.Wanted {
		h := f.Best(lighter)
		if h == nil {
			return fmt.Errorf("its rules cannot be kept: %d of the hosts have the labels that it wants, and there is a place for %d of %d replicas%s", fits, n, f.Wanted, f.Rest())
		}
		f.Take(h)
	}
	return nil
}
