package capacity

import (
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/capacity/exact"
)

// definition is a checked capacitypb.Definition, with lengths in nanoseconds. It is
// never written: frozen views share it.
type definition struct {
	pb         *capacitypb.Definition
	algorithm  capacitypb.Algorithm
	capacity   float64 // of its own; Limit when the parent alone says
	lease      int64
	refresh    int64
	floors     []floor // by falling priority
	maxClients int
}

// floor is what a band is guaranteed.
type floor struct {
	priority int64
	capacity float64
}

// CheckDefinition says what is wrong with a definition, or nil. The machine checks
// the same; whoever makes definitions does so first.
func CheckDefinition(d *capacitypb.Definition) error {
	if d == nil {
		return refusal("there is no definition")
	}
	for _, check := range []func(*capacitypb.Definition) error{checkAmounts, checkLengths, checkFloors, checkTexts} {
		if err := check(d); err != nil {
			return err
		}
	}
	if d.GetMaxClients() > MaxClients {
		return refusal(fmt.Sprintf("max_clients is %d, at most %d are allowed", d.GetMaxClients(), MaxClients))
	}
	return nil
}

func checkAmounts(d *capacitypb.Definition) error {
	switch {
	case d.Capacity == nil && d.GetParent() == "":
		return refusal("the definition has no capacity: set one, or a parent to lease from")
	case !finite(d.GetCapacity()):
		return refusal("the capacity is not a finite number")
	case !finite(d.GetSafeCapacity()):
		return refusal("the safe capacity is not a finite number")
	}
	if k := d.GetAlgorithm(); k < capacitypb.Algorithm_ALGORITHM_NONE || k > capacitypb.Algorithm_ALGORITHM_PRIORITY {
		return refusal(fmt.Sprintf("there is no algorithm %d", k))
	}
	return nil
}

func checkLengths(d *capacitypb.Definition) error {
	lease, refresh := d.GetLeaseLengthMs(), d.GetRefreshIntervalMs()
	switch {
	case lease < 1 || lease > MaxLease:
		return refusal(fmt.Sprintf("the lease length is %d ms, want 1 to %d", lease, MaxLease))
	case refresh < 1 || refresh > lease:
		return refusal(fmt.Sprintf("the refresh interval is %d ms, want 1 to the lease length, %d", refresh, lease))
	}
	return nil
}

func checkFloors(d *capacitypb.Definition) error {
	if n := len(d.GetFloors()); n > MaxBands {
		return refusal(fmt.Sprintf("there are %d floors, at most %d are allowed", n, MaxBands))
	}
	seen := make(map[int64]bool, len(d.GetFloors()))
	for _, f := range d.GetFloors() {
		switch {
		case !amount(f.GetCapacity()):
			return refusal(fmt.Sprintf("the floor of priority %d is negative or not a finite number", f.GetPriority()))
		case seen[f.GetPriority()]:
			return refusal(fmt.Sprintf("priority %d has two floors", f.GetPriority()))
		}
		seen[f.GetPriority()] = true
	}
	return nil
}

func checkTexts(d *capacitypb.Definition) error {
	switch {
	case len(d.GetDescription()) > MaxText:
		return refusal(fmt.Sprintf("the description has %d bytes, at most %d are allowed", len(d.GetDescription()), MaxText))
	case len(d.GetParameters()) > MaxBands:
		return refusal(fmt.Sprintf("there are %d parameters, at most %d are allowed", len(d.GetParameters()), MaxBands))
	}
	for _, p := range d.GetParameters() {
		if max(len(p.GetName()), len(p.GetValue())) > MaxWord {
			return refusal(fmt.Sprintf("a parameter is longer than %d bytes", MaxWord))
		}
	}
	return checkParent(d.GetParent())
}

func checkParent(parent string) error {
	if parent == "" {
		return nil
	}
	if app, err := statemachines.AppOf(parent); err != nil || app != Name {
		return refusal("the parent is not the name of a group capacity/NAME")
	}
	return nil
}

// finite tells whether v is a number that one can compute with.
func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// amount tells whether v is finite and not negative.
func amount(v float64) bool { return v >= 0 && v <= math.MaxFloat64 }

// readDefinition reads a definition as it stands in the log.
func readDefinition(raw []byte) (*definition, error) {
	pb := &capacitypb.Definition{}
	if proto.Unmarshal(raw, pb) != nil || unknown(pb) || anyUnknown(pb.GetFloors()) || anyUnknown(pb.GetParameters()) {
		return nil, refusal("the definition cannot be read, or has a field that this version does not know")
	}
	if err := CheckDefinition(pb); err != nil {
		return nil, err
	}
	d := &definition{
		pb: pb, algorithm: pb.GetAlgorithm(), capacity: exact.Limit,
		lease: pb.GetLeaseLengthMs() * millisecond, refresh: pb.GetRefreshIntervalMs() * millisecond,
		maxClients: DefaultClients,
	}
	if pb.Capacity != nil {
		d.capacity = exact.Amount(max(0, pb.GetCapacity()))
	}
	if pb.GetMaxClients() > 0 {
		d.maxClients = int(pb.GetMaxClients())
	}
	for _, f := range pb.GetFloors() {
		d.floors = append(d.floors, floor{priority: f.GetPriority(), capacity: exact.Amount(f.GetCapacity())})
	}
	slices.SortFunc(d.floors, func(a, b floor) int { return cmpDown(a.priority, b.priority) })
	return d, nil
}

// cmpDown orders priorities: the highest first.
func cmpDown(a, b int64) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	}
	return 0
}

// unknown tells whether m carries fields of a newer version: to ignore, say, a
// limit would be worse than to refuse.
func unknown(m proto.Message) bool { return len(m.ProtoReflect().GetUnknown()) > 0 }

func anyUnknown[M proto.Message](ms []M) bool {
	return slices.ContainsFunc(ms, func(m M) bool { return unknown(m) })
}

// configure sets a definition, unless the group has that revision or a later one.
func (m *Machine) configure(revision uint64, raw []byte, learning int64) error {
	switch {
	case revision == 0:
		return refusal("the revision is 0, they count from 1 on")
	case learning < 0 || learning > MaxLease:
		return refusal(fmt.Sprintf("learning_ms is %d, want 0 to %d", learning, MaxLease))
	}
	d, err := readDefinition(raw)
	if err != nil {
		return err
	}
	if revision <= m.revision {
		return nil
	}
	if m.def == nil {
		m.learningUntil = m.now + learning*millisecond
	}
	m.revision, m.def, m.raw = revision, d, slices.Clone(raw)
	m.longest = max(m.longest, d.lease)
	m.rebuild()
	return nil
}

// rebuild makes what is derived of the clients anew, for another algorithm.
func (m *Machine) rebuild() {
	m.shares = newShares(m.def)
	m.roster.each(func(c *client) { m.shares.add(c) })
}
