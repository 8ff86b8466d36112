// Package keep tells which rules of placement a fleet can keep, when they are submitted.
package keep

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/planner/spread"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Possible says which rule of a spec the hosts that there are cannot keep: of where its
// replicas are, or of the regions from which it shall be led, which may be misspelt. It is nil
// when all can be kept, or when there are no hosts yet.
func Possible(v *fleet.View, spec *fleetpb.Spec) error {
	if err := spread.Possible(v, spec); err != nil {
		return err
	}
	regions := map[string]bool{}
	for h := range v.Hosts() {
		if !h.GetLost() {
			regions[h.GetRegion()] = true
		}
	}
	for _, region := range spec.GetLeaders() {
		if len(regions) > 0 && !regions[region] {
			return fmt.Errorf("its rules cannot be kept: it shall be led from region %s, where there is no host (regions: %s)", region, strings.Join(slices.Sorted(maps.Keys(regions)), ", "))
		}
	}
	return nil
}
