package cluster

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/planner"
)

// planAgain demands that a plan made with the memory of earlier ones is the one that
// somebody makes who sees all of it for the first time.
func (d *Drummer) planAgain(v planner.View, r planner.Result) {
	again := planner.Plan(v)
	switch {
	case !slices.EqualFunc(r.Actions, again.Actions, sameAction):
		d.w.Violate("a plan has %d actions, and %d when it is made from nothing: %v, %v", len(r.Actions), len(again.Actions), r.Actions, again.Actions)
	case !maps.EqualFunc(r.Reasons, again.Reasons, slices.Equal[[]string]):
		d.w.Violate("a plan gives the reasons %v, and when it is made from nothing %v", r.Reasons, again.Reasons)
	case !maps.EqualFunc(r.HostReasons, again.HostReasons, slices.Equal[[]string]):
		d.w.Violate("a plan gives the reasons %v for hosts, and when it is made from nothing %v", r.HostReasons, again.HostReasons)
	}
}

func sameAction(a, b planner.Action) bool {
	return a.Group == b.Group && a.Why == b.Why && proto.Equal(a.Order, b.Order) && proto.Equal(a.Command, b.Command)
}
