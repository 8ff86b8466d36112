package noun

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/statemachines"
)

// Region is the flag of a command that takes one group.
func Region() cli.Flag {
	return &cli.StringFlag{Name: "region", Usage: "the group of this `REGION`, where each region has one of that name"}
}

// One finds the group that is meant among those of a list: that of the region, or the only
// one of the name when the region is empty; of several with one name and region (an old one
// is being deleted) the newest.
func One(all []*drummerpb.GroupInfo, name, region string) (*drummerpb.GroupInfo, error) {
	found := map[string]*drummerpb.GroupInfo{} // by region
	for _, g := range all {
		if g.GetName() == name && g.GetId() >= found[g.GetRegion()].GetId() {
			found[g.GetRegion()] = g
		}
	}
	regions := make([]string, 0, len(found))
	for r := range found {
		regions = append(regions, r)
	}
	slices.Sort(regions)
	switch g := found[region]; {
	case g != nil:
		return g, nil
	case region == "" && len(found) == 1:
		return found[regions[0]], nil
	case len(found) == 0:
		return nil, NoGroup(statemachines.NameIn(name, region))
	case region == "":
		return nil, Fault(Usage, "%s is in %s: say --region %s", name, strings.Join(regions, ", "), regions[0])
	}
	if regions[0] == "" {
		regions[0] = "no region (leave --region away)"
	}
	return nil, NoGroup(statemachines.NameIn(name, region) + ": that name has groups in " + strings.Join(regions, ", "))
}
