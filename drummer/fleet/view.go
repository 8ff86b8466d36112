package fleet

import (
	"iter"
	"sync"

	"github.com/drumline/drumline/drummer/fleet/drummers"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// View is the record at one moment. It is immutable, safe for any number of
// readers, and stays valid; the messages it gives are shared and must not be changed.
type View struct {
	s *state
	// forking guards the trees' marks that Fork sets; reading needs no lock.
	forking sync.Mutex
}

// EmptyView is the view of a record in which nothing has happened.
func EmptyView() *View { return New().Freeze() }

// Revision counts the record's changes.
func (v *View) Revision() uint64 { return v.s.revision }

// Incarnation of the record: 1, and one more with each restore into a new life.
func (v *View) Incarnation() uint64 { return v.s.incarnation }

// Policy in force.
func (v *View) Policy() *fleetpb.Policy { return v.s.policy }

// Group returns the group of that number, or nil.
func (v *View) Group(id ids.Group) *fleetpb.Group { return v.s.group(uint64(id)) }

// ByName returns the group that has the full name now, or nil. A tombstone has no name.
func (v *View) ByName(full string) *fleetpb.Group { return v.s.named(full) }

// Called gives all groups of a name, without a region and with one, by region.
func (v *View) Called(name string) []*fleetpb.Group {
	var all []*fleetpb.Group
	v.s.names.AscendGreaterOrEqual(taken{name: name}, func(t taken) bool {
		if t.name == name {
			all = append(all, v.s.group(t.id))
		}
		return t.name == name
	})
	return all
}

// Groups gives every group by number, tombstones included.
func (v *View) Groups() iter.Seq[*fleetpb.Group] {
	return func(yield func(*fleetpb.Group) bool) { v.s.groups.Ascend(yield) }
}

// GroupCount counts all groups, tombstones included.
func (v *View) GroupCount() int { return v.s.groups.Len() }

// GroupsByName gives the groups that have a name, by name and region, beginning after
// the given full name; tombstones are not among them.
func (v *View) GroupsByName(after string) iter.Seq[*fleetpb.Group] {
	first := called(after)
	return func(yield func(*fleetpb.Group) bool) {
		v.s.names.AscendGreaterOrEqual(first, func(t taken) bool {
			return (after != "" && t.compare(first) == 0) || yield(v.s.group(t.id))
		})
	}
}

// GroupsOf counts the groups of an app that have a name.
func (v *View) GroupsOf(app string) int {
	t, _ := v.s.tallies.Get(tally{app: app})
	return t.n
}

// GroupsOfApp gives the groups of an app that have a name, by name.
func (v *View) GroupsOfApp(app string) iter.Seq[*fleetpb.Group] {
	return func(yield func(*fleetpb.Group) bool) {
		for g := range v.GroupsByName(app + "/") { // no group is called that: its name would be empty
			if g.GetSpec().GetApp() != app || !yield(g) {
				return
			}
		}
	}
}

// Configuration returns what is in force for an app, or nil.
func (v *View) Configuration(app string) *fleetpb.Configuration { return v.s.configuration(app) }

// Configurations gives what is in force for each app that has a configuration, by app.
func (v *View) Configurations() iter.Seq[*fleetpb.Configuration] {
	return func(yield func(*fleetpb.Configuration) bool) {
		var last *fleetpb.Configuration
		more := true
		v.s.configurations.Ascend(func(c *fleetpb.Configuration) bool {
			if last != nil && last.GetApp() != c.GetApp() {
				more = yield(last)
			}
			last = c
			return more
		})
		if more && last != nil {
			yield(last)
		}
	}
}

// Revisions gives the configurations of an app that are kept, the newest first.
func (v *View) Revisions(app string) iter.Seq[*fleetpb.Configuration] {
	return func(yield func(*fleetpb.Configuration) bool) { v.s.descend(app, yield) }
}

// ConfigurationAt returns the configuration of an app of that revision, or nil.
func (v *View) ConfigurationAt(app string, revision uint64) *fleetpb.Configuration {
	c, _ := v.s.configurations.Get(&fleetpb.Configuration{App: app, Revision: revision})
	return c
}

// Drummers are the members of the drummers' own group.
func (v *View) Drummers() drummers.List { return v.s.drummers }

// Brake as it is.
func (v *View) Brake() *fleetpb.Brake { return v.s.brake }

// Paused are the kinds of operation of which no new ones begin, sorted.
func (v *View) Paused() []string { return v.s.paused }

// Host returns the host of that id, or nil. One that was taken out is lost, and still
// known by its id.
func (v *View) Host(id ids.Host) *fleetpb.Host { return v.s.host(string(id)) }

// Hosts gives every host by id, lost ones included, but none that was taken out.
func (v *View) Hosts() iter.Seq[*fleetpb.Host] {
	return func(yield func(*fleetpb.Host) bool) {
		v.s.hosts.Ascend(func(h *fleetpb.Host) bool { return h.GetRemoved() || yield(h) })
	}
}

// HostCount counts all hosts, those that are lost or were taken out included.
func (v *View) HostCount() int { return v.s.hosts.Len() }

// Gave tells whether the record, in this incarnation, has given that number to a
// replica, though it may have forgotten it since.
func (v *View) Gave(id ids.Replica) bool {
	return uint64(id) < v.s.nextReplica && uint64(id) > (v.s.incarnation-1)*incarnationSpan
}

// Operation returns the operation of that id, or nil once its history is forgotten.
func (v *View) Operation(id uint64) *fleetpb.Operation { return v.s.operation(id) }

// Operations gives the operations kept, newest first.
func (v *View) Operations() iter.Seq[*fleetpb.Operation] {
	return func(yield func(*fleetpb.Operation) bool) { v.s.operations.Descend(yield) }
}

// OperationsRunning counts the operations under way.
func (v *View) OperationsRunning() int { return v.s.operations.Len() - v.s.ended.Len() }

// Events returns at most limit events whose sequence is above after, oldest first,
// and whether more follow.
func (v *View) Events(after uint64, limit int) (events []*fleetpb.Event, more bool) {
	v.s.events.AscendGreaterOrEqual(&fleetpb.Event{Sequence: after}, func(e *fleetpb.Event) bool {
		if e.GetSequence() <= after {
			return true
		}
		if len(events) >= limit {
			more = true
			return false
		}
		events = append(events, e)
		return true
	})
	return events, more
}
