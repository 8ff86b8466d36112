package route

import (
	"cmp"
	"container/list"
	"sync"

	"google.golang.org/protobuf/proto"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/statemachines"
)

// directory is what this host remembers of where groups are: hints, at most one for
// each name, bounded, the least recently used going first. Locations in it are never
// changed, only replaced, so that they can be handed out and marshalled freely.
type directory struct {
	size int
	disk *disk // nil: memory only

	mu    sync.Mutex
	names map[string]*list.Element    // guarded by mu; by full name
	ids   map[ids.Group]*list.Element // guarded by mu
	order *list.List                  // guarded by mu; of *hostpb.Location, newest use first
}

// openDirectory loads what the disk has.
func openDirectory(o Options) *directory {
	d := &directory{
		size: o.Entries, names: map[string]*list.Element{}, ids: map[ids.Group]*list.Element{}, order: list.New(),
	}
	if o.DB == nil {
		return d
	}
	loaded, err := loadDisk(o.DB, o.Entries)
	if err != nil {
		o.Log.Warn("the directory of groups could not be read and starts empty: it is learned again", "err", err)
	}
	for _, where := range loaded {
		d.put(where)
	}
	d.disk = startDisk(o)
	return d
}

// at returns what an element of the order holds.
func at(e *list.Element) *hostpb.Location {
	where, _ := e.Value.(*hostpb.Location) // the list holds nothing else
	return where
}

// byName returns the hint for a name, or nil.
func (d *directory) byName(name string) *hostpb.Location {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.use(d.names[name])
}

// byID returns the hint for a number, or nil.
func (d *directory) byID(g ids.Group) *hostpb.Location {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.use(d.ids[g])
}

// use returns an element's hint and notes its use; mu is held.
func (d *directory) use(e *list.Element) *hostpb.Location {
	if e == nil {
		return nil
	}
	d.order.MoveToFront(e)
	return at(e)
}

// learn takes over what somebody said of a group and returns what is believed now. An
// older group of the name is not believed, nor an older list of members of the same
// one; who leads is: it was said by whoever just served the group.
func (d *directory) learn(where *hostpb.Location) *hostpb.Location {
	if where.GetId() == 0 || where.GetName() == "" {
		return where
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	name := statemachines.NameOf(where)
	old := d.use(d.names[name])
	if old == nil {
		d.put(where)
		d.disk.changed(name, where)
		return where
	}
	now := merge(old, where)
	if now != old {
		d.put(now)
		d.disk.changed(name, now)
	}
	return now
}

// merge returns what to believe after where: old itself if nothing is new.
func merge(old, where *hostpb.Location) *hostpb.Location {
	if where.GetId() < old.GetId() {
		return old
	}
	members := len(where.GetMembers()) > 0 && where.GetVersion() >= old.GetVersion()
	if where.GetId() > old.GetId() {
		return where
	}
	leader, api := where.GetLeaderHost(), cmp.Or(where.GetLeaderApi(), apiOf(old, where.GetLeaderHost()))
	switch {
	case leader == "":
		leader, api = old.GetLeaderHost(), old.GetLeaderApi()
	case leader == old.GetLeaderHost() && api == "":
		api = old.GetLeaderApi()
	}
	same := leader == old.GetLeaderHost() && api == old.GetLeaderApi()
	if same && (!members || where.GetVersion() == old.GetVersion() && len(old.GetMembers()) > 0) {
		return old
	}
	now := proto.CloneOf(old)
	now.LeaderHost, now.LeaderApi = leader, api
	if members {
		now.Members, now.Version = where.GetMembers(), where.GetVersion()
	}
	return now
}

// apiOf returns the address of a member's host, or nothing.
func apiOf(where *hostpb.Location, host string) string {
	for _, m := range where.GetMembers() {
		if host != "" && m.GetHostId() == host {
			return m.GetApi()
		}
	}
	return ""
}

// put stores a hint; mu is held, or nobody else knows d yet.
func (d *directory) put(where *hostpb.Location) {
	name := statemachines.NameOf(where)
	if e := d.names[name]; e != nil {
		delete(d.ids, ids.Group(at(e).GetId()))
		e.Value = where
		d.ids[ids.Group(where.GetId())] = e
		return
	}
	e := d.order.PushFront(where)
	d.names[name], d.ids[ids.Group(where.GetId())] = e, e
	if d.order.Len() > d.size {
		d.remove(d.order.Back())
	}
}

// drop forgets the hint for a name, if it is the one for that group.
func (d *directory) drop(name string, g ids.Group) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.names[name]; e != nil && at(e).GetId() == uint64(g) {
		d.remove(e)
	}
}

// remove takes an element out; mu is held.
func (d *directory) remove(e *list.Element) {
	where := at(e)
	d.order.Remove(e)
	name := statemachines.NameOf(where)
	delete(d.names, name)
	delete(d.ids, ids.Group(where.GetId()))
	d.disk.changed(name, nil)
}

// close writes what is not on the disk yet.
func (d *directory) close() error { return d.disk.close() }
