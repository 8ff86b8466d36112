package spread

import (
	"fmt"

	"github.com/drumline/drumline/drummer/fleet"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Possible says why the rules of a spec can be kept on no choice of the hosts that there
// are, up or not; nil when they can, or when the spec has no rules: a group without rules
// waits for hosts that may come. A fleet without hosts keeps every rule.
func Possible(v *fleet.View, spec *fleetpb.Spec) error {
	if !Ruled(spec) {
		return nil
	}
	f := New[*bare](spec)
	known, fits := 0, 0
	for h := range v.Hosts() {
		if h.GetLost() || h.GetWanted().GetDuty() == fleetpb.HostDuty_HOST_DUTY_LEAVING {
			continue
		}
		known++
		if Unfit(spec, h) == "" {
			fits++
			f.Hosts = append(f.Hosts, &bare{h})
		}
	}
	if known == 0 {
		return nil
	}
	for n := range f.Wanted {
		h := f.Best(func(*bare, *bare) int { return 0 })
		if h == nil {
			return fmt.Errorf("its rules cannot be kept: %d of the hosts have the labels that it wants, and there is a place for %d of %d replicas%s", fits, n, f.Wanted, f.Rest())
		}
		f.Take(h)
	}
	return nil
}

// bare is a host of which only the record is known.
type bare struct{ rec *fleetpb.Host }

// Record implements Host.
func (h *bare) Record() *fleetpb.Host { return h.rec }

// Doubt implements Host.
func (h *bare) Doubt() int { return 0 }
