package noun

import (
	"slices"
	"strconv"
	"strings"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Rule reads a rule of regions, like east=2,west=1, and how many voters it wants; none of an
// empty text.
func Rule(text string) (rule []*fleetpb.RegionCount, sum uint32, err error) {
	for part := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == ',' }) {
		region, count, ok := strings.Cut(part, "=")
		n, err := strconv.ParseUint(count, 10, 8)
		if !ok || err != nil || n == 0 || region == "" {
			return nil, 0, Fault(Usage, "--regions: %q is not REGION=COUNT, like east=2", part)
		}
		if slices.ContainsFunc(rule, func(c *fleetpb.RegionCount) bool { return c.GetRegion() == region }) {
			return nil, 0, Fault(Usage, "--regions: %s is given twice", region)
		}
		rule = append(rule, &fleetpb.RegionCount{Region: region, Count: uint32(n)})
		sum += uint32(n)
	}
	slices.SortFunc(rule, func(a, b *fleetpb.RegionCount) int { return strings.Compare(a.GetRegion(), b.GetRegion()) })
	return rule, sum, nil
}
