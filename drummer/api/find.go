package api

import (
	"strings"

	"github.com/drumline/drumline/drummer/fleet"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/statemachines"
)

// named is what says which group is meant: a name, and the region if each has a group of it.
type named interface {
	GetName() string
	GetRegion() string
}

// checkName says what is wrong with the name and the region of a request.
func checkName(m named) error {
	err := statemachines.CheckGroupName(m.GetName())
	if err == nil {
		err = statemachines.CheckRegion(m.GetRegion())
	}
	if err != nil {
		return fault.New(fault.Invalid, "%v", err)
	}
	return nil
}

// find finds the group that somebody means. The region may be left out where the name has
// one group only; of several nobody guesses.
func find(v *fleet.View, m named) (*fleetpb.Group, error) {
	full := statemachines.NameOf(m)
	if g := v.ByName(full); g != nil {
		return g, nil
	}
	all := v.Called(m.GetName())
	if m.GetRegion() == "" && len(all) == 1 {
		return all[0], nil
	}
	where := regionsOf(all)
	switch {
	case where == "":
		return nil, noGroup(full)
	case m.GetRegion() != "":
		return nil, fault.New(fault.GroupNotFound, "there is no group %s: that name has groups in %s", full, where).InGroup(full)
	}
	return nil, fault.New(fault.Invalid, "group %s is in %s: say which region is meant, or use a name that one group has", full, where).InGroup(full)
}

// regionsOf lists the regions of groups; those of none are left out.
func regionsOf(all []*fleetpb.Group) string {
	var regions []string
	for _, g := range all {
		if r := g.GetSpec().GetRegion(); r != "" {
			regions = append(regions, r)
		}
	}
	return strings.Join(regions, ", ")
}

// noGroup is the fault for a full name, or a number in words, that no group has.
func noGroup(called string) error {
	return fault.New(fault.GroupNotFound, "there is no group %s", called).InGroup(called)
}
