package replicas

import (
	"maps"
	"slices"
	"sync"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/nodehost/replicas/life"
)

// view is what other goroutines see of a Core: copies, replaced as they change.
type view struct {
	mu     sync.RWMutex
	locals map[Key]Local
	// names holds the groups of each name, sorted by number.
	names map[string][]ids.Group
	// memberships are what this host, leading a group, read last.
	memberships map[Key]raft.Membership
}

func (v *view) init(c *Core) {
	v.locals = make(map[Key]Local)
	v.names = make(map[string][]ids.Group)
	v.memberships = make(map[Key]raft.Membership)
	for _, k := range c.Keys() {
		v.update(c, k)
	}
}

func (v *view) update(c *Core, k Key) {
	v.mu.Lock()
	defer v.mu.Unlock()
	old, had := v.locals[k]
	l, has := c.Look(k)
	switch {
	case has:
		v.locals[k] = l
		if !had {
			full := l.Record.FullName()
			v.names[full] = insert(v.names[full], k.Group)
		}
	case had:
		delete(v.locals, k)
		delete(v.memberships, k)
		v.dropName(old.Record.FullName(), k.Group)
	}
}

func insert(groups []ids.Group, g ids.Group) []ids.Group {
	i, found := slices.BinarySearch(groups, g)
	if found {
		return groups
	}
	return slices.Insert(groups, i, g)
}

func (v *view) dropName(name string, g ids.Group) {
	left := slices.DeleteFunc(v.names[name], func(o ids.Group) bool { return o == g })
	if len(left) == 0 {
		delete(v.names, name)
		return
	}
	v.names[name] = left
}

// GroupByName returns the open group of that full name with a replica here; the highest
// number wins, because a deleted group's replicas may outlive it for a while.
func (k *Keeper) GroupByName(name string) (ids.Group, bool) {
	k.view.mu.RLock()
	groups := slices.Clone(k.view.names[name])
	k.view.mu.RUnlock()
	for _, g := range slices.Backward(groups) {
		if s, ok := k.o.Raft.Status(g); ok && s.Opened && !s.Sealed {
			return g, true
		}
	}
	return 0, false
}

// Locals lists the replicas of the manifest in order.
func (k *Keeper) Locals() []Local {
	k.view.mu.RLock()
	defer k.view.mu.RUnlock()
	return slices.SortedFunc(maps.Values(k.view.locals), func(a, b Local) int { return a.Record.Key().Compare(b.Record.Key()) })
}

// Keys lists the keys of the replicas of the manifest in order.
func (k *Keeper) Keys() []Key {
	k.view.mu.RLock()
	defer k.view.mu.RUnlock()
	return slices.SortedFunc(maps.Keys(k.view.locals), Key.Compare)
}

// SetMembership keeps a linearizable membership read, made by the leader here, for
// the replica's report.
func (k *Keeper) SetMembership(key Key, m raft.Membership) {
	k.view.mu.Lock()
	_, here := k.view.locals[key]
	if here {
		k.view.memberships[key] = m
	}
	k.view.mu.Unlock()
	if here {
		k.o.Changed(key, false)
	}
}

// Report says how a replica is; false when it is not here.
func (k *Keeper) Report(key Key) (*drummerpb.ReplicaReport, bool) {
	k.view.mu.RLock()
	l, here := k.view.locals[key]
	m, read := k.view.memberships[key]
	k.view.mu.RUnlock()
	if !here {
		return nil, false
	}
	r := &drummerpb.ReplicaReport{
		Group: uint64(key.Group), Replica: uint64(key.Replica), Name: l.Record.Name, Region: l.Record.Region, State: l.State, Detail: l.Detail,
		Observer: l.Record.Join, // until raft knows better
		Applied:  l.Record.Applied,
		Raft:     l.Raft,
	}
	if l.Record.Life == life.Retired {
		return r, true
	}
	s, ok := k.o.Raft.Status(key.Group)
	if !ok || s.Replica != key.Replica {
		return r, true
	}
	fill(r, s)
	if read && s.Serving && m.ConfigChange >= s.ConfigChange {
		r.Membership = membershipToWire(m)
	}
	return r, true
}

// fill copies what raft knows of a replica that it runs.
func fill(r *drummerpb.ReplicaReport, s raft.Status) {
	r.Observer = s.Observer
	r.LeaderReplica = uint64(s.Leader)
	r.Term = s.Term
	r.ConfigChange = s.ConfigChange
	r.Applied = s.Applied
	r.Opened, r.Sealed, r.Serving = s.Opened, s.Sealed, s.Serving
	r.Version = s.Version
	r.Unloaded = s.Unloaded
}
