// Package twice compares a plan that was made with the memory of earlier ones to one that
// somebody makes who sees all of it for the first time: they must be the same.
package twice

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/planner"
)

// Differs plans a view from nothing and says what is another in the plan that was made of it;
// empty for nothing.
func Differs(v planner.View, r planner.Result) string {
	again := planner.Plan(v)
	switch {
	case !slices.EqualFunc(r.Actions, again.Actions, sameAction):
		return fmt.Sprintf("a plan has %d actions, and %d when it is made from nothing: %v, %v", len(r.Actions), len(again.Actions), r.Actions, again.Actions)
	case !maps.EqualFunc(r.Reasons, again.Reasons, slices.Equal[[]string]):
		return fmt.Sprintf("a plan gives the reasons %v, and when it is made from nothing %v", r.Reasons, again.Reasons)
	case !maps.EqualFunc(r.HostReasons, again.HostReasons, slices.Equal[[]string]):
		return fmt.Sprintf("a plan gives the reasons %v for hosts, and when it is made from nothing %v", r.HostReasons, again.HostReasons)
	}
	return ""
}

func sameAction(a, b planner.Action) bool {
	return a.Group == b.Group && a.Why == b.Why && proto.Equal(a.Order, b.Order) && proto.Equal(a.Command, b.Command)
}
