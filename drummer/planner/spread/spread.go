// Package spread chooses hosts for the replicas of a group: those that its rules of
// placement allow, spread over regions and zones, then those that carry least. It knows
// neither what is observed of hosts nor the limits of the policy: who asks lists the hosts
// that can be chosen, and says why others cannot.
package spread

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Host is a host, as who asks knows it: by a pointer, so that nil is none.
type Host interface {
	comparable
	// Record is what the fleet's record has of it.
	Record() *fleetpb.Host
	// Doubt is how little it is trusted to stay: others of less are chosen first.
	Doubt() int
}

// Field is the hosts that a request may choose from, and what was chosen so far.
type Field[H Host] struct {
	// Wanted is how many hosts are to be chosen.
	Wanted int
	// Hosts are those that can be chosen; Known is how many there are, Ups those that are up.
	Hosts      []H
	Known, Ups int

	spec      *fleetpb.Spec
	rules     map[string]int  // region to what its rule still allows; nil without a rule
	members   []*fleetpb.Host // that hold one; they are few
	cells     [][2]string     // that no other may share
	obstacles []obstacle
}

// obstacle counts hosts that cannot be chosen.
type obstacle struct {
	text  string
	count int
}

// New returns a field without hosts for all replicas of a spec.
func New[H Host](spec *fleetpb.Spec) *Field[H] {
	f := &Field[H]{spec: spec, Wanted: int(spec.GetReplicas())}
	if rules := spec.GetRegions(); len(rules) > 0 {
		f.rules = map[string]int{}
		for _, rule := range rules {
			f.rules[rule.GetRegion()] = int(rule.GetCount())
		}
	}
	return f
}

// Note counts a host that cannot be chosen, and says why.
func (f *Field[H]) Note(text string) {
	for i := range f.obstacles {
		if f.obstacles[i].text == text {
			f.obstacles[i].count++
			return
		}
	}
	f.obstacles = append(f.obstacles, obstacle{text, 1})
}

// Occupy counts a host that holds a member.
func (f *Field[H]) Occupy(h H) {
	f.members = append(f.members, h.Record())
	if f.rules != nil {
		f.rules[h.Record().GetRegion()]--
	}
	if cell := cellOf(f.spec, h.Record()); cell != [2]string{} {
		f.cells = append(f.cells, cell)
	}
}

// Take chooses a host.
func (f *Field[H]) Take(h H) {
	f.Occupy(h)
	f.Hosts = slices.DeleteFunc(f.Hosts, func(o H) bool { return o == h })
}

// Allowed tells whether the group's rules take a host beside those that it has.
func (f *Field[H]) Allowed(h H) bool {
	return (f.rules == nil || f.rules[h.Record().GetRegion()] > 0) && !slices.Contains(f.cells, cellOf(f.spec, h.Record()))
}

// Best returns the host that spreads the group over regions, then zones, then takes
// the lighter one, which has fewer replicas for its weight; nil when none is allowed.
func (f *Field[H]) Best(lighter func(a, b H) int) H {
	var best, none H
	for _, h := range f.Hosts {
		if f.Allowed(h) && (best == none || f.order(h, best, lighter) < 0) {
			best = h
		}
	}
	return best
}

func (f *Field[H]) order(a, b H, lighter func(a, b H) int) int {
	regionA, zoneA := f.company(a.Record())
	regionB, zoneB := f.company(b.Record())
	if f.rules != nil {
		regionA, regionB = 0, 0 // the rule says it all
	}
	return cmp.Or(
		cmp.Compare(a.Doubt(), b.Doubt()),
		cmp.Compare(regionA, regionB),
		cmp.Compare(zoneA, zoneB),
		lighter(a, b),
		cmp.Compare(a.Record().GetId(), b.Record().GetId()),
	)
}

// company counts the members in a host's region, and those of them in its zone.
func (f *Field[H]) company(h *fleetpb.Host) (region, zone int) {
	for _, m := range f.members {
		if m.GetRegion() != h.GetRegion() {
			continue
		}
		region++
		if m.GetZone() == h.GetZone() {
			zone++
		}
	}
	return region, zone
}

// Lack says why there is no host to choose.
func (f *Field[H]) Lack(chosen int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d hosts are up", f.Ups, f.Known)
	for _, o := range f.obstacles {
		fmt.Fprintf(&b, ", %d of them %s", o.count, o.text)
	}
	b.WriteString(f.Rest())
	missing := f.Wanted - chosen
	fmt.Fprintf(&b, ": it needs %d more host%s", missing, plural(missing))
	return errors.New(b.String())
}

// Rest says what the rules want still.
func (f *Field[H]) Rest() string {
	var b strings.Builder
	if f.rules != nil {
		var open []string
		for region, n := range f.rules {
			if n > 0 {
				open = append(open, fmt.Sprintf("%d more in region %s", n, region))
			}
		}
		slices.Sort(open)
		fmt.Fprintf(&b, "; the rule wants %s", strings.Join(open, " and "))
	}
	if f.spec.GetIsolation() == fleetpb.Isolation_ISOLATION_REGION {
		b.WriteString("; no two replicas may be in one region")
	} else if f.spec.GetIsolation() == fleetpb.Isolation_ISOLATION_ZONE {
		b.WriteString("; no two replicas may be in one zone")
	}
	return b.String()
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}
