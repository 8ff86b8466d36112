package client

import (
	"container/list"
	"sync"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// locations is a bounded cache of where groups are, by name; the least recently used
// one goes first.
type locations struct {
	size int

	mu    sync.Mutex
	byKey map[string]*list.Element // guarded by mu
	order *list.List               // guarded by mu; of *located, newest use first
}

// located is one entry.
type located struct {
	name  string
	where *hostpb.Location // never changed, only replaced
}

// at returns what an element of the order holds.
func at(e *list.Element) *located {
	l, _ := e.Value.(*located) // the list holds nothing else
	return l
}

// newLocations holds at most size groups.
func newLocations(size int) *locations {
	return &locations{size: size, byKey: map[string]*list.Element{}, order: list.New()}
}

// get returns where the group is, or nil. The Location must not be changed.
func (l *locations) get(name string) *hostpb.Location {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.byKey[name]
	if !ok {
		return nil
	}
	l.order.MoveToFront(e)
	return at(e).where
}

// learn takes over where a server says that the group is. A server that does not
// know the members does not make the client forget them; one that speaks of an older
// group of the name, or of an older state of the same one, is not believed.
func (l *locations) learn(name string, where *hostpb.Location) {
	if where.GetId() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.byKey[name]
	if !ok {
		l.byKey[name] = l.order.PushFront(&located{name: name, where: where})
		l.evict()
		return
	}
	l.order.MoveToFront(e)
	old := at(e)
	if newer := merge(old.where, where); newer != nil {
		old.where = newer
	}
}

// merge returns what to believe after where, or nil to keep old.
func merge(old, where *hostpb.Location) *hostpb.Location {
	switch {
	case where.GetId() < old.GetId():
		return nil
	case where.GetId() > old.GetId() || len(where.GetMembers()) > 0 && where.GetVersion() >= old.GetVersion():
		return where
	}
	// The leader is news even when the list of members is not.
	return &hostpb.Location{
		Name: old.GetName(), Region: old.GetRegion(), Id: old.GetId(), Members: old.GetMembers(), Version: old.GetVersion(),
		LeaderHost: where.GetLeaderHost(), LeaderApi: where.GetLeaderApi(),
	}
}

// evict drops the least recently used entries over the size; mu is held.
func (l *locations) evict() {
	for l.order.Len() > l.size {
		oldest := l.order.Back()
		l.order.Remove(oldest)
		delete(l.byKey, at(oldest).name)
	}
}

// drop forgets where the group is.
func (l *locations) drop(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.byKey[name]; ok {
		l.order.Remove(e)
		delete(l.byKey, name)
	}
}

// prefer lists the addresses to ask for the group, best first.
func (l *locations) prefer(name string) []string {
	where := l.get(name)
	if where == nil {
		return nil
	}
	out := make([]string, 0, len(where.GetMembers())+1)
	out = append(out, where.GetLeaderApi())
	for _, m := range where.GetMembers() {
		if !m.GetObserver() {
			out = append(out, m.GetApi())
		}
	}
	shuffle(out[1:])
	return out
}
