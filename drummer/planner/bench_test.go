package planner_test

import (
	"fmt"
	"testing"

	"github.com/drumline/drumline/drummer/planner"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// crowd is a record of many whole groups on fifty hosts.
func crowd(groups int) *stage {
	s := newStage(&testing.T{})
	for i := range 50 {
		s.host(fmt.Sprintf("h%02d", i), "r", nil)
	}
	s.apply(&fleetpb.Command{Op: &fleetpb.Command_SetPolicy{SetPolicy: &fleetpb.Policy{OperationsTotal: 100_000, OperationsPerHost: 10_000}}})
	for i := range groups {
		s.open(fmt.Sprintf("kv/%d", i), []string{fmt.Sprintf("h%02d", i%50), fmt.Sprintf("h%02d", (i+7)%50), fmt.Sprintf("h%02d", (i+23)%50)})
	}
	return s
}

func BenchmarkPlanIdle(b *testing.B) {
	s := crowd(10_000)
	v := planner.View{Fleet: s.m.Freeze(), Observed: s.o}
	for b.Loop() {
		if r := planner.Plan(v); len(r.Actions)+len(r.Reasons) > 0 {
			b.Fatal(text(r))
		}
	}
}

func BenchmarkPlanHostDown(b *testing.B) {
	s := crowd(10_000)
	s.o.Hosts[ids.Host("h03")].State = planner.Down
	v := planner.View{Fleet: s.m.Freeze(), Observed: s.o}
	for b.Loop() {
		if r := planner.Plan(v); len(r.Actions) < 300 {
			b.Fatal(len(r.Actions))
		}
	}
}
