package statemachines

import (
	"fmt"
	"strings"
)

// Each region may have a group of the same name; the region is a field of the group then,
// not a part of its name. Programs pass the two around as one text, the group's full name,
// which is what this file alone knows how to write: the name, a no-break space, and the
// region in parentheses. No name has such a space, for it is not printable, so no two groups
// have one full name; and whoever meets it in a sentence or a log reads what is meant.
// It is neither stored nor sent: manifests and messages have two fields.
const beforeRegion = "\u00a0("

// NameIn is the full name of a region's group; with an empty region it is the name.
func NameIn(name, region string) string {
	if region == "" {
		return name
	}
	return name + beforeRegion + region + ")"
}

// NameOf is the full name of the group that a message is about.
func NameOf(m interface {
	GetName() string
	GetRegion() string
},
) string {
	return NameIn(m.GetName(), m.GetRegion())
}

// CutRegion takes a full name apart; the region is empty for most groups.
func CutRegion(full string) (name, region string) {
	name, region, _ = strings.Cut(full, beforeRegion)
	return name, strings.TrimSuffix(region, ")")
}

// CheckRegion says what is wrong with the region of a group, or nil: printable text, like a
// name; empty for most groups.
func CheckRegion(region string) error {
	if len(region) > MaxGroupName {
		return fmt.Errorf("%w: region has %d bytes, at most %d are allowed", ErrInvalidName, len(region), MaxGroupName)
	}
	return checkText(region)
}
