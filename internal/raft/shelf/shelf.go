// Package shelf remembers which replicas have data on a host. There may be very many, most of
// which do nothing: they are kept in one table, without an object for each.
package shelf

import (
	"slices"

	"github.com/drumline/drumline/internal/ids"
)

// Shelf is the list. Its owner locks it. The zero Shelf is empty.
type Shelf struct {
	// first is a group's replica, and nearly always the only one; more are the others.
	first map[ids.Group]ids.Replica
	more  map[ids.Group][]ids.Replica
}

// Of lists a group's replicas; the list is the caller's.
func (s *Shelf) Of(g ids.Group) []ids.Replica {
	id, ok := s.first[g]
	if !ok {
		return nil
	}
	return append([]ids.Replica{id}, s.more[g]...)
}

// Has tells whether a replica has data.
func (s *Shelf) Has(g ids.Group, id ids.Replica) bool {
	first, ok := s.first[g]
	return ok && (first == id || slices.Contains(s.more[g], id))
}

// Note notes whether a replica has data.
func (s *Shelf) Note(g ids.Group, id ids.Replica, has bool) {
	if s.Has(g, id) == has {
		return
	}
	all := s.Of(g)
	if has {
		all = append(all, id)
	} else {
		all = slices.DeleteFunc(all, func(other ids.Replica) bool { return other == id })
	}
	s.set(g, all)
}

func (s *Shelf) set(g ids.Group, all []ids.Replica) {
	if s.first == nil {
		s.first, s.more = make(map[ids.Group]ids.Replica), make(map[ids.Group][]ids.Replica)
	}
	delete(s.first, g)
	delete(s.more, g)
	if len(all) > 0 {
		s.first[g] = all[0]
	}
	if len(all) > 1 {
		s.more[g] = all[1:]
	}
}
