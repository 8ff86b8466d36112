// Package versions is what programs of each behaviour version of the fleet record know.
// While drummers are upgraded one by one some of them still apply the record's log by an older
// program; until all know a version, nobody proposes what came with it, and all leave it out
// of what they are given.
package versions

import (
	"google.golang.org/protobuf/proto"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Newest is the version that this program knows.
const Newest = groupsOfRegions

// Behaviour versions and what each of them brought.
const (
	// templatesTune: templates have Raft options.
	templatesTune = 2
	// EndsNoted: operations of every kind keep what they came to as steps.
	EndsNoted = 3
	// groupsOfRegions: each region may have a group of a name.
	groupsOfRegions = 4
	// AimlessEnd: a transfer ends when its replica loses its vote.
	AimlessEnd = 4
	// TakenBack: the removal of a drummer can be taken back.
	TakenBack = 4
)

// Knows tells whether programs of a behaviour version know all that a command says. While
// that version is in force nobody proposes one that they do not.
func Knows(version uint32, c *fleetpb.Command) bool {
	if version >= Newest {
		return true
	}
	less := proto.CloneOf(c)
	Trim(version, less)
	return proto.Equal(less, c)
}

// Trim leaves out of a command what programs of a behaviour version do not know: while
// it is in force some of them may still apply it.
func Trim(version uint32, c *fleetpb.Command) {
	for _, t := range c.GetApplyConfiguration().GetConfiguration().GetTemplates() {
		if version < templatesTune {
			t.Raft = nil
		}
		if version < groupsOfRegions {
			t.EachRegion = nil
		}
	}
	if version >= groupsOfRegions {
		return
	}
	for _, s := range c.GetCreateGroups().GetSpecs() {
		s.Region = ""
	}
	for _, s := range c.GetShapeGroups().GetSpecs() {
		s.Region = ""
	}
	switch op := c.GetOp().(type) {
	case *fleetpb.Command_LoadGroup:
		if op.LoadGroup.GetSpec() != nil {
			op.LoadGroup.Spec.Region = ""
		}
	case *fleetpb.Command_DeleteGroup:
		op.DeleteGroup.Region = ""
	case *fleetpb.Command_PreferLeader:
		op.PreferLeader.Region = ""
	case *fleetpb.Command_FirstUse:
		op.FirstUse.Region = ""
	}
}
