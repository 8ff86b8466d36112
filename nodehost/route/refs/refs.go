// Package refs is how requests, locations and people name groups.
package refs

import (
	"errors"
	"strconv"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// Of names a group by its full name.
func Of(full string) *hostpb.GroupRef {
	name, region := statemachines.CutRegion(full)
	return &hostpb.GroupRef{Name: name, Region: region}
}

// Full is the full name of the group that a request of an app's own service is for.
func Full(req interface {
	GetGroup() string
	GetRegion() string
},
) string {
	return statemachines.NameIn(req.GetGroup(), req.GetRegion())
}

// To names the group that is somewhere.
func To(where *hostpb.Location) *hostpb.GroupRef {
	return &hostpb.GroupRef{Name: where.GetName(), Region: where.GetRegion(), Id: where.GetId()}
}

// Here is the location of a group of which only the name and the number are known, for it has
// a replica here.
func Here(full string, g ids.Group) *hostpb.Location {
	name, region := statemachines.CutRegion(full)
	return &hostpb.Location{Name: name, Region: region, Id: uint64(g)}
}

// Title names a group for people, by its full name and its number, of which one may be
// missing.
func Title(full string, id uint64) string {
	switch {
	case full == "":
		return strconv.FormatUint(id, 10)
	case id == 0:
		return full
	default:
		return full + " (" + strconv.FormatUint(id, 10) + ")"
	}
}

// Check says what is wrong with a reference to a group.
func Check(ref *hostpb.GroupRef) error {
	if ref.GetName() == "" {
		if ref.GetId() == 0 {
			return fault.New(fault.Invalid, "the request names no group: set its name, like kv/demo, or its number")
		}
		return nil
	}
	if err := errors.Join(statemachines.CheckGroupName(ref.GetName()), statemachines.CheckRegion(ref.GetRegion())); err != nil {
		return fault.Wrap(err, fault.Invalid, "the request's group")
	}
	return nil
}

// Agree says that name and number are of one group. A region that is left out is that of the
// group which was found.
func Agree(ref *hostpb.GroupRef, where *hostpb.Location) error {
	other := ref.GetName() != "" && ref.GetName() != where.GetName() || ref.GetRegion() != "" && ref.GetRegion() != where.GetRegion()
	if other && where.GetName() != "" {
		return fault.New(fault.Invalid, "group %d is %s, not %s: name the group by one of them", where.GetId(), statemachines.NameOf(where), statemachines.NameOf(ref))
	}
	return nil
}
